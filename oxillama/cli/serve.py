"""`oxillama serve`: the OpenAI-compatible API over one model, with a chat page, until a signal."""

from __future__ import annotations

import codecs
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from oxillama.cli.json_log import JsonFormatter
from oxillama.cli.lora_options import NamedAdapter, load_adapters, named_adapters
from oxillama.cli.mistakes import wrong_use
from oxillama.cli.options import engine_options, model_path
from oxillama.cli.serve_options import LIMITS, options
from oxillama.demo import demo_path
from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.extras import install_line
from oxillama.standard_error import say

if TYPE_CHECKING:
    from oxillama.asgi import Limits

__all__ = ["LIMITS", "main", "options"]


def main(args: SimpleNamespace) -> int:
    path, adapters = _check(args), named_adapters(args)
    try:
        from oxillama.asgi import Limits, create_app
        from oxillama.asgi.trusted_hosts import LOOPBACK
        from oxillama.cli import server
    except ImportError as error:
        if (error.name or "").startswith("oxillama"):
            raise
        say(f"oxillama: serve needs {error.name}: {install_line('server')}")
        return 1
    keys = _keys(args)
    is_local = server.is_loopback(args.host)
    if not keys and not args.insecure_no_key and not is_local:
        raise wrong_use(f"{args.host} can be reached from other machines: give an --api-key, or say --insecure-no-key")
    _start_log(args.log_level.upper(), as_json=args.log_format == "json")
    loading = Loading(demo_path() if path is None else path, _engine_options(args), adapters)
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
        lora_dirs=args.lora_dir or (),
    )
    with server.listen(args.host, args.port) as listener:
        served = server.serve(app, listener, server.Drain(delay=args.drain_delay, timeout=args.drain_timeout))
    if served:
        return 0
    # An option that no run could use is wrong use, as with the other commands.
    return 2 if isinstance(loading.failure, InvalidRequestError) else 1


def _start_log(level: str, *, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if as_json else text)
    logging.basicConfig(level=level, handlers=[handler])


class Loading:
    """Opens the engine for the app, and remembers why that failed."""

    def __init__(self, path: Any, options: dict[str, Any], adapters: list[NamedAdapter]) -> None:
        self.failure: Exception | None = None
        self._path = path
        self._options = options
        self._adapters = adapters

    def __call__(self) -> Awaitable[Engine]:
        return self._open()

    async def _open(self) -> Engine:
        try:
            engine = await Engine.aopen(self._path, **self._options)
            try:
                await anyio.to_thread.run_sync(load_adapters, engine, self._adapters)
            except BaseException:
                engine.close()
                raise
            return engine
        except Exception as error:
            self.failure = error
            raise


def _check(args: SimpleNamespace) -> str | None:
    return model_path(args)


def _engine_options(args: SimpleNamespace) -> dict[str, Any]:
    return {
        **engine_options(args),
        "max_batch_size": args.max_batch_size,
        "max_batch_tokens": args.max_batch_tokens,
        "max_step_ms": args.max_step_ms,
        "queue_size": args.queue_size,
        "kv_cache_tokens": args.kv_cache_tokens,
        "prefix_cache": not args.no_prefix_cache,
        "draft": args.draft,
        "speculation": args.speculation,
        "chat_template": args.chat_template,
        "tool_syntax": args.tool_syntax,
        "prefix_cache_tokens": args.prefix_cache_tokens,
    }


def _limits(args: SimpleNamespace, kind: type[Limits]) -> Limits:
    given = {name: getattr(args, name) for name in LIMITS if getattr(args, name) is not None}
    return kind(**given)


def _keys(args: SimpleNamespace) -> list[str]:
    """Those given one by one and those of the file. Raises InvalidRequestError with the place of one that no header
    can carry."""
    from oxillama.asgi.settings import check_key

    keys = [key.strip() for given in args.api_key or () for key in given.split(",") if key.strip()]
    if args.api_key and not keys:
        # Of a variable that nobody has set, say: without keys the server would be everybody's.
        raise wrong_use("--api-key: expected a key, found none")
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
