"""The engine an app holds: a loaded model, its worker, and every way to ask it for something."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import anyio.to_thread
import numpy as np
import numpy.typing as npt

from oxillama._core.float_mode import DefaultFloatMode
from oxillama._core.handle import ACCEPTED, QUEUE_FULL, Handle, submit
from oxillama._core.program import Program
from oxillama._core.ticket import Ticket
from oxillama._core.worker import Worker
from oxillama.admission import Admission, Prompt
from oxillama.batch import Batch
from oxillama.chat_calls import ChatCalls
from oxillama.conversation import Conversation
from oxillama.demo import demo_path
from oxillama.embedding import EmbeddingBatch, EmbeddingHandle, Inputs
from oxillama.errors import EngineClosedError, EngineForkedError, QueueFullError
from oxillama.limits import default_threads
from oxillama.loader import CacheConfig, load_model, open_model
from oxillama.params import EmbeddingParams, SamplingParams, chosen_params
from oxillama.progress import Progress, stoppable
from oxillama.request import CompletionStream, RequestHandle
from oxillama.results import Completion
from oxillama.stats import EngineStats
from oxillama.values import integer, real, refused

State = Literal["loading", "ready", "draining", "closed", "failed"]

MAX_QUEUE = MAX_BATCH = (1 << 20) - 1
# Far more than helps. OpenMP ends the process when the system refuses it a thread.
MAX_THREADS = 512
MAX_STEP_MS = 1e9
# Waiting raises a request's priority by one level each time this has passed.
PRIORITY_AGING_SECONDS = 10.0
# How often a drain looks whether the last request has ended.
DRAIN_POLL_SECONDS = 0.005

_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@dataclass(frozen=True)
class Memory:
    """Bytes that an engine's model takes."""

    weights: int
    kv_cache: int


