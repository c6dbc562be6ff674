"""`oxillama pull`: fetches a model's file and says where it is."""

from __future__ import annotations

from types import SimpleNamespace

import click

from oxillama.cli.mistakes import wrong_use
from oxillama.cli.options import Option, Words
from oxillama.hub import fetch


def options() -> list[click.Parameter]:
    return [
        Words("REPO [FILE]"),
        Option("--revision", metavar="NAME", help="branch, tag or commit (default: the main branch)"),
    ]


def main(args: SimpleNamespace) -> int:
    if not 1 <= len(args.words) <= 2:
        found = f"found {len(args.words)} words" if args.words else "found nothing"
        raise wrong_use(f"expected REPO and perhaps FILE, as in `oxillama pull owner/name Q4_K_M`, {found}")
    from huggingface_hub.utils import logging

    # It tells of every try; what comes of them is told once, by us.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    print(fetch(args.words[0], *args.words[1:], revision=args.revision))
    return 0
