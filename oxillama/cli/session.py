"""What was said in a conversation and what may be done with it; how lines come and go is the terminal's matter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from oxillama.chat.messages import Message
from oxillama.cli.mistakes import closest
from oxillama.errors import ContextLengthError, InvalidRequestError, OxillamaError

if TYPE_CHECKING:
    from oxillama.cli.terminal import Terminal
    from oxillama.engine import Engine
    from oxillama.sampling.params import SamplingParams


class _Command(NamedTuple):
    usage: str
    help: str


COMMANDS = {
    "help": _Command("/help", "these lines"),
    "system": _Command("/system TEXT", "the system message from now on; without TEXT none"),
    "reset": _Command("/reset", "forget what was said, but not the system message"),
    "retry": _Command("/retry", "another answer to the last message"),
    "history": _Command("/history", "what was said"),
    "save": _Command("/save FILE", "write it to a file, as JSON messages"),
    "load": _Command("/load FILE", "go on with the messages of a file"),
    "quit": _Command("/quit", "end, as Ctrl-D does"),
}
OTHER_NAMES = {"exit": "quit", "bye": "quit", "clear": "reset", "?": "help"}
HINT = 'A line that ends with \\ goes on in the next; so does everything between two """.'


class Session:
    """A conversation with an engine. `messages` is what was said, the system message first if there is one."""

    def __init__(
        self, engine: Engine, params: SamplingParams, terminal: Terminal, messages: list[Message] | None = None
    ) -> None:
        self.messages: list[Message] = list(messages or ())
        self._engine = engine
        self._params = params
        self._terminal = terminal
        self._ended = False
        self._actions: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "system": self._system,
            "reset": self._reset,
            "retry": self._retry,
            "history": self._history,
            "save": self._save,
            "load": self._load,
            "quit": self._quit,
        }

    def run(self) -> int:
        """Until the end of the input, or /quit. Returns 1 if the input is a script and an answer failed."""
        failed = False
        while not self._ended:
            try:
                said = self._terminal.read()
            except KeyboardInterrupt:
                if not self._terminal.is_interactive:
                    raise
                self._terminal.write("\n")
                continue
            if said is None:
                if self._terminal.is_interactive:
                    self._terminal.write("\n")
                break
            try:
                self.say(said)
            except (OxillamaError, OSError, ValueError) as error:
                failed = True
                self._terminal.say(f"oxillama chat: {self._advice(error)}")
        return int(failed and not self._terminal.is_interactive)

    def say(self, said: str) -> None:
        """A message, or a command if it begins with a slash; two of them stand for one that is none."""
        if said.startswith("/") and not said.startswith("//"):
            self._command(said)
        elif said.strip():
            self._ask({"role": "user", "content": said.removeprefix("/") if said.startswith("//") else said})

    def _command(self, said: str) -> None:
        name, _, rest = said.removeprefix("/").partition(" ")
        name = OTHER_NAMES.get(name.lower(), name.lower())
        action = self._actions.get(name)
        if action is None:
            meant = closest(name, self._actions)
            hint = f"did you mean /{meant}?" if meant else "/help lists them, and // begins a message with a slash"
            raise ValueError(f"there is no command /{name}; {hint}")
        action(rest.strip())

    def _ask(self, message: Message) -> None:
        """The message and its answer become part of the conversation together, or neither does."""
        reply: list[str] = []
        asked = [*self.messages, message]
        with self._engine.stream_chat(asked, self._params) as stream:
            try:
                for chunk in stream:
                    self._terminal.write(chunk.delta.reasoning_content or "", aside=True)
                    self._terminal.write(chunk.delta.content or "")
                    reply.append(chunk.delta.content or "")
            except KeyboardInterrupt:
                if not self._terminal.is_interactive:
                    raise
                # What was written so far counts: the next message may be about it.
                stream.close()
            finally:
                self._terminal.write("\n")
        self.messages = [*asked, {"role": "assistant", "content": "".join(reply)}]

    def _help(self, rest: str) -> None:
        width = max(len(command.usage) for command in COMMANDS.values())
        for command in COMMANDS.values():
            self._terminal.say(f"{command.usage:<{width}}  {command.help}")
        self._terminal.say(HINT)

    def _system(self, text: str) -> None:
        spoken = self._without_system()
        self.messages = [{"role": "system", "content": text}, *spoken] if text else spoken

    def _reset(self, rest: str) -> None:
        kept = len(self.messages) - len(self._without_system())
        self.messages = self.messages[:kept]

    def _retry(self, rest: str) -> None:
        asked = [index for index, message in enumerate(self.messages) if _role(message) == "user"]
        if not asked:
            raise ValueError("there is nothing to answer again yet")
        earlier = self.messages
        self.messages = earlier[: asked[-1]]
        try:
            self._ask(earlier[asked[-1]])
        except BaseException:
            self.messages = earlier
            raise

    def _history(self, rest: str) -> None:
        for message in self.messages:
            self._terminal.say(f"{_role(message)}: {_content(message)}")
        n_tokens = self._engine.count_tokens(self.messages) if self.messages else 0
        self._terminal.say(f"[{n_tokens} of {self._engine.n_ctx} tokens]")

    def _save(self, path: str) -> None:
        if not path:
            raise ValueError("expected /save FILE")
        text = json.dumps({"messages": self.messages}, ensure_ascii=False, indent=1)
        Path(path).expanduser().write_text(text + "\n", "utf-8")
        self._terminal.say(f"wrote {len(self.messages)} messages to {path}")

    def _load(self, path: str) -> None:
        if not path:
            raise ValueError("expected /load FILE")
        found = json.loads(Path(path).expanduser().read_text("utf-8"))
        messages = found.get("messages") if isinstance(found, dict) else found
        if not isinstance(messages, list) or not messages:
            raise ValueError(f"{path} has no messages, as /save writes them")
        self._engine.render_chat(messages, continue_final_message=False)  # raises what is wrong with them
        self.messages = messages
        self._terminal.say(f"read {len(messages)} messages from {path}")

    def _quit(self, rest: str) -> None:
        self._ended = True

    def _without_system(self) -> list[Message]:
        has_system = bool(self.messages) and _role(self.messages[0]) == "system"
        return self.messages[1:] if has_system else self.messages

    def _advice(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        if isinstance(error, ContextLengthError):
            return f"{text}; /reset forgets what was said, and a larger --ctx-size holds more"
        if isinstance(error, json.JSONDecodeError):
            return f"the file is no JSON: {text}"
        if isinstance(error, InvalidRequestError) and error.param:
            return f"{text} ({error.param})"
        return text


def _role(message: Message) -> str:
    return str(message.get("role")) if isinstance(message, dict) else "assistant"


def _content(message: Message) -> str:
    return str(message.get("content")) if isinstance(message, dict) else str(getattr(message, "content", ""))
