"""`oxillama rerank`: how well documents answer a query, the best first, as JSON lines."""

from __future__ import annotations

import json
from types import SimpleNamespace

import click

from oxillama.cli.mistakes import wrong_use
from oxillama.cli.options import (
    INTEGER,
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
        Words("MODEL [DOCUMENT ...]"),
        *model,
        *loading_options(),
        Option("--query", metavar="TEXT", help="what the documents should answer"),
        Option("-f", "--file", multiple=True, metavar="PATH", help="file with a document on each line, or JSON lines"),
        Option("--field", metavar="NAME", default="text", help="where the text is in a JSON line (default: text)"),
        Option("--top-n", kind=INTEGER, metavar="N", help="only so many of the best"),
        Option("--truncate", is_flag=True, help="cut the end off a document that is too long"),
    ]


def main(args: SimpleNamespace) -> int:
    path, rest = model_and_rest(args)
    if not args.query:
        raise wrong_use("expected a query: oxillama rerank MODEL --query TEXT DOCUMENT ...")
    if args.top_n is not None and args.top_n < 1:
        raise wrong_use(f"--top-n is {args.top_n}, expected at least 1")
    documents = texts_of(rest, args.file, args.field)
    if not documents:
        raise wrong_use("expected documents: as words, -f PATH, or standard input")
    with Engine(demo_path() if path is None else path, **engine_options(args)) as engine:
        scores = engine.rerank(args.query, documents, truncate=args.truncate, progress=None)
    for index in sorted(range(len(documents)), key=lambda index: -scores[index])[: args.top_n]:
        print(json.dumps({"index": index, "score": float(scores[index]), "text": documents[index]}, ensure_ascii=False))
    return 0
