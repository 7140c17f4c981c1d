#!/usr/bin/env bash
# `make image-test`: every test of the image, one virtual PC after the other, the name of each as it ends, the time of each at
# the end.   run.sh [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/image/setup.sh
export PASSEVUE_IMAGE=${PASSEVUE_IMAGE:-development}
[ -e "image/build/out/$PASSEVUE_IMAGE/image.json" ] || { echo "there is no image $PASSEVUE_IMAGE yet: make image" >&2; exit 1; }
case " $* " in *" tests/image"*) ;; *) set -- tests/image "$@" ;; esac
exec .venv/bin/pytest -v --durations=0 --durations-min=1 "$@"
