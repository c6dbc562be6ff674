"""A plugin for `llm`: GGUF files as its models, with streams, schemas, tools and embeddings, in its own process.

    llm oxillama add story model.gguf
    llm -m oxillama/story 'Once upon a time'

The embedded model is there as `oxillama/demo`. A file is opened when its model is first asked."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import llm
from llm.parts import ReasoningPart, StreamEvent, TextPart, ToolCallPart, ToolResultPart
from pydantic import Field

from oxillama.demo import demo_path
from oxillama.engine import Engine
from oxillama.results.chat import ChatCompletionChunk

PREFIX = "oxillama/"
DEMO = "demo"


class ModelFile:
    """A GGUF file and the engine over it, opened by the first who asks and then shared."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        self.path = path
        self.options = dict(options)
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = Engine(self.path, **self.options)
            return self._engine


class Options(llm.Options):
    """Fields of SamplingParams; what is not set is as there."""

    max_tokens: int | None = Field(default=None, description="most tokens to write")
    temperature: float | None = Field(default=None, description="0: always the likeliest token")
    top_k: int | None = Field(default=None, description="only so many likeliest tokens")
    top_p: float | None = Field(default=None, description="only the likeliest tokens of this probability together")
    min_p: float | None = Field(default=None, description="only tokens at least this likely beside the likeliest")
    repetition_penalty: float | None = Field(default=None, description="above 1: repeats become less likely")
    presence_penalty: float | None = Field(default=None, description="against tokens that were written")
    frequency_penalty: float | None = Field(default=None, description="against them as often as they were")
    seed: int | None = Field(default=None, description="the same one gives the same reply")
    stop: str | None = Field(default=None, description="a text that the reply ends before")


class _Chatting:
    """What the sync and the async model share."""

    can_stream = True
    supports_schema = True
    supports_tools = True
    Options = Options

    def __init__(self, name: str, file: ModelFile) -> None:
        self.model_id = PREFIX + name
        self.file = file

    def __str__(self) -> str:
        return f"oxillama: {self.model_id}"


class OxillamaModel(_Chatting, llm.Model):
    """Replies of an engine as `llm` streams them."""

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: Any = None
    ) -> Iterator[StreamEvent]:
        reply = Reply(response)
        with self.file.engine.stream_chat(messages_of(prompt), **options_of(prompt)) as chunks:
            for chunk in chunks:
                yield from reply.events(chunk)
        reply.close()


class AsyncOxillamaModel(_Chatting, llm.AsyncModel):
    """The same under asyncio; a stream that is left ends its request."""

    async def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.AsyncResponse, conversation: Any = None
    ) -> AsyncIterator[StreamEvent]:
        reply = Reply(response)
        async with self.file.engine.astream_chat(messages_of(prompt), **options_of(prompt)) as chunks:
            async for chunk in chunks:
                for event in reply.events(chunk):
                    yield event
        reply.close()


class OxillamaEmbeddings(llm.EmbeddingModel):
    """Vectors of texts."""

    supports_text = True
    supports_binary = False
    batch_size = 256

    def __init__(self, name: str, file: ModelFile) -> None:
        self.model_id = PREFIX + name
        self.file = file

    def embed_batch(self, items: Iterable[str | bytes]) -> Iterator[list[float]]:
        texts = [str(item) for item in items]
        yield from self.file.engine.embed(texts, truncate=True).tolist()


class Reply:
    """A streamed reply on its way into `llm`'s response."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._calls: dict[int, tuple[str, str, list[str]]] = {}  # id, name, pieces of the arguments

    def events(self, chunk: ChatCompletionChunk) -> Iterator[StreamEvent]:
        delta = chunk.delta
        if delta.reasoning_content:
            yield StreamEvent(type="reasoning", chunk=delta.reasoning_content)
        if delta.content:
            yield StreamEvent(type="text", chunk=delta.content)
        for call in delta.tool_calls:
            if call.id is not None:
                self._calls[call.index] = (call.id, call.name or "", [])
                yield StreamEvent(type="tool_call_name", chunk=call.name or "", tool_call_id=call.id)
            if call.arguments:
                call_id, _, pieces = self._calls[call.index]
                pieces.append(call.arguments)
                yield StreamEvent(type="tool_call_args", chunk=call.arguments, tool_call_id=call_id)
        if chunk.usage is not None:
            details = {"cached_tokens": chunk.usage.cached_tokens} if chunk.usage.cached_tokens else None
            self._response.set_usage(
                input=chunk.usage.prompt_tokens, output=chunk.usage.completion_tokens, details=details
            )

    def close(self) -> None:
        for call_id, name, pieces in self._calls.values():
            try:
                arguments = json.loads("".join(pieces) or "{}")
            except ValueError:
                continue  # the end of the reply cut it: no call to make
            self._response.add_tool_call(llm.ToolCall(name=name, arguments=arguments, tool_call_id=call_id))


def options_of(prompt: llm.Prompt) -> dict[str, Any]:
    """The options of `engine.chat` for a prompt of llm's."""
    options: dict[str, Any] = prompt.options.model_dump(exclude_none=True) if prompt.options else {}
    if "stop" in options:
        options["stop"] = [options["stop"]]
    if prompt.schema:
        options["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "output", "schema": prompt.schema},
        }
    if prompt.tools:
        options["tools"] = [
            {
                "type": "function",
                "function": {"name": each.name, "description": each.description, "parameters": each.input_schema},
            }
            for each in prompt.tools
        ]
    return {**options, "queue_timeout": None}


