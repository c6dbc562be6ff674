"""Everything that can refuse a request, in the caller's thread, before the request ring."""

from __future__ import annotations

import hashlib
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from oxillama._core.network.float_mode import DefaultFloatMode
from oxillama._core.output.handle import POOLINGS, Handle
from oxillama._core.scheduling.worker import Worker
from oxillama.adapters.table import AdapterTable, Applied
from oxillama.chat.thinking import Thinking
from oxillama.errors import ContextLengthError, InvalidRequestError, UnsupportedModelError
from oxillama.gguf.file import described
from oxillama.network.loader import Model
from oxillama.requests.beside import INLINE
from oxillama.requests.capabilities import can_rank
from oxillama.requests.delivery import Delivery, RequestSpec
from oxillama.requests.embedding_prompts import prefix_of
from oxillama.requests.forcing import VERDICTS, forced, single_tokens
from oxillama.requests.pairs import Pairs
from oxillama.sampling.params import EmbeddingParams, Lora, SamplingParams
from oxillama.structured.compiler import GrammarCompiler
from oxillama.structured.grammar import Grammar
from oxillama.tokenizer import Tokenizer, check_text
from oxillama.values import refused

# What `{architecture}.pooling_type` of a file means. 0 says nothing, as most generating models do.
POOLING_TYPES = {0: "mean", 1: "mean", 2: "cls", 3: "last"}
RANK_TYPE = 4
# Of a predicted text so much is read for each token that there is room for.
PREDICTION_BYTES_PER_TOKEN = 8

Prompt = str | Sequence[int] | npt.NDArray[np.integer[Any]]


