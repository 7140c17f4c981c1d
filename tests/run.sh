#!/usr/bin/env bash
# Formatting, lint and types first, then every test that this machine can run; skipped ones are named with their reason.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
exec .venv/bin/pytest "$@"
