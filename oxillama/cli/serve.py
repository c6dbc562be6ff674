"""`oxillama serve`: the OpenAI-compatible API over one model, with a chat page, until a signal."""

from __future__ import annotations

import argparse
import codecs
import logging
import math
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oxillama.cli.options import add_loading, add_model, loading_options, model_path
from oxillama.config import SPECULATIONS
from oxillama.demo import demo_path
from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.standard_error import say

if TYPE_CHECKING:
    from oxillama.asgi import Limits

HELP = "serve a model over HTTP, as OpenAI's API, with a chat page"

# The fields of oxillama.asgi.Limits, which only the extra `server` can import: type, unit, meaning.
LIMITS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "max_body_bytes": (int, "N", "of a request's body (default: 16 MiB)"),
    "max_bodies_bytes": (int, "N", "of all bodies together, without the first 64 KiB of each (default: 128 MiB)"),
    "max_depth": (int, "N", "lists and objects inside each other in a body (default: 64)"),
    "max_messages": (int, "N", "messages of a chat (default: 1024)"),
    "max_prompts": (int, "N", "prompts of a request (default: 256)"),
    "max_inputs": (int, "N", "inputs of a request for embeddings (default: 2048)"),
    "max_choices": (int, "N", "choices of a prompt (default: 128)"),
    "max_sequences": (int, "N", "choices of all prompts of a request (default: 1024)"),
    "max_logit_bias": (int, "N", "entries of logit_bias (default: 1024)"),
    "max_stops": (int, "N", "stop texts (default: 64)"),
    "max_stop_characters": (int, "N", "characters of a stop text (default: 1024)"),
    "max_dry_breakers": (int, "N", "texts in dry_sequence_breakers (default: 32)"),
    "max_dry_breaker_characters": (int, "N", "characters of such a text (default: 64)"),
    "max_token_ids": (int, "N", "ids in stop_token_ids, and in banned_tokens (default: 4096)"),
    "max_tokens": (int, "N", "tokens that a request may ask for, and gets if it does not say (default: no limit)"),
    "default_deadline": (float, "S", "seconds for a request that names no deadline (default: none)"),
    "max_deadline": (float, "S", "seconds of a request's deadline (default: no limit)"),
    "queue_timeout": (float, "S", "seconds to wait for room in the queue before 429 (default: 0)"),
    "requests_per_minute": (float, "N", "requests of one key (default: no limit)"),
    "concurrent_requests": (int, "N", "requests of one key at the same time (default: no limit)"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_loading(parser)
    engine = parser.add_argument_group("batching and memory")
    engine.add_argument(
        "-np",
        "--max-batch-size",
        "--parallel",
        type=int,
        default=32,
        metavar="N",
        help="sequences that advance together; each has the whole context (default: 32)",
    )
    engine.add_argument(
        "--max-batch-tokens",
        type=int,
        metavar="N",
        help="most tokens of one step (default: 512; an encoder's: its context)",
    )
    engine.add_argument(
        "--max-step-ms", type=float, default=100, metavar="X", help="length of a step while others wait (default: 100)"
    )
    engine.add_argument(
        "--queue-size", type=int, default=256, metavar="N", help="requests that may wait; more get 429 (default: 256)"
    )
    engine.add_argument(
        "--kv-cache-tokens",
        type=int,
        metavar="N",
        help="tokens that all sequences share; memory for them is promised at once and taken with use (default: four "
        "contexts, or 1024 for each sequence if that is more, as far as half of the memory goes)",
    )
    engine.add_argument(
        "--prefix-cache-tokens",
        type=int,
        metavar="N",
        help="tokens of earlier prompts that are kept before memory grows for others (default: a quarter of "
        "--kv-cache-tokens, at least a context)",
    )
    engine.add_argument("--no-prefix-cache", action="store_true", help="compute every prompt from its beginning")
    engine.add_argument(
        "--speculation",
        choices=SPECULATIONS,
        default="off",
        help="auto: compute ahead what followed the same tokens earlier in a request (default: off)",
    )
    engine.add_argument(
        "--chat-template",
        metavar="FILE|NAME",
        help="chat template instead of the model's own: a file, or the name of a usual one, say chatml",
    )
    engine.add_argument("--lora", metavar="PATH", help="refused: adapters are not supported yet")

    server = parser.add_argument_group("server")
    server.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)"
    )
    server.add_argument(
        "--port", type=_port, default=8080, metavar="N", help="0: any free one, named by the ready line (default: 8080)"
    )
    server.add_argument(
        "-a", "--alias", action="append", metavar="NAME", help="a further name of the model; * is any; may be repeated"
    )
    server.add_argument(
        "--api-key",
        action="append",
        metavar="KEY",
        help="key that clients must bring; may be repeated, or several with commas. The command line can be read by "
        "others on this machine: OXILLAMA_API_KEY and --api-key-file cannot",
    )
    server.add_argument(
        "--api-key-file", metavar="PATH", help="file of more keys, one a line; lines that begin with # are comments"
    )
    server.add_argument("--admin-token", metavar="TOKEN", help="turns the admin routes on, for whoever brings it")
    server.add_argument(
        "--insecure-no-key", action="store_true", help="let anybody who reaches an address beyond this machine use it"
    )
    server.add_argument(
        "--cors-origin",
        action="append",
        metavar="ORIGIN",
        help="origin of pages that may call the API; may be repeated",
    )
    server.add_argument(
        "--trusted-host",
        action="append",
        metavar="NAME",
        help="name in `Host` that is answered, and whose pages may call the API; * is any; may be repeated (default: "
        "those of this machine where there is no key and only this machine is listened to; otherwise any)",
    )
    server.add_argument(
        "--max-priority",
        type=int,
        default=0,
        metavar="N",
        help="how far before ordinary requests a client may put its own with a negative `priority` (default: 0)",
    )
    server.add_argument("--no-page", action="store_true", help="no chat page at /")
    server.add_argument(
        "--drain-delay",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="on SIGTERM, seconds that everything is served on with readiness 503 (default: 0)",
    )
    server.add_argument(
        "--drain-timeout",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="then seconds for what runs by then (default: 30)",
    )
    server.add_argument(
        "--log-level",
        default="warning",
        choices=("debug", "info", "warning", "error"),
        help="of the log on stderr; info has a line per request, never its text (default: warning)",
    )
    limits = parser.add_argument_group("limits", "The most that one request, or one key, may ask for.")
    for name, (kind, unit, meaning) in LIMITS.items():
        limits.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=unit, help=meaning)
    parser.set_defaults(check=partial(_check, parser.error))


