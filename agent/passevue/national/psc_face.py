"""Pro Santé Connect as the page needs it: `psc.Psc` itself, or its stand-in where national is another process."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from passevue.national.psc_ciba import CibaRequest
from passevue.national.psc_claims import Professional
from passevue.national.psc_code import CodeRequest
from passevue.national.psc_token import IdToken

__all__ = ["CibaRequest", "CodeRequest", "PscDoor", "PscPerson"]


class PscPerson(Protocol):
    """Somebody who signed in there, for as long as that lasts. `psc_session.PscSession` is one."""

    @property
    def person(self) -> Professional: ...

    @property
    def token(self) -> IdToken: ...

    @property
    def ends_at(self) -> datetime: ...

    @property
    def over(self) -> bool:
        """Whether nothing more can be done with it. Once true, always true."""
        ...

    async def end(self) -> None:
        """Leave. Raises: NetworkError: over here, and not told there."""
        ...


class PscDoor(Protocol):
    """How people sign in by it; each raises as `psc.Psc` does."""

    async def begin_code(self) -> CodeRequest: ...

    async def finish_code(self, request: CodeRequest | None, query: Mapping[str, str]) -> PscPerson: ...

    async def begin_ciba(self, id_nat: str) -> CibaRequest: ...

    async def finish_ciba(self, request: CibaRequest) -> PscPerson: ...
