"""What to say of a path that leads nowhere: a near name, or that it is the name of a repository."""

from __future__ import annotations

import difflib
import errno
import os
import re

# owner/name, perhaps with the address before it, and a tag or the path of a file after it.
_REPOSITORY = re.compile(
    r"(?:hf://|(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/)?"
    r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:(?::|/(?:resolve|blob|tree)/[^/]+/?|/)(?P<file>[^?]*))?(?:\?.*)?"
)


def missing_file(path: str) -> FileNotFoundError:
    """The error for it; `strerror` has the advice."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT) + _advice(path), path)


def _advice(path: str) -> str:
    folder, name = os.path.split(path)
    match = _REPOSITORY.fullmatch(path)
    is_address = "://" in path or path.startswith(("hf.co/", "huggingface.co/"))
    if match and (is_address or (not os.path.isdir(folder) and not match["file"] and not name.endswith(".gguf"))):
        return _pull(match["id"], match["file"])
    if match and match["file"] and ":" in path and not os.path.isdir(folder):
        return _pull(match["id"], match["file"])
    try:
        near = difflib.get_close_matches(name, [name for name in os.listdir(folder or ".") if name.endswith(".gguf")])
    except OSError:
        return "" if folder in ("", ".") else f" (there is no folder {folder!r} either)"
    return f" (did you mean {os.path.join(folder, near[0])!r}?)" if near else ""


def _pull(repository: str, file: str | None) -> str:
    named = f"{repository} {file}" if file else repository
    return (
        f" (if this is a Hugging Face repository: `oxillama pull {named}` fetches it, and "
        f"Engine.from_pretrained({repository!r}{f', {file!r}' if file else ''}) opens it)"
    )
