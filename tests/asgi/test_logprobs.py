"""The four parallel lists of log-probabilities: offsets go on from piece to piece, and nothing is beyond JSON."""

from __future__ import annotations

import json
import math

from oxillama.asgi.logprobs import LogprobLists
from oxillama.results.completion import TokenLogprob

CONTROL = 99


def entry(text: bytes, token_id: int = 1, logprob: float = -0.5, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
    return TokenLogprob(token_id=token_id, token_bytes=text, logprob=logprob, top=top)


def lists(**options: object) -> LogprobLists:
    return LogprobLists(lambda token: token == CONTROL, **options)  # type: ignore[arg-type]


def test_offsets_go_on_from_piece_to_piece() -> None:
    found = lists()
    assert found.push([entry(b"One"), entry(b" day")])["text_offset"] == [0, 3]
    assert found.push([])["text_offset"] == []
    assert found.push([entry(b".")])["text_offset"] == [7]


def test_a_character_of_two_tokens_counts_where_it_is_complete() -> None:
    snow = "☃".encode()
    found = lists().push([entry(b"a"), entry(snow[:2]), entry(snow[2:]), entry(b"b")])
    assert found["text_offset"] == [0, 1, 1, 2]


def test_control_tokens_are_no_part_of_the_text() -> None:
    found = lists().push([entry(b"<s>", CONTROL), entry(b"a"), entry(b"</s>", CONTROL), entry(b"b")])
    assert found["text_offset"] == [0, 0, 1, 1]


def test_an_echoed_prompt_comes_first_and_its_added_space_is_before_the_text() -> None:
    prompt = [entry(b"<s>", CONTROL), entry(b" One"), entry(b" day")]
    echoed = lists(end_of_prompt=7, prompt=prompt)
    assert echoed.push(prompt)["text_offset"] == [0, 0, 3]
    assert echoed.push([entry(b".")])["text_offset"] == [7]


def test_of_two_that_look_the_same_the_likelier_stays() -> None:
    top = (entry(b"\xff", 1, -0.1), entry(b"\xfe", 2, -0.9), entry(b"a", 3, -2.0))
    assert lists().push([entry(b"\xff", top=top)])["top_logprobs"] == [{"a": -2.0, "\ufffd": -0.1}]


def test_what_json_cannot_say_is_null() -> None:
    top = (entry(b"a", 1, -math.inf),)
    found = lists().push([entry(b"a", logprob=math.nan), entry(b"b", logprob=-math.inf, top=top)])
    assert found["token_logprobs"] == [None, None]
    assert found["top_logprobs"] == [None, {"a": None}]
    json.dumps(found, allow_nan=False)
