"""Frequencies of rotary position embeddings (Su et al. 2021, arXiv:2104.09864) and their context extensions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.gguf.file import described
from oxillama.network.models.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class RopeScaling:
    """kind: "none", "linear" (Chen et al. 2023, arXiv:2306.15595), "yarn" (Peng et al. 2023, arXiv:2309.00071) or
    "longrope" (Ding et al. 2024, arXiv:2402.13753), which is all in the factors of the file. log_multiplier: 0, or
    YaRN's magnitude is divided by the one that this many times the logarithm would give."""

    kind: str
    factor: float
    n_ctx_original: int
    attention_factor: float
    beta_fast: float
    beta_slow: float
    log_multiplier: float = 0.0

    @classmethod
    def none(cls) -> Self:
        return cls("none", 1.0, 1, 1.0, 32.0, 1.0)


def read_scaling(hp: Hyperparameters, n_ctx_train: int) -> RopeScaling:
    # Files of 2023 have only rope.scale_linear.
    scales = hp.has("rope.scale_linear") or hp.has("rope.scaling.factor")
    kind = hp.text("rope.scaling.type", "linear" if scales else "none")
    if kind not in ("none", "linear", "yarn", "longrope"):
        raise UnsupportedModelError(
            f"{hp.architecture}.rope.scaling.type is {described(kind)}; supported: none, linear, yarn, longrope"
        )
    factor = 1.0
    if kind == "none":
        hp.irrelevant("rope.scaling.factor", "rope.scale_linear")
    elif kind == "longrope":
        hp.expect("rope.scaling.factor", 1.0)
    else:
        # A factor of 0 stands for 1 in files that were converted without one.
        factor = hp.number("rope.scaling.factor", hp.number("rope.scale_linear", 1.0), positive=False) or 1.0
    if factor < 0:
        raise ModelLoadError(f"{hp.architecture}.rope.scaling.factor is {factor}, expected a positive number")
    if kind != "yarn":
        hp.irrelevant("rope.scaling.yarn_log_multiplier", "rope.scaling.yarn_ext_factor")
    hp.expect("rope.scaling.yarn_ext_factor", 1.0)
    hp.expect("rope.scaling.yarn_attn_factor", 1.0)
    return RopeScaling(
        kind=kind,
        factor=factor,
        n_ctx_original=hp.integer("rope.scaling.original_context_length", n_ctx_train),
        attention_factor=hp.number("rope.scaling.attn_factor", 1.0),
        beta_fast=hp.number("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=hp.number("rope.scaling.yarn_beta_slow", 1.0),
        log_multiplier=hp.number("rope.scaling.yarn_log_multiplier", 0.0, positive=False) if kind == "yarn" else 0.0,
    )


def inverse_frequencies(
    dims: int, base: float, scaling: RopeScaling, factors: npt.NDArray[np.float32] | None = None
) -> tuple[npt.NDArray[np.float32], float]:
    """The float32 [dims / 2] radians per position, and the magnitude of cosine and sine.

    factors: float32 [dims / 2] divisors from the file (`rope_freqs` of llama 3.1 and later, `rope_factors_long` and
    `rope_factors_short` of phi3), or None."""
    if factors is not None:
        wrong = factors[~((factors > 0) & np.isfinite(factors))]
        if wrong.size:
            raise ModelLoadError(f"a frequency factor of RoPE is {wrong[0]}, expected positive numbers")
    # Numbers that each are possible may not be so together.
    with np.errstate(all="ignore"):
        found, magnitude = _frequencies(dims, base, scaling, factors)
        frequencies, stored = found.astype(np.float32), float(np.float32(magnitude))
    if not np.isfinite(frequencies).all():
        raise ModelLoadError(
            f"the frequencies of RoPE have no end: base {base}, scaling {scaling.kind} by {scaling.factor}"
        )
    if not 0 < stored < math.inf:
        raise ModelLoadError(
            f"the magnitude of RoPE is {magnitude}, expected a positive number: rope.scaling.type {scaling.kind}, "
            f"factor {scaling.factor}, attn_factor {scaling.attention_factor}, yarn_log_multiplier "
            f"{scaling.log_multiplier}"
        )
    return frequencies, magnitude


def _frequencies(
    dims: int, base: float, scaling: RopeScaling, factors: npt.NDArray[np.float32] | None
) -> tuple[npt.NDArray[np.float64], float]:
    plain = base ** (-np.arange(0, dims, 2, dtype=np.float64) / dims)
    if factors is not None:
        plain = plain / factors
    if scaling.kind in ("none", "longrope"):
        return plain, scaling.attention_factor
    stretched = plain / scaling.factor
    if scaling.kind == "linear":
        return stretched, scaling.attention_factor
    # A dimension that turns more than beta_fast times within the original context keeps its frequency; one that turns
    # less than beta_slow times is stretched; between them a ramp, whose ends are rounded to whole dimensions.
    low, high = (
        dims * math.log(scaling.n_ctx_original / (turns * 2 * math.pi)) / (2 * math.log(base))
        for turns in (scaling.beta_fast, scaling.beta_slow)
    )
    # As floats: a base next to 1 makes numbers beyond every integer type.
    start, end = max(0.0, float(np.floor(low))), min(dims - 1.0, float(np.ceil(high)))
    ramp = np.clip((np.arange(dims // 2) - start) / max(0.001, end - start), 0, 1)
    stretch = math.log(scaling.factor)
    divisor = 1 + 0.1 * scaling.log_multiplier * stretch
    magnitude = scaling.attention_factor * (1 + 0.1 * stretch) / divisor if divisor else math.inf
    return plain * (1 - ramp) + stretched * ramp, magnitude