class Admission:
    """Turns a caller's prompt and parameters into the core's handles, or raises what is wrong with them."""

    def __init__(
        self, model: Model, worker: Worker, adapters: AdapterTable, *, queue_size: int, speculates: bool = False
    ) -> None:
        self._model = model
        self._n_vocab = model.architecture.n_vocab
        self._tokenizer = model.tokenizer
        self._worker = worker
        self._adapters = adapters
        self._queue_size = queue_size
        self._speculates = speculates
        self._eog_tokens = sorted(model.tokenizer.eog_ids) if model.tokenizer else []
        if self._tokenizer is None:
            self._grammars = GrammarCompiler(None, self._n_vocab)
        else:
            self._grammars = GrammarCompiler.of(self._tokenizer, self._n_vocab)
        self._pairs: Pairs | None = None

    def require_tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise UnsupportedModelError(f"the model {self._model.name!r} has no tokenizer; use token ids")
        return self._tokenizer

    def require_logits(self) -> None:
        """InvalidRequestError for a model that writes nothing, with what it does instead."""
        heads = self._model.heads
        if not heads.has_logits:
            does = "it embeds texts and ranks documents" if heads.scores else "it embeds texts"
            raise InvalidRequestError(f"the model {self._model.name!r} generates no text: {does}", param="model")

    def work_size(self, size: int, params: SamplingParams | None, options: Mapping[str, Any]) -> int:
        """As for `beside`: the `size` of a prompt, or more where a grammar is to be compiled."""
        # What is no SamplingParams is refused where the request is made.
        grammar = options.get("grammar") if params is None else getattr(params, "grammar", None)
        return size if self._grammars.is_ready(grammar) else max(size, INLINE + 1)

    def generation(
        self, prompt: Prompt, params: SamplingParams, cache_salt: str | None, thinking: Thinking | None = None
    ) -> Delivery:
        """One handle per choice, not yet submitted. thinking: what is known of how its reply thinks."""
        self.require_logits()
        with self._adapters.applied(params.lora) as applied:
            return self._generation(prompt, params, cache_salt, applied, thinking or Thinking())

    def _generation(
        self, prompt: Prompt, params: SamplingParams, cache_salt: str | None, applied: Applied, thinking: Thinking
    ) -> Delivery:
        n_choices = params.best_of or params.n
        if n_choices > self._queue_size:
            param = "n" if params.best_of is None else "best_of"
            raise InvalidRequestError(f"{param} is {n_choices}, the queue holds {self._queue_size}", param=param)
        ids = self._tokens(applied.text(prompt))
        if params.stop:
            self.require_tokenizer()
        if len(ids) >= self._model.n_ctx:
            raise self._too_long(len(ids))
        salt = _salt(cache_salt)
        # best_of chooses by log-probability, whether the caller wants to see it or not.
        scored = params.replace(logprobs=params.logprobs or 0) if n_choices > params.n else params
        with DefaultFloatMode():
            sampling = scored.resolve(n_vocab=self._n_vocab, tokenizer=self._tokenizer, eog_tokens=self._eog_tokens)
        room = self._model.n_ctx - len(ids)
        prediction = self._prediction(params.prediction, room)
        tokenizer = self._tokenizer
        constraints = [
            thinking.limited(tokenizer, self._n_vocab, params, inner)
            for inner in self._grammars.constraints(params.grammar, n_choices)
        ]
        handles = [
            Handle(
                self._worker,
                ids,
                max_output=room if params.max_tokens is None else min(params.max_tokens, room),
                sampling=sampling,
                stream=thinking.text_stream(tokenizer, params) if tokenizer else None,
                n_logprobs=-1 if scored.logprobs is None else scored.logprobs,
                # All choices have the same prompt: one of them scores it.
                n_prompt_logprobs=-1 if choice or params.prompt_logprobs is None else params.prompt_logprobs,
                first_prompt_logprob=params.prompt_logprobs_start,
                min_tokens=params.min_tokens,
                speculates=self._speculates,
                choice=choice,
                priority=params.priority,
                deadline=params.deadline,
                cache_prompt=params.cache_prompt,
                salt=salt,
                constraint=constraints[choice],
                prediction=prediction,
                adapters=applied.adapters,
            )
            for choice in range(n_choices)
        ]
        if not handles[0].fits:
            raise self._too_long(len(ids))
        spec = self._spec(
            "cmpl",
            seed=sampling.seed,
            stops=tuple(params.stop),
            n=params.n,
            wants_logprobs=params.logprobs is not None,
            grammar=params.grammar if isinstance(params.grammar, Grammar) else None,
            expires=_expiry(params.deadline),
        )
        return Delivery(handles, spec, self._tokenizer)

    def _prediction(self, text: str | None, room: int) -> npt.NDArray[np.int32] | None:
        """The tokens of an expected text, as far as a reply may follow them."""
        if not text:
            return None
        # A token has so many bytes at most on average; what could not be reached is not read.
        most = PREDICTION_BYTES_PER_TOKEN * room
        ids = self.require_tokenizer().encode(text[:most], add_special=False)
        return np.array(ids, dtype=np.int32)

    def evaluation(self, prompt: Prompt, *, keep_logits: bool, lora: Lora = None) -> Delivery:
        """A handle that keeps the logits of the prompt, or scores it."""
        self.require_logits()
        with self._adapters.applied(lora) as applied:
            ids = self._tokens(applied.text(prompt))
            if len(ids) > self._model.n_ctx:
                raise self._too_long(len(ids))
            handle = Handle(
                self._worker,
                ids,
                keep_logits=keep_logits,
                n_prompt_logprobs=-1 if keep_logits else 0,
                adapters=applied.adapters,
            )
        if not handle.fits:
            raise self._too_long(len(ids))
        return Delivery([handle], self._spec("eval"), self._tokenizer)

    def embedding(self, prompt: Prompt, params: EmbeddingParams, *, second_start: int = -1) -> Delivery:
        """A handle whose result is made of the hidden states of the prompt. second_start: where the second text
        of a pair begins."""
        heads = self._model.heads
        if heads.embedding == 0:
            raise UnsupportedModelError(f"the model {self._model.name!r} gives no embeddings")
        pooling = params.pooling or self._file_pooling()
        width = heads.scores if pooling == "rank" else heads.embedding
        if width == 0:
            raise refused("pooling", "one without a classifier, which the model does not have", pooling)
        if params.dimensions is not None and params.dimensions > width:
            raise refused("dimensions", f"at most the model's {width}", params.dimensions)
        with self._adapters.applied(params.lora) as applied:
            ids = self._tokens(self._cut(applied.text(self._prefixed(prompt, params)), params), param="input")
            if len(ids) > self._model.max_prompt:
                raise self._too_long(len(ids), param="input")
            handle = Handle(
                self._worker,
                ids,
                pooling=pooling,
                # The length of a row of scores says nothing.
                normalize=params.normalize and pooling != "rank",
                dimensions=width if params.dimensions is None else params.dimensions,
                priority=params.priority,
                deadline=params.deadline,
                second_start=second_start,
                adapters=applied.adapters,
            )
        if not handle.fits:
            raise self._too_long(len(ids), param="input")
        return Delivery([handle], self._spec("embd", expires=_expiry(params.deadline)), self._tokenizer)

    def _prefixed(self, prompt: Prompt, params: EmbeddingParams) -> Prompt:
        if params.prompt is None and params.prefix is None:
            return prompt
        param = "prompt" if params.prefix is None else "prefix"
        if not isinstance(prompt, str):
            raise InvalidRequestError(f"`{param}` is for texts; token ids are read as they are", param=param)
        if params.prefix is not None:
            return params.prefix + prompt
        assert params.prompt is not None
        return prefix_of(self._model.metadata, params.prompt) + prompt

    def _cut(self, prompt: Prompt, params: EmbeddingParams) -> Prompt:
        """With `truncate` what the model can read of it; what a vocabulary puts behind a text stays its end."""
        most = self._model.max_prompt
        if not params.truncate or not isinstance(prompt, str):
            return prompt[:most] if params.truncate and isinstance(prompt, Sequence | np.ndarray) else prompt
        tokenizer = self.require_tokenizer()
        check_text(prompt)
        ids = tokenizer.encode(prompt)
        if len(ids) <= most:
            return ids
        tail = len(ids) - len(tokenizer.encode(prompt, add_special=False)) - (tokenizer.bos_id in ids[:1])
        return ids[: most - tail] + ids[len(ids) - tail :]

    def ranking(self, query: str, document: str, params: EmbeddingParams, *, truncate: bool) -> Delivery:
        """A handle whose result is what the classifier says of a document; without one, where the file has a template
        for ranking, two: how likely the model is to answer yes, and no."""
        if not can_rank(self._model):
            raise InvalidRequestError(
                f"the model {self._model.name!r} has no classifier to rank with, nor a template that asks it",
                param="model",
            )
        if not isinstance(truncate, bool):
            raise refused("truncate", "True or False", truncate)
        if self._pairs is None:
            most = self._model.max_prompt
            limit = most if self._model.heads.scores else min(most, self._model.n_ctx - 1)
            self._pairs = Pairs(self.require_tokenizer(), self._model.metadata, limit=limit)
        pair = self._pairs.pair(query, document, truncate=truncate)
        if self._model.heads.scores:
            return self.embedding(pair.ids, params, second_start=pair.second_start)
        return self._verdict(np.array(pair.ids, np.int32), params)

    def _verdict(self, ids: npt.NDArray[np.int32], params: EmbeddingParams) -> Delivery:
        tokens = single_tokens(self.require_tokenizer(), VERDICTS)
        if tokens is None:
            words = " and ".join(map(repr, VERDICTS))
            raise UnsupportedModelError(
                f"the vocabulary has no single tokens for {words}, by which documents are ranked"
            )
        handles = []
        for choice, token in enumerate(tokens):
            with DefaultFloatMode():
                sampling = forced(token).resolve(
                    n_vocab=self._n_vocab, tokenizer=self._tokenizer, eog_tokens=self._eog_tokens
                )
            handles.append(
                Handle(
                    self._worker,
                    ids,
                    max_output=1,
                    sampling=sampling,
                    n_logprobs=0,
                    choice=choice,
                    priority=params.priority,
                    deadline=params.deadline,
                )
            )
        if not handles[0].fits:
            raise self._too_long(len(ids), param="documents")
        spec = self._spec("rank", n=len(VERDICTS), wants_logprobs=True, expires=_expiry(params.deadline))
        return Delivery(handles, spec, self._tokenizer)

    def _spec(self, kind: str, **known: Any) -> RequestSpec:
        return RequestSpec(id=f"{kind}-{uuid.uuid4().hex}", model=self._model.name, created=int(time.time()), **known)

    def _file_pooling(self) -> str:
        metadata = self._model.metadata
        # A file with a classifier and without the key was made for ranking.
        default = RANK_TYPE if self._model.heads.scores else 0
        number = metadata.get(f"{metadata['general.architecture']}.pooling_type", default)
        if not isinstance(number, int) or number not in POOLING_TYPES:
            raise InvalidRequestError(
                f"the file's pooling_type is {described(number)}, which makes no embeddings: rank documents, or name "
                f"one of {', '.join(POOLINGS)}",
                param="pooling",
            )
        return POOLING_TYPES[number]

    def _tokens(self, prompt: Prompt, param: str = "prompt") -> npt.NDArray[np.int32]:
        if isinstance(prompt, str):
            prompt = self._encode(prompt, param)
        ids = _integers(prompt, param)
        if ids.size == 0:
            raise InvalidRequestError(f"the {param} is empty", param=param)
        outside = ids[(ids < 0) | (ids >= self._n_vocab)]
        if outside.size:
            raise InvalidRequestError(
                f"token {outside[0]} of the {param} is not in the vocabulary of {self._n_vocab}", param=param
            )
        return np.ascontiguousarray(ids, dtype=np.int32)

    def _encode(self, prompt: str, param: str) -> list[int]:
        try:
            return self.require_tokenizer().encode(prompt, limit=self._model.max_prompt)
        except ContextLengthError as error:
            raise self._too_long(error.n_prompt_tokens, param, at_least=error.at_least) from None
        except InvalidRequestError as error:
            raise InvalidRequestError(str(error), param=param) from None

    def _too_long(self, n_prompt: int, param: str = "prompt", *, at_least: bool = False) -> ContextLengthError:
        n_ctx, held, whole = self._model.n_ctx, self._model.kv_tokens, self._model.heads.whole_tokens
        limit = f"the context holds {n_ctx}" + (f" and the KV cache {held}" if held < n_ctx else "")
        if 0 < whole < n_ctx:
            limit += f", and max_batch_tokens lets a step have {whole}, in which this model reads a text as a whole"
        return ContextLengthError(
            f"the {param} has {'at least ' if at_least else ''}{n_prompt} tokens, {limit}",
            n_prompt_tokens=n_prompt,
            n_ctx=self._model.max_prompt,
            param=param,
            at_least=at_least,
        )