def main(args: argparse.Namespace) -> int:
    path = args.check(args)
    try:
        from oxillama.asgi import Limits, create_app
        from oxillama.asgi.trusted_hosts import LOOPBACK
        from oxillama.cli import server
    except ImportError as error:
        if (error.name or "").startswith("oxillama"):
            raise
        say(f"oxillama: serve needs {error.name}: pip install 'oxillama-engine[server]'")
        return 1
    keys = _keys(args)
    is_local = server.is_loopback(args.host)
    if not keys and not args.insecure_no_key and not is_local:
        args.error(f"{args.host} can be reached from other machines: give an --api-key, or say --insecure-no-key")
    logging.basicConfig(
        stream=sys.stderr, level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    loading = Loading(demo_path() if path is None else path, _engine_options(args))
    own_names = (LOOPBACK, args.host) if is_local and not keys else ()
    app = create_app(
        loading,
        api_keys=keys,
        admin_token=args.admin_token,
        model_aliases=args.alias or (),
        cors_origins=args.cors_origin or (),
        trusted_hosts=(*own_names, *(args.trusted_host or ())),
        limits=_limits(args, Limits),
        max_priority=args.max_priority,
        page=not args.no_page,
    )
    with server.listen(args.host, args.port) as listener:
        served = server.serve(app, listener, server.Drain(delay=args.drain_delay, timeout=args.drain_timeout))
    if served:
        return 0
    # An option that no run could use is wrong use, as with the other commands.
    return 2 if isinstance(loading.failure, InvalidRequestError) else 1


class Loading:
    """Opens the engine for the app, and remembers why that failed."""

    def __init__(self, path: Any, options: dict[str, Any]) -> None:
        self.failure: Exception | None = None
        self._path = path
        self._options = options

    def __call__(self) -> Awaitable[Engine]:
        return self._open()

    async def _open(self) -> Engine:
        try:
            return await Engine.aopen(self._path, **self._options)
        except Exception as error:
            self.failure = error
            raise


def _check(parser_error: Any, args: argparse.Namespace) -> str | None:
    path = model_path(parser_error, args)
    args.error = parser_error
    if args.lora is not None:
        parser_error("--lora: adapters are not supported yet")
    return path


def _engine_options(args: argparse.Namespace) -> dict[str, Any]:
    return {
        **loading_options(args),
        "max_batch_size": args.max_batch_size,
        "max_batch_tokens": args.max_batch_tokens,
        "max_step_ms": args.max_step_ms,
        "queue_size": args.queue_size,
        "kv_cache_tokens": args.kv_cache_tokens,
        "prefix_cache": not args.no_prefix_cache,
        "speculation": args.speculation,
        "chat_template": args.chat_template,
        "prefix_cache_tokens": args.prefix_cache_tokens,
    }


def _limits(args: argparse.Namespace, kind: type[Limits]) -> Limits:
    given = {name: getattr(args, name) for name in LIMITS if getattr(args, name) is not None}
    return kind(**given)


def _keys(args: argparse.Namespace) -> list[str]:
    """Those given one by one and those of the file. Raises InvalidRequestError with the place of one that no header
    can carry."""
    from oxillama.asgi.settings import check_key

    keys = [key.strip() for given in args.api_key or () for key in given.split(",") if key.strip()]
    if args.api_key and not keys:
        # Of a variable that nobody has set, say: without keys the server would be everybody's.
        args.error("--api-key: expected a key, found none")
    for index, key in enumerate(keys):
        check_key(f"--api-key (or OXILLAMA_API_KEY): key {index + 1}", key)
    if args.api_key_file is not None:
        keys += _keys_of_file(Path(args.api_key_file), check_key)
    if args.admin_token is not None:
        check_key("--admin-token", args.admin_token)
    return keys


def _keys_of_file(path: Path, check: Callable[[str, str], None]) -> list[str]:
    found = []
    for number, raw in enumerate(path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        line = raw.decode("utf-8", "replace").strip(" \t\r")
        if line and not line.startswith("#"):
            check(f"{path}, line {number}: the key", line)
            found.append(line)
    if not found:
        raise InvalidRequestError(f"--api-key-file: no key in {path}", param="api_key_file")
    return found


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise argparse.ArgumentTypeError(f"{port} is no port: expected 0 to 65535")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected seconds, 0 or more")
    return seconds
