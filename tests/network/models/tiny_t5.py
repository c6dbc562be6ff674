"""The encoder of a T5 of a few kilobytes, with texts far longer than the distances that have a bias of their own. Needs
NumPy alone, so that whoever records torch's results can read it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

N_VOCAB, WIDTH, N_LAYERS, N_HEADS, K_DIM, N_FF, N_BUCKETS, EPSILON = 97, 64, 3, 4, 24, 80, 32, 1e-6
TEXTS = [[5], list(range(3, 20)), [int(i) for i in np.random.default_rng(3).integers(0, N_VOCAB, 180)]]
RECORDED = Path(__file__).resolve().parents[2] / "data" / "t5.npz"  # by tools/record_t5.py


def weights(*, is_gated: bool) -> dict[str, npt.NDArray[np.float32]]:
    """By the names that files have, rows first."""
    rng = np.random.default_rng(is_gated)
    inner = N_HEADS * K_DIM
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (N_VOCAB, WIDTH)}
    for layer in range(N_LAYERS):
        block = f"enc.blk.{layer}."
        shapes |= {f"{block}attn_{part}": (inner, WIDTH) for part in "qkv"}
        shapes |= {f"{block}attn_o": (WIDTH, inner), f"{block}attn_norm": (WIDTH,), f"{block}ffn_norm": (WIDTH,)}
        shapes |= {f"{block}ffn_up": (N_FF, WIDTH), f"{block}ffn_down": (WIDTH, N_FF)}
        shapes |= {f"{block}ffn_gate": (N_FF, WIDTH)} if is_gated else {}
    shapes |= {"enc.blk.0.attn_rel_b": (N_BUCKETS, N_HEADS), "enc.output_norm": (WIDTH,)}
    found = {}
    for name, shape in shapes.items():
        drawn = rng.standard_normal(shape)
        if len(shape) == 1:
            drawn = 1 + 0.3 * drawn
        elif not name.endswith(("token_embd", "rel_b")):
            drawn /= np.sqrt(shape[-1])
        # Queries that are not scaled down afterwards.
        found[name] = (drawn * 0.4 if name.endswith("attn_q") else drawn).astype(np.float32)
    return found


def metadata() -> dict[str, Any]:
    own = {
        "context_length": 512,
        "block_count": N_LAYERS,
        "embedding_length": WIDTH,
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEADS,
        "attention.key_length": K_DIM,
        "attention.value_length": K_DIM,
        "attention.layer_norm_epsilon": EPSILON,
        "attention.layer_norm_rms_epsilon": EPSILON,
        "attention.relative_buckets_count": N_BUCKETS,
        "pooling_type": 1,
    }
    return {"general.architecture": "t5encoder", **{f"t5encoder.{key}": value for key, value in own.items()}}
