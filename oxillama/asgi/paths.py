"""A request's path below the place where the app is mounted, and that place."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_SLASHES = re.compile("/{2,}")


class OnePath:
    """Middleware: one spelling of a path, whichever host hands it on. The outermost, so that everything inside agrees.

    One slash at the end is dropped: some hosts add it below a mount (Litestar), and no route ends with one. A host that
    hands on nothing at all means the mount itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            root, path = _root(scope), str(scope["path"]).removesuffix("/")
            # The mount itself keeps its slash: there is a page.
            scope = {**scope, "path": f"{path}/" if path in ("", root) else path, "root_path": root}
        await self.app(scope, receive, send)


def route_path(scope: Scope) -> str:
    """The path as the app's own routes see it. Servers and hosts put the prefix of a mount into `root_path`."""
    path, root = str(scope["path"]), _root(scope)
    if not root or not path.startswith(root):
        return path
    rest = path[len(root) :]
    return path if rest and not rest.startswith("/") else rest or "/"


def mount_prefix(scope: Scope) -> str:
    """Where the app is mounted, as clients see it: "" or a path without a slash at its end.

    A host that cuts its prefix off `path` without a word in `root_path` has left it in `raw_path`."""
    root, path = _root(scope), str(scope["path"])
    raw = scope.get("raw_path")
    if not isinstance(raw, bytes) or (root and path.startswith(root)):
        return root
    whole = _SLASHES.sub("/", unquote(raw.decode("latin-1").partition("?")[0])).removesuffix("/")
    rest = path.removesuffix("/")
    if not whole.endswith(rest):
        return root
    cut = whole.removesuffix(rest)
    return cut if cut.startswith(root) else root + cut


def _root(scope: Scope) -> str:
    return str(scope.get("root_path") or "").removesuffix("/")
