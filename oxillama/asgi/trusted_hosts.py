"""Pages of other sites, and names that others can point here, kept from an app whose only lock is where it listens.

A browser lets any page send to this machine. One kind of request needs no consent of ours: a form's, or fetch() without
CORS. And a page whose own name is made to resolve to this machine (DNS rebinding) may also read the answers. Both
tell on themselves: by `Origin` and `Sec-Fetch-Site`, and by `Host`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from oxillama.asgi.errors import HTTPError
from oxillama.asgi.paths import route_path

ANY_HOST = "*"
# Stands for every address of this machine's loopback, and for names that the DNS of a stranger cannot point there:
# those below `localhost`, and those of one label, by which machines of a household call each other.
LOOPBACK = "localhost"
# They say nothing, and are asked for by machines that put whatever they like into `Host`.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/health"})


class TrustedHosts:
    """Middleware. hosts: the names under which the app may be called, without ports; `*`: any, also from any page.
    origins: those of pages of other hosts that may call it all the same; `*`: any."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self.app = app
        self._hosts = frozenset(_folded(host) for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ANY_HOST not in self._hosts and route_path(scope) not in OPEN_PATHS:
            self._check(Headers(scope=scope), scope)
        await self.app(scope, receive, send)

    def _check(self, headers: Headers, scope: Scope) -> None:
        # Browsers always send it; programs of HTTP/1.0 need not.
        hosts = [_host_of(f"//{host}") for host in headers.getlist("host")]
        if not all(map(self._is_trusted, hosts)):
            raise HTTPError(403, "this server does not answer under that name in `Host`", code="untrusted_host")
        origins = headers.getlist("origin")
        if ANY_HOST in self._origins or (origins and self._origins.issuperset(origins)):
            return
        is_foreign = headers.get("sec-fetch-site") == "cross-site" and not _opens_page(headers, scope)
        if is_foreign or not all(self._is_own(_host_of(origin), hosts) for origin in origins):
            raise HTTPError(403, "pages of other sites may not use this server", code="untrusted_origin")

    def _is_trusted(self, host: str | None) -> bool:
        if host is None:
            return False
        is_local = _is_loopback(host) or ("." not in host and ":" not in host)
        return host in self._hosts or (LOOPBACK in self._hosts and is_local)

    def _is_own(self, origin: str | None, hosts: list[str | None]) -> bool:
        """Whether a page is this server's own, or of another one on this machine."""
        if origin is None:
            return False
        return origin in hosts or origin in self._hosts or (LOOPBACK in self._hosts and _is_loopback(origin))


def _opens_page(headers: Headers, scope: Scope) -> bool:
    """Somebody follows a link to the chat page."""
    return (
        scope["method"] in ("GET", "HEAD")
        and route_path(scope) == "/"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"
    )


def _host_of(url: str) -> str | None:
    """The host of an origin, or of `//HOST:PORT`. None: it has none, as `null`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # which raises for what is no number
    except ValueError:
        return None
    return _folded(host) if host and "@" not in parts.netloc else None


def _folded(host: str) -> str:
    return host.strip("[]").lower().rstrip(".")


def _is_loopback(host: str) -> bool:
    if host == LOOPBACK or host.endswith(f".{LOOPBACK}"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