def messages_of(prompt: llm.Prompt) -> list[dict[str, Any]]:
    """The conversation as OpenAI writes it."""
    messages: list[dict[str, Any]] = []
    for message in prompt.messages:
        if message.role == "tool":
            messages += [
                {"role": "tool", "tool_call_id": part.tool_call_id, "content": part.output}
                for part in message.parts
                if isinstance(part, ToolResultPart)
            ]
            continue
        text = "".join(part.text for part in message.parts if isinstance(part, TextPart))
        entry: dict[str, Any] = {"role": message.role, "content": text}
        if thought := "".join(part.text for part in message.parts if isinstance(part, ReasoningPart)):
            entry["reasoning_content"] = thought
        if calls := [part for part in message.parts if isinstance(part, ToolCallPart)]:
            entry["tool_calls"] = [
                {
                    "id": call.tool_call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
                }
                for call in calls
            ]
        messages.append(entry)
    return messages


# --- which models there are


# llm asks for the list again with each model that it looks up; one file is one engine all the same.
_files: dict[str, ModelFile] = {}
_files_lock = threading.Lock()


def listed() -> dict[str, ModelFile]:
    """The models by name: those that were added, and the embedded one."""
    found = {DEMO: _file(str(demo_path()), {})}
    for name, entry in _read().items():
        found[name] = _file(entry["path"], entry.get("options", {}))
    return found


def _file(path: str, options: Mapping[str, Any]) -> ModelFile:
    key = json.dumps([path, options], sort_keys=True)
    with _files_lock:
        if key not in _files:
            _files[key] = ModelFile(path, {"progress": False, **options})
        return _files[key]


def _book() -> Path:
    return Path(llm.user_dir()) / "oxillama.json"


def _read() -> dict[str, dict[str, Any]]:
    if not _book().exists():
        return {}
    found = json.loads(_book().read_text("utf-8"))
    if not isinstance(found, dict):
        raise click.ClickException(f"{_book()} is no JSON object of models")
    return found


def _write(entries: Mapping[str, Any]) -> None:
    _book().parent.mkdir(parents=True, exist_ok=True)
    _book().write_text(json.dumps(entries, indent=2) + "\n", "utf-8")


@llm.hookimpl
def register_models(register: Any) -> None:
    for name, file in listed().items():
        register(OxillamaModel(name, file), AsyncOxillamaModel(name, file))


@llm.hookimpl
def register_embedding_models(register: Any) -> None:
    for name, file in listed().items():
        register(OxillamaEmbeddings(name, file))


@llm.hookimpl
def register_commands(cli: click.Group) -> None:
    @cli.group()
    def oxillama() -> None:
        """GGUF files that llm can ask in its own process."""

    @oxillama.command()
    @click.argument("name")
    @click.argument("path", type=click.Path(exists=True, dir_okay=False, resolve_path=True))
    @click.option(
        "-o", "--option", "given", type=(str, str), multiple=True, help="an option of Engine, such as n_ctx 4096"
    )
    def add(name: str, path: str, given: tuple[tuple[str, str], ...]) -> None:
        """Adds a model file under a name."""
        if name == DEMO:
            raise click.ClickException(f"{DEMO} is the embedded model's name")
        _write({**_read(), name: {"path": path, "options": {key: _value(text) for key, text in given}}})
        click.echo(f"{PREFIX}{name}")

    @oxillama.command()
    @click.argument("name")
    def remove(name: str) -> None:
        """Takes a model off the list; its file stays."""
        entries = _read()
        if name not in entries:
            raise click.ClickException(f"there is no {name!r}; there are: {', '.join(sorted(entries)) or 'none'}")
        del entries[name]
        _write(entries)

    @oxillama.command("list")
    def list_models() -> None:
        """The models and their files."""
        for name, file in listed().items():
            click.echo(f"{PREFIX}{name}\t{file.path}")


def _value(text: str) -> Any:
    """A number or a truth value where the text is one."""
    try:
        return json.loads(text)
    except ValueError:
        return text
