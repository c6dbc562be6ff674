"""The options of `oxillama serve`."""

from __future__ import annotations

import math

import click

from oxillama.cli.lora_options import lora_option
from oxillama.cli.options import INTEGER, REAL, Kind, Number, OneOf, Option, Told, loading_options, model_options
from oxillama.config import SPECULATIONS

ENGINE, SERVER, LIMIT = "Batching and memory", "Server", "Limits: the most that one request, or one key, may ask for"

# The fields of oxillama.asgi.Limits, which only the extra `server` can import: type, unit, meaning.
LIMITS: dict[str, tuple[Kind, str, str]] = {
    "max_body_bytes": (INTEGER, "N", "of a request's body (default: 16 MiB)"),
    "max_bodies_bytes": (INTEGER, "N", "of all bodies together, without the first 64 KiB of each (default: 128 MiB)"),
    "max_depth": (INTEGER, "N", "lists and objects inside each other in a body (default: 64)"),
    "max_messages": (INTEGER, "N", "messages of a chat (default: 1024)"),
    "max_prompts": (INTEGER, "N", "prompts of a request (default: 256)"),
    "max_inputs": (INTEGER, "N", "inputs of a request for embeddings (default: 2048)"),
    "max_choices": (INTEGER, "N", "choices of a prompt (default: 128)"),
    "max_sequences": (
        INTEGER,
        "N",
        "choices of all prompts of a request, and prompts of typed decisions (default: 1024)",
    ),
    "max_logit_bias": (INTEGER, "N", "entries of logit_bias (default: 1024)"),
    "max_stops": (INTEGER, "N", "stop texts (default: 64)"),
    "max_stop_characters": (INTEGER, "N", "characters of a stop text (default: 1024)"),
    "max_dry_breakers": (INTEGER, "N", "texts in dry_sequence_breakers (default: 32)"),
    "max_dry_breaker_characters": (INTEGER, "N", "characters of such a text (default: 64)"),
    "max_token_ids": (INTEGER, "N", "ids in stop_token_ids, and in banned_tokens (default: 4096)"),
    "max_upload_bytes": (INTEGER, "N", "of an adapter that is sent as a body (default: 64 MiB)"),
    "max_tokens": (INTEGER, "N", "tokens that a request may ask for, and gets if it does not say (default: no limit)"),
    "default_deadline": (REAL, "S", "seconds for a request that names no deadline (default: none)"),
    "max_deadline": (REAL, "S", "seconds of a request's deadline (default: no limit)"),
    "queue_timeout": (REAL, "S", "seconds to wait for room in the queue before 429 (default: 0)"),
    "requests_per_minute": (REAL, "N", "requests of one key (default: no limit)"),
    "concurrent_requests": (INTEGER, "N", "requests of one key at the same time (default: no limit)"),
}


def port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise Told(f"{number} is no port: expected 0 to 65535")
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise Told(f"{text}: expected seconds, 0 or more")
    return number


PORT, SECONDS = Number(port, "int"), Number(seconds, "float")


