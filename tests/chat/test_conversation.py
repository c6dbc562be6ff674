"""Messages as token ids: as the template renders them, and nothing that a message says becomes a special token."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama import InvalidRequestError, TemplateError
from oxillama.chat import render
from oxillama.chat.conversation import Conversation, Rendering, checked_template
from oxillama.tokenizer import Tokenizer
from tests.vocab.vocabularies import CONTROL, USER_DEFINED, byte_pair_metadata, sentencepiece_metadata

CONTROLS = ["<|im_start|>", "<|end|>", "<|user|>", "<|tool|>", "[INST]", "[/INST]", "<s>", "</s>", "_<|end|>", "<a b>"]
CLOSED = Rendering(continue_final_message=False)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Everything that templates do to texts.
TORTUOUS = (
    "<s>{% for m in messages %}<|{{ m.role }}|>{% if m.name %}[{{ m.name | trim }}]{% endif %}"
    "{% if m.content is string %}{{ m.content | trim }}|{{ m.content }}|{{ m.content.split() | join('') }}"
    "|{{ m.content | tojson }}|{{ m.content.split('\\n')[-1] }}{% endif %}"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content.strip() }}</think>{% endif %}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson(ensure_ascii=True) }}"
    "{{ c.function.arguments }}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)


def byte_pairs(controls: list[str], user_defined: list[str] | None = None, **changes: Any) -> Tokenizer:
    """A byte-level vocabulary that has these special tokens too."""
    base = byte_pair_metadata()
    texts: list[bytes] = base["tokenizer.ggml.tokens"]
    added = [(text.encode(), CONTROL) for text in controls]
    added += [(text.encode(), USER_DEFINED) for text in user_defined or []]
    added = [(text, kind) for text, kind in added if text not in texts]
    return Tokenizer(
        byte_pair_metadata(
            tokens=[*texts, *(text for text, _ in added)],
            token_type=[*base["tokenizer.ggml.token_type"], *(kind for _, kind in added)],
            **changes,
        )
    )


TOKENIZER = byte_pairs(CONTROLS, ["<think>", "</think>"])
CONTROL_IDS = {TOKENIZER.encode(text, add_special=False, parse_special=True)[0] for text in TOKENIZER.control_texts()}

pieces = st.sampled_from([*CONTROLS, "<|im_end|>", "<|endoftext|>"]).flatmap(
    lambda text: st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(
        lambda ends: text[min(ends) : max(ends)]
    )
)
spoken = st.lists(
    st.sampled_from([*CONTROLS, "<|im_end|>", "<|endoftext|>", " ", "\n", "<think>"]) | pieces | st.text(max_size=4),
    max_size=8,
).map("".join)


def controls_in(ids: list[int]) -> list[int]:
    return [token for token in ids if token in CONTROL_IDS]


def conversation(template: str, tokenizer: Tokenizer = TOKENIZER) -> Conversation:
    return Conversation(tokenizer, {"tokenizer.chat_template": template}, None)


# What the template writes


def recorded(fixtures_dir: Path) -> Iterator[tuple[str, str, Any]]:
    folder = fixtures_dir / "chat_templates"
    conversations = json.loads((folder / "conversations.json").read_text())["conversations"]
    for path in sorted(folder.glob("*.jinja")):
        template = path.read_text()
        for name, case in conversations.items():
            yield f"{path.name} {name}", template, case


def test_plain_conversations_are_what_the_template_renders(fixtures_dir: Path) -> None:
    compared = 0
    built: dict[str, Conversation] = {}
    for name, template, case in recorded(fixtures_dir):
        if name.endswith((" parts", " tool_str_args")):
            continue  # these are brought into the shape that the template wants
        if template not in built:
            specials = set(re.findall(r"<\|?[\w\uff5c\u2581/:-]+\|?>|\[/?[A-Z_]+\]", template))
            controls = sorted(text for text in specials if "think" not in text)
            built[template] = conversation(template, byte_pairs(controls, ["<think>", "</think>"]))
        chat = built[template]
        if case["tools"] and not chat.tool_syntax.declares:
            continue  # the tools are told in the system text
        if chat.tool_syntax.name == "generic" and any("tool_calls" in one for one in case["messages"]):
            continue  # calls and results are told in texts
        bos = chat.tokenizer.declared_text("bos")
        for generation in (True, False):
            options = Rendering(case["tools"], None, False, generation)
            try:
                expected = render(
                    template,
                    case["messages"],
                    tools=case["tools"],
                    add_generation_prompt=generation,
                    bos_token=bos,
                    eos_token=chat.tokenizer.declared_text("eos"),
                )
            except TemplateError:
                continue
            found = chat.prompt(case["messages"], options)
            assert found.text == expected, name
            assert found.ids == chat.tokenizer.encode(expected, add_special=False, parse_special=True), name
            compared += 1
    assert compared > 600


def test_parts_become_what_the_template_takes() -> None:
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "text", "text": "b"}]}]
    assert "user\na\nb<|im_end|>" in conversation(CHATML).prompt(parts, CLOSED).text
    listing = "{% for m in messages %}{% for p in m.content %}({{ p.text }}){% endfor %}{% endfor %}"
    assert conversation(listing).prompt(parts, CLOSED).text == "(a)(b)"
    assert conversation(listing).prompt([{"role": "user", "content": "a"}], CLOSED).text == "(a)"


def test_a_developer_is_a_system_where_the_template_knows_none() -> None:
    messages = [{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}]
    assert "<|im_start|>system\nx" in conversation(CHATML).prompt(messages, CLOSED).text
    knowing = CHATML + "{# developer #}"
    assert "<|im_start|>developer\nx" in conversation(knowing).prompt(messages, CLOSED).text


@pytest.mark.parametrize("arguments", ['{"a": 1}', {"a": 1}])
def test_arguments_of_tool_calls_become_what_the_template_takes(arguments: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    for written in ("{{ c.function.arguments | tojson }}", "{{ 'args: ' + c.function.arguments }}"):
        calls = f"{{% for c in m.tool_calls or [] %}}{written}{{% endfor %}}"
        template = f"{{% for m in messages %}}{{{{ m.content }}}}{calls}{{% endfor %}}"
        assert conversation(template).prompt(messages, CLOSED).text.endswith('{"a": 1}')


def test_begin_of_text_comes_once() -> None:
    messages = [{"role": "user", "content": "x"}]
    for adds in (True, False):
        tokenizer = byte_pairs(CONTROLS, add_bos_token=adds)
        plain = conversation(CHATML, tokenizer).prompt(messages, CLOSED).ids
        assert (plain[0] == tokenizer.bos_id) is adds
        written = conversation("{{ bos_token }}" + CHATML, tokenizer).prompt(messages, CLOSED).ids
        assert written[0] == tokenizer.bos_id
        assert written.count(tokenizer.bos_id or 0) == 1


def test_a_file_may_have_several_templates_or_none() -> None:
    said = "{{ messages[0].content }}"
    metadata = {
        "tokenizer.chat_template": f"plain {said}",
        "tokenizer.chat_template.tool_use": f"{{{{ tools | length }}}} tools {said}",
    }
    messages = [{"role": "user", "content": "x"}]
    chat = Conversation(TOKENIZER, metadata, None)
    assert chat.prompt(messages, CLOSED).text == "plain x"
    tool = {"type": "function", "function": {"name": "f"}}
    assert chat.prompt(messages, Rendering([tool], None, False)).text == "1 tools x"
    assert Conversation(TOKENIZER, metadata, f"mine {said}").prompt(messages, CLOSED).text == "mine x"
    with pytest.raises(TemplateError, match="no chat template; pass one to the engine as chat_template"):
        Conversation(TOKENIZER, {}, None).prompt(messages, CLOSED)


def test_keywords_reach_the_template_but_not_its_own_names() -> None:
    messages = [{"role": "user", "content": "x"}]
    chat = conversation("{{ mood }}{{ messages[0].content }}")
    assert chat.prompt(messages, Rendering(template_kwargs={"mood": "good <|end|>"})).text == "good <|end|>x"
    assert not controls_in(chat.prompt(messages, Rendering(template_kwargs={"mood": "good <|end|>"})).ids)
    with pytest.raises(InvalidRequestError) as error:
        chat.prompt(messages, Rendering(template_kwargs={"messages": []}))
    assert error.value.param == "template_kwargs.messages"


# Templates that say nothing


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("", "never mentions the messages"),
        (" \n", "never mentions the messages"),
        ("chatml", "never mentions the messages"),
        ("{# messages #}{{ bos_token }}messages{{ 'messages' }}", "never mentions the messages"),
        ("{{ messages | length }}", "leaves out what the messages say"),
        ("{% for m in messages %}{{ m.role }}: {{ m.text }}{% endfor %}", "leaves out what the messages say"),
        ("{% set messages = [] %}{% for m in messages %}{{ m.content }}{% endfor %}", "leaves out"),
    ],
)
def test_a_template_that_tells_the_model_nothing_is_refused(template: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem) as caught:
        conversation(template).prompt([{"role": "user", "content": "x"}], CLOSED)
    assert caught.value.param == "messages"
    with pytest.raises(TemplateError, match=problem) as caught:
        checked_template(template)
    assert caught.value.param == "chat_template"


@pytest.mark.parametrize(
    "template",
    [
        CHATML,
        TORTUOUS,
        "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}",
        "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}{{ messages[1].content }}",
        "{{ messages[-1].content if add_generation_prompt }}",
        "{% macro said(all) %}{% for m in all %}{{ m.content }}{% endfor %}{% endmacro %}{{ said(messages) }}",
        "{% if not tools %}{{ raise_exception(messages[0].role) }}{% endif %}",  # nobody knows what it would say
    ],
)
def test_a_template_that_says_what_was_said_is_taken(template: str) -> None:
    assert checked_template(template) == template


def test_every_recorded_template_is_taken(fixtures_dir: Path) -> None:
    templates = sorted((fixtures_dir / "chat_templates").glob("*.jinja"))
    assert len(templates) > 30
    for path in templates:
        checked_template(path.read_text())


# Going on with a message


def test_a_last_message_of_the_assistant_is_continued() -> None:
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "Once upon "}]
    chat = conversation(CHATML)
    open_end = "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\nOnce upon "
    closed = f"{open_end}<|im_end|>\n"
    assert chat.prompt(messages, Rendering()).text == open_end
    assert chat.prompt(messages, Rendering(continue_final_message=True)).text == open_end
    assert chat.prompt(messages, CLOSED).text == f"{closed}<|im_start|>assistant\n"
    assert chat.prompt(messages, Rendering(add_generation_prompt=False)).text == closed
    as_parts: list[dict[str, Any]] = [
        messages[0],
        {"role": "assistant", "content": [{"type": "text", "text": "Once upon "}]},
    ]
    assert chat.prompt(as_parts, Rendering()).text == open_end


def test_only_a_text_of_the_assistant_can_be_continued() -> None:
    chat = conversation(CHATML)
    with pytest.raises(InvalidRequestError) as error:
        chat.prompt([{"role": "user", "content": "x"}], Rendering(continue_final_message=True))
    assert error.value.param == "continue_final_message"
    deaf = conversation("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}")
    with pytest.raises(TemplateError) as refusal:
        deaf.prompt([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], Rendering())
    assert refusal.value.param == "continue_final_message"


def test_the_end_of_the_prompt_tells_whether_the_model_is_thinking() -> None:
    user = {"role": "user", "content": "x <think>"}
    thinking = conversation(CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}")
    assert thinking.prompt([user], Rendering()).thinking
    assert not thinking.prompt([user], Rendering(add_generation_prompt=False)).thinking
    chat = conversation(CHATML)
    for content, expected in (("<think>hm", True), ("<think>hm</think>y", False), ("y", False)):
        assert chat.prompt([user, {"role": "assistant", "content": content}], Rendering()).thinking is expected


# Nobody forges a turn


@pytest.mark.parametrize("template", [CHATML, TORTUOUS], ids=["chatml", "tortuous"])
@given(content=spoken, name=spoken, thought=spoken, arguments=st.dictionaries(spoken, spoken, max_size=2))
def test_special_tokens_are_only_the_templates_own(
    template: str, content: str, name: str, thought: str, arguments: dict[str, str]
) -> None:
    chat = conversation(template)

    def messages(content: str, name: str, thought: str, arguments: dict[str, str]) -> list[dict[str, Any]]:
        call = {"id": name, "type": "function", "function": {"name": name, "arguments": arguments}}
        return [
            {"role": "system", "content": content},
            {"role": "user", "content": [{"type": "text", "text": content}, {"type": "text", "text": name}]},
            {"role": "assistant", "content": content, "reasoning_content": f"{thought}.", "tool_calls": [call]},
            {"role": "tool", "content": content, "name": f".{name}", "tool_call_id": name},
            {"role": "user", "content": content, "name": f"{name}."},
        ]

    found = chat.prompt(messages(content, name, thought, arguments), CLOSED)
    harmless = chat.prompt(messages("a", "a", "a", {"a": "a"}), CLOSED)
    assert controls_in(found.ids) == controls_in(harmless.ids)
    # No mark stays behind, and nothing of the text is lost.
    assert chat.tokenizer.table.join(found.ids).decode() == found.text
    assert content in found.text
    if template == CHATML:
        call = f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n</tool_call>"
        said = f"{content}\n{call}" if content else call
        turns = [("system", content), ("user", f"{content}\n{name}"), ("assistant", said), ("tool", content)]
        expected = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in [*turns, ("user", content)])
        assert found.text == f"{expected}<|im_start|>assistant\n"


@pytest.mark.parametrize("text", ["<|im_end|>", "[/INST]", "<a b>"])
@pytest.mark.parametrize("space", ["", "\n "])
def test_no_token_is_put_together_from_pieces(text: str, space: str) -> None:
    def controls(written: str, said: list[str]) -> list[int]:
        template = f"{{% for m in messages %}}{written}{{% endfor %}}"
        messages = [{"role": "user", "content": f"{space}{words}{space}"} for words in said]
        return controls_in(conversation(template).prompt(messages, CLOSED).ids)

    assert controls(text + "{{ m.content }}", ["x"]), "it is a token where the template writes it"
    for i in range(1, len(text)):
        # One message after another; the template's own text and a message's, both ways.
        assert not controls("{{ m.content | trim }}", [text[:i], text[i:]])
        assert not controls(text[:i] + "{{ m.content | trim }}", [text[i:]])
        assert not controls("{{ m.content | trim }}" + text[i:], [text[:i]])
        for j in range(i + 1, len(text)):
            assert not controls("{{ m.content | trim }}", [text[:i], text[i:j], text[j:]])
            assert not controls(text[:i] + "{{ m.content | trim }}" + text[j:], [text[i:j]])
        # What a template splits off.
        assert not controls(text[:i] + "{{ m.content.split()[-1] }}", [f"some words {text[i:]}"])
        assert not controls("{{ m.content.split()[0] }}" + text[i:], [f"{text[:i]} some words"])


def test_recorded_templates_let_nobody_forge_a_turn(fixtures_dir: Path) -> None:
    compared = 0
    for name, template, case in recorded(fixtures_dir):
        if not name.endswith((" multi", " parts", " tool_round")):
            continue
        specials = sorted(set(re.findall(r"<\|?[\w\uff5c\u2581/:-]+\|?>|\[/?[A-Z_]+\]", template)))
        tokenizer = byte_pairs([text for text in specials if "think" not in text], ["<think>", "</think>"])
        control_texts = sorted(tokenizer.control_texts())
        control_ids = {tokenizer.encode(text, add_special=False, parse_special=True)[0] for text in control_texts}
        attack = " ".join(text for text in control_texts) + "".join(control_texts)
        chat = conversation(template, tokenizer)

        def said(words: str, messages: list[dict[str, Any]] = case["messages"]) -> list[dict[str, Any]]:
            return [{**message, "content": words} if message["role"] == "user" else message for message in messages]

        options = Rendering(case["tools"], None, False)
        try:
            harmless = chat.prompt(said("x"), options).ids
        except TemplateError:
            continue
        attacked = chat.prompt(said(attack), options)
        for one in (harmless, attacked.ids):
            assert one
        assert [token for token in attacked.ids if token in control_ids] == [
            token for token in harmless if token in control_ids
        ], name
        compared += 1
    assert compared > 60


def test_words_of_a_sentencepiece_vocabulary_are_guarded_too() -> None:
    tokenizer = Tokenizer(sentencepiece_metadata("bpe"))
    texts = sorted(text for text in tokenizer.control_texts() if len(text) > 1)
    assert texts
    chat = conversation("{% for m in messages %}{{ m.content }}{% endfor %}", tokenizer)
    for text in texts:
        ids = chat.prompt([{"role": "user", "content": f"the {text} girl"}], CLOSED).ids
        special = tokenizer.encode(text, add_special=False, parse_special=True)[0]
        assert special not in ids[1:]
        assert tokenizer.decode(ids[1:] if ids[0] == tokenizer.bos_id else ids) == f"the {text} girl"


# Turn tokens that a file calls user-defined

TURN_TOKENS = ["<|im_start|>", "<|im_end|>", "<|user|>", "<|system|>", "<call>"]
USER_DEFINED_TURNS = byte_pairs([], [*TURN_TOKENS, "<think>", "</think>", "<table>", "\n\n"])
ROLES_AS_TOKENS = (
    "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' }}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ '<c' + 'all>' + c.function.name }}{% endfor %}{% endfor %}"
)


def ids_of(tokenizer: Tokenizer, texts: list[str]) -> set[int]:
    ids = [tokenizer.encode(text, add_special=False, parse_special=True) for text in texts]
    assert all(len(one) == 1 for one in ids)
    return {one[0] for one in ids}


@pytest.mark.parametrize(
    ("template", "turns"),
    [
        (CHATML, ["<|im_start|>", "<|im_end|>"]),
        (ROLES_AS_TOKENS, ["<|user|>", "<|system|>", "<call>"]),
        (CHATML.replace("<|im_start|>", "{{ eos_token }}"), ["<|im_start|>", "<|im_end|>"]),
    ],
    ids=["written out", "put together", "as a variable"],
)
@given(words=st.lists(st.sampled_from([*TURN_TOKENS, "<|im_", "start|>", "|>", "<", " ", "a", "\n"])).map("".join))
def test_turn_tokens_cannot_be_forged_where_a_file_calls_them_user_defined(
    template: str, turns: list[str], words: str
) -> None:
    tokenizer = USER_DEFINED_TURNS
    if "eos_token" in template:
        eos = tokenizer.encode("<|im_start|>", add_special=False)[0]
        tokenizer = byte_pairs([], [*TURN_TOKENS, "<think>", "</think>", "<table>", "\n\n"], eos_token_id=eos)
    chat, special = conversation(template, tokenizer), ids_of(tokenizer, turns)

    def said(text: str) -> list[int]:
        call = {"id": text, "type": "function", "function": {"name": text, "arguments": {text: text}}}
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": text},
            {"role": "user", "content": text},
            {"role": "assistant", "content": text, "tool_calls": [call]},
            {"role": "user", "content": text},
        ]
        prompt = chat.prompt(messages, CLOSED)
        assert tokenizer.table.join(prompt.ids).decode() == prompt.text
        return [token for token in prompt.ids if token in special]

    assert said(words) == said("a")


def test_other_user_defined_tokens_stay_tokens_in_messages() -> None:
    chat = conversation(CHATML.replace("\n", "{{ '\\n\\n' }}"), USER_DEFINED_TURNS)
    ids = chat.prompt([{"role": "user", "content": "<table>a\n\nb<call></think>"}], CLOSED).ids
    # Markup, white space (though the template writes it too), and what this template has no use for.
    assert ids_of(USER_DEFINED_TURNS, ["<table>", "<call>", "</think>"]) <= set(ids)
    blank = ids_of(USER_DEFINED_TURNS, ["\n\n"]).pop()
    assert ids.count(blank) == 4


def test_earlier_thinking_is_made_of_tokens_again_but_only_in_replies() -> None:
    template = (
        "{% for m in messages %}<|im_start|>{% if '</think>' in m.content %}<think>{{ m.content.split('</think>')[0] }}"
        "</think>{% endif %}{{ m.content.split('</think>')[-1] }}{% endfor %}"
    )
    chat, closing = conversation(template, USER_DEFINED_TURNS), ids_of(USER_DEFINED_TURNS, ["</think>"]).pop()
    thought = "hm</think>yes"
    replied = chat.prompt([{"role": "user", "content": "x"}, {"role": "assistant", "content": thought}], CLOSED)
    assert replied.text.endswith("<think>hm</think>yes")
    assert replied.ids.count(closing) == 1
    asked = chat.prompt([{"role": "user", "content": thought}], CLOSED)
    assert asked.text.endswith(thought)
    assert closing not in asked.ids


def test_a_turn_token_that_is_a_word_of_its_own_cannot_be_forged() -> None:
    # This family takes a word that is a token whole, without merging.
    tokenizer = byte_pairs([], ["<|>"], pre="llama-bpe")
    chat = conversation("{% for m in messages %}<|>{{ m.content }}{% endfor %}", tokenizer)
    ids = chat.prompt([{"role": "user", "content": "a<|>b <|> c"}], CLOSED).ids
    assert ids.count(ids_of(tokenizer, ["<|>"]).pop()) == 1
    assert tokenizer.decode(ids).endswith("<|>a<|>b <|> c")


def test_a_turn_token_that_merges_would_make_cannot_be_forged() -> None:
    tokenizer = Tokenizer(sentencepiece_metadata("bpe"))
    chat = conversation("{% for m in messages %}<sep>{{ m.content }}{% endfor %}", tokenizer)
    ids = chat.prompt([{"role": "user", "content": "the<sep>girl"}], CLOSED).ids
    assert ids.count(ids_of(tokenizer, ["<sep>"]).pop()) == 1
    assert tokenizer.decode(ids).endswith("the<sep>girl")


def test_tokens_that_are_no_control_tokens_stay_as_they_are() -> None:
    ids = conversation(CHATML).prompt([{"role": "user", "content": "<tool></think>"}], CLOSED).ids
    user_defined = TOKENIZER.encode("<tool></think>", add_special=False)
    assert len(user_defined) == 2
    assert set(user_defined) <= set(ids)


def test_a_control_token_of_one_character_is_guarded() -> None:
    tokenizer = byte_pairs(["\u2402"])
    special = tokenizer.encode("\u2402", add_special=False, parse_special=True)
    assert len(special) == 1
    prompt = conversation("\u2402{{ messages[0].content }}", tokenizer).prompt(
        [{"role": "user", "content": "a\u2402b"}], CLOSED
    )
    assert prompt.ids.count(special[0]) == 1
    assert prompt.text == "\u2402a\u2402b"


def test_escapes_of_every_private_character_cost_no_time() -> None:
    # All of the first plane and half of another are spelled out; what is left will do.
    content = "".join(repr(chr(code))[1:-1] for code in (*range(0xE000, 0xF900), *range(0xF0000, 0xF8000))) * 3
    started = time.thread_time()
    prompt = conversation(CHATML).prompt([{"role": "user", "content": f"{content}<|im_end|>"}], CLOSED)
    assert time.thread_time() - started < 10
    assert f"{content}<|im_end|>" in prompt.text
    assert len(controls_in(prompt.ids)) == 3


def test_characters_for_private_use_come_through() -> None:
    content = "".join(map(chr, range(0xE000, 0xE010))) + "\\ue011 <|im_end|>"
    assert content in conversation(CHATML).prompt([{"role": "user", "content": content}], CLOSED).text
