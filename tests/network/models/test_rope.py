"""RoPE frequencies against the formulas of their papers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from oxillama import Engine
from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.rope import RopeScaling, inverse_frequencies, read_scaling
from oxillama.testing.tiny_models import TinyModel


def scaling(kind: str = "none", factor: float = 1.0, n_ctx: int = 2048) -> RopeScaling:
    return RopeScaling(kind, factor, n_ctx, attention_factor=1.0, beta_fast=32.0, beta_slow=1.0)


def test_plain_frequencies() -> None:
    found, magnitude = inverse_frequencies(8, 10000.0, scaling())
    assert magnitude == 1.0
    np.testing.assert_allclose(found, [1, 0.1, 0.01, 0.001], rtol=1e-6)


def test_linear_scaling_divides_every_frequency() -> None:
    plain, _ = inverse_frequencies(64, 10000.0, scaling())
    found, magnitude = inverse_frequencies(64, 10000.0, scaling("linear", 4.0))
    np.testing.assert_allclose(found, plain / 4, rtol=1e-6)
    assert magnitude == 1.0


def test_factors_from_the_file_divide_each_frequency() -> None:
    factors = np.linspace(1, 8, 32, dtype=np.float32)
    plain, _ = inverse_frequencies(64, 500000.0, scaling())
    found, _ = inverse_frequencies(64, 500000.0, scaling(), factors)
    np.testing.assert_allclose(found, plain / factors, rtol=1e-6)


def test_yarn_keeps_fast_dimensions_and_stretches_slow_ones() -> None:
    plain, _ = inverse_frequencies(128, 10000.0, scaling())
    found, magnitude = inverse_frequencies(128, 10000.0, scaling("yarn", 8.0))
    turns = 2048 * plain / (2 * math.pi)
    np.testing.assert_allclose(found[turns > 40], plain[turns > 40], rtol=1e-6)
    np.testing.assert_allclose(found[turns < 0.7], plain[turns < 0.7] / 8, rtol=1e-6)
    between = (turns < 25) & (turns > 1.3)
    assert np.all((found[between] < plain[between]) & (found[between] > plain[between] / 8))
    assert magnitude == pytest.approx(1 + 0.1 * math.log(8))


def hyperparameters(**values: object) -> Hyperparameters:
    return Hyperparameters("llama", {f"llama.rope.{name}": value for name, value in values.items()})


def test_no_scaling_key_means_none() -> None:
    assert read_scaling(hyperparameters(), 512).kind == "none"


def test_an_old_file_scales_linearly() -> None:
    found = read_scaling(hyperparameters(scale_linear=4.0), 512)
    assert (found.kind, found.factor) == ("linear", 4.0)


def test_unknown_scaling_is_named() -> None:
    with pytest.raises(UnsupportedModelError, match="'ntk'"):
        read_scaling(hyperparameters(**{"scaling.type": "ntk"}), 512)


@pytest.mark.parametrize("base", [1.0, 0.5, 1e-300])
def test_a_base_without_sense_is_refused(tmp_path: Path, base: float) -> None:
    metadata = {
        "llama.rope.freq_base": base,
        "llama.rope.scaling.type": "yarn",
        "llama.rope.scaling.original_context_length": 64,
    }
    path = tmp_path / "tiny.gguf"
    TinyModel(metadata=metadata).write(path)
    with pytest.raises(ModelLoadError, match=r"llama\.rope\.freq_base"):
        Engine(path, progress=False)


def test_a_negative_factor_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="-2"):
        read_scaling(hyperparameters(**{"scaling.type": "linear", "scaling.factor": -2.0}), 512)


@pytest.mark.parametrize("name", ["factor", "attn_factor", "yarn_beta_fast", "yarn_beta_slow"])
@pytest.mark.parametrize("value", [5e-324, 1e-300, 1e-40, 1e39, 1.7e308])
def test_a_number_that_float32_does_not_hold_is_refused(name: str, value: float) -> None:
    with pytest.raises(ModelLoadError, match=rf"llama\.rope\.scaling\.{name} is .*, expected a number from 1.2e-38"):
        read_scaling(hyperparameters(**{"scaling.type": "yarn", f"scaling.{name}": value}), 512)


@pytest.mark.parametrize("kind", ["none", "linear", "yarn"])
def test_extreme_numbers_give_frequencies_or_an_error(kind: str) -> None:
    extremes = [1.2e-38, 1e-20, 1.0, 3.4e38]
    wrong = 0
    for factor in extremes:
        for fast in extremes:
            for base in (1 + 2**-52, 1.001, 1e4, 3.4e38):
                numbers = RopeScaling(kind, factor, 2**31 - 1, attention_factor=fast, beta_fast=fast, beta_slow=factor)
                for factors in (None, np.full(8, 1e-45, np.float32), np.full(8, 3e38, np.float32)):
                    try:
                        found, magnitude = inverse_frequencies(16, base, numbers, factors)
                    except ModelLoadError:
                        wrong += 1
                        continue
                    assert found.dtype == np.float32
                    assert np.isfinite(found).all()
                    assert 0 < np.float32(magnitude) < np.inf
    assert 0 < wrong < 4 * 4 * 4 * 3


def test_numbers_that_are_possible_alone_but_not_together() -> None:
    numbers = RopeScaling("yarn", 1e-6, 2048, attention_factor=1.0, beta_fast=32.0, beta_slow=1.0)
    with pytest.raises(ModelLoadError, match=r"the magnitude of RoPE is -0\.38"):
        inverse_frequencies(16, 1e4, numbers)
    with pytest.raises(ModelLoadError, match=r"the frequencies of RoPE have no end: base 10000\.0, scaling none"):
        inverse_frequencies(16, 1e4, scaling(), np.full(8, 1e-45, np.float32))


def test_a_factor_without_a_type_stretches_linearly() -> None:
    found = read_scaling(hyperparameters(**{"scaling.factor": 4.0}), 512)
    assert (found.kind, found.factor) == ("linear", 4.0)


def test_the_multiplier_of_yarns_logarithm_divides_its_magnitude() -> None:
    keys = {"scaling.type": "yarn", "scaling.factor": 8.0, "scaling.yarn_log_multiplier": 0.5}
    _, magnitude = inverse_frequencies(64, 10000.0, read_scaling(hyperparameters(**keys), 512))
    assert magnitude == pytest.approx((1 + 0.1 * math.log(8)) / (1 + 0.05 * math.log(8)))
