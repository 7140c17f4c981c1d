"""TLS-01: TLS 1.2 at least, each way, as the very code of the listeners and clients sets it up.

That no listener answers an older version on the wire is shown before release; here, that nothing on this box (a build
of OpenSSL, its configuration) lowers what the code asks for.
"""

import ssl
from collections.abc import Iterable, Iterator

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.intake.pacs_tls import pacs_context
from passevue.intake.tls import bare_listener_context
from passevue.national.servers import bare_context


def check(machine: Machine) -> Finding:
    return judge(_contexts(machine))


def judge(contexts: Iterable[tuple[str, ssl.SSLContext]]) -> Finding:
    """Whether each, by its name, takes TLS 1.2 and 1.3 and nothing older."""
    count = 0
    for name, context in contexts:
        count += 1
        if context.minimum_version < ssl.TLSVersion.TLSv1_2:
            return failed(f"{name}: takes {context.minimum_version.name}")
        if context.maximum_version not in (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3):
            return failed(f"{name}: stops at {context.maximum_version.name}")
    if not ssl.HAS_TLSv1_3:
        return failed("OpenSSL has no TLS 1.3")
    return passed(f"{count} kinds of connection: TLS 1.2 or 1.3, {ssl.OPENSSL_VERSION}")


def _contexts(machine: Machine) -> Iterator[tuple[str, ssl.SSLContext]]:
    yield "listeners", bare_listener_context()
    yield "registry, psc", bare_context()
    pacs = machine.config.pacs
    if pacs is not None and pacs.authority is not None:
        yield "pacs", pacs_context(pacs.model_copy(update={"tls": None, "authority": machine.path(pacs.authority)}))


RULE = Rule(
    id="TLS-01",
    slug="version_floor",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.BUILD, When.START}),
    title=Text("Seul un chiffrement récent est accepté", "Only recent encryption is taken"),
    why=Text(
        "Les anciennes versions de TLS se laissent lire ou détourner.",
        "Old versions of TLS can be read or diverted.",
    ),
    expected="TLS 1.2 or 1.3 each way, nothing older",
    remedy=IMAGE_BUG,
    source="TLS R3 R4, ATNA, PS3.15, CLA O-8.1",
    check=check,
    appliance_only=False,
    proof="tests/unit/intake/test_mllp.py::test_old_tls_is_refused",
    also=("tests/unit/baseline/test_rules_tls.py::test_no_older_version_is_taken_by_any_listener_or_client",),
)
