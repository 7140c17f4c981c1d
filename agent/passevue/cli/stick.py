"""`/usr/lib/passevue/stick`, started by `passevue-stick.socket` when the page asks: one question, one answer.
With `out`, once that has ended: no stick is let in any more.
"""

import sys

from passevue.status import logs
from passevue.status.activation import passed_sockets
from passevue.stick.device import put_out
from passevue.stick.reading import Opener, serve, the_stick

NAME = "stick"


def stick(opened: Opener = the_stick) -> int:
    """The exit code."""
    logs.set_up()
    if sys.argv[1:] == ["out"]:
        put_out()
        return 0
    listening = passed_sockets().get(NAME)
    if listening is None:
        return 2
    with listening:
        listening.settimeout(10)
        page, _ = listening.accept()
    serve(page, opened)
    return 0
