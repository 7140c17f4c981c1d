"""`/usr/lib/passevue/configure`, as root: carries out one `configure` order of the page.

    values: {"key": PEM}                            at the claim: whose signature counts from now on; only while none
    does
            {"document": name, "signature": name}   a provisioning file and its signature, beside the order

    <data_dir>/config/passevue.toml          the configuration
    <data_dir>/config/provisioning.pub       whose signature counts
    <data_dir>/config/provisioning.json      number of what is in place
    <data_dir>/config/done-configure.json    {"id", "ok", "code", "hint", "at"}: what the page shows

Rules: checked whole before anything changes, as `passevue config check` checks, and on an appliance for what its page
cannot do without (`appliance`); keys are encrypted before anything changes too; then all is put in place as one
(`placing`), and what power cut short is finished at the next start. One order a run: it leaves the folder before it is
carried out, and systemd comes back for the next. The upload goes away, whatever came of it: it may hold keys. Written
to the audit trail before it happens.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from passevue import config
from passevue.config_check import contradictions
from passevue.errors import BoxError, Refused, StoreError, TrustError, Unreadable
from passevue.provision import appliance, package, placing
from passevue.provision.package import Package
from passevue.provision.placing import CONFIGURATION, NUMBER, Placing
from passevue.update.machine import Machine
from passevue.update.orders import DOCUMENTS, Order, Orders, Wish
from passevue.update.row_file import write_synced

DATA_DIR = Path("/var/lib/passevue")
TRUSTED = "config/provisioning.pub"
MAX_STATE = 4096
TO_THIS_MACHINE = ("--with-key=tpm2-with-public-key", "--tpm2-pcrs=")  # systemd-creds(1)
Trace = Callable[[str, str, str], None]
Seal = Callable[[str, bytes, Path], None]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where it works, and its two ways out: `trace` to the audit trail, `seal` encrypts a key to this machine."""

    data_dir: Path
    machine: Machine
    trace: Trace
    seal: Seal

    @property
    def folder(self) -> Path:
        return self.data_dir / "config"

    @property
    def key_file(self) -> Path:
        return self.data_dir / TRUSTED

    @property
    def credentials(self) -> Path:
        return self.data_dir / "credentials"


def carry_out(order: Order, orders: Orders, desk: Desk) -> None:
    """
    Raises:
        BoxError: nothing has changed; its `hint` says why.
    """
    if order.text("key"):
        _trust(package.trusted_key(order.text("key").encode()), order, desk)
    elif order.text("document"):
        _configure(order, orders, desk)
    else:
        raise Unreadable("an order without a key or a document")


def _trust(key: Ed25519PublicKey, order: Order, desk: Desk) -> None:
    if desk.key_file.exists():
        hint = "Ce boîtier est déjà à un centre. Pour le confier à un autre, effacez-le."
        raise Refused("claimed", "a key is trusted already", hint=hint)
    desk.trace("provisioning-key", order.by, "")
    placing.put(desk.key_file, package.key_pem(key))


def _configure(order: Order, orders: Orders, desk: Desk) -> None:
    document = _read(orders, order.text("document"), package.MAX_BYTES)
    signature = _read(orders, order.text("signature"), package.MAX_SIGNATURE)
    package.verify(document, signature, _trusted(desk))
    found = package.read(document)
    package.check(found, number_in_place(desk.data_dir), desk.machine.serial)
    check(found, desk)
    desk.trace("configuration", order.by, f"number {found.number}")
    put_in_place(found, desk)


