"""What an owner may give as chat_template, and that each named one says everything that a conversation says."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxillama import InvalidRequestError
from oxillama.chat import render
from oxillama.chat.template_limits import MAX_SOURCE_CHARACTERS
from oxillama.chat.templates import NAMED_TEMPLATES, resolve_chat_template

TURNS = [("system", "be brief"), ("user", "first"), ("assistant", "second"), ("user", "third")]


def conversation(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def written(template: str, *turns: tuple[str, str], generate: bool = True) -> str:
    return render(template, conversation(*turns), add_generation_prompt=generate, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("name", NAMED_TEMPLATES)
@pytest.mark.parametrize("turns", [TURNS, TURNS[1:], TURNS[:1], TURNS[:2], TURNS[1:3]])
def test_every_message_is_written_in_its_order(name: str, turns: list[tuple[str, str]]) -> None:
    text = written(NAMED_TEMPLATES[name], *turns)
    places = [text.find(content) for _, content in turns]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("name", NAMED_TEMPLATES)
def test_the_prompt_ends_where_an_answer_begins(name: str) -> None:
    before = written(NAMED_TEMPLATES[name], *TURNS[:2])
    after = written(NAMED_TEMPLATES[name], *TURNS[:2], ("assistant", "SECOND"), generate=False)
    assert after.startswith(before)
    assert after.removeprefix(before).lstrip().startswith("SECOND")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chatml", "<|im_start|>user\nfirst<|im_end|>\n<|im_start|>assistant\n"),
        ("llama2", "<s>[INST] first [/INST]"),
        (
            "llama3",
            "<s><|start_header_id|>user<|end_header_id|>\n\nfirst<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("mistral", "<s>[INST] first [/INST]"),
        ("gemma", "<s><start_of_turn>user\nfirst<end_of_turn>\n<start_of_turn>model\n"),
        ("phi3", "<|user|>\nfirst<|end|>\n<|assistant|>\n"),
        ("zephyr", "<|user|>\nfirst</s>\n<|assistant|>\n"),
    ],
)
def test_the_formats_are_those_of_the_models(name: str, text: str) -> None:
    assert written(NAMED_TEMPLATES[name], ("user", "first")) == text


@pytest.mark.parametrize(
    ("name", "file", "turns"),
    [
        ("chatml", "Qwen-Qwen2.5-7B-Instruct", TURNS),
        ("gemma", "google-gemma-2-2b-it", TURNS[1:]),
        ("phi3", "microsoft-Phi-3.5-mini-instruct", TURNS),
    ],
)
def test_a_name_writes_what_a_model_of_its_family_was_given(
    name: str, file: str, turns: list[tuple[str, str]], fixtures_dir: Path
) -> None:
    given = (fixtures_dir / "chat_templates" / f"{file}.jinja").read_text()
    assert written(NAMED_TEMPLATES[name], *turns) == written(given, *turns)


@pytest.mark.parametrize("name", ["llama3", "llama-3", "Llama_3", "LLAMA3"])
def test_names_are_known_in_every_spelling(name: str) -> None:
    assert resolve_chat_template(name) == NAMED_TEMPLATES["llama3"]


def test_a_template_is_itself() -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert resolve_chat_template(template) == template


def test_a_path_is_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.jinja", "chatml"):
        Path(name).write_bytes("\ufeff{{ messages }}é\r\n".encode())
    text = "{{ messages }}é\r\n"
    assert resolve_chat_template(tmp_path / "mine.jinja") == text
    assert resolve_chat_template("mine.jinja") == text
    assert resolve_chat_template(Path("chatml")) == text
    assert resolve_chat_template("chatml") == NAMED_TEMPLATES["chatml"]


@pytest.mark.parametrize("value", ["chadml", "", " \n", "/no/such/file.jinja", "a" * 5000, "a\0b", 7, None, b"chatml"])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequestError, match="chat_template must be") as caught:
        resolve_chat_template(value)  # type: ignore[arg-type]
    assert caught.value.param == "chat_template"
    assert len(str(caught.value)) < 400


def test_a_file_that_holds_no_template_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        resolve_chat_template(path)
    path.write_bytes(b"{{ messages }}\xff")
    with pytest.raises(InvalidRequestError, match="wrong byte at 14"):
        resolve_chat_template(path)
    path.write_bytes(b" " * (4 * MAX_SOURCE_CHARACTERS + 1))
    with pytest.raises(InvalidRequestError, match="at most"):
        resolve_chat_template(str(path))
    with pytest.raises(InvalidRequestError, match="at most"):
        resolve_chat_template(Path("/dev/zero"))
