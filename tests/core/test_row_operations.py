"""Operations over rows against their definition in float64."""

from __future__ import annotations

import numpy as np
import pytest

from oxillama.network import operations as op
from oxillama.network.graph import Graph
from oxillama.network.models.rope import RopeScaling, inverse_frequencies
from oxillama.network.operations import RopeLayout
from tests.network.running import Array, Network

WIDTH, N_VOCAB, N_TOKENS = 64, 5, 16
EMBEDDING: Array = np.random.default_rng(0).standard_normal((N_VOCAB, WIDTH)).astype(np.float32)
TOKENS = [i % N_VOCAB for i in range(N_TOKENS)]


def rotated(layout: RopeLayout, base: float, first: int) -> Array:
    """float32 [N_TOKENS, WIDTH]: what the network makes of its embeddings from position `first` on."""

    def describe(graph: Graph) -> None:
        x = op.embed(graph, "emb", n_vocab=N_VOCAB, width=WIDTH)
        table = op.rope_table(graph, *inverse_frequencies(WIDTH, base, RopeScaling.none()))
        x = op.rope(graph, x, table, layout=layout, n_heads=1)
        graph.output(op.scale(graph, op.select(graph, x), 1.0))

    n_blocks = (first + N_TOKENS) // 32 + 1
    network = Network({"emb.weight": EMBEDDING}, describe, n_blocks=n_blocks)
    return network.run(TOKENS, first_positions=[first])[0]


@pytest.mark.parametrize("first", [0, 63, 1000, 2048, 4080, 131_000])
@pytest.mark.parametrize("base", [10_000.0, 1e6])
@pytest.mark.parametrize("layout", RopeLayout)
def test_rotations_keep_their_angle_far_out(layout: RopeLayout, base: float, first: int) -> None:
    frequencies = inverse_frequencies(WIDTH, base, RopeScaling.none())[0].astype(np.float64)
    np.testing.assert_allclose(frequencies, base ** (-np.arange(0, WIDTH, 2) / WIDTH), rtol=1e-7)
    angles = np.arange(first, first + N_TOKENS)[:, None] * frequencies
    pairs = EMBEDDING[TOKENS].astype(np.float64)
    if layout == RopeLayout.HALVES:
        x, y = pairs[:, : WIDTH // 2], pairs[:, WIDTH // 2 :]
    else:
        x, y = pairs[:, 0::2], pairs[:, 1::2]
    wanted = x * np.cos(angles) - y * np.sin(angles), x * np.sin(angles) + y * np.cos(angles)
    joined = np.concatenate(wanted, axis=1) if layout == RopeLayout.HALVES else np.stack(wanted, axis=2)
    # An angle of single precision would be wrong by 1e-4 at position 4,096.
    np.testing.assert_allclose(rotated(layout, base, first), joined.reshape(N_TOKENS, WIDTH), rtol=0, atol=1e-6)
