"""`oxillama tokenize`: the tokens of a text."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import click

from oxillama.cli.options import Option, model_options, model_path
from oxillama.demo import demo_path
from oxillama.tokenizer import Tokenizer


def options() -> list[click.Parameter]:
    return [
        *model_options(),
        Option("-p", "--prompt", metavar="TEXT", help="the text (default: standard input)"),
        Option("--no-special", is_flag=True, help="add no begin and end tokens"),
        Option("--parse-special", is_flag=True, help="read control tokens in the text as such"),
        Option("--ids", is_flag=True, help="only the ids, on one line"),
        Option("--json", is_flag=True, help="a JSON list of ids and pieces"),
    ]


def main(args: SimpleNamespace) -> int:
    path = model_path(args)
    tokenizer = Tokenizer.from_gguf(demo_path() if path is None else path)
    text = sys.stdin.read() if args.prompt is None else args.prompt
    ids = tokenizer.encode(text, add_special=not args.no_special, parse_special=args.parse_special)
    if args.ids:
        print(*ids)
        return 0
    pieces = [tokenizer.token_bytes(token).decode("utf-8", "backslashreplace") for token in ids]
    if args.json:
        print(json.dumps([{"id": token, "piece": piece} for token, piece in zip(ids, pieces, strict=True)]))
        return 0
    for token, piece in zip(ids, pieces, strict=True):
        print(f"{token:>8}  {piece!r}")
    return 0
