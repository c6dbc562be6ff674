"""The engine an app holds: a loaded model, its worker, and every way to ask it for something."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack

import anyio.to_thread

from oxillama._core.network.float_mode import DefaultFloatMode
from oxillama._core.network.program import Program
from oxillama.adapters.calls import AdapterCalls
from oxillama.adapters.table import AdapterTable
from oxillama.chat.conversation import Conversation, checked_template
from oxillama.chat.messages import AnyMessage
from oxillama.chat.templates import resolve_chat_template
from oxillama.chat.thinking import Thinking
from oxillama.config import CacheConfig, SchedulerConfig, WeightsConfig
from oxillama.decisions import Decision, Question
from oxillama.demo import demo_path
from oxillama.hub import fetch
from oxillama.lifecycle import Lifecycle, State
from oxillama.limits import default_threads
from oxillama.network.draft import load_draft
from oxillama.network.loader import load_model
from oxillama.network.memory_plan import open_model
from oxillama.process_bound import ProcessBound
from oxillama.progress import Progress, stoppable_beside
from oxillama.requests.admission import Admission, Prompt, prompt_size
from oxillama.requests.batch_calls import BatchCalls
from oxillama.requests.beside import INLINE, beside, beside_if_long
from oxillama.requests.capabilities import Capability, capabilities
from oxillama.requests.chat_calls import ChatCalls
from oxillama.requests.completion_builder import CompletionBuilder, CompletionStream
from oxillama.requests.deciding import MAX_PROMPTS, Deciding, Matter, Scoring, adecide, decide
from oxillama.requests.delivery import Delivery
from oxillama.requests.options import (
    EngineOptions,
    F16Weights,
    KVType,
    RequestOptions,
    SamplingOptions,
    Speculation,
    ToolRunOptions,
)
from oxillama.requests.reading_calls import ReadingCalls
from oxillama.requests.request import RequestHandle, RequestT, cancelled_on_failure
from oxillama.requests.result_builder import ResultBuilder
from oxillama.requests.stream import Later
from oxillama.results.completion import Completion
from oxillama.results.stats import EngineStats, Memory
from oxillama.sampling.params import SamplingParams, chosen_params
from oxillama.sampling.presets import RecommendedSampling, recommended
from oxillama.tokenizer import Tokenizer
from oxillama.tools.loop import AsyncToolRun, ToolRun
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import GivenSyntax, given_syntax
from oxillama.turns import Turns
from oxillama.values import integer, real, refused

# Far more than helps.
MAX_THREADS = 512


class Engine(ChatCalls, ReadingCalls, AdapterCalls, BatchCalls, ProcessBound):
    """A GGUF model inside this process, serving any number of threads and tasks at once.

    n_ctx: context in tokens; None: as trained, reduced (with a warning) only to fit the KV cache into half of the
    available memory. n_threads: None: what this process may use, see `oxillama.limits`. max_batch_size: sequences that
    advance together. max_batch_tokens: most tokens of one step; None: 512, or n_ctx if the model reads texts as a
    whole. max_step_ms: how long a step may take while somebody is generating. queue_size: requests submitted and not
    yet running. kv_dtype: "f16", "f32", "bf16" or "q8_0". f16: "bf16" rounds the weights of F16 files, which makes
    prompts faster where the processor multiplies BF16, and texts a little different; "exact" keeps them.
    kv_cache_tokens: tokens that all sequences share, promised at once and taken with use; None: 4 x n_ctx, or 1024 x
    max_batch_size if more, within n_ctx x max_batch_size and half of the available memory. prefix_cache: reuse the KV
    of common beginnings. prefix_cache_tokens: so many of them are kept before memory grows for others; None: a quarter
    of kv_cache_tokens, at least n_ctx. draft: the file of a small model of the same vocabulary that guesses while few
    sequences run, as long as that makes tokens cheaper; results are the same. speculation: "auto": while few sequences
    run, what followed the same tokens earlier in a request is computed ahead, and kept where the model writes it;
    results are the same. mmap: map the file instead of reading it. chat_template: instead of the file's own: a Jinja
    template, a name (chatml, llama3, mistral, gemma ...) or the path of a file, see `oxillama.chat.templates`; one that
    leaves out what the messages say is a TemplateError. tool_syntax: how the model calls tools, where its template does
    not show it: a name of `oxillama.tools.table`, a ReplySyntax or its fields. progress: True, False, None (a bar if
    stderr is a terminal) or a callable (done bytes, total bytes). turns: engines that are given the same `Turns` take
    one step after the other instead of sharing the processors.

    Raises OSError, ModelLoadError or UnsupportedModelError, each naming what was expected and what was found."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        max_batch_size: int = 32,
        max_batch_tokens: int | None = None,
        max_step_ms: float = 100,
        queue_size: int = 256,
        kv_dtype: KVType = "f16",
        f16: F16Weights = "exact",
        kv_cache_tokens: int | None = None,
        prefix_cache: bool = True,
        prefix_cache_tokens: int | None = None,
        draft: str | os.PathLike[str] | None = None,
        speculation: Speculation = "auto",
        mmap: bool = True,
        chat_template: str | os.PathLike[str] | None = None,
        tool_syntax: GivenSyntax | None = None,
        progress: Progress = None,
        turns: Turns | None = None,
    ) -> None:
        scheduler = SchedulerConfig(
            max_batch_size, max_batch_tokens, max_step_ms, queue_size, prefix_cache, speculation
        )
        cache = CacheConfig(n_ctx, kv_dtype, kv_cache_tokens, prefix_cache_tokens, draft is not None)
        weights = WeightsConfig(f16)
        n_threads = default_threads() if n_threads is None else integer("n_threads", n_threads, 1, MAX_THREADS)
        given = None if chat_template is None else checked_template(resolve_chat_template(chat_template))
        syntax = given_syntax(tool_syntax)
        if not isinstance(turns, Turns | None):
            raise refused("turns", "a Turns or None", turns)
        if turns is not None and turns.is_inherited:
            raise refused("turns", "made in this process, not before a fork", turns)
        # Numbers made here must not depend on the floating-point mode that a host library left in this thread.
        with open_model(path, mmap=mmap) as file, DefaultFloatMode():
            loaded = load_model(
                path,
                cache=cache,
                scheduler=scheduler,
                weights=weights,
                n_threads=n_threads,
                progress=progress,
                file=file,
            )
        guessing = None
        if draft is not None:
            with loaded.reservation.released_on_failure(), open_model(draft, mmap=mmap) as file, DefaultFloatMode():
                guessing = load_draft(
                    draft, file, loaded, cache=cache, scheduler=scheduler, weights=weights, progress=progress
                )
        self._scheduler = scheduler
        self._model = loaded.model
        self._memory = loaded.model.plan.memory + guessing.memory if guessing else loaded.model.plan.memory
        self._metadata: Mapping[str, Any] = self._model.metadata
        self.tokenizer: Tokenizer | None = self._model.tokenizer
        with loaded.reservation.released_on_failure():
            self._conversation = None
            if self.tokenizer is not None:
                self._conversation = Conversation(self.tokenizer, self._metadata, given, syntax)
            self._lifecycle = Lifecycle(loaded, scheduler, guessing, turns)
        self._worker = self._lifecycle.worker
        self._adapters = AdapterTable(self._model.sites, self._worker)
        self._admission = Admission(
            self._model,
            self._worker,
            self._adapters,
            queue_size=scheduler.queue_size,
            speculates=scheduler.speculation == "auto",
        )

    @classmethod
    def demo(cls, **options: Unpack[EngineOptions]) -> Self:
        """The embedded demo model: a small storyteller."""
        return cls(demo_path(), **options)

    @classmethod
    async def aopen(cls, path: str | os.PathLike[str], **options: Unpack[EngineOptions]) -> Self:
        """Opens a model without blocking the event loop. Cancelling ends the loading at the next tensor."""
        wanted = options.pop("progress", None)
        return await stoppable_beside(partial(cls, path, **options), wanted, label="loading")

    @classmethod
    def from_pretrained(
        cls,
        repository: str,
        filename: str | None = None,
        *,
        revision: str | None = None,
        **options: Unpack[EngineOptions],
    ) -> Self:
        """A model of a Hugging Face repository, fetched unless it is in the cache: see `oxillama.hub.fetch`, which also
        says what `filename` may be. options: as for Engine()."""
        return cls(fetch(repository, filename, revision=revision), **options)

    @classmethod
    async def afrom_pretrained(
        cls,
        repository: str,
        filename: str | None = None,
        *,
        revision: str | None = None,
        **options: Unpack[EngineOptions],
    ) -> Self:
        """The same beside the event loop. Cancelling does not wait for a download, which ends in its thread."""
        look = partial(fetch, repository, filename, revision=revision)
        return await cls.aopen(await anyio.to_thread.run_sync(look, abandon_on_cancel=True), **options)

    # --- what it is

    @property
    def state(self) -> State:
        """ "ready", "draining", "closed" (as in every forked child), or "failed": the worker ended without being told
        to."""
        return self._lifecycle.state

    @property
    def is_forked(self) -> bool:
        """Whether this is a forked child of the process that opened the engine: its worker stayed there."""
        return self._lifecycle.is_foreign

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
        return self._scheduler.max_batch_size

    @property
    def architecture(self) -> str:
        return str(self._metadata["general.architecture"])

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can be asked for, of "generate", "embed" and "rerank"."""
        return capabilities(self._model)

    @property
    def ranks_by_probability(self) -> bool:
        """Whether rerank() gives probabilities, and not numbers without bounds."""
        return self._model.heads.scores != 1

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The file's key-value pairs."""
        return self._metadata

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that chats are rendered with: the one given to the engine, or the file's own."""
        return self._conversation.template if self._conversation else None

    @property
    def tool_syntax(self) -> ReplySyntax:
        """How the model calls tools and marks the parts of its replies; found out at the first look. "generic": its
        template shows no calls, so they are described in the system text. TemplateError where there is no template."""
        return self._require_conversation().tool_syntax

    @property
    def recommended_sampling(self) -> RecommendedSampling:
        """What the file recommends (its keys `general.sampling.*`), as fields of SamplingParams; empty if nothing. Only
        used where it is asked for: `engine.chat(messages, **engine.recommended_sampling)`."""
        return recommended(self._metadata)

    @property
    def memory(self) -> Memory:
        return self._memory

    @property
    def program(self) -> Program | None:
        """The lowered network, for those who measure; None when closed."""
        return self._worker.program

    def stats(self) -> EngineStats:
        """What the worker is doing, read without stopping it."""
        return self._lifecycle.stats()

    @property
    def queue_size(self) -> int:
        """Requests that may be submitted and not yet running."""
        return self._scheduler.queue_size

    def __repr__(self) -> str:
        return f"<Engine {self.name!r}: {self.architecture}, context {self.n_ctx}, {self.state}>"

    # --- text and tokens

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        return self._admission.require_tokenizer().encode(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, ids: Iterable[int]) -> str:
        return self._admission.require_tokenizer().decode(ids)

    # --- generation

    def prepare(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        queue_timeout: float | None = 0,
        cache_salt: str | None = None,
        **options: Unpack[SamplingOptions],
    ) -> RequestHandle:
        """A request that has been checked and not yet submitted: `enter()` does that. options: as for submit()."""
        chosen = chosen_params(params, options)
        thinking = None
        if chosen.thinking_budget is not None and self._conversation is not None:
            thinking = self._conversation.thinking_after(prompt)
        builder = CompletionBuilder(self._generation(prompt, chosen, cache_salt, thinking))
        return self._handle(RequestHandle, builder, queue_timeout)

    def submit(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        queue_timeout: float | None = 0,
        cache_salt: str | None = None,
        **options: Unpack[SamplingOptions],
    ) -> RequestHandle:
        """Starts a request and returns at once; the primitive under all other calls.

        options: the fields of SamplingParams, instead of `params`. queue_timeout: seconds to wait for room in the queue
        (None: until the deadline). cache_salt: only requests of the same salt share cached prompts, so that nobody can
        tell by the time what others have asked.

        Raises InvalidRequestError, ContextLengthError, QueueFullError, EngineClosedError or EngineForkedError."""
        handle = self.prepare(prompt, params, queue_timeout=queue_timeout, cache_salt=cache_salt, **options)
        handle.enter()
        return handle

    async def asubmit(
        self, prompt: Prompt, params: SamplingParams | None = None, **options: Unpack[RequestOptions]
    ) -> RequestHandle:
        size = self._work_size(prompt, params, options)
        handle = await beside_if_long(partial(self.prepare, prompt, params, **options), size=size)
        await handle.aenter()
        return handle

    def generate(
        self, prompt: Prompt, params: SamplingParams | None = None, **options: Unpack[RequestOptions]
    ) -> Completion:
        """The whole completion of a prompt. options: as for submit()."""
        with cancelled_on_failure(self.submit(prompt, params, **options)) as handle:
            return handle.result()

    async def agenerate(
        self, prompt: Prompt, params: SamplingParams | None = None, **options: Unpack[RequestOptions]
    ) -> Completion:
        with cancelled_on_failure(await self.asubmit(prompt, params, **options)) as handle:
            return await handle.aresult()

    def stream(
        self, prompt: Prompt, params: SamplingParams | None = None, **options: Unpack[RequestOptions]
    ) -> CompletionStream:
        """The completion as it is written, a chunk per token. options: as for submit()."""
        return CompletionStream(self.submit(prompt, params, **options))

    def astream(
        self, prompt: Prompt, params: SamplingParams | None = None, **options: Unpack[RequestOptions]
    ) -> CompletionStream:
        """`async for chunk in engine.astream(...)`. What is wrong with the request is raised here; a full queue too,
        or, where queue_timeout allows a wait, by the first chunk. A long prompt is read beside the event loop when its
        first chunk is asked for, which then raises all of that."""
        prepare = partial(self.prepare, prompt, params, **options)
        if (size := self._work_size(prompt, params, options)) > INLINE:
            return CompletionStream(Later(prepare, size))
        handle = prepare()
        handle.try_enter()
        return CompletionStream(handle)

    # --- what takes several of its own calls

    def decide(
        self,
        state: Matter,
        questions: Mapping[str, Question],
        *,
        scoring: Scoring = "labels",
        rotations: bool = False,
    ) -> dict[str, Decision]:
        """How a text or a conversation answers questions: a Choice, YesNo or Score by name, each with the probability
        of every option. The same whatever else the engine does.

        scoring: "labels" lists the options under letters and reads how likely each letter is next; "sequence" adds up
        the log-probabilities of each option's own tokens. rotations: the mean over as many orders of the options as
        there are options, since a model may prefer a place. Raises UnsupportedModelError for a model whose vocabulary
        has no such letters, ContextLengthError, and what submit() raises."""
        return decide(self, self.prepare_decisions(state, questions, scoring=scoring, rotations=rotations))

    async def adecide(
        self,
        state: Matter,
        questions: Mapping[str, Question],
        *,
        scoring: Scoring = "labels",
        rotations: bool = False,
    ) -> dict[str, Decision]:
        prepare = partial(self.prepare_decisions, state, questions, scoring=scoring, rotations=rotations)
        return await adecide(self, await beside(prepare, size=prompt_size(state)))

    def prepare_decisions(
        self,
        state: Matter,
        questions: Mapping[str, Question],
        *,
        scoring: Scoring = "labels",
        rotations: bool = False,
        max_prompts: int = MAX_PROMPTS,
    ) -> Deciding:
        """The prompts of decide(), checked and not yet submitted. Raises InvalidRequestError for more than max_prompts:
        one for each question, or for each of its options with rotations or scoring="sequence"."""
        self._admission.require_logits()
        tokenizer, talk, n = self._admission.require_tokenizer(), self._conversation, self.n_ctx - 1
        return Deciding(
            tokenizer, talk, state, questions, scoring=scoring, rotations=rotations, limit=n, max_prompts=max_prompts
        )

    def run_tools(
        self,
        messages: Iterable[AnyMessage],
        *,
        tools: Sequence[object],
        max_rounds: int = 8,
        **options: Unpack[ToolRunOptions],
    ) -> ToolRun:
        """Chats until the model calls no more tools, at most max_rounds replies: the functions among `tools` are called
        (and no others), and their results or exceptions told to the model. Iterate it for events; `.result()` is the
        last reply, `.messages` the grown history. tool_choice holds in the first round. options: as for
        prepare_chat()."""
        return ToolRun(self, messages, tools, max_rounds, {**options})

    def arun_tools(
        self,
        messages: Iterable[AnyMessage],
        *,
        tools: Sequence[object],
        max_rounds: int = 8,
        **options: Unpack[ToolRunOptions],
    ) -> AsyncToolRun:
        """`async for event in engine.arun_tools(...)`; async functions are awaited, others run in a thread."""
        return AsyncToolRun(self, messages, tools, max_rounds, {**options})

    # --- the end

    def drain(self, timeout: float | None = None) -> bool:
        """Refuses new requests and waits for those that run; False if some still run after `timeout` seconds."""
        return self._lifecycle.drain(timeout)

    async def adrain(self, timeout: float | None = None) -> bool:
        return await self._lifecycle.adrain(timeout)

    def close(self) -> None:
        """Ends open requests with EngineClosedError, then the worker, and frees weights and cache. May be called again,
        from any thread; returns when all of it has ended."""
        self._lifecycle.close()
        self._adapters.close()

    async def aclose(self) -> None:
        await anyio.to_thread.run_sync(self.close)

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

    def _work_size(self, prompt: Prompt, params: SamplingParams | None, options: Mapping[str, Any]) -> int:
        """How much there is to check before a request is made, as for `beside`."""
        return self._admission.work_size(prompt_size(prompt), params, options)

    def _generation(
        self, prompt: Prompt, params: SamplingParams, cache_salt: str | None, thinking: Thinking | None = None
    ) -> Delivery:
        """Of completions and chats: what will be delivered for a prompt that has been checked. thinking: what is known
        of how its reply thinks."""
        self._lifecycle.check_usable()
        return self._admission.generation(prompt, params, cache_salt, thinking)

    def _handle(self, kind: type[RequestT], builder: ResultBuilder[Any, Any], queue_timeout: float | None) -> RequestT:
        patience = math.inf if queue_timeout is None else real("queue_timeout", queue_timeout, 0, math.inf)
        return kind(self._lifecycle, builder, patience=patience, owner=self)
