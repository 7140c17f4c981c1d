"""People at the page, joined: what `box` hands to `Page`, and what it keeps running beside.

people = open_people(config, store, trail, clock, cards=desk, psc=psc, in_person=in_person)
await people.sign_in.account.start()               # the claim code of a box that nobody has claimed
Page(…, people=people)                             # and people.sign_in runs, as does the desk
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from passevue.config import Config
from passevue.config_check import contradictions
from passevue.config_files import wrong_files
from passevue.errors import ConfigError
from passevue.national.personal import Consents
from passevue.national.psc_face import PscDoor
from passevue.queue.store import Store
from passevue.status.cards import Cards
from passevue.status.entry_acts import EntryActs
from passevue.status.local_account import LocalAccount
from passevue.status.people_pages import People
from passevue.status.sign_in import SignIn, Trail


def open_people(
    config: Config,
    store: Store,
    trail: Trail,
    clock: Callable[[], datetime],
    *,
    cards: Cards | None = None,
    psc: PscDoor | None = None,
    in_person: Consents | None = None,
    held: Callable[[], Sequence[str]] = tuple,
    acts_held: Callable[[], Sequence[str]] = tuple,
    keys_of: tuple[str, ...] | None = None,
) -> People:
    """Who may sign in by what was given: cards where there is somebody to read and believe them, `psc` where it is.

    Args:
        held: the rules of the baseline that hold sign-ins now; `acts_held` those that hold what is done here.
        in_person: shared with `national.publication`, or what stands for it where that is in another process.
        keys_of: sections whose private keys this process may read, where not all (`config_files.wrong_files`).
    """
    realm = config.box.realm
    account = LocalAccount(config.box.data_dir)
    structures = frozenset(structure.id for structure in config.structures)
    sign_in = SignIn(account, trail, structures, clock, cards=cards, psc=psc, in_person=in_person, held=held)
    acts = EntryActs(store, trail, sign_in, realm, clock, acts_held)
    callback = urlsplit(str(config.psc.redirect_url)).path if psc is not None and config.psc is not None else ""

    def check() -> Sequence[ConfigError]:
        return [*contradictions(config), *wrong_files(config, clock(), keys_of=keys_of)]

    return People(sign_in, acts, config.box.name, callback, check)
