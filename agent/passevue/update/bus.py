"""The system bus: calls with a deadline, errors as ours. The one module that knows dbus-fast.

    async with open_bus() as bus:
        (state,) = await bus.call(Name("org.freedesktop.systemd1", "/org/…", "org.freedesktop.DBus.Properties"),
        "Get", "ss", …)

`DBUS_SYSTEM_BUS_ADDRESS` names another bus, as for every client of D-Bus; tests have their own.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError, InvalidAddressError, InvalidBusNameError

from passevue.errors import NetworkError

CALL_S = 30.0
PROPERTIES = "org.freedesktop.DBus.Properties"

__all__ = ["Bus", "BusError", "BusGone", "Message", "Name", "open_bus"]


class BusGone(NetworkError):
    """The bus, or who was asked on it, is not there or does not answer in time."""


class BusError(NetworkError):
    """Who was asked answered with an error. `name` is D-Bus's own."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.text = message


@dataclass(frozen=True, slots=True)
class Name:
    """Whom to ask: bus name, object, interface."""

    service: str
    path: str
    interface: str


Hear = Callable[[Message], None]


class Bus:
    """An open connection."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    async def call(
        self, name: Name, member: str, signature: str = "", *body: Any, within_s: float = CALL_S
    ) -> list[Any]:
        """The body of the answer, its variants opened.

        Raises:
            BusGone: nobody is there, or no answer came in time.
            BusError: the answer is an error.
        """
        message = Message(
            destination=name.service,
            path=name.path,
            interface=name.interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        try:
            async with asyncio.timeout(within_s):
                answer = await self._bus.call(message)
        except (TimeoutError, OSError, EOFError, DBusError, InvalidBusNameError) as err:
            raise BusGone(f"{name.service} does not answer: {type(err).__name__}") from err
        if answer is None:
            raise BusGone(f"{name.service} does not answer")
        if answer.message_type is MessageType.ERROR:
            text = str(answer.body[0])[:500] if answer.body else ""
            gone = ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "Spawn")
            if any(word in (answer.error_name or "") for word in gone):
                raise BusGone(f"{name.service} is not there")
            raise BusError(answer.error_name or "", text)
        return [_opened(value) for value in answer.body]

    async def property(self, name: Name, key: str, *, within_s: float = CALL_S) -> Any:
        (value,) = await self.call(
            Name(name.service, name.path, PROPERTIES), "Get", "ss", name.interface, key, within_s=within_s
        )
        return value

    async def properties(self, name: Name, *, within_s: float = CALL_S) -> dict[str, Any]:
        (found,) = await self.call(
            Name(name.service, name.path, PROPERTIES), "GetAll", "s", name.interface, within_s=within_s
        )
        return dict(found)

    async def hear(self, name: Name, hear: Hear) -> None:
        """From now on, `hear` gets the signals of that object, and the comings and goings of its service."""

        def heard(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL and (
                message.path == name.path
                or (message.member == "NameOwnerChanged" and message.body[:1] == [name.service])
            ):
                hear(message)

        rules = (
            f"type='signal',sender='{name.service}',path='{name.path}'",
            f"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{name.service}'",
        )
        daemon = Name("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        for rule in rules:
            await self.call(daemon, "AddMatch", "s", rule)
        self._bus.add_message_handler(heard)


@asynccontextmanager
async def open_bus(address: str = "") -> AsyncIterator[Bus]:
    """A connection to the system bus.

    Raises:
        BusGone: there is none.
    """
    bus = MessageBus(bus_address=address or os.environ.get("DBUS_SYSTEM_BUS_ADDRESS"), bus_type=BusType.SYSTEM)
    try:
        async with asyncio.timeout(CALL_S):
            await bus.connect()
    except (TimeoutError, OSError, EOFError, DBusError, InvalidAddressError, ValueError) as err:
        raise BusGone(f"the system bus is not there: {type(err).__name__}") from err
    try:
        yield Bus(bus)
    finally:
        bus.disconnect()


def _opened(value: Any) -> Any:
    """Without variants, at any depth."""
    match value:
        case Variant():
            return _opened(value.value)
        case dict():
            return {key: _opened(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_opened(inner) for inner in value]
    return value
