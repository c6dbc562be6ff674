"""The strategies for host applications: what they promise, and that they reach the corners."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oxillama import Engine, SamplingParams
from oxillama.testing import strategies as ox
from oxillama.testing.tiny_models import TinyModel

QUICKLY = settings(phases=[Phase.generate], max_examples=2000)  # no shrinking: that an example exists is enough


@given(ox.logits())
def test_logits_are_finite_float32_rows(row: NDArray[np.float32]) -> None:
    assert row.dtype == np.float32
    assert row.ndim == 1
    assert 1 <= row.size <= 80
    assert np.isfinite(row).all()
    assert row.min() >= -30
    assert row.max() <= 30


@given(data=st.data(), low=st.floats(-100, 99), width=st.floats(1, 100))
def test_logits_of_a_given_size_and_range(data: st.DataObject, low: float, width: float) -> None:
    row = data.draw(ox.logits(17, low=low, high=low + width))
    assert row.shape == (17,)
    assert np.float32(low) <= row.min()
    assert row.max() <= np.float32(low + width)


def test_logits_have_ties_and_clear_winners() -> None:
    find(ox.logits(20), lambda row: len(set(row.tolist())) == 2, settings=QUICKLY)
    find(ox.logits(20), lambda row: bool(np.sort(row)[-1] > np.sort(row)[-2] + 5), settings=QUICKLY)


@settings(max_examples=25, deadline=None)
@given(row=ox.logits(49152))
def test_rows_of_a_real_vocabulary_pass_the_health_checks(row: NDArray[np.float32]) -> None:
    assert row.shape == (49152,)
    assert row.dtype == np.float32
    assert row.min() >= -30
    assert row.max() <= 30


def test_those_have_ties_flat_rows_and_winners_of_one_s_own() -> None:
    few = settings(QUICKLY, max_examples=300, suppress_health_check=list(HealthCheck))
    find(ox.logits(49152), lambda row: len(np.unique(row)) == 1, settings=few)
    find(ox.logits(49152), lambda row: 2 < len(np.unique(row)) < 200, settings=few)
    find(ox.logits(49152), lambda row: int(row.argmax()) == 7 or row.max() > 29, settings=few)


@given(ox.conversations(max_turns=3))
def test_conversations_end_with_a_question(conversation: list[dict[str, str]]) -> None:
    roles = [message["role"] for message in conversation]
    assert roles[-1] == "user"
    spoken = roles[1:] if roles[0] == "system" else roles
    assert spoken == ["user", "assistant"] * (len(spoken) // 2) + ["user"]
    assert all(message["content"].strip() for message in conversation)


@given(ox.hostile_texts(50))
def test_hostile_texts_are_texts(text: str) -> None:
    assert len(text) <= 50
    text.encode()


def test_hostile_texts_try_what_breaks_templates() -> None:
    for part in ("<|im_start|>", "\x00", "{{", "</s>", "[DONE]"):
        find(ox.hostile_texts(), partial(contains, part), settings=QUICKLY)


def contains(part: str, text: str) -> bool:
    return part in text


@given(ox.conversations(system=True))
def test_no_conversation_breaks_a_chat(demo: Engine, conversation: list[dict[str, str]]) -> None:
    demo.render_chat(conversation)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="low must be below high"):
        ox.logits(low=1, high=1)


@given(ox.token_histories(9, max_prompt=5, max_output=7))
def test_histories_are_pairs_of_tokens(history: tuple[list[int], list[int]]) -> None:
    prompt, output = history
    assert len(prompt) <= 5
    assert len(output) <= 7
    assert all(0 <= token < 9 for token in prompt + output)


def test_histories_repeat_themselves() -> None:
    find(ox.token_histories(50), lambda pair: len(pair[1]) >= 12 and pair[1][-4:] == pair[1][-8:-4], settings=QUICKLY)


@given(ox.sampling_params(n_vocab=6))
def test_params_fit_the_vocabulary_and_need_no_session(params: SamplingParams) -> None:
    params.resolve(n_vocab=6)
    assert params.seed is not None
    assert params.mirostat == 0


@given(ox.sampling_params(temperature=0.5, top_k=st.integers(3, 5)))
def test_fields_can_be_fixed(params: SamplingParams) -> None:
    assert params.temperature == 0.5
    assert 3 <= params.top_k <= 5


@pytest.mark.parametrize("name", ["top_p", "min_p", "typical_p", "dry_multiplier", "xtc_probability", "logit_bias"])
def test_every_stage_is_reached_and_left_alone(name: str) -> None:
    default: Any = getattr(SamplingParams(), name)
    find(ox.sampling_params(), lambda params: getattr(params, name) != default, settings=QUICKLY)
    find(ox.sampling_params(), lambda params: getattr(params, name) == default, settings=QUICKLY)


def test_mirostat_on_request() -> None:
    find(ox.sampling_params(mirostat=True), lambda params: params.mirostat == 1, settings=QUICKLY)


def test_an_unknown_field_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="temprature"):
        ox.sampling_params(temprature=1.0)


def test_the_library_itself_does_not_import_hypothesis() -> None:
    code = "import sys, oxillama; oxillama.Sampler; assert 'hypothesis' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@settings(max_examples=15, deadline=None)
@given(model=ox.tiny_models(), ids=st.lists(st.integers(0, 2), min_size=1, max_size=50))
def test_tiny_models_open_and_count(model: TinyModel, ids: list[int]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        model.write(path)
        with Engine(path, n_ctx=64, max_batch_size=2, kv_dtype="f32", progress=False) as engine:
            logits = engine.logits(ids)
            assert logits.shape == (len(ids), model.n_vocab)
            assert np.isfinite(logits).all()
            # Causal: what comes later changes nothing before.
            np.testing.assert_array_equal(engine.logits([*ids, 0])[:-1], logits)


def test_a_tiny_model_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="n_experts"):
        find(ox.tiny_models(n_experts=3), lambda model: True)
