"""CERT-01: every certificate in use is known, readable and within its dates.

Where one has ended, its function stops by itself where the certificate is used (`national.structures`, the listeners);
the others go on. So nothing is held from here.
"""

from passevue.baseline.certificates import in_use, read
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.remedies import RENEW
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.national.certificate import usable_from, usable_until

SOON_DAYS = 60


def check(machine: Machine) -> Finding:
    ended, soon, least, count = [], [], 10**6, 0
    for held in in_use(machine.config):
        count += 1
        try:
            certificate = read(machine, held)
        except Unmeasurable:
            ended.append(f"{held.setting} cannot be read")
            continue
        days = (usable_until(certificate) - machine.now).days
        if machine.now < usable_from(certificate):
            ended.append(f"{held.setting} is not valid yet")
        elif days < 0:
            ended.append(f"{held.setting} has ended")
        elif days <= SOON_DAYS:
            soon.append(f"{held.setting} ends in {days} days")
        least = min(least, days)
    if ended:
        return failed("; ".join(ended + soon), Effect.HOLD)
    if soon:
        return failed("; ".join(soon))
    return passed(f"{count} certificates, {least} days at least")


RULE = Rule(
    id="CERT-01",
    slug="cert_validity",
    level=Level.MUST,
    effect=Effect.WARN,
    worse=Effect.HOLD,
    when=frozenset({When.DAILY, When.START}),
    title=Text("Les certificats sont en cours de validité", "The certificates are valid"),
    why=Text(
        "À la date de fin d’un certificat, ce qu’il sert s’arrête ; un renouvellement prend plusieurs semaines.",
        "When a certificate ends, what it serves stops; a renewal takes several weeks.",
    ),
    expected="each readable and within its dates; 60 days left",
    remedy=RENEW,
    source="TLS R25",
    check=check,
    appliance_only=False,
)
