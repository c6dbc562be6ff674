"""Chat templates by name, and what an owner may give as `chat_template`: a template, a name, or a file.

The formats are those that the models' makers publish; the templates are written for this library.
"""

from __future__ import annotations

import os
from pathlib import Path

from oxillama.errors import InvalidRequestError
from oxillama.values import refused

# What no name and hardly a path has, and every template that says anything of a conversation.
_MARKUP = ("{{", "{%")
# A character may take this many bytes.
_UTF8_BYTES = 4


def _turns(start: str, header_end: str, end: str, *, first: str = "", text: str = "m.content") -> str:
    """Formats in which every message is a header with its role, the text and an end."""
    return (
        f"{first}{{% for m in messages %}}{start}{{{{ m.role }}}}{header_end}{{{{ {text} }}}}{end}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{start}assistant{header_end}{{% endif %}}"
    )


def _line_feed(text: str) -> str:
    # A line feed behind a block would be taken as the source's own layout.
    return text.replace("\n", "{{ '\\n' }}")


# The system message of a format that has no turn for it goes before the first message of the user.
_SYSTEM_FIRST = (
    "{% if messages[0].role == 'system' and messages | length > 1 %}{% set system = messages[0].content | trim %}"
    "{% set messages = messages[1:] %}{% endif %}"
)
_EOS = "{{ eos_token or '</s>' }}"


def _instructions(system: str, opening: str, closing: str, answer: str) -> str:
    """Formats in which the user's text stands in brackets and the assistant's after them."""
    return (
        f"{{{{ bos_token }}}}{_SYSTEM_FIRST}"
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        f"{answer}{{{{ m.content | trim }}}}{_EOS}"
        f"{{% else %}}{opening}{{% if loop.first and system %}}{system}{{% endif %}}"
        f"{{{{ m.content | trim }}}}{closing}{{% endif %}}{{% endfor %}}"
    )


def _labels(user: str, assistant: str, gap: str, *, end: str = "{{ eos_token }}") -> str:
    """Formats in which plain words say who speaks, and a system message stands alone before everything."""
    return (
        f"{{{{ bos_token }}}}{{% for m in messages %}}"
        f"{{% if m.role == 'assistant' %}}{assistant}{{{{ m.content | trim }}}}{end}"
        f"{{% elif m.role == 'system' %}}{{{{ m.content | trim }}}}{gap}"
        f"{{% else %}}{user}{{{{ m.content | trim }}}}{gap}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{assistant.rstrip(' ')}{{% endif %}}"
    )


_GEMMA = (
    "{{ bos_token }}"
    + _SYSTEM_FIRST
    + "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
    "{% if loop.first and system %}{{ system }}\n\n{% endif %}{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content | trim }}\n\n"
    "{% elif m.role == 'assistant' %}Assistant: {{ m.content | trim }}"
    "{{ eos_token or '<\uff5cend\u2581of\u2581sentence\uff5c>' }}"
    "{% else %}User: {{ m.content | trim }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
_COMMAND_R = (
    "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|>"
    "{{ {'system': '<|SYSTEM_TOKEN|>', 'assistant': '<|CHATBOT_TOKEN|>'}.get(m.role, '<|USER_TOKEN|>') }}"
    "{{ m.content | trim }}<|END_OF_TURN_TOKEN|>{% endfor %}"
    "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"
)
_OPENCHAT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content | trim }}"
    "{% else %}GPT4 Correct {{ m.role | capitalize }}: {{ m.content | trim }}{% endif %}<|end_of_turn|>{% endfor %}"
    "{% if add_generation_prompt %}GPT4 Correct Assistant:{% endif %}"
)
_BOS = "{{ bos_token }}"
_TRIMMED = "m.content | trim"
_LLAMA2_NEXT = "{% if not loop.first %}{{ bos_token }}{% endif %}[INST] "
_LLAMA2_SYSTEM = "<<SYS>>\n{{ system }}\n<</SYS>>\n\n"

NAMED_TEMPLATES: dict[str, str] = {
    name: _line_feed(template)
    for name, template in {
        "alpaca": _labels("### Instruction:\n", "### Response:\n", "\n\n", end="{{ eos_token }}\n\n"),
        "chatml": _turns("<|im_start|>", "\n", "<|im_end|>\n"),
        "command-r": _COMMAND_R,
        "deepseek": _DEEPSEEK,
        "gemma": _GEMMA,
        "granite": _turns("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n"),
        "llama2": _instructions(_LLAMA2_SYSTEM, _LLAMA2_NEXT, " [/INST]", " "),
        "llama3": _turns("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", first=_BOS, text=_TRIMMED),
        "llama4": _turns("<|header_start|>", "<|header_end|>\n\n", "<|eot|>", first=_BOS, text=_TRIMMED),
        "mistral": _instructions("{{ system }}\n\n", "[INST] ", " [/INST]", " "),
        "openchat": _OPENCHAT,
        "phi3": _turns("<|", "|>\n", "<|end|>\n"),
        "phi4": _turns("<|im_start|>", "<|im_sep|>", "<|im_end|>"),
        "vicuna": _labels("USER: ", "ASSISTANT: ", "\n"),
        "zephyr": _turns("<|", "|>\n", f"{_EOS}\n"),
    }.items()
}


def _spelling(name: str) -> str:
    """Other programs write `llama-3`, `Phi3` and so on."""
    return name.lower().replace("-", "").replace("_", "")


_BY_SPELLING = {_spelling(name): template for name, template in NAMED_TEMPLATES.items()}


def resolve_chat_template(value: str | os.PathLike[str]) -> str:
    """The template that `value` stands for.

    A path is the file of that name. A str with Jinja's `{{` or `{%` is a template itself. Any other is a name of
    NAMED_TEMPLATES, whatever its case and hyphens, or else the path of a file that exists: a name goes before a file
    of that name, a Path always means the file.

    Raises InvalidRequestError (``param="chat_template"``) for what is none of these, and for a file that is no UTF-8 or
    too long; OSError for a path that cannot be read."""
    if isinstance(value, os.PathLike):
        return _read(Path(value))
    if not isinstance(value, str):
        raise refused("chat_template", "a template, a name, or a path", value)
    if any(mark in value for mark in _MARKUP):
        return value
    named = _BY_SPELLING.get(_spelling(value))
    if named is not None:
        return named
    if _is_file(value):
        return _read(Path(value))
    shown = repr(value) if len(value) <= 80 else f"a text of {len(value)} characters"
    names = ", ".join(NAMED_TEMPLATES)
    raise InvalidRequestError(
        f"chat_template must be a Jinja template, an existing file or one of {names}; found {shown}",
        param="chat_template",
    )


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long for a path, or with a character that none has
        return False


def _read(path: Path) -> str:
    # Not above: it brings jinja2, which only chats need.
    from oxillama.chat.template_limits import MAX_SOURCE_CHARACTERS

    limit = _UTF8_BYTES * MAX_SOURCE_CHARACTERS
    with path.open("rb") as file:  # never all of it, whatever it is
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise InvalidRequestError(f"{path}: a chat template has at most {limit} bytes", param="chat_template")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"{path}: a chat template is UTF-8, found a wrong byte at {error.start}", param="chat_template"
        ) from None
