#!/usr/bin/env bash
# What `make image-test` needs beyond `make setup`: QEMU and its like (packages.txt), virt-fw-vars in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
umask 022
say() { printf '\033[1m» %s\033[0m\n' "$*" >&2; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
while read -r package _; do
  case $package in '' | '#'*) continue ;; esac
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done <tests/image/packages.txt
if [ "${#missing[@]}" -gt 0 ]; then
  say "Debian packages to install: ${missing[*]}"
  root apt-get -q update >/dev/null
  root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}" >.apt.log 2>&1 ||
    { tail -n 20 .apt.log >&2; echo "apt-get failed; its whole output is in .apt.log" >&2; exit 1; }
  rm -f .apt.log
fi

tools=.cache/image-test
now=$(sha256sum <tests/image/requirements.txt)
if [ ! -e "$tools/.requirements.sha256" ] || [ "$(cat "$tools/.requirements.sha256")" != "$now" ]; then
  say "Python environment: $tools (virt-fw-vars)"
  .venv/bin/python -m venv --clear "$tools"
  "$tools/bin/pip" install -q --disable-pip-version-check --require-hashes -r tests/image/requirements.txt
  printf '%s' "$now" >"$tools/.requirements.sha256"
fi

[ -e .cache/image-test/second-opinions/stamp ] || say "OpenSCAP, kernel-hardening-checker, lynis: into .cache/image-test"
.venv/bin/python -m tests.image.second_opinions.programs || say "… did not come: test_second_opinions.py will fail"
