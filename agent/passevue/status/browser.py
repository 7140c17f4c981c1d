"""What a browser asks for in its headers, and the headers of every answer to it (N-22)."""

from aiohttp import web

from passevue.status.words import Language

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action {forms}; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY.format(forms="'none'"),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",  # to ourselves only: under `no-referrer` a browser hides the Origin of our forms
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Server": "passevue",
}
FORM_POLICY = _POLICY.format(forms="'self'")  # for pages that hold a form: it goes to this page only
STRICT_TRANSPORT = "max-age=31536000"


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        if name != "Content-Security-Policy" or name not in response.headers:
            response.headers[name] = value
    if request.secure:
        response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT


def language(request: web.Request) -> Language:
    """French, unless `?lang=en` asks or the browser prefers English."""
    asked = request.query.get("lang")
    if asked in (Language.FR, Language.EN):
        return Language(asked)
    return preferred(request.headers.get("Accept-Language", ""))


def preferred(header: str) -> Language:
    """The better of the two by an Accept-Language header (RFC 9110 § 12.5.4); French when it names neither."""
    weights = {Language.FR: 0.0, Language.EN: 0.0}
    for item in header.split(",")[:20]:
        tag, _, parameter = item.partition(";")
        name = tag.strip().lower().partition("-")[0]
        if name in ("fr", "en"):
            weights[Language(name)] = max(weights[Language(name)], _weight(parameter))
    return Language.EN if weights[Language.EN] > weights[Language.FR] else Language.FR


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0
