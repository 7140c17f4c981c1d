"""Coverage-guided: any bytes as an answer of the DMP are read or refused with our own error; the next one is served.

    python -m tests.fuzz.fuzz_soap [libFuzzer options] [CORPUS]

The first byte chooses the frame that the others are put into, so that the parsers behind the envelope are reached too.
"""

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["passevue"]):
    from passevue.errors import Unreadable
    from passevue.national import outcome, xds
    from passevue.national.multipart import read_content_type, read_related
    from passevue.national.soap import SOAP, WSA, content_of, read_message

PLAIN = "application/soap+xml"
RELATED = 'multipart/related; boundary="b"; type="application/xop+xml"'
HEAD = f'<s:Envelope xmlns:s="{SOAP}" xmlns:w="{WSA}">'.encode()
GOOD = HEAD + b"<s:Body><a/></s:Body></s:Envelope>"
QUERY_ANSWER = (
    f'<q:AdhocQueryResponse xmlns:q="{xds.QUERY}" xmlns:rs="{xds.RS}" xmlns="{xds.RIM}" status="{outcome.SUCCESS}">'
).encode()
STATUS_ANSWER = f'<PRPA_IN201308UV02 xmlns="{xds.HL7}">'.encode()


def as_header(data: bytes) -> tuple[str, bytes]:
    return PLAIN, HEAD + b"<s:Header>" + data + b"</s:Header><s:Body/></s:Envelope>"


def as_body(data: bytes) -> tuple[str, bytes]:
    return PLAIN, HEAD + b"<s:Body>" + data + b"</s:Body></s:Envelope>"


def as_query_answer(data: bytes) -> tuple[str, bytes]:
    return as_body(QUERY_ANSWER + data + b"</q:AdhocQueryResponse>")


def as_status_answer(data: bytes) -> tuple[str, bytes]:
    return as_body(STATUS_ANSWER + data + b"</PRPA_IN201308UV02>")


def as_part(data: bytes) -> tuple[str, bytes]:
    root = b"--b\r\nContent-Type: application/xop+xml\r\nContent-ID: <0.1>\r\n\r\n" + GOOD
    return RELATED, root + b"\r\n--b\r\nContent-ID: <0.2>\r\n" + data + b"\r\n--b--"


FRAMES = (
    lambda data: (PLAIN, data),
    lambda data: (RELATED, data),
    lambda data: (data.decode("latin-1"), GOOD),
    as_header,
    as_body,
    as_query_answer,
    as_status_answer,
    as_part,
)


def read_all(content_type: str, body: bytes) -> None:
    with contextlib.suppress(Unreadable):
        read_related(read_content_type(content_type), body)
    message = read_message(content_type, body)
    if message.payload is None:
        return
    outcome.read_registry_response(message.payload)
    for read in (xds.read_found, xds.read_patient_status, lambda one: content_of(one, message.parts)):
        with contextlib.suppress(Unreadable):
            read(message.payload)


def one_input(data: bytes) -> None:
    frame = FRAMES[data[0] % len(FRAMES)] if data else FRAMES[0]
    with contextlib.suppress(Unreadable):
        read_all(*frame(data[1:]))
    assert read_message(PLAIN, GOOD).payload is not None


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
