"""Who may use which route: keys in `Authorization: Bearer` or `x-api-key`, a token of its own for the admin routes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from oxillama.asgi.errors import HTTPError
from oxillama.asgi.paths import route_path
from oxillama.asgi.request_log import record_of

# Health is asked for by machines that have no keys; the page brings its user's key only once it is loaded.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/health", "/", "/favicon.ico"})
OPEN_PREFIXES = ("/static/",)
ADMIN_PREFIX = "/admin"
# vLLM\'s names of what the routes of adapters do.
ADMIN_PATHS = frozenset({"/v1/load_lora_adapter", "/v1/unload_lora_adapter"})


class Authentication:
    """Middleware. Without api_keys every route but the admin ones is open; without admin_token those are off."""

    def __init__(self, app: ASGIApp, *, api_keys: Sequence[str], admin_token: str | None) -> None:
        self.app = app
        self._keys = [_digest(key) for key in api_keys]
        self._admin = None if admin_token is None else _digest(admin_token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._check(scope)
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        path = route_path(scope)
        if scope["method"] == "OPTIONS" or path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
            return
        given = _credential(Headers(scope=scope))
        if path == ADMIN_PREFIX or path.startswith(f"{ADMIN_PREFIX}/") or path in ADMIN_PATHS:
            self._check_admin(given)
        elif self._keys:
            self._check_key(given, scope)

    def _check_admin(self, given: str | None) -> None:
        if self._admin is None:
            raise HTTPError(
                403, "the admin routes are off: the app was made without admin_token", code="admin_disabled"
            )
        if given is None:
            raise _unauthorized("the admin routes need the admin token")
        if not hmac.compare_digest(_digest(given), self._admin):
            # A good API key is still no admin.
            if _find(given, self._keys) is not None:
                raise HTTPError(403, "the admin routes need the admin token, not an API key", code="not_admin")
            raise _unauthorized("the admin token is wrong")

    def _check_key(self, given: str | None, scope: Scope) -> None:
        if given is None:
            raise _unauthorized("an API key is needed: `Authorization: Bearer KEY` or `x-api-key: KEY`")
        index = _find(given, self._keys)
        if index is None:
            raise _unauthorized("the API key is wrong")
        record_of(scope).key = f"key-{index}"


def _credential(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key")


def _find(given: str, keys: Sequence[bytes]) -> int | None:
    """The index of a key. Looks at all of them, so that the time tells nothing."""
    digest, found = _digest(given), None
    for index, key in enumerate(keys):
        if hmac.compare_digest(digest, key):
            found = index
    return found


def _digest(key: str) -> bytes:
    # Digests have one length, and comparing lengths would tell the key's.
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=32).digest()


def _unauthorized(message: str) -> HTTPError:
    return HTTPError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
