#!/usr/bin/env bash
# Makes the environment that tests, demo and bench run in: Debian packages, then a virtual environment with
# hashed wheels. Says what it installs; does nothing when nothing changed. Needs root or sudo for the packages.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
say() { printf '\033[1m» %s\033[0m\n' "$*" >&2; }

tests/packages.sh tests/packages.txt

python=''
for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
  [ -n "$candidate" ] || continue
  if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
    python=$candidate; break
  fi
done
[ -n "$python" ] || { echo "Python 3.11 to 3.13 with venv is needed (set PYTHON=/path/to/python)" >&2; exit 1; }

stamp=.venv/.requirements.sha256
now=$(cat pyproject.toml tests/requirements.txt | sha256sum)
if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$now" ]; then
  say "Python environment: .venv ($("$python" --version)), $(grep -cE '^[a-z]' tests/requirements.txt) hashed packages"
  "$python" -m venv --clear .venv
  .venv/bin/pip install -q --disable-pip-version-check --require-hashes -r tests/requirements.txt
  .venv/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
  printf '%s' "$now" >"$stamp"
fi
