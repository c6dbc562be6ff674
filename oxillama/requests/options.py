"""The options of the engine's calls by name and type, so that a type checker finds a misspelt one.

Values are checked by what they become (SamplingParams, EmbeddingParams, the configuration of an engine), and tests hold
these names and types to those."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from oxillama.chat.reply_format import ReasoningFormat
from oxillama.progress import Progress
from oxillama.sampling.params import Pooling
from oxillama.structured.grammar import Grammar
from oxillama.structured.response_format import ResponseFormat
from oxillama.structured.source import ConstraintSource
from oxillama.tools.table import GivenSyntax
from oxillama.turns import Turns

F16Weights: TypeAlias = Literal["exact", "bf16"]
KVType: TypeAlias = Literal["f16", "f32", "bf16", "q8_0"]
Speculation: TypeAlias = Literal["auto", "off"]


class SamplingOptions(TypedDict, total=False):
    """The fields of SamplingParams, which says what they mean."""

    max_tokens: int | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    top_a: float
    top_n_sigma: float
    epsilon_cutoff: float
    eta_cutoff: float
    xtc_probability: float
    xtc_threshold: float
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_penalty_last_n: int
    dry_sequence_breakers: Sequence[str | Sequence[int]]
    repetition_penalty: float
    repeat_last_n: int
    presence_penalty: float
    frequency_penalty: float
    dynatemp_range: float
    dynatemp_exponent: float
    mirostat: int
    mirostat_tau: float
    mirostat_eta: float
    logit_bias: Mapping[int | str, float] | Mapping[int, float] | Mapping[str, float]
    banned_tokens: Sequence[int]
    seed: int | None
    stop: Sequence[str]
    stop_in_thinking: bool
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    min_tokens: int
    thinking_budget: int | None
    logprobs: int | None
    prompt_logprobs: int | None
    prompt_logprobs_start: int
    n: int
    best_of: int | None
    grammar: Grammar | ConstraintSource | None
    prediction: str | None
    lora: str | Sequence[tuple[str, float]] | None
    cache_prompt: bool
    priority: int
    deadline: float | None


class RequestOptions(SamplingOptions, total=False):
    """Those of `submit`, `generate` and `stream`. queue_timeout: seconds to wait for room in the queue, None: until the
    deadline. cache_salt: only requests of the same salt share cached prompts."""

    queue_timeout: float | None
    cache_salt: str | None


class BatchOptions(SamplingOptions, total=False):
    """Those of a batch, which waits for room by itself."""

    cache_salt: str | None


class _RenderingWithoutTools(TypedDict, total=False):
    template_kwargs: Mapping[str, Any] | None
    continue_final_message: bool | None
    add_generation_prompt: bool
    tool_syntax: GivenSyntax | None


class RenderingOptions(_RenderingWithoutTools, total=False):
    """How a conversation becomes a prompt: `prepare_chat` says what they mean."""

    tools: object


class _ReplyOptions(TypedDict, total=False):
    tool_choice: object
    parallel_tool_calls: bool | None
    response_format: ResponseFormat
    reasoning_format: ReasoningFormat


class ChatBatchOptions(BatchOptions, RenderingOptions, _ReplyOptions, total=False):
    """Those of many chats at once."""


class ChatOptions(RequestOptions, RenderingOptions, _ReplyOptions, total=False):
    """Those of `chat`, `stream_chat` and `submit_chat`."""


class ToolRunOptions(RequestOptions, _RenderingWithoutTools, _ReplyOptions, total=False):
    """Those of `run_tools`, which has `tools` of its own."""


class VectorOptions(TypedDict, total=False):
    """The fields of EmbeddingParams without `pooling`, which decides about the type of what comes."""

    normalize: bool
    dimensions: int | None
    priority: int
    deadline: float | None
    prompt: str | None
    prefix: str | None
    truncate: bool
    lora: str | Sequence[tuple[str, float]] | None


class EmbeddingOptions(VectorOptions, total=False):
    """The fields of EmbeddingParams."""

    pooling: Pooling | None


class RankOptions(TypedDict, total=False):
    """Of `rerank`: those of EmbeddingParams that are about when."""

    priority: int
    deadline: float | None


class RankingOptions(RankOptions, total=False):
    """Of one document's ranking."""

    truncate: bool
    queue_timeout: float | None


class EngineOptions(TypedDict, total=False):
    """Those of Engine(), which says what they mean."""

    n_ctx: int | None
    n_threads: int | None
    max_batch_size: int
    max_batch_tokens: int | None
    max_step_ms: float
    queue_size: int
    kv_dtype: KVType
    f16: F16Weights
    kv_cache_tokens: int | None
    prefix_cache: bool
    prefix_cache_tokens: int | None
    draft: str | os.PathLike[str] | None
    speculation: Speculation
    mmap: bool
    chat_template: str | os.PathLike[str] | None
    tool_syntax: GivenSyntax | None
    progress: Progress
    turns: Turns | None
