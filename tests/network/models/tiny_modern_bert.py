"""A ModernBERT of a few kilobytes, whose windows and both rotations are at work within its texts. Needs NumPy alone, so
that whoever records torch's results can read it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

N_VOCAB, WIDTH, N_LAYERS, N_HEADS, N_FF, WINDOW = 97, 64, 4, 4, 80, 16
BASE, LOCAL_BASE, EPSILON = 160000.0, 100.0, 1e-5
TEXTS = [[5], list(range(3, 20)), [int(i) for i in np.random.default_rng(3).integers(0, N_VOCAB, 61)]]
RECORDED = Path(__file__).resolve().parents[2] / "data" / "modern_bert.npz"  # by tools/record_modern_bert.py


def weights() -> dict[str, npt.NDArray[np.float32]]:
    """By the names that files have, rows first."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (N_VOCAB, WIDTH), "token_embd_norm": (WIDTH,)}
    for layer in range(N_LAYERS):
        block = f"blk.{layer}."
        if layer:
            shapes[f"{block}attn_norm"] = (WIDTH,)
        shapes |= {f"{block}attn_qkv": (3 * WIDTH, WIDTH), f"{block}attn_output": (WIDTH, WIDTH)}
        shapes |= {f"{block}ffn_norm": (WIDTH,), f"{block}ffn_up": (2 * N_FF, WIDTH), f"{block}ffn_down": (WIDTH, N_FF)}
    shapes["output_norm"] = (WIDTH,)
    found = {}
    for name, shape in shapes.items():
        drawn = rng.standard_normal(shape)
        # Sharp attention, and norms away from 1.
        found[name] = (1 + 0.3 * drawn if len(shape) == 1 else 2 * drawn / np.sqrt(shape[-1])).astype(np.float32)
    return found


def metadata() -> dict[str, Any]:
    own = {
        "context_length": 128,
        "block_count": N_LAYERS,
        "embedding_length": WIDTH,
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEADS,
        "attention.causal": False,
        "attention.layer_norm_epsilon": EPSILON,
        "attention.sliding_window": WINDOW,
        "rope.freq_base": BASE,
        "rope.freq_base_swa": LOCAL_BASE,
        "pooling_type": 1,
    }
    return {"general.architecture": "modern-bert", **{f"modern-bert.{key}": value for key, value in own.items()}}
