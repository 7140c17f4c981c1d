"""People at the page, joined: what `box` hands to `Page`, and what it keeps running beside.

opened = open_people(config, store, trail, clock, readers=readers, trust=trust, psc=psc, in_person=in_person)
await opened.people.sign_in.account.start()        # the claim code of a box that nobody has claimed
Page(…, people=opened.people)                      # and each of opened.parts runs
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from passevue.card.reader import Readers
from passevue.config import Config
from passevue.config_check import contradictions, wrong_files
from passevue.errors import ConfigError
from passevue.national.personal import InPerson
from passevue.national.psc import Psc
from passevue.queue.store import Store
from passevue.status.card_desk import CardDesk, Trust
from passevue.status.entry_acts import EntryActs
from passevue.status.local_account import LocalAccount
from passevue.status.people_pages import People
from passevue.status.sign_in import SignIn, Trail


@dataclass(frozen=True, slots=True)
class Opened:
    """`parts` each have a `name` and a `run()` that returns only when cancelled; the card desk stops last."""

    people: People
    parts: tuple[SignIn | CardDesk, ...]


def open_people(
    config: Config,
    store: Store,
    trail: Trail,
    clock: Callable[[], datetime],
    *,
    readers: Readers | None = None,
    trust: Trust | None = None,
    psc: Psc | None = None,
    in_person: InPerson | None = None,
) -> Opened:
    """Who may sign in by what was given: cards where there are readers and somebody to believe them, `psc` where it is.

    Args:
        in_person: shared with `national.publication`, where both are in one process.
    """
    realm = config.box.realm
    cards = CardDesk(realm, trust, clock, readers) if readers is not None and trust is not None else None
    account = LocalAccount(config.box.data_dir)
    structures = frozenset(structure.id for structure in config.structures)
    sign_in = SignIn(account, trail, structures, clock, cards=cards, psc=psc, in_person=in_person)
    acts = EntryActs(store, trail, sign_in, realm, clock)
    callback = urlsplit(str(config.psc.redirect_url)).path if psc is not None and config.psc is not None else ""

    def check() -> Sequence[ConfigError]:
        return [*contradictions(config), *wrong_files(config, clock())]

    people = People(sign_in, acts, config.box.name, callback, check)
    return Opened(people, (sign_in, cards) if cards is not None else (sign_in,))
