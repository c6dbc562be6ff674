"""The chat calls of an engine: each prepares one request of a conversation, and waits for it in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from oxillama.admission import Prompt
from oxillama.chat_request import ChatHandle, ChatStream, ReplyFormat
from oxillama.chat_results import ChatCompletion
from oxillama.conversation import ChatOptions, Conversation
from oxillama.errors import GrammarError, InvalidRequestError, UnsupportedModelError
from oxillama.messages import Message, checked_tools
from oxillama.params import SamplingParams, chosen_params
from oxillama.request import RequestHandle
from oxillama.values import refused

ReasoningFormat = Literal["auto", "none"]


class ChatCalls:
    """What an engine does with conversations. The engine itself makes requests of token ids."""

    _conversation: Conversation | None

    def prepare_chat(
        self,
        messages: Iterable[Message],
        params: SamplingParams | None = None,
        *,
        tools: object = None,
        response_format: Mapping[str, Any] | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        continue_final_message: bool | None = None,
        add_generation_prompt: bool = True,
        reasoning_format: ReasoningFormat = "auto",
        queue_timeout: float | None = 0,
        cache_salt: str | None = None,
        **options: Any,
    ) -> ChatHandle:
        """A chat that has been checked and not yet submitted; all other calls make theirs here.

        messages: mappings with `role` (system, developer, user, assistant, tool) and `content` (a str or a list of text
        parts), and earlier replies (ChatMessage). Special tokens written in them are ordinary text to the model.
        template_kwargs: variables for the model's template. continue_final_message: the model goes on with a last
        message of the assistant, and the reply is what it adds; None: it does wherever there is one. With
        add_generation_prompt=False the prompt ends where the messages do. reasoning_format: "auto" splits what the
        model thinks off into `reasoning_content`, "none" leaves it in the content. options: the fields of
        SamplingParams, instead of `params`. queue_timeout, cache_salt: as for submit().

        Raises what submit() raises, with the path of what is wrong in `.param`, and TemplateError."""
        _refuse_unsupported(tools, response_format)
        if reasoning_format not in ("auto", "none"):
            raise InvalidRequestError("reasoning_format must be 'auto' or 'none'", param="reasoning_format")
        chosen = chosen_params(params, options)
        conversation = self._require_conversation()
        prompt = conversation.prompt(
            messages, ChatOptions(None, template_kwargs, continue_final_message, add_generation_prompt)
        )
        try:
            request = self._prepare(prompt.ids, chosen, queue_timeout, cache_salt, {})
        except InvalidRequestError as error:
            if error.param == "prompt":
                error.param = "messages"
            raise
        tags = conversation.think_tags if reasoning_format == "auto" else None
        return ChatHandle(request, ReplyFormat(tags, prompt.thinking, conversation.tokenizer.table, tuple(chosen.stop)))

    def submit_chat(
        self, messages: Iterable[Message], params: SamplingParams | None = None, **options: Any
    ) -> ChatHandle:
        """Starts a chat and returns at once. options: as for prepare_chat()."""
        handle = self.prepare_chat(messages, params, **options)
        handle.enter()
        return handle

    async def asubmit_chat(
        self, messages: Iterable[Message], params: SamplingParams | None = None, **options: Any
    ) -> ChatHandle:
        handle = self.prepare_chat(messages, params, **options)
        await handle.aenter()
        return handle

    def chat(self, messages: Iterable[Message], params: SamplingParams | None = None, **options: Any) -> ChatCompletion:
        """The reply to a conversation, under the model's own chat template. options: as for prepare_chat().

        >>> engine.chat([{"role": "user", "content": "Who are you?"}], max_tokens=50).text  # doctest: +SKIP"""
        handle = self.submit_chat(messages, params, **options)
        try:
            return handle.result()
        except BaseException:
            handle.cancel()
            raise

    async def achat(
        self, messages: Iterable[Message], params: SamplingParams | None = None, **options: Any
    ) -> ChatCompletion:
        handle = await self.asubmit_chat(messages, params, **options)
        try:
            return await handle.aresult()
        except BaseException:
            handle.cancel()
            raise

    def stream_chat(
        self, messages: Iterable[Message], params: SamplingParams | None = None, **options: Any
    ) -> ChatStream:
        """The reply as it is written. options: as for prepare_chat()."""
        return ChatStream(self.submit_chat(messages, params, **options))

    def astream_chat(
        self, messages: Iterable[Message], params: SamplingParams | None = None, **options: Any
    ) -> ChatStream:
        """`async for chunk in engine.astream_chat(...)`. What is wrong with the request is raised here; a full queue
        too, or, where queue_timeout allows a wait, by the first chunk."""
        handle = self.prepare_chat(messages, params, **options)
        handle.try_enter()
        return ChatStream(handle)

    def render_chat(
        self,
        messages: Iterable[Message],
        *,
        tools: object = None,
        template_kwargs: Mapping[str, Any] | None = None,
        continue_final_message: bool | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The text that the model is given for a conversation. A begin-of-text token that the vocabulary adds is not
        in it."""
        options = ChatOptions(tools, template_kwargs, continue_final_message, add_generation_prompt)
        return self._require_conversation().prompt(messages, options).text

    def tokenize_chat(
        self,
        messages: Iterable[Message],
        *,
        tools: object = None,
        template_kwargs: Mapping[str, Any] | None = None,
        continue_final_message: bool | None = None,
        add_generation_prompt: bool = True,
    ) -> list[int]:
        """The token ids that the model is given for a conversation."""
        options = ChatOptions(tools, template_kwargs, continue_final_message, add_generation_prompt)
        return self._require_conversation().prompt(messages, options).ids

    def count_tokens(self, messages: Iterable[Message], **options: Any) -> int:
        """How many tokens the prompt of a conversation has. options: as for tokenize_chat()."""
        return len(self.tokenize_chat(messages, **options))

    def _require_conversation(self) -> Conversation:
        if self._conversation is None:
            raise UnsupportedModelError("the model has no tokenizer, so it cannot chat; generate from token ids")
        return self._conversation

    def _prepare(
        self,
        prompt: Prompt,
        params: SamplingParams | None,
        queue_timeout: float | None,
        cache_salt: str | None,
        options: dict[str, Any],
    ) -> RequestHandle:
        raise NotImplementedError


def _refuse_unsupported(tools: object, response_format: object) -> None:
    if checked_tools(tools):
        raise InvalidRequestError("tools are not supported yet", param="tools")
    if response_format is None:
        return
    if not isinstance(response_format, Mapping) or not isinstance(response_format.get("type"), str):
        raise refused("response_format", "an object with a `type`, or None", response_format)
    if response_format["type"] != "text":
        raise GrammarError("only a response_format of type 'text' is supported yet", param="response_format")
