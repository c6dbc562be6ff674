"""`llama_cpp.Llama`, as far as programs commonly use it, over an `Engine`.

    from oxillama.compat.llama_cpp import Llama

Names, defaults and the shapes of the replies are llama-cpp-python's (read off version 0.3.36). What an argument cannot
mean here is refused by name; docs/migration.md has the differences."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Self, Unpack

from oxillama.compat.arguments import Foreign
from oxillama.compat.llama_cpp_sampling import RANDOM_SEED, LlamaGrammar, Sampling, sampling_params
from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.hub import fetch
from oxillama.requests.options import KVType
from oxillama.sampling.params import Pooling, SamplingParams
from oxillama.tokenizer import Tokenizer

__all__ = ["Llama", "LlamaGrammar"]

LORA = "lora"  # the name of the one adapter that a model is opened with
# ggml's numbers of the cache types that there are here.
KV_TYPES: Mapping[int, KVType] = {0: "f32", 1: "f16", 8: "q8_0", 30: "bf16"}
POOLINGS: Mapping[int, Pooling | None] = {-1: None, 0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}

_LOADING = Foreign(
    "n_gpu_layers split_mode main_gpu tensor_split use_mlock numa offload_kqv flash_attn op_offload swa_full no_perf "
    "n_ubatch n_threads_batch logits_all embedding attention_type spm_infill",
    neutral={
        "vocab_only": False,
        "kv_overrides": None,
        "rope_scaling_type": -1,
        "rope_freq_base": 0.0,
        "rope_freq_scale": 0.0,
        "yarn_ext_factor": -1.0,
        "yarn_attn_factor": 1.0,
        "yarn_beta_fast": 32.0,
        "yarn_beta_slow": 1.0,
        "yarn_orig_ctx": 0,
        "lora_base": None,
        "chat_handler": None,
        "draft_model": None,
        "tokenizer": None,
    },
)
_SUFFIX = Foreign("", neutral={"suffix": None})
_FUNCTIONS = Foreign("", neutral={"functions": None, "function_call": None})


class Llama:
    """A model as llama-cpp-python opens it. Unlike there, any number of threads may use it at once.

    n_ctx: 0 is the trained length. seed: of requests that bring none; each then draws its own numbers from it in turn.
    verbose: whether loading shows its progress. chat_format: a name or a template of `oxillama.chat.templates`.
    The engine itself is `.engine`, for what llama_cpp has no call for."""

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        n_ctx: int = 512,
        n_batch: int = 512,
        n_threads: int | None = None,
        seed: int = RANDOM_SEED,
        use_mmap: bool = True,
        pooling_type: int = -1,
        type_k: int | None = None,
        type_v: int | None = None,
        chat_format: str | None = None,
        last_n_tokens_size: int = 64,
        lora_path: str | None = None,
        lora_scale: float = 1.0,
        verbose: bool = True,
        **foreign: Any,
    ) -> None:
        _LOADING.check("Llama", foreign)
        if pooling_type not in POOLINGS:
            known = ", ".join(map(str, POOLINGS))
            raise InvalidRequestError(
                f"pooling_type must be one of {known}, found {pooling_type!r}", param="pooling_type"
            )
        self.model_path: str = os.fspath(model_path)
        self._pooling = POOLINGS[pooling_type]
        self._repeat_last_n = last_n_tokens_size
        self._seeds = None if seed == RANDOM_SEED else count(seed)
        self.engine: Engine = Engine(
            model_path,
            n_ctx=n_ctx or None,
            n_threads=n_threads,
            max_batch_tokens=max(n_batch, n_ctx) if self._pooling else None,
            kv_dtype=_kv_type(type_k, type_v),
            mmap=use_mmap,
            chat_template=chat_format,
            progress=None if verbose else False,
        )
        if lora_path is not None:
            try:
                self.engine.load_lora(LORA, lora_path, scale=lora_scale)
            except BaseException:
                self.engine.close()
                raise
        self._lora = None if lora_path is None else LORA

    @classmethod
    def from_pretrained(cls, repo_id: str, filename: str | None, **options: Any) -> Self:
        """Opens a file of a repository on the Hugging Face hub, downloaded once."""
        return cls(fetch(repo_id, filename), **options)

    # --- text

    def create_completion(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = 16,
        logprobs: int | None = None,
        echo: bool = False,
        stream: bool = False,
        model: str | None = None,
        suffix: str | None = None,
        **sampling: Unpack[Sampling],
    ) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """OpenAI's completion as a dictionary, or an iterator of its chunks. max_tokens None or below 1: to the end of
        the context. logits processors and stopping criteria are refused: sampling is compiled."""
        _SUFFIX.check("create_completion", {"suffix": suffix})
        params = self._params("create_completion", sampling, max_tokens=max_tokens, logprobs=logprobs)
        tokens = prompt if isinstance(prompt, str) else list(prompt)
        echoed = "" if not echo else tokens if isinstance(tokens, str) else self.engine.detokenize(tokens)
        name = {"model": model or self.model_path}
        if stream:
            return self._completion_chunks(tokens, params, echoed, name)
        shape = self.engine.generate(tokens, params, queue_timeout=None).to_dict() | name
        shape["choices"][0]["text"] = echoed + shape["choices"][0]["text"]
        return shape

    __call__ = create_completion

    def _completion_chunks(
        self, prompt: str | list[int], params: SamplingParams, echoed: str, name: dict[str, str]
    ) -> Iterator[dict[str, Any]]:
        with self.engine.stream(prompt, params, queue_timeout=None) as chunks:
            for chunk in chunks:
                shape = chunk.to_dict() | name
                shape.pop("usage", None)
                shape["choices"][0]["text"] = echoed + shape["choices"][0]["text"]
                echoed = ""
                yield shape

    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: str | Mapping[str, Any] | None = None,
        response_format: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        stream: bool = False,
        model: str | None = None,
        functions: None = None,
        function_call: None = None,
        **sampling: Unpack[Sampling],
    ) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """OpenAI's chat completion as a dictionary, or an iterator of its chunks, under the model's own template. The
        temperature is 0.2 unless it is given."""
        call = "create_chat_completion"
        _FUNCTIONS.check(call, {"functions": functions, "function_call": function_call})
        told = (top_logprobs or 0) if logprobs else None
        params = self._params(call, {"temperature": 0.2, **sampling}, max_tokens=max_tokens, logprobs=told)
        options: dict[str, Any] = {"response_format": response_format, "tools": tools, "queue_timeout": None}
        if tool_choice is not None:
            options["tool_choice"] = tool_choice
        name = {"model": model or self.model_path}
        if stream:
            return self._chat_chunks(messages, params, options, name)
        return self.engine.chat(messages, params, **options).to_dict() | name

    def _chat_chunks(
        self,
        messages: Sequence[Mapping[str, Any]],
        params: SamplingParams,
        options: dict[str, Any],
        name: dict[str, str],
    ) -> Iterator[dict[str, Any]]:
        with self.engine.stream_chat(messages, params, **options) as chunks:
            for chunk in chunks:
                shape = chunk.to_dict() | name
                shape.pop("usage", None)
                yield shape

    def generate(
        self,
        tokens: Sequence[int],
        *,
        temp: float = 0.8,
        reset: bool = True,
        penalize_nl: bool = True,
        **sampling: Unpack[Sampling],
    ) -> Iterator[int]:
        """The ids of a completion as they are drawn, to the end of the context unless the caller stops asking. It ends
        at an end token, which is not among them. reset and penalize_nl mean nothing here."""
        params = self._params("generate", {"temperature": temp, **sampling}, max_tokens=None)
        with self.engine.stream(list(tokens), params, queue_timeout=None) as chunks:
            for chunk in chunks:
                yield from (token for token in chunk.token_ids if not self._tokenizer.is_eog(token))

    # --- embeddings

    def create_embedding(self, input: str | Sequence[str], model: str | None = None) -> dict[str, Any]:  # noqa: A002
        """OpenAI's list of embeddings as a dictionary; the vectors are not normalised."""
        texts = [input] if isinstance(input, str) else list(input)
        vectors, count = self.embed(texts, return_count=True)
        data = [{"object": "embedding", "embedding": row, "index": index} for index, row in enumerate(vectors)]
        usage = {"prompt_tokens": count, "total_tokens": count}
        return {"object": "list", "data": data, "model": model or self.model_path, "usage": usage}

    def embed(
        self,
        input: str | Sequence[str],  # noqa: A002  # the name there
        normalize: bool = False,
        truncate: bool = True,
        return_count: bool = False,
    ) -> Any:
        """A list of floats for a text, a list of those for a list. truncate: cut texts to the context instead of
        refusing them."""
        texts = [input] if isinstance(input, str) else list(input)
        ids = [self.engine.tokenize(text) for text in texts]
        if truncate:
            ids = [one[: self.engine.n_ctx - 1] for one in ids]
        found = self.engine.embed(ids, pooling=self._pooling, normalize=normalize).tolist() if ids else []
        result = found[0] if isinstance(input, str) else found
        return (result, sum(map(len, ids))) if return_count else result

    # --- tokens

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """The ids of UTF-8 bytes."""
        return self.engine.tokenize(text.decode(), add_special=add_bos, parse_special=special)

    def detokenize(
        self, tokens: Sequence[int], prev_tokens: Sequence[int] | None = None, special: bool = False
    ) -> bytes:
        """The bytes of ids. prev_tokens: what stands before them."""
        before = self._tokenizer.decode_bytes(prev_tokens or (), skip_special=not special)
        return self._tokenizer.decode_bytes([*(prev_tokens or ()), *tokens], skip_special=not special)[len(before) :]

    def token_bos(self) -> int:
        return _or_minus_one(self._tokenizer.bos_id)

    def token_eos(self) -> int:
        return _or_minus_one(self._tokenizer.eos_id)

    def token_nl(self) -> int:
        return _or_minus_one(self._tokenizer.newline_id)

    # --- what it is

    def n_ctx(self) -> int:
        return self.engine.n_ctx

    def n_vocab(self) -> int:
        return self.engine.n_vocab

    @property
    def metadata(self) -> dict[str, str]:
        """The file's key-value pairs as texts."""
        return {key: str(value) for key, value in self.engine.metadata.items()}

    def set_seed(self, seed: int) -> None:
        """The seed of requests that bring none."""
        self._seeds = count(seed)

    def reset(self) -> None:
        """Nothing to do: no request leaves state behind for the next."""

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _tokenizer(self) -> Tokenizer:
        if self.engine.tokenizer is None:
            raise InvalidRequestError("the model has no tokenizer", param="model_path")
        return self.engine.tokenizer

    def _params(
        self, call: str, given: Mapping[str, Any], *, max_tokens: int | None, logprobs: int | None = None
    ) -> SamplingParams:
        if given.get("seed") is None and self._seeds is not None:
            given = {**given, "seed": next(self._seeds)}  # in one step, for any thread
        return sampling_params(
            call,
            given,
            max_tokens=max_tokens,
            logprobs=logprobs,
            repeat_last_n=self._repeat_last_n,
            lora=self._lora,
        )


def _kv_type(key: int | None, value: int | None) -> KVType:
    if key != value or (key is not None and key not in KV_TYPES):
        known = ", ".join(map(str, KV_TYPES))
        raise InvalidRequestError(
            f"type_k and type_v must be the same one of {known}, found {key!r} and {value!r}", param="type_k"
        )
    return "f16" if key is None else KV_TYPES[key]


def _or_minus_one(token: int | None) -> int:
    return -1 if token is None else token
