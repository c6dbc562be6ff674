"""What the owner of an app decides: who may use it, under which names, and how much one request may ask for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from oxillama.errors import InvalidRequestError
from oxillama.values import integer, real, refused

# The alias under which a model answers to every name.
ANY_MODEL = "*"
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that one request, or one key, may ask for. None: no limit. Raises InvalidRequestError for a bad value.

    A request above a limit is refused with 400 and the name of the field (a body with 413; all of them together with
    503; a key with 429).
    """

    max_body_bytes: int = 16 << 20
    max_bodies_bytes: int = 128 << 20  # of all bodies together, without the first 64 KiB of each
    max_depth: int = 64  # lists and objects inside each other
    max_messages: int = 1024
    max_prompts: int = 256
    max_inputs: int = 2048  # of one request for embeddings
    max_choices: int = 128  # n and best_of, for each prompt
    max_sequences: int = 1024  # n or best_of times the number of prompts; prompts of typed decisions
    max_logit_bias: int = 1024
    max_stops: int = 64  # texts
    max_stop_characters: int = 1024  # of one text
    max_dry_breakers: int = 32  # texts; each may cost a walk over the vocabulary
    max_dry_breaker_characters: int = 64  # of one text
    max_token_ids: int = 4096  # in stop_token_ids, and in banned_tokens
    max_upload_bytes: int = 64 << 20  # of an adapter that is sent as a body
    max_tokens: int | None = None  # also what a request without max_tokens gets
    default_deadline: float | None = None  # seconds, for requests that name none
    max_deadline: float | None = None  # seconds
    queue_timeout: float = 0.0  # seconds to wait for room in the queue before 429
    requests_per_minute: float | None = None  # of one key
    concurrent_requests: int | None = None  # of one key

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if value is None and "None" in str(spec.type):
                continue
            if spec.type in ("int", "int | None"):
                integer(spec.name, value, 1, _INT32_MAX)
            elif spec.name == "queue_timeout":
                real(spec.name, value, 0, math.inf)
            elif real(spec.name, value, 0, math.inf) == 0:
                raise refused(spec.name, "above 0", value)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of `create_app`, checked. Keys are never shown."""

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    admin_token: str | None = field(default=None, repr=False)
    model_name: str | None = None
    model_aliases: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    limits: Limits = Limits()
    max_priority: int = 0  # how far before ordinary requests a client may put its own
    page: bool = False
    lora_dirs: tuple[str, ...] = ()  # from which adapters may be loaded by path
    keep_alive: float = 15.0  # seconds between comments on a stream that has nothing to say

    def __post_init__(self) -> None:
        for name in ("api_keys", "model_aliases", "cors_origins", "trusted_hosts", "lora_dirs"):
            object.__setattr__(self, name, texts_of(name, getattr(self, name)))
        for name in ("admin_token", "model_name"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise refused(name, "a text that is not empty, or None", value)
        if not isinstance(self.limits, Limits):
            raise refused("limits", "a Limits", self.limits)
        if real("keep_alive", self.keep_alive, 0, math.inf) == 0:
            raise refused("keep_alive", "above 0", self.keep_alive)
        integer("max_priority", self.max_priority, 0, _INT32_MAX)
        for index, key in enumerate(self.api_keys):
            check_key(f"api_keys[{index}]", key)
        if self.admin_token is not None:
            check_key("admin_token", self.admin_token)


def check_key(name: str, key: str) -> None:
    """Raises InvalidRequestError, which never quotes the key, unless a header can carry it. name: where it stood."""
    for index, character in enumerate(key):
        if not "!" <= character <= "~":
            kind = "a space" if character == " " else f"U+{ord(character):04X}"
            message = f"{name} must be made of printable ASCII without spaces, found {kind} as character {index + 1}"
            raise InvalidRequestError(message, param=name)


def texts_of(name: str, value: object) -> tuple[str, ...]:
    """One text or several, none of them empty. Raises InvalidRequestError for anything else."""
    if value is None:
        return ()
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    for text in texts:
        if not isinstance(text, str) or not text:
            raise refused(name, "made of texts that are not empty", text)
    return tuple(str(text) for text in texts)
