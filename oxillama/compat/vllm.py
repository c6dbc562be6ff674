"""vLLM's offline class `LLM`, as far as programs commonly use it, over an `Engine`.

    from oxillama.compat.vllm import LLM, SamplingParams

Names and defaults are vLLM's; what an argument cannot mean here is refused by name. docs/migration.md has the
differences."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self, cast
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from oxillama.compat.arguments import Foreign
from oxillama.compat.vllm_outputs import (
    ClassificationOutput,
    CompletionOutput,
    EmbeddingOutput,
    Logprob,
    PoolingRequestOutput,
    RequestOutput,
    ScoringOutput,
    request_output,
)
from oxillama.compat.vllm_sampling import SamplingParams, StructuredOutputsParams
from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.requests.batch import Batch
from oxillama.requests.options import KVType
from oxillama.sampling.params import SamplingParams as EngineParams

__all__ = [
    "LLM",
    "ClassificationOutput",
    "CompletionOutput",
    "EmbeddingOutput",
    "Logprob",
    "PoolingRequestOutput",
    "RequestOutput",
    "SamplingParams",
    "ScoringOutput",
    "StructuredOutputsParams",
]

_LOADING = Foreign(
    "gpu_memory_utilization swap_space cpu_offload_gb enforce_eager disable_custom_all_reduce dtype disable_log_stats "
    "trust_remote_code tokenizer_mode",
    neutral={
        "tokenizer": None,
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "quantization": None,
        "revision": None,
        "hf_overrides": None,
        "skip_tokenizer_init": False,
    },
)
# GGUF's number of the pooling of files that hold a classifier.
RANK = 4
MAX_FLIGHT = 256
PromptType = str | Sequence[int] | Mapping[str, Any]
Messages = Sequence[Mapping[str, Any]]


class LLM:
    """A model as vLLM's offline class opens it; `model` is the path of a GGUF file. The engine itself is `.engine`.

    seed: of requests that bring none: the first has it, each next one the number after."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        max_model_len: int | None = None,
        max_num_seqs: int = 32,
        max_num_batched_tokens: int | None = None,
        enable_prefix_caching: bool = True,
        kv_cache_dtype: str = "auto",
        seed: int = 0,
        chat_template: str | None = None,
        **foreign: Any,
    ) -> None:
        _LOADING.check("LLM", foreign)
        self.engine: Engine = Engine(
            model,
            n_ctx=max_model_len,
            max_batch_size=max_num_seqs,
            max_batch_tokens=max_num_batched_tokens,
            kv_dtype="f16" if kv_cache_dtype == "auto" else cast(KVType, kv_cache_dtype),
            prefix_cache=enable_prefix_caching,
            chat_template=chat_template,
        )
        self._seeds = count(seed)

    def generate(
        self,
        prompts: PromptType | Sequence[PromptType],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        priority: Sequence[int] | None = None,
    ) -> list[RequestOutput]:
        """One output per prompt, in their order. A prompt is a text, a list of token ids, or a mapping with `prompt` or
        `prompt_token_ids`. priority: of each prompt, lower is earlier."""
        asked = [_plain(prompt) for prompt in _several(prompts)]
        params = self._params(sampling_params, len(asked), priority)
        submits = [
            partial(self.engine.submit, prompt, one, queue_timeout=None)
            for prompt, one in zip(asked, params, strict=True)
        ]
        return [
            request_output(prompt if isinstance(prompt, str) else None, self._ids(prompt), completion)
            for prompt, completion in zip(asked, self._run(submits, use_tqdm), strict=True)
        ]

    def chat(
        self,
        messages: Messages | Sequence[Messages],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """One output per conversation; a single one may be passed as it is."""
        several: Any = [messages] if messages and isinstance(messages[0], Mapping) else list(messages)
        rendering: dict[str, Any] = {
            "template_kwargs": chat_template_kwargs,
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": continue_final_message,
        }
        params = self._params(sampling_params, len(several), None)
        submits = [
            # What the model thinks stays in the text, as there.
            partial(
                self.engine.submit_chat,
                conversation,
                one,
                tools=tools,
                reasoning_format="none",
                queue_timeout=None,
                **rendering,
            )
            for conversation, one in zip(several, params, strict=True)
        ]
        outputs = []
        for conversation, completion in zip(several, self._run(submits, use_tqdm), strict=True):
            ids = self.engine.tokenize_chat(conversation, tools=tools, **rendering)
            outputs.append(request_output(self.engine.detokenize(ids), ids, completion))
        return outputs

    def embed(self, prompts: PromptType | Sequence[PromptType], *, use_tqdm: bool = True) -> list[PoolingRequestOutput]:
        """One normalised embedding per prompt, pooled as the file says."""
        asked = [self._ids(_plain(prompt)) for prompt in _several(prompts)]
        rows: list[list[float]] = self.engine.embed(asked, progress=use_tqdm).tolist() if asked else []
        return [_pooled(ids, EmbeddingOutput(embedding=row)) for ids, row in zip(asked, rows, strict=True)]

    def score(
        self, text_1: str | Sequence[str], text_2: str | Sequence[str], *, use_tqdm: bool = True
    ) -> list[PoolingRequestOutput]:
        """How well texts match: of a cross-encoder the probability that its classifier's score stands for (the logistic
        function of it), of any other model the cosine of their embeddings. One text_1 for all of text_2, or pairs."""
        right = [text_2] if isinstance(text_2, str) else list(text_2)
        left = [text_1] * len(right) if isinstance(text_1, str) else list(text_1)
        if len(left) == 1:
            left *= len(right)
        if len(left) != len(right):
            raise InvalidRequestError(f"text_1 has {len(left)} texts and text_2 {len(right)}", param="text_1")
        if self.engine.metadata.get(f"{self.engine.architecture}.pooling_type") == RANK:
            submits = [
                partial(self.engine.submit_ranking, a, b, queue_timeout=None) for a, b in zip(left, right, strict=True)
            ]
            values = self._run(submits, use_tqdm)
            if not self.engine.ranks_by_probability:
                values = [1 / (1 + math.exp(-max(-700.0, score))) for score in values]
        else:
            rows = self.engine.embed([*left, *right], progress=use_tqdm)
            values = np.sum(rows[: len(left)] * rows[len(left) :], axis=1).tolist()
        pairs = zip(left, right, values, strict=True)
        return [_pooled(self._ids(a) + self._ids(b), ScoringOutput(score=value)) for a, b, value in pairs]

    def classify(
        self, prompts: PromptType | Sequence[PromptType], *, use_tqdm: bool = True
    ) -> list[PoolingRequestOutput]:
        """The probabilities of a classifier's labels: softmax of its scores, of a single one the logistic function."""
        asked = [self._ids(_plain(prompt)) for prompt in _several(prompts)]
        rows = list(self.engine.embed(asked, pooling="rank", normalize=False, progress=use_tqdm)) if asked else []
        return [
            _pooled(ids, ClassificationOutput(probs=_probabilities(row).tolist()))
            for ids, row in zip(asked, rows, strict=True)
        ]

    def get_tokenizer(self) -> Any:
        """The engine's tokenizer, with `encode` and `decode`."""
        return self.engine.tokenizer

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, submits: Sequence[Callable[[], Any]], use_tqdm: bool) -> list[Any]:
        """The results of requests in their order, with a bounded number of them in flight."""
        waiting: Any = submits

        def start(submit: Any) -> Any:
            return submit()

        return Batch[Any](waiting, max_flight=MAX_FLIGHT, progress=use_tqdm, label="requests").run(start)

    def _ids(self, prompt: str | list[int]) -> list[int]:
        return self.engine.tokenize(prompt) if isinstance(prompt, str) else prompt

    def _params(
        self,
        given: SamplingParams | Sequence[SamplingParams] | None,
        num_prompts: int,
        priority: Sequence[int] | None,
    ) -> list[EngineParams]:
        params = [given or SamplingParams()] * num_prompts if not isinstance(given, Sequence) else list(given)
        priorities = [0] * num_prompts if priority is None else list(priority)
        for name, found in (("sampling_params", params), ("priority", priorities)):
            if len(found) != num_prompts:
                raise InvalidRequestError(f"{name} has {len(found)} entries for {num_prompts} prompts", param=name)
        return [
            one.to_engine(seed=next(self._seeds), priority=rank, n_vocab=self.engine.n_vocab)
            for one, rank in zip(params, priorities, strict=True)
        ]


