"""The log of the page: a line for each request, at debug level."""

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger


class AccessLog(AbstractAccessLogger):
    """One line a request: the route's pattern, never the address asked for, which may hold identifiers."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        structlog.get_logger().debug(
            "http_answered",
            method=request.method if request.method.isalpha() else "odd",
            route=_route(request),
            status=response.status,
            took_ms=round(time * 1000, 1),
            peer=request.remote or "",
        )

    @property
    def enabled(self) -> bool:
        return True


def _route(request: web.BaseRequest) -> str:
    matched = getattr(request, "match_info", None)
    resource = matched.route.resource if matched is not None else None
    return resource.canonical if resource is not None else "none"
