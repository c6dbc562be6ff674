"""`oxillama tokenize`: the tokens of a text."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial

from oxillama.cli.options import add_model, model_path
from oxillama.demo import demo_path
from oxillama.tokenizer import Tokenizer

HELP = "show the tokens of a text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("-p", "--prompt", metavar="TEXT", help="the text (default: standard input)")
    parser.add_argument("--no-special", action="store_true", help="add no begin and end tokens")
    parser.add_argument("--parse-special", action="store_true", help="read control tokens in the text as such")
    parser.add_argument("--ids", action="store_true", help="only the ids, on one line")
    parser.add_argument("--json", action="store_true", help="a JSON list of ids and pieces")
    parser.set_defaults(check=partial(model_path, parser.error))


def main(args: argparse.Namespace) -> int:
    path = args.check(args)
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
