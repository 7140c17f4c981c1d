#!/usr/bin/env bash
# What `make image-test` needs beyond `make setup`: QEMU and its like (packages.txt), virt-fw-vars in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
umask 022
say() { printf '\033[1m» %s\033[0m\n' "$*" >&2; }

tests/packages.sh tests/image/packages.txt

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
