#!/usr/bin/env bash
# Installs the Debian packages of a list that are not there yet, and says which. Needs root or sudo for those.
#   packages.sh LIST      a package a line, `this|that` for the first that this Debian has, `#` for what it is there for
set -euo pipefail
say() { printf '\033[1m» %s\033[0m\n' "$*" >&2; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

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
done <"$1"
[ "${#missing[@]}" -gt 0 ] || exit 0

say "Debian packages to install: ${missing[*]}"
root apt-get -q update >/dev/null
wanted=()
for line in "${missing[@]}"; do
  IFS='|' read -ra choices <<<"$line"
  for package in "${choices[@]}"; do
    if apt-cache show "$package" >/dev/null 2>&1; then wanted+=("$package"); break; fi
  done
done
# Servers must not start by themselves: the tests start their own, on loopback, and end them.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | root tee "$policy" >/dev/null
  root chmod +x "$policy"
  trap 'root rm -f "$policy"' EXIT
fi
root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${wanted[@]}" >.apt.log 2>&1 ||
  { tail -n 20 .apt.log >&2; echo "apt-get failed; its whole output is in .apt.log" >&2; exit 1; }
rm -f .apt.log
