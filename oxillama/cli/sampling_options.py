"""The options of a generation: every field of SamplingParams that one answer in a terminal can use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from types import SimpleNamespace
from typing import Any, NamedTuple

import click

from oxillama.cli.options import INTEGER, REAL, Kind, Number, Option, Told
from oxillama.engine import Engine
from oxillama.sampling.params import SamplingParams
from oxillama.sampling.presets import TERMINAL

SECTION = "Sampling"


class Shown(NamedTuple):
    """How a field is typed: llama.cpp's spellings first, then the API's name."""

    flags: tuple[str, ...]
    metavar: str
    help: str


def bias(text: str) -> tuple[int | str, float]:
    """TOKEN+2 or TOKEN-2: an id or a text of one token, and what is added to its logit; TOKEN-inf bans it."""
    at = max(text.rfind("+"), text.rfind("-"))
    token = text[:at]
    try:
        value = float(text[at:])
    except ValueError:
        raise Told(f"expected TOKEN+NUMBER or TOKEN-NUMBER, found {text!r}") from None
    if at < 1:
        raise Told(f"expected TOKEN+NUMBER or TOKEN-NUMBER, found {text!r}")
    return (int(token) if token.isdecimal() else token), value


SHOWN = {
    "max_tokens": Shown(("-n", "--predict", "--max-tokens"), "N",
                        "most tokens to write; -1: to the end of the context (default)"),
    "temperature": Shown(("--temp", "--temperature"), "X", "0 takes the best token"),
    "top_k": Shown(("--top-k",), "N", "only the likeliest N tokens; 0: off"),
    "top_p": Shown(("--top-p",), "X", "only the likeliest tokens that together have this probability; 1: off"),
    "min_p": Shown(("--min-p",), "X", "only tokens this likely, as a share of the likeliest; 0: off"),
    "typical_p": Shown(("--typical", "--typical-p"), "X", "only tokens of typical surprise, up to this sum; 1: off"),
    "top_a": Shown(("--top-a",), "X", "only tokens above this times the square of the likeliest; 0: off"),
    "top_n_sigma": Shown(("--top-nsigma", "--top-n-sigma"), "X", "only within so many deviations of the best; 0: off"),
    "epsilon_cutoff": Shown(("--epsilon-cutoff",), "X", "only tokens above this probability; 0: off"),
    "eta_cutoff": Shown(("--eta-cutoff",), "X", "the same, less where the model is unsure; 0: off"),
    "xtc_probability": Shown(("--xtc-probability",), "X", "how often all but the last of the likely are cut; 0: off"),
    "xtc_threshold": Shown(("--xtc-threshold",), "X", "what counts as likely there"),
    "dry_multiplier": Shown(("--dry-multiplier",), "X", "penalty on going on as before; 0: off"),
    "dry_base": Shown(("--dry-base",), "X", "its growth with every repeated token"),
    "dry_allowed_length": Shown(("--dry-allowed-length",), "N", "repeated tokens that cost nothing"),
    "dry_penalty_last_n": Shown(("--dry-penalty-last-n",), "N", "tokens it looks back; -1: all"),
    "dry_sequence_breakers": Shown(("--dry-sequence-breaker",), "TEXT", "text that ends a repetition; may be repeated"),
    "repetition_penalty": Shown(("--repeat-penalty", "--repetition-penalty"), "X", "1: off"),
    "repeat_last_n": Shown(("--repeat-last-n",), "N", "tokens it looks back; 0: off, -1: all"),
    "presence_penalty": Shown(("--presence-penalty",), "X", "on tokens already written; 0: off"),
    "frequency_penalty": Shown(("--frequency-penalty",), "X", "for every time they were written; 0: off"),
    "dynatemp_range": Shown(("--dynatemp-range",), "X", "temperature varies by this with the entropy; 0: off"),
    "dynatemp_exponent": Shown(("--dynatemp-exp", "--dynatemp-exponent"), "X", "how it follows the entropy"),
    "mirostat": Shown(("--mirostat",), "N", "version 1 or 2 instead of the cuts; 0: off"),
    "mirostat_tau": Shown(("--mirostat-ent", "--mirostat-tau"), "X", "the surprise it aims at"),
    "mirostat_eta": Shown(("--mirostat-lr", "--mirostat-eta"), "X", "how fast it adapts"),
    "logit_bias": Shown(("-l", "--logit-bias"), "TOKEN+X",
                        "add X to the logit of a token, an id or its text; TOKEN-inf bans it; may be repeated"),
    "banned_tokens": Shown(("--ban-token",), "ID", "never write this token; may be repeated"),
    "seed": Shown(("-s", "--seed"), "N", "repeats a run; -1: a new one each time (default)"),
    "stop": Shown(("--stop", "-r", "--reverse-prompt"), "TEXT", "end before this text; may be repeated"),
    "stop_token_ids": Shown(("--stop-token",), "ID", "end with this token; may be repeated"),
    "ignore_eos": Shown(("--ignore-eos",), "", "go on after the model's own end"),
    "min_tokens": Shown(("--min-tokens",), "N", "least tokens to write"),
    "thinking_budget": Shown(("--reasoning-budget", "--thinking-budget"), "N",
                             "most tokens to think before the answer; 0: none, -1: no limit (default)"),
    "stop_in_thinking": Shown(("--stop-in-thinking",), "", "stop texts count in what the model thinks, too"),
    "deadline": Shown(("--deadline",), "S", "most seconds to take (default: no limit)"),
}  # fmt: skip
# Fields that no option sets here, and why.
LEFT_OUT = {
    "n": "one answer is shown",
    "best_of": "one answer is shown",
    "logprobs": "scores are for programs",
    "prompt_logprobs": "scores are for programs",
    "prompt_logprobs_start": "scores are for programs",
    "grammar": "has options of its own",
    "lora": "has options of its own",
    "prediction": "is a text as long as the answer, which programs have",
    "cache_prompt": "one request has nobody to share with",
    "priority": "one request has no rivals",
}
KINDS: dict[str, Kind] = {"int": INTEGER, "int | None": INTEGER, "float": REAL, "float | None": REAL}
ITEMS: dict[str, Callable[[str], Any]] = {"logit_bias": bias, "banned_tokens": int, "stop_token_ids": int}
# Where llama.cpp has a number for what is None here.
NONE_AT = {"max_tokens": -1, "seed": -1, "thinking_budget": -1}


def sampling_options() -> list[click.Parameter]:
    """An option for each of SHOWN, with the defaults of the terminal."""
    made: list[click.Parameter] = []
    for spec in fields(SamplingParams):
        shown = SHOWN.get(spec.name)
        if shown is None:
            continue
        default = TERMINAL.get(spec.name, spec.default)
        if isinstance(spec.default, bool):
            made.append(Option(*shown.flags, is_flag=True, help=shown.help, section=SECTION, field=spec.name))
        elif spec.name in ITEMS or str(spec.type).startswith("Sequence"):
            kind = Number(ITEMS[spec.name], "int") if spec.name in ITEMS else None
            made.append(
                Option(
                    *shown.flags,
                    kind=kind,
                    multiple=True,
                    metavar=shown.metavar,
                    help=shown.help,
                    section=SECTION,
                    field=spec.name,
                )
            )
        else:
            told = "" if default in (None, MISSING) else f" (default: {default:g})"
            made.append(
                Option(
                    *shown.flags,
                    kind=KINDS[str(spec.type)],
                    metavar=shown.metavar,
                    default=default,
                    help=shown.help + told,
                    section=SECTION,
                    field=spec.name,
                )
            )
    made.append(
        Option(
            "--recommended",
            is_flag=True,
            section=SECTION,
            help="what the model's file recommends, for what is not said here",
        )
    )
    return made  # fmt: skip


def sampling_params(args: SimpleNamespace, engine: Engine) -> SamplingParams:
    """Those of the options, and with --recommended what the file says in the place of defaults."""
    values = sampling_values(args)
    if args.recommended:
        for name, value in engine.recommended_sampling.items():
            if name not in args.given_fields:
                values[name] = value
    return SamplingParams(**values)


def sampling_values(args: SimpleNamespace) -> dict[str, Any]:
    """The fields of SamplingParams that the options say."""
    values: dict[str, Any] = {}
    for name, shown in SHOWN.items():
        long = next(flag for flag in shown.flags if flag.startswith("--"))
        value = getattr(args, long.removeprefix("--").replace("-", "_"))
        if value is None or value == () or (name in NONE_AT and value == NONE_AT[name]):
            continue
        values[name] = dict(value) if name == "logit_bias" else value
    return values
