"""How a request asks for sampling: every option under its usual names, as one `SamplingParams`."""

from __future__ import annotations

import math
from typing import Any

from oxillama.asgi.errors import refusal
from oxillama.asgi.fields import harmless, implemented, refused
from oxillama.asgi.loras import LORA_FIELDS, LoraChoice
from oxillama.asgi.prediction import MEANING, Prediction
from oxillama.asgi.settings import Limits
from oxillama.asgi.structure import STRUCTURE_FIELDS, StructureFields
from oxillama.errors import InvalidRequestError
from oxillama.sampling.params import SamplingParams

# What clients write -> the field of SamplingParams. Both names of a pair may be given if they agree.
ALIASES = {
    "repeat_penalty": "repetition_penalty",
    "typ_p": "typical_p",
    "mirostat_mode": "mirostat",
    "n_predict": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "thinking_budget_tokens": "thinking_budget",
    "reasoning_budget": "thinking_budget",
    "thinking_token_budget": "thinking_budget",
}
# OpenAI's own; the engine takes more.
RANGES = {"temperature": (0.0, 2.0), "presence_penalty": (-2.0, 2.0), "frequency_penalty": (-2.0, 2.0)}
MAX_BIAS = 100.0
MAX_PRIORITY = 2**31 - 1

SAMPLING_FIELDS = [
    *implemented("temperature", "from 0 to 2"),
    *implemented("presence_penalty frequency_penalty", "from -2 to 2"),
    *implemented("top_p seed n", "as in OpenAI's API"),
    *implemented("stop", "a text or a list of texts; an empty one stops nothing"),
    *implemented("prediction", MEANING),
    *implemented("logit_bias", "token ids (as decimal keys) to biases from -100 to 100"),
    *harmless("user", "names the end user to OpenAI"),
    *harmless("service_tier", "there is one tier"),
    *harmless("safety_identifier", "names the end user to OpenAI"),
    *implemented("best_of", "the most likely of so many choices; not with stream"),
    *implemented("top_k min_p typical_p top_n_sigma", "cut off what is unlikely", "llama-server"),
    *implemented("typ_p", "the same as typical_p", "llama-server"),
    *implemented(
        "repeat_penalty repeat_last_n", "the same as repetition_penalty, and how far back it looks", "llama-server"
    ),
    *implemented("repetition_penalty", "makes tokens of prompt and output less likely", "vllm"),
    *implemented("mirostat mirostat_tau mirostat_eta", "replace the truncation stages", "llama-server"),
    *implemented("mirostat_mode", "the same as mirostat", "oxillama"),
    *implemented(
        "dry_multiplier dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers",
        "the DRY penalty on repeated runs of tokens",
        "llama-server",
    ),
    *implemented(
        "xtc_probability xtc_threshold", "leaves out the most likely tokens now and then (XTC)", "llama-server"
    ),
    *implemented("dynatemp_range dynatemp_exponent", "a temperature that follows the entropy", "llama-server"),
    *implemented("top_a epsilon_cutoff eta_cutoff", "cut off what is unlikely", "oxillama"),
    *implemented("ignore_eos", "goes on after the end token", "llama-server"),
    *implemented("n_predict", "the same as max_tokens; -1: to the end of the context", "llama-server"),
    *implemented("cache_prompt", "whether common beginnings of prompts are computed once", "llama-server"),
    *implemented("min_tokens stop_token_ids cache_salt", "as in vLLM", "vllm"),
    *implemented("priority", "lower is earlier, 0 is ordinary; below it only as far as `max_priority` allows", "vllm"),
    *implemented(
        "thinking_budget", "after so many tokens of thinking it is closed; 0: there is none, -1: no limit", "oxillama"
    ),
    *implemented("thinking_budget_tokens reasoning_budget", "the same as thinking_budget", "llama-server"),
    *implemented("thinking_token_budget", "the same as thinking_budget", "vllm"),
    *implemented("stop_in_thinking", "whether `stop` counts in what the model of a chat thinks, too", "oxillama"),
    *implemented("banned_tokens", "token ids that are never drawn", "oxillama"),
    *implemented("deadline", "seconds from submission, after which the request ends with 504", "oxillama"),
    *refused("samplers", "the order of the sampling stages is fixed", "llama-server"),
    *STRUCTURE_FIELDS,
    *LORA_FIELDS,
    *harmless("id_slot", "any place will do", "llama-server"),
    *refused("n_keep n_discard", "nothing is ever truncated", "llama-server", neutral=(0,)),
    *refused(
        "timings_per_token return_progress return_tokens post_sampling_probs",
        "only the usual reply is told",
        "llama-server",
        neutral=(False,),
    ),
    *refused("use_beam_search", "there is no beam search", "vllm", neutral=(False,)),
    *refused("skip_special_tokens", "control tokens are never part of the text", "vllm", neutral=(True,)),
    *refused("include_stop_str_in_output", "the stop text is never part of the text", "vllm", neutral=(False,)),
    *refused("truncate_prompt_tokens", "nothing is ever truncated", "vllm"),
    *refused("logits_processors allowed_token_ids bad_words", "use logit_bias or banned_tokens", "vllm", neutral=([],)),
]