class Engine(ChatCalls):
    """A GGUF model inside this process, serving any number of threads and tasks at once.

    n_ctx: context in tokens; None: as trained, reduced (with a warning) only to fit the KV cache into half of the
    available memory. n_threads: None: what this process may use, see `oxillama.limits`. max_batch_size: sequences that
    advance together. max_batch_tokens: most tokens of one step. max_step_ms: how long a step may take while somebody is
    generating. queue_size: requests submitted and not yet running. kv_dtype: "f16", "f32", "bf16" or "q8_0".
    kv_cache_tokens: tokens that all sequences share; None: as many as fit half of the available memory, at most
    n_ctx x max_batch_size. prefix_cache: reuse the KV of common beginnings. mmap: map the file instead of reading it.
    chat_template: a Jinja template instead of the file's own.
    progress: True, False, None (a bar if stderr is a terminal) or a callable (done bytes, total bytes).

    Raises OSError, ModelLoadError or UnsupportedModelError, each naming what was expected and what was found."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        max_batch_size: int = 32,
        max_batch_tokens: int = 512,
        max_step_ms: float = 100,
        queue_size: int = 256,
        kv_dtype: str = "f16",
        kv_cache_tokens: int | None = None,
        prefix_cache: bool = True,
        mmap: bool = True,
        chat_template: str | None = None,
        progress: Progress = None,
    ) -> None:
        self._state: State = "loading"
        self._closing = threading.RLock()
        queue_size = integer("queue_size", queue_size, 1, MAX_QUEUE)
        max_batch_size = integer("max_batch_size", max_batch_size, 1, MAX_BATCH)
        max_batch_tokens = max(max_batch_size, integer("max_batch_tokens", max_batch_tokens, 1, MAX_BATCH))
        n_threads = default_threads() if n_threads is None else integer("n_threads", n_threads, 1, MAX_THREADS)
        max_step_ns = max(1, int(real("max_step_ms", max_step_ms, 0, MAX_STEP_MS) * 1e6))
        for name, flag in (("prefix_cache", prefix_cache), ("mmap", mmap)):
            if not isinstance(flag, bool):
                raise refused(name, "True or False", flag)
        if chat_template is not None and not isinstance(chat_template, str):
            raise refused("chat_template", "a str or None", chat_template)
        cache = CacheConfig(n_ctx=n_ctx, kv_dtype=kv_dtype, kv_cache_tokens=kv_cache_tokens)
        # Numbers made here must not depend on the floating-point mode that a host library left in this thread.
        with open_model(path, mmap=mmap) as file, DefaultFloatMode():
            loaded = load_model(
                path,
                cache=cache,
                max_batch_size=max_batch_size,
                max_batch_tokens=max_batch_tokens,
                n_threads=n_threads,
                progress=progress,
                file=file,
            )
        self._model = loaded.model
        self._metadata: Mapping[str, Any] = self._model.metadata
        self.tokenizer = self._model.tokenizer
        self._conversation = Conversation(self.tokenizer, self._metadata, chat_template) if self.tokenizer else None
        self._queue_size = queue_size
        self._max_batch_size = max_batch_size
        self._worker = Worker(
            loaded.program,
            self.tokenizer.table if self.tokenizer else None,
            n_ctx=self._model.n_ctx,
            max_batch_size=max_batch_size,
            max_step_ns=max_step_ns,
            priority_aging_ns=int(PRIORITY_AGING_SECONDS * 1e9),
            queue_size=queue_size,
            prefix_cache=prefix_cache,
        )
        self._admission = Admission(self._model, self._worker, queue_size=queue_size)
        self._state = "ready"
        _open_engines.add(self)

    @classmethod
    def demo(cls, **options: Any) -> Self:
        """The embedded demo model: a small storyteller."""
        return cls(demo_path(), **options)

    @classmethod
    async def aopen(cls, path: str | os.PathLike[str], **options: Any) -> Engine:
        """Opens a model without blocking the event loop. Cancelling ends the loading at the next tensor."""
        cancelled = False
        wanted = options.pop("progress", None)

        def load() -> Engine:
            with stoppable(wanted, lambda: cancelled, label="loading") as progress:
                return cls(path, progress=progress, **options)

        try:
            return await anyio.to_thread.run_sync(load, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            cancelled = True
            raise

    # --- what it is

    @property
    def state(self) -> State:
        """ "loading", "ready", "draining", "closed" (as in every forked child), or "failed": the worker ended without
        being told to."""
        if self._state in ("ready", "draining"):
            if self._worker.pid != os.getpid():
                return "closed"
            if not self._worker.is_running:
                return "failed"
        return self._state

    @property
    def name(self) -> str:
        """The file name without its suffix."""
        return self._model.name

    @property
    def n_ctx(self) -> int:
        return self._model.n_ctx

    @property
    def n_vocab(self) -> int:
        return self._model.architecture.n_vocab

    @property
    def n_threads(self) -> int:
        return self._model.n_threads

    @property
    def max_batch_size(self) -> int:
        """Sequences that advance together."""
        return self._max_batch_size

    @property
    def architecture(self) -> str:
        return str(self._metadata["general.architecture"])

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The file's key-value pairs."""
        return self._metadata

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that chats are rendered with: the one given to the engine, or the file's own."""
        return self._conversation.template if self._conversation else None

    @property
    def memory(self) -> Memory:
        return Memory(weights=self._model.weight_bytes, kv_cache=self._model.kv_bytes)

    @property
    def program(self) -> Program | None:
        """The lowered network, for those who measure; None when closed."""
        return self._worker.program

    def stats(self) -> EngineStats:
        """What the worker is doing, read without stopping it."""
        return EngineStats.from_worker(self._worker.stats())

    def __repr__(self) -> str:
        return f"<Engine {self.name!r}: {self.architecture}, context {self.n_ctx}, {self.state}>"

    # --- text and tokens

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        return self._admission.require_tokenizer().encode(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, ids: Iterable[int]) -> str:
        return self._admission.require_tokenizer().decode(ids)

    # --- generation

    def prepare(self, prompt: Prompt, params: SamplingParams | None = None, **options: Any) -> RequestHandle:
        """A request that has been checked and not yet submitted: `enter()` does that. options: as for submit()."""
        queue_timeout, cache_salt = options.pop("queue_timeout", 0), options.pop("cache_salt", None)
        return self._prepare(prompt, params, queue_timeout, cache_salt, options)

    def submit(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        queue_timeout: float | None = 0,
        cache_salt: str | None = None,
        **options: Any,
    ) -> RequestHandle:
        """Starts a request and returns at once; the primitive under all other calls.

        options: the fields of SamplingParams, instead of `params`. queue_timeout: seconds to wait for room in the queue
        (None: until the deadline). cache_salt: only requests of the same salt share cached prompts, so that nobody can
        tell by the time what others have asked.

        Raises InvalidRequestError, ContextLengthError, QueueFullError, EngineClosedError or EngineForkedError."""
        handle = self._prepare(prompt, params, queue_timeout, cache_salt, options)
        handle.enter()
        return handle

    async def asubmit(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        queue_timeout: float | None = 0,
        cache_salt: str | None = None,
        **options: Any,
    ) -> RequestHandle:
        handle = self._prepare(prompt, params, queue_timeout, cache_salt, options)
        await handle.aenter()
        return handle

    def generate(self, prompt: Prompt, params: SamplingParams | None = None, **options: Any) -> Completion:
        """The whole completion of a prompt. options: as for submit()."""
        handle = self.submit(prompt, params, **options)
        try:
            return handle.result()
        except BaseException:
            handle.cancel()
            raise

    async def agenerate(self, prompt: Prompt, params: SamplingParams | None = None, **options: Any) -> Completion:
        handle = await self.asubmit(prompt, params, **options)
        try:
            return await handle.aresult()
        except BaseException:
            handle.cancel()
            raise

    def stream(self, prompt: Prompt, params: SamplingParams | None = None, **options: Any) -> CompletionStream:
        """The completion as it is written, a chunk per token. options: as for submit()."""
        return CompletionStream(self.submit(prompt, params, **options))

    def astream(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        queue_timeout: float | None = 0,
        cache_salt: str | None = None,
        **options: Any,
    ) -> CompletionStream:
        """`async for chunk in engine.astream(...)`. What is wrong with the request is raised here; a full queue too,
        or, where queue_timeout allows a wait, by the first chunk."""
        handle = self._prepare(prompt, params, queue_timeout, cache_salt, options)
        handle.try_enter()
        return CompletionStream(handle)

    def generate_batch(
        self,
        prompts: Iterable[Prompt],
        params: SamplingParams | None = None,
        *,
        cache_salt: str | None = None,
        progress: Progress = False,
        **options: Any,
    ) -> list[Completion]:
        """Completions of many prompts, in their order. Keeps at most queue_size in flight, so the queue is never full
        for it."""
        batch: Batch[RequestHandle, Completion] = Batch(prompts, max_flight=self._queue_size)
        chosen = chosen_params(params, options)
        with batch.running(progress, label="generating") as advance:
            while not batch.done:
                while batch.has_room:
                    batch.add(self.submit(batch.next_prompt(), chosen, queue_timeout=None, cache_salt=cache_salt))
                batch.store(batch.oldest.result())
                advance(1)
        return batch.results

    async def agenerate_batch(
        self,
        prompts: Iterable[Prompt],
        params: SamplingParams | None = None,
        *,
        cache_salt: str | None = None,
        progress: Progress = False,
        **options: Any,
    ) -> list[Completion]:
        batch: Batch[RequestHandle, Completion] = Batch(prompts, max_flight=self._queue_size)
        chosen = chosen_params(params, options)
        with batch.running(progress, label="generating") as advance:
            while not batch.done:
                while batch.has_room:
                    prompt = batch.next_prompt()
                    batch.add(await self.asubmit(prompt, chosen, queue_timeout=None, cache_salt=cache_salt))
                batch.store(await batch.oldest.aresult())
                advance(1)
        return batch.results

    # --- embeddings

    def prepare_embedding(self, prompt: Prompt, *, queue_timeout: float | None = 0, **options: Any) -> EmbeddingHandle:
        """One embedding that has been checked and not yet submitted: `enter()` does that. options: as for
        submit_embedding()."""
        params = EmbeddingParams(**options)
        self._check_usable()
        request = self._admission.embedding(prompt, params)
        return EmbeddingHandle(RequestHandle(self, *request, patience=_patience(queue_timeout)))

    def submit_embedding(self, prompt: Prompt, *, queue_timeout: float | None = 0, **options: Any) -> EmbeddingHandle:
        """Starts the embedding of one text or token sequence and returns at once; its handle also knows the usage.

        options: the fields of EmbeddingParams. queue_timeout: as for submit(). Never reads or fills the prefix
        cache."""
        handle = self.prepare_embedding(prompt, queue_timeout=queue_timeout, **options)
        handle.enter()
        return handle

    async def asubmit_embedding(
        self, prompt: Prompt, *, queue_timeout: float | None = 0, **options: Any
    ) -> EmbeddingHandle:
        handle = self.prepare_embedding(prompt, queue_timeout=queue_timeout, **options)
        await handle.aenter()
        return handle

    def embed(self, inputs: Inputs, *, progress: Progress = False, **options: Any) -> npt.NDArray[np.float32]:
        """float32 [n inputs, dimensions]: the embeddings of a text, a sequence of token ids, or a list of either.

        options: the fields of EmbeddingParams; pooling "none" needs a handle for each input. Keeps at most queue_size
        in flight, so the queue is never full for it."""
        batch = EmbeddingBatch(inputs, EmbeddingParams(**options), max_flight=self._queue_size)
        with batch.running(progress, label="embedding") as advance:
            while not batch.done:
                while batch.has_room:
                    batch.add(self.submit_embedding(batch.next_prompt(), queue_timeout=None, **options))
                batch.store(batch.oldest.result())
                advance(1)
        return batch.matrix(self._model.embedding_width)

    async def aembed(self, inputs: Inputs, *, progress: Progress = False, **options: Any) -> npt.NDArray[np.float32]:
        batch = EmbeddingBatch(inputs, EmbeddingParams(**options), max_flight=self._queue_size)
        with batch.running(progress, label="embedding") as advance:
            while not batch.done:
                while batch.has_room:
                    batch.add(await self.asubmit_embedding(batch.next_prompt(), queue_timeout=None, **options))
                batch.store(await batch.oldest.aresult())
                advance(1)
        return batch.matrix(self._model.embedding_width)

    # --- evaluation

    def logits(self, prompt: Prompt) -> npt.NDArray[np.float32]:
        """float32 [n tokens, n_vocab]: the logits after each token of the prompt."""
        return self._evaluate(prompt, keep_logits=True).logits()

    def logprobs(self, prompt: Prompt) -> npt.NDArray[np.float32]:
        """float32 [n tokens]: the log-probability of each token given those before it; the first is NaN."""
        return self._evaluate(prompt, keep_logits=False).prompt_logprobs()

    async def alogits(self, prompt: Prompt) -> npt.NDArray[np.float32]:
        return (await self._aevaluate(prompt, keep_logits=True)).logits()

    async def alogprobs(self, prompt: Prompt) -> npt.NDArray[np.float32]:
        return (await self._aevaluate(prompt, keep_logits=False)).prompt_logprobs()

    def _evaluate(self, prompt: Prompt, *, keep_logits: bool) -> Handle:
        request = self._prepare_evaluation(prompt, keep_logits)
        try:
            request.result()
        except BaseException:
            request.cancel()
            raise
        return request.handles[0]

    async def _aevaluate(self, prompt: Prompt, *, keep_logits: bool) -> Handle:
        request = self._prepare_evaluation(prompt, keep_logits)
        try:
            await request.aresult()
        except BaseException:
            request.cancel()
            raise
        return request.handles[0]

    # --- the end

    def drain(self, timeout: float | None = None) -> bool:
        """Refuses new requests and waits for those that run; False if some still run after `timeout` seconds."""
        limit = math.inf if timeout is None else time.monotonic() + timeout
        self._begin_drain()
        while self._is_busy():
            if time.monotonic() >= limit:
                return False
            time.sleep(DRAIN_POLL_SECONDS)
        return True

    async def adrain(self, timeout: float | None = None) -> bool:
        limit = math.inf if timeout is None else time.monotonic() + timeout
        self._begin_drain()
        while self._is_busy():
            if time.monotonic() >= limit:
                return False
            await anyio.sleep(DRAIN_POLL_SECONDS)
        return True

    def close(self) -> None:
        """Ends open requests with EngineClosedError, then the worker, and frees weights and cache. May be called again,
        from any thread; returns when all of it has ended."""
        if self._worker.pid != os.getpid():
            self._state = "closed"
            return
        with self._closing:
            self._state = "closed"
            self._worker.close()
        _open_engines.discard(self)

    async def aclose(self) -> None:
        await anyio.to_thread.run_sync(self.close)

    def wake(self) -> None:
        """Makes the worker look at cancellations now."""
        if self._state != "closed" and self._worker.pid == os.getpid():
            self._worker.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- inside

    def check_process(self) -> None:
        """Raises EngineForkedError in a forked child, where nobody would ever answer."""
        if self._worker.pid != os.getpid():
            raise EngineForkedError("the engine belongs to the parent process; open a new one after fork()")

    def join_line(self, n_places: int) -> Ticket:
        """A place among those who wait for room in the queue."""
        self.check_process()
        return Ticket(self._worker, n_places)

    def try_submit(self, handles: list[Handle], ticket: Ticket | None = None) -> bool:
        """Hands the core's handles to the worker; False if the queue is full, or the ticket's turn has not come."""
        self._check_usable()
        status = submit(self._worker, handles, ticket)
        if status not in (ACCEPTED, QUEUE_FULL):
            raise EngineClosedError("the engine is closed")
        return status == ACCEPTED

    def queue_full_error(self) -> QueueFullError:
        # As long as the running ones need for some tokens: somebody will be done by then, or the answer comes again.
        wait = min(120.0, max(1.0, 20 * self.stats().step_seconds))
        return QueueFullError(f"{self._queue_size} requests are waiting already", retry_after=wait)

    def _check_usable(self) -> None:
        self.check_process()
        if self._state == "draining":
            raise EngineClosedError("the engine is draining and takes no new requests")
        if self.state in ("closed", "failed"):
            raise EngineClosedError(f"the engine is {self.state}")

    def _prepare(
        self,
        prompt: Prompt,
        params: SamplingParams | None,
        queue_timeout: float | None,
        cache_salt: str | None,
        options: dict[str, Any],
    ) -> RequestHandle:
        chosen = chosen_params(params, options)
        self._check_usable()
        request = self._admission.generation(prompt, chosen, cache_salt)
        return RequestHandle(self, *request, patience=_patience(queue_timeout))

    def _prepare_evaluation(self, prompt: Prompt, keep_logits: bool) -> RequestHandle:
        self._check_usable()
        request = self._admission.evaluation(prompt, keep_logits=keep_logits)
        return RequestHandle(self, *request, patience=math.inf)

    def _begin_drain(self) -> None:
        self.check_process()
        if self._state == "ready":
            self._state = "draining"
            self._worker.wake_waiting()

    def _is_busy(self) -> bool:
        if self.state in ("closed", "failed"):
            return False
        stats = self.stats()
        return stats.queue_depth > 0 or stats.running > 0 or stats.waiting > 0


def _patience(queue_timeout: float | None) -> float:
    return math.inf if queue_timeout is None else real("queue_timeout", queue_timeout, 0, math.inf)


@atexit.register
def _close_open_engines() -> None:
    for engine in list(_open_engines):
        if engine._worker.pid == os.getpid():
            engine.close()
