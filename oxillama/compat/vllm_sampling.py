"""vLLM's sampling parameters, and what they are here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oxillama.errors import InvalidRequestError
from oxillama.sampling.params import SamplingParams as EngineParams
from oxillama.structured.grammar import Grammar

# In the engine it is a number; in vLLM -1 is every token.
EVERY_TOKEN = -1
UNLIMITED = -1


@dataclass(frozen=True, kw_only=True)
class StructuredOutputsParams:
    """The shape of a reply; one of the fields. json: a schema as a mapping or JSON text, or a class."""

    json: Any = None
    regex: str | None = None
    choice: Sequence[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None

    def to_grammar(self) -> Grammar:
        given = [name for name in ("json", "regex", "choice", "grammar", "json_object") if getattr(self, name)]
        if len(given) != 1:
            found = ", ".join(given) or "none"
            raise InvalidRequestError(
                f"structured_outputs needs exactly one of its fields, found {found}", param="structured_outputs"
            )
        if self.json:
            return Grammar.json_schema(json.loads(self.json) if isinstance(self.json, str) else self.json)
        if self.regex:
            return Grammar.regex(self.regex)
        if self.choice:
            return Grammar.choice(self.choice)
        return Grammar.gbnf(self.grammar) if self.grammar else Grammar.json_object()


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """vLLM's fields and defaults. `bad_words` are texts of one token; `logits_processors` have no counterpart."""

    n: int = 1
    best_of: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    bad_words: Sequence[str] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    thinking_token_budget: int | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    logit_bias: Mapping[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    structured_outputs: StructuredOutputsParams | None = None
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    extra_args: Mapping[str, Any] = field(default_factory=dict)

    def to_engine(self, *, seed: int, priority: int, n_vocab: int) -> EngineParams:
        """The engine's parameters. seed: if there is none here. priority: vLLM's, lower is earlier. Raises
        InvalidRequestError for what has no counterpart; extra_args are further fields of the engine's parameters."""
        if self.include_stop_str_in_output:
            raise InvalidRequestError("a stop text is never part of the text", param="include_stop_str_in_output")
        if not self.skip_special_tokens:
            raise InvalidRequestError("special tokens are never part of the text", param="skip_special_tokens")
        bias: dict[int | str, float] = dict.fromkeys(self.bad_words or (), -math.inf)
        bias.update((self.logit_bias or {}).items())
        if self.allowed_token_ids is not None:
            allowed = set(self.allowed_token_ids)
            bias |= {token: -math.inf for token in range(n_vocab) if token not in allowed}
        return EngineParams(
            n=self.n,
            best_of=self.best_of,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            repetition_penalty=self.repetition_penalty,
            repeat_last_n=-1,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=0 if self.top_k == EVERY_TOKEN else self.top_k,
            min_p=self.min_p,
            seed=seed if self.seed is None else self.seed,
            stop=[self.stop] if isinstance(self.stop, str) else list(self.stop or ()),
            stop_token_ids=list(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            max_tokens=self.max_tokens,
            min_tokens=self.min_tokens,
            thinking_budget=None if self.thinking_token_budget == UNLIMITED else self.thinking_token_budget,
            # There they count in all that is written.
            stop_in_thinking=True,
            logprobs=self.logprobs,
            prompt_logprobs=self.prompt_logprobs,
            logit_bias=bias,
            grammar=None if self.structured_outputs is None else self.structured_outputs.to_grammar(),
            priority=-priority,
            **self.extra_args,
        )
