"""What a caller asks of one generation: every option, its default, and its limits. Running it is others' work."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack

from oxillama._core.output.handle import POOLINGS
from oxillama._core.sampling.parameters import CompiledSampling
from oxillama.errors import InvalidRequestError
from oxillama.sampling.sequence_breakers import TextVocabulary, breaker_sequences
from oxillama.structured.grammar import Grammar
from oxillama.structured.source import ConstraintSource
from oxillama.values import integer, real, refused

if TYPE_CHECKING:
    from oxillama.requests.options import SamplingOptions

Pooling: TypeAlias = Literal["mean", "last", "cls", "none", "rank"]

MAX_LOGPROBS = 20
# The name of an adapter, or names with scales.
Lora = str | Sequence[tuple[str, float]] | None
_INT32_MAX = 2**31 - 1

# Inclusive limits of the fields that are plain numbers.
_REALS: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, math.inf),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "top_a": (0.0, 1.0),
    "top_n_sigma": (-math.inf, math.inf),
    "epsilon_cutoff": (0.0, 1.0),
    "eta_cutoff": (0.0, 1.0),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
    "dry_multiplier": (0.0, math.inf),
    "dry_base": (1.0, math.inf),
    "repetition_penalty": (0.0, math.inf),
    "presence_penalty": (-math.inf, math.inf),
    "frequency_penalty": (-math.inf, math.inf),
    "dynatemp_range": (0.0, math.inf),
    "dynatemp_exponent": (0.0, math.inf),
    "mirostat_tau": (0.0, math.inf),
    "mirostat_eta": (0.0, math.inf),
}
_INTEGERS: Mapping[str, tuple[int, int]] = {
    "top_k": (0, _INT32_MAX),
    "dry_allowed_length": (0, _INT32_MAX),
    "dry_penalty_last_n": (-1, _INT32_MAX),
    "repeat_last_n": (-1, _INT32_MAX),
    "mirostat": (0, 2),
    "min_tokens": (0, _INT32_MAX),
    "prompt_logprobs_start": (0, _INT32_MAX),
    "n": (1, _INT32_MAX),
    "priority": (-_INT32_MAX, _INT32_MAX),
}
_OPTIONAL_INTEGERS: Mapping[str, tuple[int, int]] = {
    "max_tokens": (0, _INT32_MAX),
    "seed": (-(2**63), 2**64 - 1),
    "logprobs": (0, MAX_LOGPROBS),
    "prompt_logprobs": (0, MAX_LOGPROBS),
    "best_of": (1, _INT32_MAX),
    "thinking_budget": (0, _INT32_MAX),
}
_FLAGS = ("ignore_eos", "cache_prompt", "stop_in_thinking")
# Fields that may carry a caller's text: repr() shows how much there is, never what.
_COUNTED = {
    "dry_sequence_breakers": "breakers",
    "logit_bias": "biases",
    "banned_tokens": "tokens",
    "stop": "texts",
    "stop_token_ids": "tokens",
    "lora": "adapters",
    "prediction": "characters",
}


class _Biases(Mapping[Any, float]):
    """A mapping that cannot be changed. Its copy is an ordinary dict, which is what dataclasses.asdict() shows."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[Any, float]) -> None:
        self._items: dict[Any, float] = dict(items)

    def __getitem__(self, key: Any) -> float:
        return self._items[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __deepcopy__(self, memo: object) -> dict[Any, float]:
        return dict(self._items)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SamplingParams:
    """How one request is generated. Immutable; every value is checked here, so a constructed object is valid.

    The stages run in one fixed order: bans and bias, grammar mask, repetition / presence / frequency penalties, DRY,
    top-n-sigma, top-k, typical, top-p, min-p, top-a, epsilon, eta, XTC, temperature, draw. Cuts look at the
    probabilities at temperature 1 among the tokens that the stage before left, and always leave one; mirostat
    replaces them. ``temperature=0`` takes the best token after the penalties (the lowest id on ties) and skips
    every cut. Temperatures between 0 and 1e-5 count as 1e-5. No temperature is too high here, and no penalty too large:
    OpenAI's narrower ranges (0 to 2, -2 to 2) hold over HTTP only.

    Every field, its range, its default, and what it does:

    max_tokens: 0 or more, or None. Default None: to the end of the context (16 in HTTP's `/v1/completions`).
    temperature: 0 or more. Default 1.0. How freely tokens are drawn; 0 takes the best.
    top_k: 0 or more. Default 0: off. Only so many of the likeliest tokens.
    top_p: 0 to 1. Default 1.0: off. Only the likeliest tokens that together have this probability.
    min_p: 0 to 1. Default 0.0: off. Only tokens this likely, as a share of the likeliest one.
    typical_p: 0 to 1. Default 1.0: off. Only tokens whose surprise is nearest to the entropy, up to this sum.
    top_a: 0 to 1. Default 0.0: off. Only tokens above this times the square of the likeliest one's probability.
    top_n_sigma: any number. Default 0.0: off, as below 0. Only logits within so many deviations of the best.
    epsilon_cutoff: 0 to 1. Default 0.0: off. Only tokens above this probability (0.0003, not 3).
    eta_cutoff: 0 to 1. Default 0.0: off. The same, lower where the entropy is high.
    xtc_probability: 0 to 1. Default 0.0: off. How often all likely tokens but the last of them are cut.
    xtc_threshold: 0 to 1. Default 0.1. The probability from which on a token is likely in that sense.
    dry_multiplier: 0 or more. Default 0.0: off. Penalty on tokens that go on with a repetition.
    dry_base: 1 or more. Default 1.75. What every further repeated token multiplies it with.
    dry_allowed_length: 0 or more. Default 2. Repeated tokens that cost nothing.
    dry_penalty_last_n: -1 or more. Default -1: all of prompt and output; 0: off. Tokens that DRY looks back.
    dry_sequence_breakers: texts or sequences of token ids. Default newline, colon, quote and asterisk. What ends a
        repetition.
    repetition_penalty: above 0. Default 1.0: off. Divides the logits of tokens seen before.
    repeat_last_n: -1 or more. Default 64; 0: off, -1: all. Tokens of prompt and output that it looks back.
    presence_penalty: any number. Default 0.0: off. Taken from the logits of tokens that the output has.
    frequency_penalty: any number. Default 0.0: off. The same for each time that it has them.
    dynatemp_range: 0 or more. Default 0.0: off. How far the temperature goes up and down with the entropy.
    dynatemp_exponent: 0 or more. Default 1.0. How it follows the entropy.
    mirostat: 0 to 2. Default 0: off. The version that replaces the cuts.
    mirostat_tau: 0 or more. Default 5.0. The surprise, in bits, that it aims at.
    mirostat_eta: 0 or more. Default 0.1. How fast it adapts.
    logit_bias: token ids, or texts of exactly one token, and numbers; -inf bans. Default empty. Added to logits.
    banned_tokens: token ids. Default empty. Never written.
    seed: -2**63 to 2**64 - 1, or None. Default None: a fresh one, which the result tells.
    stop: a text, or several. Default empty. The output ends before the first of them. In a chat they count from the end
        of what the model thinks on.
    stop_in_thinking: True or False. Default False. Whether they count in what the model of a chat thinks, too.
    stop_token_ids: token ids. Default empty. The output ends with the first of them.
    ignore_eos: True or False. Default False. Bans the model's end tokens for good.
    min_tokens: 0 or more, at most max_tokens. Default 0. Until then end tokens, stop_token_ids and stop are held back.
        All tokens of the output are counted, also those of its thinking.
    thinking_budget: 0 or more, or None. Default None: no limit. After so many tokens of thinking, without its opening,
        and at the end of a character, what closes it is written. 0: there is none. A grammar goes before; a model that
        is not known to think is left alone.
    logprobs: 0 to 20, or None. Default None: none. Alternatives to tell for each token of the output.
    prompt_logprobs: 0 to 20, or None. Default None: none. The same for the prompt.
    prompt_logprobs_start: 0 or more. Default 0: all. The first token of the prompt that prompt_logprobs scores; those
        before it have NaN, and only they are looked up in the prefix cache.
    n: 1 or more. Default 1. Choices to return.
    best_of: n or more, or None. Default None: n. Choices to generate, of which the likeliest n are returned.
    grammar: a Grammar, or None. Default None. What the whole output must look like. It says where the output may end,
        so a complete output that can only end does so even under min_tokens and ignore_eos, and bans or biases that
        leave none of its tokens are a GrammarError with the code ``dead_end``.
    lora: a name, pairs of a name and a scale, or None. Default None. Loaded adapters to run with, added up.
    cache_prompt: True or False. Default True. Whether the prefix cache may be read and filled.
    priority: any integer. Default 0. A larger one is sooner (over HTTP it is the other way round).
    deadline: seconds from submission, 0 or more, or None. Default None: none.
    prediction: a text, or None. Default None. One that the output is expected to follow for the most part, as an edited
        file follows the old one: what of it comes true is computed several tokens at a time, and what does not changes
        nothing.

    Raises InvalidRequestError with ``.param`` for a value that no request could use, TypeError for an unknown option.

    >>> SamplingParams(temperature=0.8, top_p=0.95, seed=7)
    SamplingParams(temperature=0.8, top_p=0.95, seed=7)
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    top_a: float = 0.0
    top_n_sigma: float = 0.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: Sequence[str | Sequence[int]] = ("\n", ":", '"', "*")
    repetition_penalty: float = 1.0
    repeat_last_n: int = 64
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: Mapping[int | str, float] | Mapping[int, float] | Mapping[str, float] = field(
        default_factory=dict, hash=False
    )
    banned_tokens: Sequence[int] = ()
    seed: int | None = None
    stop: Sequence[str] = ()
    stop_in_thinking: bool = False
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    thinking_budget: int | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    prompt_logprobs_start: int = 0
    n: int = 1
    best_of: int | None = None
    grammar: Grammar | ConstraintSource | None = None
    prediction: str | None = None
    lora: Lora = None
    cache_prompt: bool = True
    priority: int = 0
    deadline: float | None = None

    def __post_init__(self) -> None:
        for name, limits in _REALS.items():
            self._set(name, real(name, getattr(self, name), *limits))
        for name, bounds in _INTEGERS.items():
            self._set(name, integer(name, getattr(self, name), *bounds))
        for name, bounds in _OPTIONAL_INTEGERS.items():
            if getattr(self, name) is not None:
                self._set(name, integer(name, getattr(self, name), *bounds))
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise refused(name, "True or False", getattr(self, name))
        if self.repetition_penalty == 0:
            raise refused("repetition_penalty", "a number above 0", self.repetition_penalty)
        if self.deadline is not None:
            self._set("deadline", real("deadline", self.deadline, 0.0, math.inf))
        self._set("banned_tokens", _tokens("banned_tokens", self.banned_tokens))
        self._set("stop_token_ids", _tokens("stop_token_ids", self.stop_token_ids))
        self._set("stop", _texts("stop", self.stop))
        self._set("dry_sequence_breakers", _breakers("dry_sequence_breakers", self.dry_sequence_breakers))
        self._set("logit_bias", _biases("logit_bias", self.logit_bias))
        self._set("lora", named_adapters("lora", self.lora))
        if self.grammar is not None and not isinstance(self.grammar, (Grammar, ConstraintSource)):
            raise refused("grammar", "a Grammar", self.grammar)
        if self.prediction is not None and not isinstance(self.prediction, str):
            raise refused("prediction", "a str", self.prediction)
        if self.best_of is not None and self.best_of < self.n:
            raise refused("best_of", f"at least n ({self.n})", self.best_of)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise refused("min_tokens", f"at most max_tokens ({self.max_tokens})", self.min_tokens)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = []
        for spec in fields(self):
            value = getattr(self, spec.name)
            default = spec.default if spec.default is not MISSING else {}
            if value == default:
                continue
            if spec.name in _COUNTED:
                shown.append(f"{spec.name}=<{len(value)} {_COUNTED[spec.name]}>")
            elif spec.name == "grammar":
                shown.append("grammar=<set>")
            else:
                shown.append(f"{spec.name}={value!r}")
        return f"SamplingParams({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        values["logit_bias"] = dict(self.logit_bias)
        return _restore, (values,)

    def replace(self, **changes: Unpack[SamplingOptions]) -> SamplingParams:
        """Return a copy with these fields changed, checked again as a whole."""
        return replace(self, **changes)

    def with_seed(self) -> SamplingParams:
        """Return these parameters with a seed: their own, or 64 fresh random bits."""
        return self if self.seed is not None else self.replace(seed=_random_seed())

    def resolve(
        self, *, n_vocab: int, tokenizer: TextVocabulary | None = None, eog_tokens: Iterable[int] = ()
    ) -> CompiledSampling:
        """Return the parameters as the compiled sampler takes them, with texts turned into tokens.

        ``eog_tokens`` are the model's end-of-generation tokens. Without a seed, one is drawn; the result's ``.seed``
        tells. Raises InvalidRequestError for a token id that the vocabulary does not have, for a bias text that is
        not exactly one token, and for a text where there is no tokenizer.
        """
        for name, tokens in (("banned_tokens", self.banned_tokens), ("stop_token_ids", self.stop_token_ids)):
            for token in tokens:
                _check_in_vocabulary(name, token, n_vocab)
        seed = _random_seed() if self.seed is None else self.seed
        return CompiledSampling(
            **{name: getattr(self, name) for name in _REALS},
            seed=seed % 2**64,
            top_k=self.top_k,
            dry_allowed_length=self.dry_allowed_length,
            dry_penalty_last_n=self.dry_penalty_last_n,
            dry_breakers=self._breaker_sequences(tokenizer),
            repeat_last_n=self.repeat_last_n,
            mirostat=self.mirostat,
            logit_bias=self._token_biases(n_vocab, tokenizer),
            banned_tokens=self.banned_tokens,
            eog_tokens=tuple(eog_tokens),
            stop_tokens=self.stop_token_ids,
            ignore_eos=self.ignore_eos,
            min_tokens=self.min_tokens,
            logprobs=self.logprobs,
        )

    def _breaker_sequences(self, tokenizer: TextVocabulary | None) -> list[tuple[int, ...]]:
        if self.dry_multiplier == 0:
            return []
        return breaker_sequences(self.dry_sequence_breakers, tokenizer)

    def _token_biases(self, n_vocab: int, tokenizer: TextVocabulary | None) -> dict[int, float]:
        biases: dict[int, float] = {}
        for key, bias in self.logit_bias.items():
            if isinstance(key, int):
                token = key
            elif tokenizer is None:
                raise InvalidRequestError("a text in logit_bias needs a tokenizer; use token ids", param="logit_bias")
            else:
                tokens = tokenizer.encode(key, add_special=False, parse_special=True)
                if len(tokens) != 1:
                    raise InvalidRequestError(
                        f"a text in logit_bias must be exactly one token, found one of {len(tokens)}",
                        param="logit_bias",
                    )
                token = tokens[0]
            _check_in_vocabulary("logit_bias", token, n_vocab)
            biases[token] = biases.get(token, 0.0) + bias
        return biases


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingParams:
    """How one input is embedded. Immutable; every value is checked here.

    ``pooling``: the "mean" of the hidden states after the last norm, the "last" or the first ("cls") of them, or "none"
    for one row per token; None: what the file says, else the mean. ``dimensions`` keeps only the first ones, for models
    trained so (Kusupati et al. 2022, arXiv:2205.13147). ``normalize``: to length 1, after that cut; a row of zeros
    stays. ``prompt``: "query" or "document": a text gets the prefix that its model was trained with for that;
    ``prefix``: this one instead. ``truncate``: the end of what is too long is cut
    off. ``deadline`` is in seconds from submission. ``lora``: as in SamplingParams; an adapter's own
    beginning of texts is put before a text.

    Raises InvalidRequestError with ``.param`` for a value that no request could use, TypeError for an unknown option.
    """

    pooling: Pooling | None = None
    normalize: bool = True
    dimensions: int | None = None
    priority: int = 0
    deadline: float | None = None
    prompt: str | None = None
    prefix: str | None = None
    truncate: bool = False
    lora: Lora = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lora", named_adapters("lora", self.lora))
        if not isinstance(self.truncate, bool):
            raise refused("truncate", "True or False", self.truncate)
        if self.prompt is not None and self.prompt not in ("query", "document"):
            raise refused("prompt", "'query', 'document' or None", self.prompt)
        if self.prefix is not None and not isinstance(self.prefix, str):
            raise refused("prefix", "a text or None", self.prefix)
        if self.pooling is not None and (not isinstance(self.pooling, str) or self.pooling not in POOLINGS):
            raise refused("pooling", f"None or one of {', '.join(POOLINGS)}", self.pooling)
        if not isinstance(self.normalize, bool):
            raise refused("normalize", "True or False", self.normalize)
        if self.dimensions is not None:
            object.__setattr__(self, "dimensions", integer("dimensions", self.dimensions, 1, _INT32_MAX))
        object.__setattr__(self, "priority", integer("priority", self.priority, *_INTEGERS["priority"]))
        if self.deadline is not None:
            object.__setattr__(self, "deadline", real("deadline", self.deadline, 0.0, math.inf))


def chosen_params(params: SamplingParams | None, options: SamplingOptions) -> SamplingParams:
    """What a call asks for, by parameters or by their fields as keywords. Raises TypeError for both at once."""
    if params is None:
        return SamplingParams(**options)
    if options:
        raise TypeError(f"params and its fields as keywords exclude each other; found both, with {sorted(options)}")
    if not isinstance(params, SamplingParams):
        raise TypeError(f"params is a {type(params).__name__}, expected SamplingParams")
    return params


def _random_seed() -> int:
    return int.from_bytes(os.urandom(8))


def _restore(values: dict[str, Any]) -> SamplingParams:
    return SamplingParams(**values)


def _items(name: str, value: object, expected: str) -> tuple[object, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise refused(name, expected, value)
    return tuple(value)


def _tokens(name: str, value: object) -> tuple[int, ...]:
    return tuple(integer(name, token, 0, _INT32_MAX) for token in _items(name, value, "a sequence of token ids"))


def _texts(name: str, value: object) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else _items(name, value, "a text or a sequence of texts")
    for text in texts:
        if not isinstance(text, str) or not text:
            raise refused(name, "made of texts that are not empty", text)
    return tuple(str(text) for text in texts)


def _breakers(name: str, value: object) -> tuple[str | tuple[int, ...], ...]:
    breakers: list[str | tuple[int, ...]] = []
    for breaker in _items(name, value, "a sequence of texts or token sequences"):
        sequence = _texts(name, breaker)[0] if isinstance(breaker, str) else _tokens(name, breaker)
        if not sequence:
            raise refused(name, "made of breakers that are not empty", breaker)
        breakers.append(sequence)
    return tuple(breakers)


def _biases(name: str, value: object) -> Mapping[int | str, float]:
    if not isinstance(value, Mapping):
        raise refused(name, "a mapping from tokens to numbers", value)
    biases: dict[int | str, float] = {}
    for key, bias in value.items():
        token = key if isinstance(key, str) and key else integer(name, key, 0, _INT32_MAX)
        biases[token] = -math.inf if bias == -math.inf else real(name, bias, -math.inf, math.inf)
    return _Biases(biases)


def named_adapters(name: str, value: object) -> tuple[tuple[str, float], ...] | None:
    """Pairs of a name and a scale, of one name or of several with their scales."""
    if value is None:
        return None
    adapters: list[tuple[str, float]] = []
    for item in ((value, 1.0),) if isinstance(value, str) else _items(name, value, "a name or [(name, scale)]"):
        if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[0], str) or not item[0]:
            raise refused(name, "a name or pairs of a name and a scale", item)
        adapters.append((item[0], real(name, item[1], -math.inf, math.inf)))
    return tuple(adapters)


def _check_in_vocabulary(name: str, token: int, n_vocab: int) -> None:
    if token >= n_vocab:
        raise InvalidRequestError(f"{name} names token {token}, but the vocabulary has {n_vocab} tokens", param=name)