def options() -> list[click.Parameter]:
    return [
        *model_options(),
        *loading_options(),
        Option(
            "-np",
            "--max-batch-size",
            "--parallel",
            kind=INTEGER,
            default=32,
            metavar="N",
            help="sequences that advance together; each has the whole context (default: 32)",
            field="max_batch_size",
            section=ENGINE,
        ),
        Option(
            "--max-batch-tokens",
            kind=INTEGER,
            metavar="N",
            help="most tokens of one step (default: 512; an encoder's: its context)",
            field="max_batch_tokens",
            section=ENGINE,
        ),
        Option(
            "--max-step-ms",
            kind=REAL,
            default=100,
            metavar="X",
            help="length of a step while others wait (default: 100)",
            field="max_step_ms",
            section=ENGINE,
        ),
        Option(
            "--queue-size",
            kind=INTEGER,
            default=256,
            metavar="N",
            help="requests that may wait; more get 429 (default: 256)",
            field="queue_size",
            section=ENGINE,
        ),
        Option(
            "--kv-cache-tokens",
            kind=INTEGER,
            metavar="N",
            help="tokens that all sequences share; memory for them is promised at once and taken with use (default: "
            "four contexts, or 1024 for each sequence if that is more, as far as half of the memory goes)",
            field="kv_cache_tokens",
            section=ENGINE,
        ),
        Option(
            "--prefix-cache-tokens",
            kind=INTEGER,
            metavar="N",
            help="tokens of earlier prompts that are kept before memory grows for others (default: a quarter of "
            "--kv-cache-tokens, at least a context)",
            field="prefix_cache_tokens",
            section=ENGINE,
        ),
        Option(
            "--no-prefix-cache",
            is_flag=True,
            help="compute every prompt from its beginning",
            section=ENGINE,
        ),
        Option(
            "--speculation",
            kind=OneOf(SPECULATIONS),
            default="auto",
            help="auto: compute ahead what followed the same tokens earlier in a request (default: auto)",
            section=ENGINE,
        ),
        Option(
            "--draft",
            metavar="FILE",
            help="a small model of the same vocabulary that guesses ahead while few sequences run",
            section=ENGINE,
        ),
        Option(
            "--chat-template",
            metavar="FILE|NAME",
            help="chat template instead of the model's own: a file, or the name of a usual one, say chatml",
            field="chat_template",
            section=ENGINE,
        ),
        Option(
            "--tool-syntax",
            metavar="NAME|FILE",
            help="how the model calls tools, where its chat template does not show it: hermes, llama-3, harmony ..., "
            "or a JSON file of the fields that `oxillama info --json` shows",
            field="tool_syntax",
            section=ENGINE,
        ),
        lora_option("an adapter that requests may ask for, as `lora` or as their model", section=ENGINE),
        Option(
            "--lora-dir",
            metavar="DIR",
            multiple=True,
            help="directory from which an admin may load adapters by path; may be repeated",
            section=SERVER,
        ),
        Option(
            "--host",
            default="127.0.0.1",
            metavar="ADDRESS",
            help="address to listen on (default: 127.0.0.1)",
            section=SERVER,
        ),
        Option(
            "--port",
            kind=PORT,
            default=8080,
            metavar="N",
            help="0: any free one, named by the ready line (default: 8080)",
            section=SERVER,
        ),
        Option(
            "-a",
            "--alias",
            multiple=True,
            metavar="NAME",
            help="a further name of the model; * is any; may be repeated",
            section=SERVER,
        ),
        Option(
            "--api-key",
            multiple=True,
            metavar="KEY",
            help="key that clients must bring; may be repeated, or several with commas. The command line can be read "
            "by others on this machine: OXILLAMA_API_KEY and --api-key-file cannot",
            section=SERVER,
        ),
        Option(
            "--api-key-file",
            metavar="PATH",
            help="file of more keys, one a line; lines that begin with # are comments",
            field="api_key_file",
            section=SERVER,
        ),
        Option(
            "--admin-token", metavar="TOKEN", help="turns the admin routes on, for whoever brings it", section=SERVER
        ),
        Option(
            "--insecure-no-key",
            is_flag=True,
            help="let anybody who reaches an address beyond this machine use it",
            section=SERVER,
        ),
        Option(
            "--cors-origin",
            multiple=True,
            metavar="ORIGIN",
            help="origin of pages that may call the API; may be repeated",
            section=SERVER,
        ),
        Option(
            "--trusted-host",
            multiple=True,
            metavar="NAME",
            help="name in `Host` that is answered, and whose pages may call the API; * is any; may be repeated "
            "(default: those of this machine where there is no key and nobody else can reach it; otherwise any)",
            section=SERVER,
        ),
        Option(
            "--max-priority",
            kind=INTEGER,
            default=0,
            metavar="N",
            help="how far before ordinary requests a client may put its own with a negative `priority` (default: 0)",
            section=SERVER,
        ),
        Option("--no-page", is_flag=True, help="no chat page at /", section=SERVER),
        Option(
            "--drain-delay",
            kind=SECONDS,
            default=0.0,
            metavar="S",
            help="on SIGTERM, seconds that everything is served on with readiness 503 (default: 0)",
            section=SERVER,
        ),
        Option(
            "--drain-timeout",
            kind=SECONDS,
            default=30.0,
            metavar="S",
            help="then seconds for what runs by then (default: 30)",
            section=SERVER,
        ),
        Option(
            "--log-format",
            kind=OneOf(("text", "json")),
            default="text",
            metavar="FORMAT",
            help="of that log: text, or json with one object a line (default: text)",
            section=SERVER,
        ),
        Option(
            "--log-level",
            default="warning",
            kind=OneOf(("debug", "info", "warning", "error")),
            help="of the log on stderr; info has a line per request, never its text (default: warning)",
            section=SERVER,
        ),
        *(
            Option(f"--{name.replace('_', '-')}", kind=kind, metavar=unit, help=meaning, section=LIMIT)
            for name, (kind, unit, meaning) in LIMITS.items()
        ),
    ]
