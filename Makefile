# Everything from nothing: each target makes what it needs, says what it installs, and is quick the second time.
#   make demo            simulated neighbours, the box, its page (ONCE=1: plays the story once and exits)
#   make test            every test that this machine can run; names what it left out and why
#   make image-test      boots the image in a virtual PC: what it promises, and what is done to it (hours without KVM; see tests/image)
#   make bench           figures side by side with dcmtk, Orthanc, pynetdicom; table and bench.json
#   make image           the appliance's disk image, signed with keys of its own (IMAGE="--profile production …"); image/README.md
#   make lock            renews the hashed requirements (needs the network)
SHELL := /bin/bash
PY    := .venv/bin/python
ONCE  ?=

.PHONY: demo test image-test bench fuzz image lock clean setup
demo: setup
	@$(PY) -m tests.demo $(if $(ONCE),--once)

test: setup
	@tests/run.sh

image-test: setup
	@tests/image/run.sh $(IMAGE_TEST)

bench: setup
	@$(PY) -m tests.bench $(BENCH)

fuzz: setup
	@$(PY) -m tests.fuzz $(FUZZ)

setup:
	@tests/setup.sh

image:
	@tests/packages.sh image/packages.txt
	@image/build.py $(IMAGE)

lock:
	@tests/lock.sh

clean:
	rm -rf .venv .cache bench.json
