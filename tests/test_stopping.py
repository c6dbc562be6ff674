"""What ends a text: the model itself, stop strings and tokens, limits, and faults of one request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oxillama import Engine, InvalidRequestError, NumericalError
from oxillama.testing.tiny_models import TinyModel
from tests.patience import eventually, is_idle

PROMPT = "Once upon a time"


def test_the_model_ends_its_answer_itself(demo: Engine) -> None:
    prompt = demo.tokenize("<|user|>Who are you?<|end|><|assistant|>", parse_special=True)
    completion = demo.generate(prompt, temperature=0, max_tokens=100)
    assert completion.finish_reason == "stop"
    assert completion.stop_reason is None
    assert demo.tokenizer is not None
    assert demo.tokenizer.is_eog(completion.token_ids[-1])
    assert "<|" not in completion.text
    assert completion.text == demo.detokenize(completion.token_ids[:-1])


def test_ignore_eos_goes_on(demo: Engine) -> None:
    prompt = demo.tokenize("<|user|>Who are you?<|end|><|assistant|>", parse_special=True)
    completion = demo.generate(prompt, temperature=0, max_tokens=100, ignore_eos=True)
    assert completion.finish_reason == "length"
    assert demo.tokenizer is not None
    assert not any(demo.tokenizer.is_eog(token) for token in completion.token_ids)


def test_min_tokens_holds_the_end_back(demo: Engine) -> None:
    prompt = demo.tokenize("<|user|>Who are you?<|end|><|assistant|>", parse_special=True)
    natural = demo.generate(prompt, temperature=0, max_tokens=100).usage.completion_tokens
    assert (
        demo.generate(prompt, temperature=0, max_tokens=200, min_tokens=natural + 5).usage.completion_tokens > natural
    )


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_stop_string_ends_the_text_before_itself(demo: Engine, cut: int) -> None:
    whole = demo.generate(PROMPT, max_tokens=40, temperature=0).text
    stop = whole[20 : 20 + cut]
    completion = demo.generate(PROMPT, max_tokens=40, temperature=0, stop=[stop, "never written"])
    assert completion.text == whole[: whole.index(stop)]
    assert (completion.finish_reason, completion.stop_reason) == ("stop", stop)
    assert completion.usage.completion_tokens == len(completion.token_ids) <= 40
    # Tokens of the stop text count, though its text is not shown.
    assert demo.detokenize(completion.token_ids).startswith(completion.text + stop[:1])
    streamed = "".join(chunk.text for chunk in demo.stream(PROMPT, max_tokens=40, temperature=0, stop=stop))
    assert streamed == completion.text


def test_a_stop_string_that_never_comes_holds_nothing_back(demo: Engine) -> None:
    whole = demo.generate(PROMPT, max_tokens=40, temperature=0).text
    # It begins like the text does, and like the end of the text.
    completion = demo.generate(PROMPT, max_tokens=40, temperature=0, stop=[whole[:15] + "#", whole[-5:] + "#"])
    assert completion.text == whole
    assert (completion.finish_reason, completion.stop_reason) == ("length", None)


def test_min_tokens_holds_stop_strings_back(demo: Engine) -> None:
    whole = demo.generate(PROMPT, max_tokens=40, temperature=0)
    late = demo.generate(PROMPT, max_tokens=40, temperature=0, stop=" ", min_tokens=20)
    assert 20 <= late.usage.completion_tokens < 40
    assert whole.text.startswith(late.text)
    assert late.stop_reason == " "


def test_a_stop_token_ends_the_text(demo: Engine) -> None:
    whole = demo.generate(PROMPT, max_tokens=40, temperature=0)
    token = whole.token_ids[7]
    first = whole.token_ids.index(token)
    completion = demo.generate(PROMPT, max_tokens=40, temperature=0, stop_token_ids=[token])
    assert completion.token_ids == whole.token_ids[: first + 1]
    assert (completion.finish_reason, completion.stop_reason) == ("stop", token)
    assert completion.text == demo.detokenize(completion.token_ids[:-1])


def test_banned_tokens_never_come(demo: Engine) -> None:
    banned = sorted(set(demo.generate(PROMPT, max_tokens=40, temperature=0).token_ids))
    completion = demo.generate(PROMPT, max_tokens=40, temperature=0, banned_tokens=banned)
    assert not set(banned) & set(completion.token_ids)


def test_all_tokens_banned_is_an_error_of_that_request(demo: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="no token to choose from") as caught:
        demo.generate(PROMPT, max_tokens=4, banned_tokens=range(demo.n_vocab))
    assert caught.value.code == "no_token_left"
    assert demo.generate(PROMPT, max_tokens=4).usage.completion_tokens == 4


def test_broken_weights_are_an_error_of_the_request(tmp_path: Path) -> None:
    path = tmp_path / "nan.gguf"
    TinyModel(tokenizer=True).write(path)
    data = bytearray(path.read_bytes())
    nan = np.full(64, np.nan, np.float32).tobytes()
    with Engine(path, progress=False) as engine:
        assert engine.generate("a", max_tokens=2).usage.completion_tokens > 0
    data[-len(nan) :] = nan  # the last row of the output matrix: the logit of the last token
    path.write_bytes(data)
    with Engine(path, progress=False) as engine:
        with pytest.raises(NumericalError, match="NaN or infinite"):
            engine.generate("a", max_tokens=2)
        eventually(lambda: is_idle(engine))
        assert engine.state == "ready"
