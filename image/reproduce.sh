#!/usr/bin/env bash
# Proves that two builds of one commit give the same root: builds twice, each from no tree of an earlier build, and compares the root
# hashes. When they differ, names the files that do. Takes two full builds; arguments go to build.py (`--profile production`).
set -euo pipefail
cd "$(dirname "$0")"
out=build/out
for turn in 1 2; do ./build.py --fresh --name "reproduce-$turn" "$@"; done
hash() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["root_hash"])' "$out/reproduce-$1/image.json"; }
if [ "$(hash 1)" = "$(hash 2)" ]; then
  echo "the same root hash, twice: $(hash 1)"
  rm -rf "$out"/reproduce-[12]
  exit 0
fi
echo "different: $(hash 1) and $(hash 2)" >&2
for turn in 1 2; do
  rm -rf "build/tree-$turn"
  ./build.py --in-tools fsck.erofs "--extract=$PWD/build/tree-$turn" "$PWD/$out/reproduce-$turn/root.img" >/dev/null
  (cd "build/tree-$turn" && find . -printf '%p %y %m %U:%G %s %l\n' | sort) >"build/list-$turn"
done
diff "build/list-1" "build/list-2" >&2 || true
diff -rq --no-dereference build/tree-1 build/tree-2 >&2 || true
exit 1
