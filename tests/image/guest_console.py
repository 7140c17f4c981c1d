"""Runs inside the guest, as root, in tests only: one JSON line in, a command, one JSON line out (see console.py).

Python's standard library only. It comes in by a credential that QEMU puts into SMBIOS, so that nothing of it is in the
image; an image of the production profile must ignore such credentials.
"""

import base64
import json
import os
import subprocess
import time

PORT = "/dev/virtio-ports/passevue.test"


def answer(request):
    data = base64.b64decode(request.get("stdin", ""))
    try:
        done = subprocess.run(
            request["argv"], input=data, capture_output=True, timeout=request.get("timeout_s", 60), cwd="/", check=False
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, out, err = 124, late.stdout or b"", late.stderr or b""
    except OSError as wrong:
        code, out, err = 127, b"", str(wrong).encode()
    return {"code": code, "out": base64.b64encode(out).decode(), "err": base64.b64encode(err).decode()}


def lines(port):
    rest = b""
    while True:
        part = os.read(port, 65536)
        if not part:  # nobody at the other end
            time.sleep(0.2)
            continue
        *whole, rest = (rest + part).split(b"\n")
        yield from whole


def main():
    while not os.path.exists(PORT):
        time.sleep(0.2)
    port = os.open(PORT, os.O_RDWR)
    for line in lines(port):
        try:
            request = json.loads(line)
        except ValueError:
            continue  # cut off by a reset
        reply = json.dumps({"id": request["id"], **answer(request)}).encode() + b"\n"
        while reply:
            reply = reply[os.write(port, reply) :]


main()
