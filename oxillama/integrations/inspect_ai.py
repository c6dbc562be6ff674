"""A model provider for inspect-ai, over an engine in this process: `get_model("oxillama/models/model.gguf")`, or
`get_model("oxillama/any", engine=engine)`. Seeds, log-probabilities, tools and schemas go to the engine as they are."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Unpack

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolCall, ToolChoice, ToolFunction, ToolInfo

from oxillama.demo import demo_path
from oxillama.engine import Engine
from oxillama.errors import ContextLengthError, InvalidRequestError
from oxillama.requests.beside import beside_if_long
from oxillama.requests.options import EngineOptions
from oxillama.results.chat import ChatChoice, ChatCompletion
from oxillama.results.chat import ToolCall as EngineCall

# inspect-ai's names of what the engine has, and the engine's.
_SAME = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "logit_bias": "logit_bias",
    "stop_seqs": "stop",
    "num_choices": "n",
    "best_of": "best_of",
    "parallel_tool_calls": "parallel_tool_calls",
}
# What inspect-ai itself does with a request, or what needs nothing to be done here.
_NOT_FOR_THE_MODEL = frozenset(
    [
        "max_retries",
        "timeout",
        "attempt_timeout",
        "stream_idle_timeout",
        "max_connections",
        "adaptive_connections",
        "system_message",
        "max_tool_output",
        "internal_tools",
        "reasoning_history",
        "fallback_models",
        "fail_on_refusal",
        "cache",
        "logprobs",
        "top_logprobs",
        "response_schema",
        "extra_body",
        "cache_prompt",
    ]
)
_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_STOP_REASONS = {"stop": "stop", "length": "max_tokens", "tool_calls": "tool_calls"}


@modelapi(name="oxillama")
class OxillamaAPI(ModelAPI):
    """An engine as inspect-ai asks for it.

    model_name: a GGUF file, or "demo" for the embedded model. engine: an Engine that is open already, which stays its
    owner's; the name is then free. options: those of Engine. A setting of GenerateConfig that means nothing here is
    refused by its name; `extra_body` takes further fields of SamplingParams."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        *,
        engine: Engine | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], GenerateConfig() if config is None else config)
        for name, value in (("base_url", base_url), ("api_key", api_key)):
            if value is not None:
                raise InvalidRequestError(f"{name} means nothing: the model runs in this process", param=name)
        if engine is not None and options:
            raise InvalidRequestError(
                f"the engine is open already: {', '.join(options)} belong to its own options", param="engine"
            )
        self._is_own = engine is None
        path = demo_path() if model_name == "demo" else model_name
        self.engine = Engine(path, **options) if engine is None else engine

    def close(self) -> None:
        """Closes the engine, if it was opened here."""
        if self._is_own:
            self.engine.close()

    def max_connections(self) -> int:
        return self.engine.max_batch_size

    async def count_text_tokens(self, text: str) -> int:
        return len(await self.tokenize(text))

    async def tokenize(self, text: str) -> list[int]:
        return await beside_if_long(partial(self.engine.tokenize, text, add_special=False), size=len(text))

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  # inspect-ai's name
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        options = _options(config)
        if tools:
            options["tools"] = [_tool(tool) for tool in tools]
            options["tool_choice"] = (
                {"name": tool_choice.name} if isinstance(tool_choice, ToolFunction) else _TOOL_CHOICES[tool_choice]
            )
        try:
            messages = [_message(message) for message in input]
            reply = await self.engine.achat(messages, queue_timeout=None, **options)
        except ContextLengthError as error:
            # What other providers give, so that a task may go on with less.
            return ModelOutput.from_content(self.model_name, str(error), stop_reason="model_length")
        return _output(reply)


def _options(config: GenerateConfig) -> dict[str, Any]:
    """The options of `engine.chat`. InvalidRequestError for a setting that the engine does not have."""
    given = config.model_dump(exclude_none=True)
    if unknown := sorted(given.keys() - _SAME.keys() - _NOT_FOR_THE_MODEL):
        raise InvalidRequestError(f"{unknown[0]} means nothing to the engine", param=unknown[0])
    options: dict[str, Any] = {_SAME[name]: value for name, value in given.items() if name in _SAME}
    if config.logprobs or config.top_logprobs is not None:
        options["logprobs"] = config.top_logprobs or 0
    if config.cache_prompt is False:
        options["cache_prompt"] = False
    if (wanted := config.response_schema) is not None:
        schema = wanted.json_schema.model_dump(exclude_none=True, by_alias=True)
        options["response_format"] = {"type": "json_schema", "json_schema": {"name": wanted.name, "schema": schema}}
    return {**options, **(config.extra_body or {})}


def _tool(tool: ToolInfo) -> dict[str, Any]:
    parameters = tool.parameters.model_dump(exclude_none=True, by_alias=True)
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _message(message: ChatMessage) -> dict[str, Any]:
    """As OpenAI writes it. InvalidRequestError for what is no text."""
    parts = [] if isinstance(message.content, str) else message.content
    for part in parts:
        if part.type not in ("text", "reasoning"):
            raise InvalidRequestError(f"the engine reads texts, found {part.type!r}", param="messages")
    written: dict[str, Any] = {"role": message.role, "content": message.text}
    if isinstance(message, ChatMessageTool):
        written["tool_call_id"] = message.tool_call_id
        if message.error is not None:
            written["content"] = message.error.message
    elif isinstance(message, ChatMessageAssistant):
        if thought := "".join(part.reasoning for part in parts if isinstance(part, ContentReasoning)):
            written["reasoning_content"] = thought
        if message.tool_calls:
            written["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function, "arguments": json.dumps(call.arguments)},
                }
                for call in message.tool_calls
            ]
    return written


def _output(reply: ChatCompletion) -> ModelOutput:
    usage = reply.usage
    return ModelOutput(
        model=reply.model,
        choices=[_choice(choice, reply.model) for choice in reply.choices],
        usage=ModelUsage(
            input_tokens=usage.prompt_tokens - usage.cached_tokens,
            output_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
            input_tokens_cache_read=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
        ),
    )


def _choice(choice: ChatChoice, model: str) -> ChatCompletionChoice:
    said = choice.message
    content: str | list[Content] = said.content
    if said.reasoning_content:
        content = [ContentReasoning(reasoning=said.reasoning_content), ContentText(text=said.content)]
    logprobs = None
    if choice.logprobs is not None:
        logprobs = Logprobs.model_validate({"content": [entry.to_dict() for entry in choice.logprobs.content]})
    return ChatCompletionChoice(
        message=ChatMessageAssistant(
            content=content,
            tool_calls=[_call(call) for call in said.tool_calls] or None,
            model=model,
            source="generate",
        ),
        stop_reason=_STOP_REASONS.get(choice.finish_reason or "", "unknown"),
        logprobs=logprobs,
    )


def _call(call: EngineCall) -> ToolCall:
    try:
        return ToolCall(id=call.id, function=call.name, arguments=call.arguments)
    except ValueError as error:  # the end of the reply cut it
        return ToolCall(id=call.id, function=call.name, arguments={}, parse_error=str(error))
