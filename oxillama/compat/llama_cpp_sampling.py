"""The sampling arguments that llama-cpp-python's calls share, their defaults there, and what they are here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypedDict

from oxillama.compat.arguments import Foreign
from oxillama.sampling.params import SamplingParams
from oxillama.structured.grammar import Grammar

RANDOM_SEED = 0xFFFFFFFF


class LlamaGrammar:
    """`llama_cpp.LlamaGrammar`: `from_string` of GBNF, `from_json_schema` of a schema as JSON text."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> Self:
        return cls(Grammar.gbnf(grammar))

    @classmethod
    def from_file(cls, file: str | os.PathLike[str], verbose: bool = True) -> Self:
        with open(file, encoding="utf-8") as source:
            return cls.from_string(source.read())

    @classmethod
    def from_json_schema(cls, json_schema: str, verbose: bool = True) -> Self:
        return cls(Grammar.json_schema(json.loads(json_schema)))


class Sampling(TypedDict, total=False):
    """Those of every call. The last three have no counterpart here and are taken with their neutral value only."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    mirostat_mode: int
    mirostat_tau: float
    mirostat_eta: float
    grammar: LlamaGrammar | Grammar | None
    logit_bias: Mapping[int, float] | None
    stop: str | Sequence[str] | None
    seed: int | None
    tfs_z: float
    stopping_criteria: None
    logits_processor: None


DEFAULTS: Mapping[str, Any] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "typical_p": 1.0,
    "repeat_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "mirostat_mode": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "grammar": None,
    "logit_bias": None,
    "stop": None,
    "seed": None,
}
_RENAMED = {"repeat_penalty": "repetition_penalty", "mirostat_mode": "mirostat"}
_FOREIGN = Foreign("", neutral={"tfs_z": 1.0, "stopping_criteria": None, "logits_processor": None})


def sampling_params(call: str, given: Mapping[str, Any], *, max_tokens: int | None, **own: Any) -> SamplingParams:
    """The engine's parameters of one call. max_tokens: None or below 1 is to the end of the context. own: fields of
    SamplingParams that the model brings. Raises TypeError for an argument that nobody knows, InvalidRequestError for
    one that cannot mean anything here."""
    _FOREIGN.check(call, {name: value for name, value in given.items() if name not in DEFAULTS})
    fields = {_RENAMED.get(name, name): given.get(name, default) for name, default in DEFAULTS.items()}
    grammar, stop = fields["grammar"], fields["stop"]
    fields |= {
        "max_tokens": None if max_tokens is None or max_tokens < 1 else max_tokens,
        "grammar": grammar.grammar if isinstance(grammar, LlamaGrammar) else grammar,
        "stop": [stop] if isinstance(stop, str) else list(stop or ()),
        "top_k": max(fields["top_k"], 0),
        "seed": None if fields["seed"] == RANDOM_SEED else fields["seed"],
    }
    return SamplingParams(**{name: value for name, value in (fields | own).items() if value is not None})
