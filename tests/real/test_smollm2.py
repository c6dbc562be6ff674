"""SmolLM2-135M-Instruct: a small model that answers."""

from __future__ import annotations

import pytest

from oxillama import Engine
from oxillama.chat.messages import Message
from tests.real.prose import check_company, check_perplexity

pytestmark = pytest.mark.real

# The template's own system message leaves three first words of the answer almost as probable; this one leaves one.
SYSTEM: Message = {"role": "system", "content": "You are a helpful assistant."}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the capital of France?", "Paris"),
        ("Write one sentence about the sea.", "sea"),
    ],
)
def test_it_answers_a_question_and_stops(smollm2: Engine, question: str, expected: str) -> None:
    reply = smollm2.chat([SYSTEM, {"role": "user", "content": question}], max_tokens=100, temperature=0)
    assert expected in reply.text
    assert reply.finish_reason == "stop"
    assert "<|im_end|>" not in reply.text


def test_a_conversation_goes_on(smollm2: Engine) -> None:
    messages: list[Message] = [SYSTEM, {"role": "user", "content": "What is the capital of France?"}]
    first = smollm2.chat(messages, max_tokens=40, temperature=0)
    messages += [first.message, {"role": "user", "content": "In which country is that city?"}]
    assert "France" in smollm2.chat(messages, max_tokens=40, temperature=0).text


def test_company_changes_nothing(smollm2: Engine) -> None:
    check_company(smollm2)


def test_a_stream_is_the_reply(smollm2: Engine) -> None:
    messages: list[Message] = [SYSTEM, {"role": "user", "content": "What is the capital of France?"}]
    streamed = "".join(chunk.text for chunk in smollm2.stream_chat(messages, max_tokens=40, temperature=0))
    assert streamed == smollm2.chat(messages, max_tokens=40, temperature=0).text


def test_it_expects_english(smollm2: Engine) -> None:
    check_perplexity(smollm2, most=12)


def test_every_text_is_tokenised_and_back(smollm2: Engine) -> None:
    for text in ("naïve façade, 北京 🦊\n\n\tdef f(x): return x**2  # 1234567", " leading and trailing "):
        assert smollm2.detokenize(smollm2.tokenize(text, add_special=False)) == text


def test_memory_is_promised_for_the_work(smollm2: Engine) -> None:
    """Four contexts of 8192 tokens, and not the 32 that may run at once: that would be 5.6 GiB for a file of 94 MiB."""
    assert smollm2.memory.kv_cache < 1 << 30
    assert smollm2.stats().kv_bytes_resident < smollm2.memory.kv_cache / 2
