"""Hidden states of a prompt as one vector, against NumPy over the states themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from oxillama import Engine

TEXT = "Once upon a time there was a fox"


def rows(engine: Engine) -> npt.NDArray[np.float64]:
    return engine.submit_embedding(TEXT, pooling="none", normalize=False).result().astype(np.float64)


@pytest.mark.parametrize("pooling", ["mean", "last", "cls"])
@pytest.mark.parametrize("dimensions", [None, 1, 5])
def test_a_vector_is_made_of_the_states(demo: Engine, pooling: Any, dimensions: int | None) -> None:
    states = rows(demo)
    whole = {"mean": states.mean(axis=0), "last": states[-1], "cls": states[0]}[pooling]
    expected = whole[:dimensions]
    plain = demo.embed(TEXT, pooling=pooling, dimensions=dimensions, normalize=False)[0]
    np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-6)
    unit = demo.embed(TEXT, pooling=pooling, dimensions=dimensions)[0]
    # Of what is kept, not of the whole.
    np.testing.assert_allclose(unit, expected / np.linalg.norm(expected), rtol=1e-5, atol=1e-6)


def test_chunks_of_a_prompt_add_up_to_the_same_bits(demo: Engine) -> None:
    with Engine.demo(n_threads=1, max_batch_tokens=3, progress=False) as narrow:
        poolings: list[Any] = ["mean", "last", "cls"]
        for pooling in poolings:
            assert np.array_equal(narrow.embed(TEXT, pooling=pooling), demo.embed(TEXT, pooling=pooling))
        assert np.array_equal(rows(narrow), rows(demo))


def test_rows_may_be_normalised_one_by_one(demo: Engine) -> None:
    found = demo.submit_embedding(TEXT, pooling="none").result()
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, rtol=1e-6)