def prompt_size(prompt: object) -> int:
    """Characters or token ids, without looking at them; 0 for what is no prompt."""
    if isinstance(prompt, np.ndarray):
        return int(prompt.size)
    return len(prompt) if isinstance(prompt, Sequence) else 0


def _expiry(deadline: float | None) -> float:
    return math.inf if deadline is None else time.monotonic() + deadline


def _salt(cache_salt: str | None) -> bytes:
    if cache_salt is None:
        return b""
    if not isinstance(cache_salt, str):
        raise refused("cache_salt", "a str", cache_salt)
    return hashlib.blake2b(cache_salt.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _integers(prompt: object, param: str) -> npt.NDArray[np.integer[Any]]:
    expected = f"the {param} must be a str or a flat sequence of token ids"
    if isinstance(prompt, bytes | bytearray):
        raise InvalidRequestError(f"{expected}, found {type(prompt).__name__}", param=param)
    try:
        ids = np.asarray(prompt)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequestError(f"{expected}, found {type(prompt).__name__}", param=param) from error
    if ids.ndim == 1 and ids.dtype == object and all(isinstance(one, int) for one in ids):
        # Beyond what any vocabulary, or 64 bits, can count.
        raise InvalidRequestError(f"token {max(ids, key=abs)} of the {param} is not in the vocabulary", param=param)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise InvalidRequestError(f"{expected}, found {ids.ndim} dimensions of {ids.dtype}", param=param)
    return ids
