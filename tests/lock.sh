#!/usr/bin/env bash
# Renews the hashed requirements from pyproject.toml, without any registry's address in them.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=.cache/lock
[ -x "$tool/bin/uv" ] || { python3 -m venv "$tool"; "$tool/bin/pip" install -q uv; }
compile() { "$tool/bin/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header "$@" pyproject.toml; }
compile -o agent/requirements.txt
compile --extra test --extra fuzz -o tests/requirements.txt
