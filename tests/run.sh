#!/usr/bin/env bash
# Formatting, lint and types first, then every test that this machine can run; skipped ones are named with their reason.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
ruff format --check .
ruff check .
mypy
exec pytest "$@"
