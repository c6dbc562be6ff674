"""What it costs to read replies as calls, reasoning and content; and that chats without tools do not pay for it.

    python benchmarks/reply_reading.py [--model MODEL.gguf] [--rounds 12] [--tokens 64] [--json FILE]

First the reader alone: megabytes per second in pieces of 4 KiB, microseconds per piece of four characters, for calls of
two forms and for what a model writes that has lost itself. Then one engine: the same tokens generated from ids and
asked for as a chat, in turn, so that a disturbance of the machine hits both. Each ratio is the median over rounds
of two runs side by side. The first token of a chat includes its template.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oxillama import Engine
from oxillama.messages import Message
from oxillama.tools.reader import ReplyReader
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import SYNTAXES

TAGGED = ReplySyntax(
    codec="tagged",
    head="<tool_call>\n<function={name}>",
    close="\n</function>\n</tool_call>",
    argument_head="\n<parameter={key}>\n",
    argument_close="\n</parameter>",
    separator="\n",
    think_open="<think>",
    think_close="</think>",
)
SCHEMAS: dict[str, Any] = {"f": {"type": "object", "properties": {"text": {"type": "string"}}}}
WORDS = "some words, quoted <b> and so on; "
N_BYTES = 2_000_000
CASES: dict[str, tuple[ReplySyntax, str]] = {
    "content": (TAGGED, WORDS * (N_BYTES // len(WORDS))),
    "thinking": (TAGGED, "<think>" + WORDS * (N_BYTES // len(WORDS))),
    "blanks": (TAGGED, "<think>a" + " \n\t " * (N_BYTES // 4)),
    "JSON call": (
        SYNTAXES["hermes"],
        '<tool_call>\n{"name": "f", "arguments": {"text": "' + WORDS * (N_BYTES // len(WORDS)),
    ),
    "tagged call": (TAGGED, "<tool_call>\n<function=f>\n<parameter=text>\n" + WORDS * (N_BYTES // len(WORDS))),
}
TARGETS = {"megabytes": 5.0, "microseconds": 10.0, "rate": 0.97}
ASK: list[Message] = [{"role": "user", "content": "Tell me a story about a fox."}]


def reading(syntax: ReplySyntax, text: str, size: int) -> float:
    """Seconds to read a text in pieces of so many characters."""
    reader = ReplyReader(syntax, SCHEMAS)
    pieces = [text[place : place + size] for place in range(0, len(text), size)]
    start = time.thread_time()
    for piece in pieces:
        reader.feed(piece)
    reader.finish()
    return time.thread_time() - start


def streamed(stream: Callable[[], Any]) -> tuple[float, float]:
    """Tokens per second behind the first, and milliseconds to that."""
    start = time.perf_counter()
    with stream() as chunks:
        times = [time.perf_counter() for chunk in chunks if chunk.token_ids]
    return (len(times) - 1) / (times[-1] - times[0]), 1000 * (times[0] - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", help="a file; without it the embedded model")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--json", help="the figures as JSON")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for name, (syntax, text) in CASES.items():
        rate = len(text) / 1e6 / min(reading(syntax, text, 4096) for _ in range(3))
        per_feed = 1e6 * min(reading(syntax, text, 4) for _ in range(2)) / (len(text) / 4)
        found[name] = {"megabytes per second": rate, "microseconds per feed": per_feed}
        fine = rate >= TARGETS["megabytes"] and per_feed <= TARGETS["microseconds"]
        print(f"{name:12} {rate:8.1f} MB/s {per_feed:6.2f} us a feed  {'' if fine else 'MISSED'}")
    with Engine(args.model, progress=False) if args.model else Engine.demo() as engine:
        ids = engine.tokenize_chat(ASK)
        options: dict[str, Any] = {"max_tokens": args.tokens, "ignore_eos": True, "temperature": 0.8}
        rates, firsts = [], []
        for seed in range(args.rounds + 1):
            ways = [
                lambda seed=seed: engine.stream(ids, seed=seed, **options),
                lambda seed=seed: engine.stream_chat(ASK, seed=seed, **options),
            ]
            # Each way goes first in every other round.
            spent = {place: streamed(ways[place]) for place in ((0, 1) if seed % 2 else (1, 0))}
            plain, chat = spent[0], spent[1]
            if seed:  # the first round warms up
                rates.append(chat[0] / plain[0])
                firsts.append(chat[1] - plain[1])
    rate, first = statistics.median(rates), statistics.median(firsts)
    found["chat without tools"] = {"share of tokens per second": rate, "milliseconds more to the first token": first}
    missed = "" if rate >= TARGETS["rate"] else "MISSED"
    print(f"chat without tools: {rate:.3f} of the tokens per second of the same tokens without a chat, {missed}")
    print(f"                    {first:+.2f} ms to the first token, in which the template is rendered")
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
