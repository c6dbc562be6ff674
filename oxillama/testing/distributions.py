"""Whether draws come from a distribution: Pearson's chi-squared test, with a bound on how often it is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Cells that would have fewer draws than this are put together.
LEAST_EXPECTED = 5.0


def assert_same_distribution(
    draws: Sequence[int] | npt.NDArray[np.integer], probs: npt.ArrayLike, *, wrong: float = 1e-6
) -> None:
    """Raises AssertionError unless the draws may well come from `probs`.

    draws: token ids. probs: [n_vocab], what each id's probability should be, as `Sampler.probs` tells it. wrong: how
    often draws that do come from it may be refused; a test that runs a million times with the default fails once.

    A draw of probability 0 is always refused. Give some hundred draws: of few of them nothing can be said.

    >>> import numpy as np
    >>> from oxillama import Sampler, SamplingParams
    >>> from oxillama.testing import assert_same_distribution
    >>> logits = np.array([1.0, 2.0, 0.5, -1.0], np.float32)
    >>> sampler = Sampler(SamplingParams(temperature=0.7, top_k=3, seed=1))
    >>> draws = [sampler.sample(logits, position=i) for i in range(500)]
    >>> assert_same_distribution(draws, sampler.probs(logits))
    """
    wanted = np.asarray(probs, np.float64)
    found = np.asarray(draws, np.int64)
    if wanted.ndim != 1 or not np.isfinite(wanted).all() or (wanted < 0).any() or wanted.sum() <= 0:
        raise ValueError("probs must be one row of probabilities")
    if not 0 < wrong < 1:
        raise ValueError(f"wrong must be a probability between 0 and 1, found {wrong}")
    if found.size == 0 or found.min() < 0 or found.max() >= wanted.size:
        raise ValueError(f"draws must be token ids from 0 to {wanted.size - 1}, at least one")
    wanted = wanted / wanted.sum()
    counts = np.bincount(found, minlength=wanted.size).astype(np.float64)
    impossible = np.flatnonzero((counts > 0) & (wanted == 0))
    if impossible.size:
        raise AssertionError(f"token {impossible[0]} was drawn {counts[impossible[0]]:.0f} times; its probability is 0")
    expected = wanted * found.size
    rare = expected < LEAST_EXPECTED
    cells = [*zip(counts[~rare], expected[~rare], strict=True)]
    if rare.any() and expected[rare].sum() > 0:
        cells.append((float(counts[rare].sum()), float(expected[rare].sum())))
    if len(cells) < 2:
        return
    statistic = sum((count - mean) ** 2 / mean for count, mean in cells)
    limit = _chi_squared_limit(len(cells) - 1, wrong)
    if statistic > limit:
        worst = int(np.argmax(np.where(rare, 0.0, (counts - expected) ** 2 / np.maximum(expected, 1e-300))))
        raise AssertionError(
            f"chi-squared is {statistic:.1f}, at most {limit:.1f} was expected of {found.size} draws over {len(cells)} "
            f"cells; worst is token {worst}: drawn {counts[worst]:.0f} times, expected {expected[worst]:.1f}"
        )


def _chi_squared_limit(freedom: int, wrong: float) -> float:
    """Where so much of the distribution lies above: Laurent and Massart's bound (2000), a little on the safe side."""
    x = -math.log(wrong)
    return freedom + 2 * math.sqrt(freedom * x) + 2 * x
