"""A request's path below the place where the app is mounted."""

from __future__ import annotations

from starlette.types import Scope


def route_path(scope: Scope) -> str:
    """The path as the app's own routes see it. Servers and hosts put the prefix of a mount into `root_path`."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if not root or not path.startswith(root):
        return path
    rest = path[len(root) :]
    return path if rest and not rest.startswith("/") else rest or "/"