def _several(prompts: PromptType | Sequence[PromptType]) -> list[PromptType]:
    is_one = isinstance(prompts, str | Mapping) or (len(prompts) > 0 and isinstance(prompts[0], int))
    return [prompts] if is_one else list(prompts)  # type: ignore[list-item,arg-type]


def _plain(prompt: PromptType) -> str | list[int]:
    if isinstance(prompt, Mapping):
        if "prompt_token_ids" in prompt:
            return list(prompt["prompt_token_ids"])
        if "prompt" not in prompt:
            raise InvalidRequestError(
                "a prompt that is a mapping needs `prompt` or `prompt_token_ids`", param="prompts"
            )
        return str(prompt["prompt"])
    return prompt if isinstance(prompt, str) else list(prompt)


def _pooled(ids: list[int], outputs: EmbeddingOutput | ScoringOutput | ClassificationOutput) -> PoolingRequestOutput:
    return PoolingRequestOutput(request_id=f"pool-{uuid4().hex}", outputs=outputs, prompt_token_ids=ids)


def _probabilities(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    exact = scores.astype(np.float64)
    weights = np.exp(exact - exact.max()) if len(exact) > 1 else 1 / (1 + np.exp(-exact))
    return np.asarray(weights / weights.sum() if len(exact) > 1 else weights)
