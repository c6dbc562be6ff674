"""`oxillama run`: writes a completion to the terminal as it comes."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

from oxillama.cli.options import add_loading, add_model, loading_options, model_path
from oxillama.demo import demo_path
from oxillama.engine import Engine
from oxillama.results.completion import CompletionChunk, Timings, Usage
from oxillama.sampling.params import SamplingParams
from oxillama.standard_error import say

HELP = "write a completion of a prompt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_loading(parser)
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("-p", "--prompt", metavar="TEXT", help="the prompt; - reads it from standard input")
    prompt.add_argument("-f", "--file", metavar="PATH", help="file with the prompt")
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument(
        "-n", "--predict", type=int, metavar="N", help="most tokens to write (default: to the end of the context)"
    )
    sampling.add_argument(
        "--temp", type=float, default=0.8, metavar="X", help="temperature; 0 takes the best token (default: 0.8)"
    )
    sampling.add_argument("--top-k", type=int, default=40, metavar="N", help="0: off (default: 40)")
    sampling.add_argument("--top-p", type=float, default=0.95, metavar="X", help="1: off (default: 0.95)")
    sampling.add_argument("--min-p", type=float, default=0.0, metavar="X", help="0: off (default)")
    sampling.add_argument("--repeat-penalty", type=float, default=1.0, metavar="X", help="1: off (default)")
    sampling.add_argument("-s", "--seed", type=int, metavar="N", help="repeats a run (default: a new one each time)")
    sampling.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; may be repeated")
    sampling.add_argument("--ignore-eos", action="store_true", help="go on after the model's own end")
    parser.add_argument("--no-display-prompt", action="store_true", help="print only what the model writes")
    parser.add_argument("-q", "--quiet", action="store_true", help="no figures at the end")
    parser.set_defaults(check=partial(_check, parser.error))


def _check(parser_error: Any, args: argparse.Namespace) -> str | None:
    path = model_path(parser_error, args)
    if args.prompt is None and args.file is None:
        parser_error("expected a prompt: -p TEXT or -f PATH")
    return path


def main(args: argparse.Namespace) -> int:
    path = args.check(args)
    prompt = _read_prompt(args)
    params = SamplingParams(
        max_tokens=args.predict,
        temperature=args.temp,
        top_k=args.top_k,
        top_p=args.top_p,
        min_p=args.min_p,
        repetition_penalty=args.repeat_penalty,
        seed=args.seed,
        stop=args.stop or (),
        ignore_eos=args.ignore_eos,
    )
    with Engine(demo_path() if path is None else path, max_batch_size=1, **loading_options(args)) as engine:
        last: CompletionChunk | None = None
        with engine.stream(prompt, params) as stream:
            if not args.no_display_prompt:
                _write(prompt)
            try:
                for last in stream:
                    _write(last.text)
            finally:
                _write("\n")
            if not args.quiet and last is not None and last.usage is not None:
                _print_figures(last.usage, stream.handle.timings)
    return 0


def _read_prompt(args: argparse.Namespace) -> str:
    if args.file is not None:
        with open(args.file, encoding="utf-8") as file:
            return file.read()
    return sys.stdin.read() if args.prompt == "-" else str(args.prompt)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _print_figures(usage: Usage, timings: Timings) -> None:
    # The first token comes with the prompt; the others are what decoding makes.
    decoded = usage.completion_tokens - 1
    parts = [f"{usage.prompt_tokens} prompt tokens in {timings.prefill:.2f} s"]
    if decoded > 0 and timings.decode > 0:
        parts.append(f"{usage.completion_tokens} tokens written, {decoded / timings.decode:.1f} tokens/s")
    say(f"[{', '.join(parts)}]")
