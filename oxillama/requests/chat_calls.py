"""The calls of an engine that answer conversations, and what a conversation is to the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from oxillama.chat.conversation import Conversation, Rendering, measured
from oxillama.chat.messages import AnyMessage
from oxillama.chat.reply_format import ReasoningFormat, ReplyOptions
from oxillama.chat.thinking import Thinking
from oxillama.errors import InvalidRequestError, UnsupportedModelError
from oxillama.requests.admission import Admission
from oxillama.requests.beside import INLINE, beside
from oxillama.requests.chat import ChatHandle
from oxillama.requests.chat_builder import ChatBuilder, ChatStream
from oxillama.requests.options import ChatOptions, RenderingOptions, SamplingOptions
from oxillama.requests.request import cancelled_on_failure
from oxillama.requests.stream import Later
from oxillama.results.chat import ChatCompletion
from oxillama.sampling.params import SamplingParams, chosen_params
from oxillama.structured.response_format import ResponseFormat
from oxillama.tools.table import GivenSyntax

if TYPE_CHECKING:
    from oxillama.requests.admission import Prompt
    from oxillama.requests.delivery import Delivery
    from oxillama.requests.request import RequestT
    from oxillama.requests.result_builder import ResultBuilder


class ChatCalls:
    """The part of an Engine that renders conversations with the model's template and reads its replies."""

    if TYPE_CHECKING:  # what an engine has besides
        _admission: Admission
        _conversation: Conversation | None

        @property
        def n_ctx(self) -> int: ...
        def _generation(
            self, prompt: Prompt, params: SamplingParams, cache_salt: str | None, thinking: Thinking | None = None
        ) -> Delivery: ...
        def _handle(
            self, kind: type[RequestT], builder: ResultBuilder[Any, Any], queue_timeout: float | None
        ) -> RequestT: ...

    def prepare_chat(
        self,
        messages: Iterable[AnyMessage],
        params: SamplingParams | None = None,
        *,
        tools: object = None,
        tool_choice: object = None,
        parallel_tool_calls: bool | None = None,
        tool_syntax: GivenSyntax | None = None,
        response_format: ResponseFormat = None,
        template_kwargs: Mapping[str, Any] | None = None,
        continue_final_message: bool | None = None,
        add_generation_prompt: bool = True,
        reasoning_format: ReasoningFormat = "auto",
        queue_timeout: float | None = 0,
        cache_salt: str | None = None,
        **options: Unpack[SamplingOptions],
    ) -> ChatHandle:
        """A chat that has been checked and not yet submitted; all other calls make theirs here.

        messages: mappings with `role` (system, developer, user, assistant, tool) and `content` (a str or a list of text
        parts), and earlier replies (ChatMessage). Special tokens written in them are ordinary text to the model.
        template_kwargs: variables for the model's template. continue_final_message: the model goes on with a last
        message of the assistant, and the reply is what it adds; None: it does wherever there is one. With
        add_generation_prompt=False the prompt ends where the messages do. reasoning_format: "auto" splits what the
        model thinks off into `reasoning_content`, "none" leaves it in the content. tools: functions, OpenAI's dicts,
        or classes, which the model may ask to have called (`reply.tool_calls`); tool_choice: "auto", "none",
        "required", {"name": ...} or OpenAI's objects; parallel_tool_calls=False: one call at most; tool_syntax: how the
        model calls, for this chat alone, as for Engine(). response_format:
        OpenAI's mapping, a type (a pydantic model, dataclass, TypedDict ...) or a Grammar; the reply's message then has
        `.parsed`. options: the fields of SamplingParams, instead of `params`. queue_timeout, cache_salt: as for
        submit().

        Raises what submit() raises, with the path of what is wrong in `.param`, and TemplateError."""
        wanted = ReplyOptions(tools, response_format, reasoning_format, tool_choice, parallel_tool_calls)
        chosen = wanted.held(chosen_params(params, options))
        self._admission.require_logits()
        conversation = self._require_conversation(tool_syntax)
        rendering = Rendering(wanted.shown_tools, template_kwargs, continue_final_message, add_generation_prompt)
        prompt = conversation.prompt(messages, rendering, limit=self.n_ctx)
        chosen = wanted.after_thinking(chosen, conversation, prompt)
        try:
            thinking = conversation.thinking(prompt, tools=bool(wanted.choice.tools))
            delivery = self._generation(prompt.ids, chosen, cache_salt, thinking)
        except InvalidRequestError as error:
            error.param = wanted.own_name(error.param)
            raise
        read_as = wanted.format(conversation, prompt, params=chosen, seed=delivery.spec.seed)
        return self._handle(ChatHandle, ChatBuilder(delivery, read_as), queue_timeout)

    def submit_chat(
        self, messages: Iterable[AnyMessage], params: SamplingParams | None = None, **options: Unpack[ChatOptions]
    ) -> ChatHandle:
        """Starts a chat and returns at once. options: as for prepare_chat()."""
        handle = self.prepare_chat(messages, params, **options)
        handle.enter()
        return handle

    async def asubmit_chat(
        self, messages: Iterable[AnyMessage], params: SamplingParams | None = None, **options: Unpack[ChatOptions]
    ) -> ChatHandle:
        messages, size = measured(messages)
        # Always in a thread: how long a template takes is not told by the length of what was said.
        handle = await beside(partial(self.prepare_chat, messages, params, **options), size=size)
        await handle.aenter()
        return handle

    def chat(
        self, messages: Iterable[AnyMessage], params: SamplingParams | None = None, **options: Unpack[ChatOptions]
    ) -> ChatCompletion:
        """The reply to a conversation, under the model's own chat template. options: as for prepare_chat().

        >>> engine.chat([{"role": "user", "content": "Who are you?"}], max_tokens=50, temperature=0).text
        'I am Oxi, ...'
        """
        with cancelled_on_failure(self.submit_chat(messages, params, **options)) as handle:
            return handle.result()

    async def achat(
        self, messages: Iterable[AnyMessage], params: SamplingParams | None = None, **options: Unpack[ChatOptions]
    ) -> ChatCompletion:
        with cancelled_on_failure(await self.asubmit_chat(messages, params, **options)) as handle:
            return await handle.aresult()

    def stream_chat(
        self, messages: Iterable[AnyMessage], params: SamplingParams | None = None, **options: Unpack[ChatOptions]
    ) -> ChatStream:
        """The reply as it is written. options: as for prepare_chat()."""
        return ChatStream(self.submit_chat(messages, params, **options))

    def astream_chat(
        self, messages: Iterable[AnyMessage], params: SamplingParams | None = None, **options: Unpack[ChatOptions]
    ) -> ChatStream:
        """`async for chunk in engine.astream_chat(...)`. What is wrong with the request is raised here; a full queue
        too, or, where queue_timeout allows a wait, by the first chunk. A long one, and one with tools
        or a shape to compile, is read beside the event loop when its first chunk is asked for, which then raises all of
        that."""
        messages, size = measured(messages)
        prepare = partial(self.prepare_chat, messages, params, **options)
        is_shaped = any(options.get(name) is not None for name in ("tools", "response_format", "grammar"))
        if size > INLINE or is_shaped or getattr(params, "grammar", None) is not None:
            return ChatStream(Later(prepare, size))
        handle = prepare()
        handle.try_enter()
        return ChatStream(handle)

    def render_chat(
        self,
        messages: Iterable[AnyMessage],
        *,
        tools: object = None,
        template_kwargs: Mapping[str, Any] | None = None,
        continue_final_message: bool | None = None,
        add_generation_prompt: bool = True,
        tool_syntax: GivenSyntax | None = None,
    ) -> str:
        """The text that the model is given for a conversation. A begin-of-text token that the vocabulary adds is not
        in it."""
        options = Rendering(tools, template_kwargs, continue_final_message, add_generation_prompt)
        return self._require_conversation(tool_syntax).text(messages, options)

    def tokenize_chat(self, messages: Iterable[AnyMessage], **options: Unpack[RenderingOptions]) -> list[int]:
        """The token ids that the model is given for a conversation. options: as for render_chat()."""
        fields: dict[str, Any] = dict(options)
        conversation = self._require_conversation(fields.pop("tool_syntax", None))
        return conversation.prompt(messages, Rendering(**fields)).ids

    def count_tokens(self, messages: Iterable[AnyMessage], **options: Unpack[RenderingOptions]) -> int:
        """How many tokens the prompt of a conversation has. options: as for render_chat()."""
        return len(self.tokenize_chat(messages, **options))

    def _require_conversation(self, syntax: GivenSyntax | None = None) -> Conversation:
        if self._conversation is None:
            raise UnsupportedModelError("the model has no tokenizer, so it cannot chat; generate from token ids")
        return self._conversation.under(syntax)
