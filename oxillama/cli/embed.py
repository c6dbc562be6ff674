"""`oxillama embed`: vectors of texts, as JSON lines or as a NumPy file."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import click
import numpy as np

from oxillama.cli.mistakes import wrong_use
from oxillama.cli.options import (
    INTEGER,
    OneOf,
    Option,
    Words,
    engine_options,
    loading_options,
    model_and_rest,
    model_options,
)
from oxillama.cli.texts import texts_of
from oxillama.demo import demo_path
from oxillama.engine import Engine


def options() -> list[click.Parameter]:
    _, *model = model_options()
    return [
        Words("MODEL [TEXT ...]"),
        *model,
        *loading_options(),
        Option("-f", "--file", multiple=True, metavar="PATH", help="file with a text on each line, or JSON lines"),
        Option("--field", metavar="NAME", default="text", help="where the text is in a JSON line (default: text)"),
        Option("-o", "--output", metavar="PATH", help="write float32 rows to this .npy, or JSON lines to this file"),
        Option("--pooling", kind=OneOf(["mean", "cls", "last"]), help="instead of what the file says"),
        Option("--dimensions", kind=INTEGER, metavar="N", help="keep the first ones"),
        Option("--prompt-name", kind=OneOf(["query", "document"]), help="put what the model expects before it"),
        Option("--prefix", metavar="TEXT", help="put this before each text"),
        Option("--no-normalize", is_flag=True, help="leave the vectors' lengths as they are"),
        Option("--truncate", is_flag=True, help="cut the end off a text that is too long"),
    ]


def main(args: SimpleNamespace) -> int:
    path, rest = model_and_rest(args)
    texts = texts_of(rest, args.file, args.field)
    if not texts:
        raise wrong_use("expected texts: oxillama embed MODEL TEXT ..., -f PATH, or standard input")
    with Engine(demo_path() if path is None else path, **engine_options(args)) as engine:
        rows = engine.embed(
            texts,
            pooling=args.pooling,
            dimensions=args.dimensions,
            prompt=args.prompt_name,
            prefix=args.prefix,
            normalize=not args.no_normalize,
            truncate=args.truncate,
            progress=None,
        )
    if args.output and args.output.endswith(".npy"):
        np.save(args.output, rows)
        return 0
    lines = (json.dumps({"index": index, "embedding": row.tolist()}) + "\n" for index, row in enumerate(rows))
    if args.output:
        with open(args.output, "w", encoding="utf-8") as file:
            file.writelines(lines)
    else:
        sys.stdout.writelines(lines)
    return 0
