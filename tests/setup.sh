#!/usr/bin/env bash
# Makes the environment that tests, demo and bench run in: Debian packages, then a virtual environment with
# hashed wheels. Says what it installs; does nothing when nothing changed. Needs root or sudo for the packages.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
say() { printf '\033[1m» %s\033[0m\n' "$*" >&2; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# --- Debian packages -----------------------------------------------------------------------------------------
missing=()
while read -r line; do
  line=${line%%#*}; line=${line//[[:space:]]/}
  [ -n "$line" ] || continue
  found=''
  IFS='|' read -ra choices <<<"$line"
  for package in "${choices[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] && found=$package && break
  done
  [ -n "$found" ] || missing+=("$line")
done <tests/packages.txt

if [ "${#missing[@]}" -gt 0 ]; then
  say "Debian packages to install: ${missing[*]}"
  root apt-get -q update >/dev/null
  wanted=()
  for line in "${missing[@]}"; do
    IFS='|' read -ra choices <<<"$line"
    for package in "${choices[@]}"; do
      if apt-cache show "$package" >/dev/null 2>&1; then wanted+=("$package"); break; fi
    done
  done
  # The servers must not start by themselves: the tests start their own, on loopback, and end them.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | root tee "$policy" >/dev/null
    root chmod +x "$policy"
    trap 'root rm -f "$policy"' EXIT
  fi
  root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${wanted[@]}" >.apt.log 2>&1 ||
    { tail -n 20 .apt.log >&2; echo "apt-get failed; its whole output is in .apt.log" >&2; exit 1; }
  rm -f .apt.log
fi

# --- Python -------------------------------------------------------------------------------------------------
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