def check(found: Package, desk: Desk) -> None:
    """As `passevue config check`, but that its files lie in the package or in place already, and their end is not
    looked at: the clock of a new box may be wrong.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    handed = {"CREDENTIALS_DIRECTORY": str(appliance.HANDED)}
    read = config.parse(found.configuration, desk.folder / "passevue.toml", handed)
    wrong = read if isinstance(read, list) else list(contradictions(read))
    if not wrong and not isinstance(read, list) and desk.machine.is_appliance:
        wrong = list(appliance.wrong(found, read, desk.data_dir))
    if wrong:
        raise wrong[0]


def put_in_place(found: Package, desk: Desk) -> None:
    """Raises: StoreError: nothing has changed, or the next start goes on with it."""
    new = Placing(desk.data_dir)
    try:
        _gather(found, desk, new)
        new.decide()
    except (StoreError, OSError):
        with suppress(StoreError):
            new.give_up()
        raise
    finish(desk)


def _gather(found: Package, desk: Desk, new: Placing) -> None:
    new.begin()
    for zone, keys in found.keys.items():
        for name, content in keys.items():
            desk.seal(f"key_{name}", content, new.room(f"credentials/{zone}/{name}"))
    for name, content in found.files.items():
        new.add(f"config/{name}", content)
    new.add(CONFIGURATION, found.configuration.encode())
    new.add(NUMBER, json.dumps({"number": found.number}).encode())


def finish(desk: Desk) -> None:
    """What was decided and is not in place yet. Raises: StoreError."""
    new = Placing(desk.data_dir)
    waited = new.waits
    new.finish()
    if waited:
        for name in ("first.key", "first.crt"):  # the first page's own: its time is over (CERT-02)
            (desk.data_dir / "page" / name).unlink(missing_ok=True)


def number_in_place(data_dir: Path) -> int:
    with (
        suppress(OSError, ValueError, KeyError, TypeError, RecursionError),
        (data_dir / "config/provisioning.json").open("rb") as file,
    ):
        return int(json.loads(file.read(MAX_STATE))["number"])
    return 0


def _trusted(desk: Desk) -> Ed25519PublicKey:
    try:
        return package.trusted_key(desk.key_file.read_bytes()[: package.MAX_KEY])
    except OSError as err:
        hint = "Prenez d’abord ce boîtier en main : il ne sait pas encore quelle signature croire."
        raise TrustError("no key is trusted yet", hint=hint) from err


def _read(orders: Orders, name: str, most: int) -> bytes:
    try:
        with orders.open(name) as file:
            data = file.read(most + 1)
    except FileNotFoundError as err:
        raise Unreadable(
            "a file of the order is not there", hint="Envoyez le fichier et sa signature de nouveau."
        ) from err
    if len(data) > most:
        raise Unreadable(f"expected at most {most} bytes", hint="Ce fichier est trop gros pour une configuration.")
    return data


def answer(data_dir: Path, wish: Wish, order: Order, error: BoxError | None) -> None:
    """What came of an order, for the page."""
    told = {
        "id": order.id,
        "ok": error is None,
        "code": "" if error is None else getattr(error, "code", type(error).__name__),
        "hint": "" if error is None else error.hint or "L’opération a échoué ; rien n’a changé.",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_synced(data_dir / "config" / f"done-{wish}.json", json.dumps(told).encode(), 0o644)


def seal(name: str, content: bytes, target: Path) -> None:
    """Encrypts a key to this machine (systemd-creds). Raises: StoreError.

    To its TPM and to whoever signs its kernels: neither a new kernel, nor new keys in the firmware, nor another machine
    id take it away. The data partition, which it lies on, is bound to the firmware's keys.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    argv = ["/usr/bin/systemd-creds", "encrypt", *TO_THIS_MACHINE, f"--name={name}", "-", str(target)]
    try:
        done = subprocess.run(argv, input=content, capture_output=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as err:
        raise StoreError(f"a key cannot be encrypted: {type(err).__name__}") from err
    if done.returncode:
        raise StoreError(f"a key cannot be encrypted: systemd-creds left with {done.returncode}")


def work(data_dir: Path, desk: Desk, trusted: tuple[int, ...], now: datetime) -> int:
    """What power cut short; then one order, if there is one. The exit code."""
    orders = Orders(data_dir, trusted)
    try:
        finish(desk)
    except (StoreError, OSError) as err:
        print(f"configure: {err}", file=sys.stderr)  # a new configuration may take its place
    with suppress(OSError):
        orders.sweep((), DOCUMENTS)
    try:
        order = orders.claim(Wish.CONFIGURE, now, carried_out(data_dir, Wish.CONFIGURE))
    except (TrustError, Unreadable) as err:
        with suppress(StoreError):  # by nobody: who wrote it is not who it says
            desk.trace("configuration-refused", "", f"order configure: {type(err).__name__} {err.message[:200]}")
        print(f"configure: {err}", file=sys.stderr)
        return 1
    return 0 if order is None else _work(order, orders, desk)


def _work(order: Order, orders: Orders, desk: Desk) -> int:
    failed: BoxError | None = None
    try:
        carry_out(order, orders, desk)
    except BoxError as err:
        failed = err
        with suppress(StoreError):  # nothing has happened; that it was refused is told all the same
            desk.trace("configuration-refused", order.by, f"{type(err).__name__}: {err.message[:200]}")
        print(f"configure: {err}", file=sys.stderr)
    except OSError as err:
        failed = StoreError(f"the configuration cannot be written: {err.strerror}")
        print(f"configure: {err}", file=sys.stderr)
    for name in ("document", "signature"):
        if order.text(name):
            with suppress(OSError, TrustError, Unreadable):
                orders.open(order.text(name)).close()  # a name of ours, and no link
                (orders.folder / order.text(name)).unlink()
    answer(desk.data_dir, Wish.CONFIGURE, order, failed)
    return 1 if failed else 0


def carried_out(data_dir: Path, wish: Wish) -> tuple[str, ...]:
    with (
        suppress(OSError, ValueError, KeyError, TypeError, RecursionError),
        (data_dir / "config" / f"done-{wish}.json").open("rb") as file,
    ):
        return (str(json.loads(file.read(MAX_STATE))["id"]),)
    return ()
