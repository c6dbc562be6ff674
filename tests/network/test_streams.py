"""Streams side by side in a row, against their definition in NumPy."""

from __future__ import annotations

import numpy as np

from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.streams import above_deviations, add_to_streams, join_streams, match_magnitude, mix_streams
from tests.network.running import Array, Network

WIDTH, N, N_VOCAB = 20, 3, 9
RNG = np.random.default_rng(0)
TENSORS: dict[str, Array] = {
    "token_embd.weight": RNG.standard_normal((N_VOCAB, WIDTH)),
    **{f"{name}.weight": RNG.standard_normal((WIDTH, WIDTH)) for name in ("a", "b")},
    "factors.weight": RNG.standard_normal((N * N, WIDTH)),
    "weights.weight": RNG.standard_normal((N, WIDTH)),
}
TOKENS = [1, 5, 2]


def run(describe: str) -> Array:
    """The operation's rows for the tokens: the first WIDTH columns of its first stream, then of the last one."""

    def build(graph: Graph) -> None:
        x = op.embed(graph, "token_embd", n_vocab=N_VOCAB, width=WIDTH)
        a, b = (op.linear(graph, x, name, width=WIDTH) for name in ("a", "b"))
        streams = join_streams(graph, [x, a, b])
        found: Value
        match describe:
            case "joined":
                found = streams
            case "matched":
                found = match_magnitude(graph, a, x)
            case "mixed":
                found = mix_streams(graph, streams, op.linear(graph, x, "factors", width=N * N), n=N)
            case "added":
                found = add_to_streams(graph, streams, a, n=N, begin=1)
            case "weighed":
                weights = op.linear(graph, x, "weights", width=N)
                found = add_to_streams(graph, streams, a, n=N, weights=weights)
            case _:
                found = above_deviations(graph, a, 0.5)
        graph.output(op.scale(graph, op.hidden(graph, op.select(graph, found)), 1.0))

    return Network(TENSORS, build).run(TOKENS)[0]


def expected() -> tuple[Array, Array, Array, Array]:
    """float64 [tokens, width]: the embedding and the two products; [tokens, n, width]: the streams."""
    tensors = {name: np.asarray(values, np.float32).astype(np.float64) for name, values in TENSORS.items()}
    x = tensors["token_embd.weight"][TOKENS]
    a, b = x @ tensors["a.weight"].T, x @ tensors["b.weight"].T
    return x, a, b, np.stack([x, a, b], axis=1)


def close(found: Array, wanted: Array) -> None:
    np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=1e-5, atol=1e-5)


def test_streams_are_joined() -> None:
    close(run("joined"), expected()[3])


def test_a_row_is_made_as_long_as_another() -> None:
    x, a, _, _ = expected()
    close(run("matched"), a * np.linalg.norm(x, axis=1, keepdims=True) / np.linalg.norm(a, axis=1, keepdims=True))


def test_each_stream_gets_something_of_all() -> None:
    x, _, _, streams = expected()
    factors = (x @ np.asarray(TENSORS["factors.weight"], np.float32).T).reshape(-1, N, N)
    close(run("mixed"), streams + factors @ streams)


def test_news_are_added_to_streams() -> None:
    x, a, _, streams = expected()
    weights = x @ np.asarray(TENSORS["weights.weight"], np.float32).T
    close(run("weighed"), streams + (weights[:, :, None] + 1) * a[:, None, :])
    streams[:, 1:] += a[:, None, :]
    close(run("added"), streams)


def test_what_is_far_above_the_mean_is_left() -> None:
    a = expected()[1]
    bound = a.mean(axis=1, keepdims=True) + 0.5 * a.std(axis=1, ddof=1, keepdims=True)
    close(run("above"), np.maximum(a - bound, 0))
