"""Whether and how a reply is streamed: the fields that chats and completions share."""

from __future__ import annotations

import msgspec

from oxillama.asgi.errors import refusal
from oxillama.asgi.fields import implemented

STREAM_FIELDS = [
    *implemented("stream", "server-sent events"),
    *implemented("stream_options", "include_usage; include_obfuscation is accepted and ignored"),
]


class StreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # hides the length of chunks from who listens; ignored


def include_usage(stream: bool | None, options: StreamOptions | None) -> bool:
    """Whether a stream ends with a usage chunk. Raises HTTPError for options of a reply that is no stream."""
    if options is not None and not stream:
        raise refusal("stream_options are for replies with stream: true", "stream_options")
    return options is not None and options.include_usage is True