Bias = float | bool


class SamplingFields(StructureFields, kw_only=True):
    """The fields that chats and completions share. None: not given. The limits of values are SamplingParams' own."""

    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    best_of: int | None = None
    logit_bias: dict[str, Bias] | list[tuple[int, Bias]] | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    typ_p: float | None = None
    top_a: float | None = None
    top_n_sigma: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    repetition_penalty: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    mirostat: int | None = None
    mirostat_mode: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: list[str] | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    dynatemp_range: float | None = None
    dynatemp_exponent: float | None = None
    ignore_eos: bool | None = None
    max_tokens: int | None = None
    n_predict: int | None = None
    min_tokens: int | None = None
    thinking_budget: int | None = None
    thinking_budget_tokens: int | None = None
    reasoning_budget: int | None = None
    thinking_token_budget: int | None = None
    stop_in_thinking: bool | None = None
    stop_token_ids: list[int] | None = None
    banned_tokens: list[int] | None = None
    cache_prompt: bool | None = None
    cache_salt: str | None = None
    priority: int | None = None
    deadline: float | None = None
    prediction: Prediction | None = None
    lora: list[LoraChoice] | None = None

    def to_params(
        self,
        limits: Limits,
        *,
        logprobs: int | None,
        logprobs_name: str,
        default_max_tokens: int | None,
        max_priority: int = 0,
    ) -> SamplingParams:
        """Raises HTTPError naming the field as the client spelled it. logprobs_name: the route's own field for them."""
        options, spelled = self._options()
        spelled["logprobs"] = logprobs_name
        _check_lengths(options, limits)
        _check_ranges(options)
        if "stop" in options:
            options["stop"] = _stops(options["stop"], limits)
        if "logit_bias" in options:
            options["logit_bias"] = _biases(options["logit_bias"], limits)
        if "prediction" in options:
            options["prediction"] = options["prediction"].text
        for name in ("n", "best_of"):
            if options.get(name, 1) > limits.max_choices:
                raise refusal(f"{name} is {options[name]}, at most {limits.max_choices} are allowed", name)
        if options.get("top_k", 0) == -1:
            del options["top_k"]  # vLLM's way to say none
        if options.get("seed") == -1:
            del options["seed"]  # llama-server's way to say any
        if options.get("thinking_budget") == -1:
            del options["thinking_budget"]  # llama-server's way to say no limit
        options["max_tokens"] = _max_tokens(options, spelled, limits, default_max_tokens)
        options["deadline"] = _deadline(options.get("deadline"), limits)
        options["priority"] = _priority(options.get("priority", 0), max_priority)
        try:
            return SamplingParams(logprobs=logprobs, **options)
        except InvalidRequestError as error:
            own = error.param or ""
            name = spelled.get(own, own)
            raise refusal(str(error).replace(own, name, 1), name or None, code=error.code) from None

    def _options(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The fields that were given, under the names of SamplingParams; and how the client spelled them."""
        options: dict[str, Any] = {}
        spelled: dict[str, str] = {}
        for name in _SAMPLING_NAMES:
            value = getattr(self, name, None)
            if value is None:
                continue
            own = ALIASES.get(name, name)
            if own in options and options[own] != value:
                raise refusal(f"{name} and {spelled[own]} mean the same, but differ", name)
            options[own], spelled[own] = value, name
        return options, spelled


def check_best_of(params: SamplingParams, *, stream: bool) -> None:
    """Raises HTTPError where the best choices cannot be told in time."""
    if stream and params.best_of is not None and params.best_of > params.n:
        raise refusal("best_of above n cannot be streamed: the best are known only at the end", "best_of")


_OTHERS = {"cache_salt", "lora", *StructureFields.__struct_fields__}
# The last two are a chat's and a response's own.
_SAMPLING_NAMES = (
    *(name for name in SamplingFields.__struct_fields__ if name not in _OTHERS),
    "max_completion_tokens",
    "max_output_tokens",
)


def _check_lengths(options: dict[str, Any], limits: Limits) -> None:
    most = {
        "dry_sequence_breakers": limits.max_dry_breakers,
        "stop_token_ids": limits.max_token_ids,
        "banned_tokens": limits.max_token_ids,
    }
    for name, limit in most.items():
        found = len(options.get(name, ()))
        if found > limit:
            raise refusal(f"{name} has {found} entries, at most {limit} are allowed", name)
    for index, text in enumerate(options.get("dry_sequence_breakers", ())):
        if len(text) > limits.max_dry_breaker_characters:
            limit, place = limits.max_dry_breaker_characters, f"dry_sequence_breakers[{index}]"
            raise refusal(f"{place} has {len(text)} characters, at most {limit} are allowed", place)


def _check_ranges(options: dict[str, Any]) -> None:
    for name, (least, most) in RANGES.items():
        if not least <= options.get(name, 0.0) <= most:
            raise refusal(f"{name} is {options[name]:g}, expected a number from {least:g} to {most:g}", name)


def _stops(stops: str | list[str], limits: Limits) -> list[str]:
    """The texts that can stop anything: some clients fill the field with "" when nobody has."""
    texts = [stops] if isinstance(stops, str) else stops
    if len(texts) > limits.max_stops:
        raise refusal(f"stop has {len(texts)} texts, at most {limits.max_stops} are allowed", "stop")
    for index, text in enumerate(texts):
        place = "stop" if isinstance(stops, str) else f"stop[{index}]"
        if len(text) > limits.max_stop_characters:
            message = f"{place} has {len(text)} characters, at most {limits.max_stop_characters} are allowed"
            raise refusal(message, place)
    return [text for text in texts if text]


def _biases(biases: dict[str, Bias] | list[tuple[int, Bias]], limits: Limits) -> dict[int, float]:
    if len(biases) > limits.max_logit_bias:
        message = f"logit_bias has {len(biases)} entries, at most {limits.max_logit_bias} are allowed"
        raise refusal(message, "logit_bias")
    found: dict[int, float] = {}
    for key, bias in biases.items() if isinstance(biases, dict) else biases:
        if isinstance(key, str) and not (key.isascii() and key.isdecimal() and len(key) <= 10):
            raise refusal("the keys of logit_bias must be token ids in decimal digits", "logit_bias")
        found[int(key)] = _bias(bias)
    return found


def _bias(bias: Bias) -> float:
    if bias is False:  # llama-server's way to ban a token
        return -math.inf
    if bias is True or not -MAX_BIAS <= bias <= MAX_BIAS:
        raise refusal(f"the biases of logit_bias must be numbers from {-MAX_BIAS:g} to {MAX_BIAS:g}", "logit_bias")
    return float(bias)


def _max_tokens(options: dict[str, Any], spelled: dict[str, str], limits: Limits, default: int | None) -> int | None:
    value: int | None = options.get("max_tokens", default)
    if value == -1:  # llama-server's way to say no limit
        value = None
    if limits.max_tokens is None:
        return value
    if value is None or "max_tokens" not in options:
        return min(limits.max_tokens, value or limits.max_tokens)
    if value > limits.max_tokens:
        name = spelled["max_tokens"]
        raise refusal(f"{name} is {value}, at most {limits.max_tokens} are allowed", name)
    return value


def _deadline(deadline: float | None, limits: Limits) -> float | None:
    if deadline is not None:
        if limits.max_deadline is not None and deadline > limits.max_deadline:
            message = f"the deadline is {deadline:g} seconds, at most {limits.max_deadline:g} are allowed"
            raise refusal(message, "deadline")
        return deadline
    given = [value for value in (limits.default_deadline, limits.max_deadline) if value is not None]
    return min(given) if given else None


def _priority(given: int, most: int) -> int:
    """The engine's, where larger is sooner. Over HTTP lower is earlier, as vLLM has it, and here is where it turns."""
    if not -most <= given <= MAX_PRIORITY:
        message = f"priority is {given}, expected {-most} (earliest) to {MAX_PRIORITY} (latest)"
        raise refusal(message, "priority")
    return -given
