"""A model that says what a test wants: whatever the prompt, its reply walks one fixed chain of tokens, then ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oxillama.gguf_writer import GGUFWriter

N_CTX = 4096
UNKNOWN, BOS, EOS, ASSISTANT, FIRST_BYTE = 0, 1, 2, 3, 4
N_FIXED = FIRST_BYTE + 256
# So far apart that no temperature and no bias of a test moves a token off the chain.
SHARPNESS = 200.0
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_chain_model(path: Path, pieces: Sequence[str], *, template: str = TEMPLATE) -> None:
    """A llama whose layers add nothing to the residual stream, so that the last token alone decides about the next one:
    after `<|assistant|>`, with which the template ends, come `pieces` one by one, then the end token."""
    if len(set(pieces)) != len(pieces):
        raise ValueError("a chain needs pieces that differ: one token has one successor")
    vocabulary = ["<unk>", "<s>", "</s>", "<|assistant|>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary += [piece.replace(" ", "\u2581") for piece in pieces]
    chain = [ASSISTANT, *range(N_FIXED, N_FIXED + len(pieces)), EOS]
    n_vocab = len(vocabulary)
    n_embd = -(-n_vocab // 32) * 32
    embeddings = np.zeros((n_vocab, n_embd), np.float32)
    embeddings[np.arange(n_vocab), np.arange(n_vocab)] = 1.0
    output = np.zeros((n_vocab, n_embd), np.float32)
    # RMS norm makes sqrt(n_embd) of the one that stands in a row of the embeddings.
    for token, successor in itertools.pairwise(chain):
        output[successor, token] = SHARPNESS / np.sqrt(n_embd)
    head_dim = 16
    with GGUFWriter(path) as writer:
        for key, value in {
            "general.architecture": "llama",
            "general.name": "chain",
            "llama.context_length": N_CTX,
            "llama.block_count": 1,
            "llama.embedding_length": n_embd,
            "llama.feed_forward_length": 32,
            "llama.attention.head_count": 1,
            "llama.attention.head_count_kv": 1,
            "llama.attention.key_length": head_dim,
            "llama.attention.value_length": head_dim,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
            "llama.rope.dimension_count": head_dim,
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": vocabulary,
            "tokenizer.ggml.scores": np.zeros(n_vocab, np.float32),
            "tokenizer.ggml.token_type": _token_types(len(pieces)),
            "tokenizer.ggml.bos_token_id": BOS,
            "tokenizer.ggml.eos_token_id": EOS,
            "tokenizer.ggml.add_bos_token": True,
            "tokenizer.ggml.add_space_prefix": False,
            "tokenizer.chat_template": template,
        }.items():
            writer.add(key, value)
        writer.add_tensor("token_embd.weight", embeddings)
        for name, shape in {
            "attn_q": (head_dim, n_embd),
            "attn_k": (head_dim, n_embd),
            "attn_v": (head_dim, n_embd),
            "attn_output": (n_embd, head_dim),
            "ffn_gate": (32, n_embd),
            "ffn_up": (32, n_embd),
            "ffn_down": (n_embd, 32),
        }.items():
            writer.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float32))
        for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
            writer.add_tensor(f"{name}.weight", np.ones(n_embd, np.float32))
        writer.add_tensor("output.weight", output)


def _token_types(n_pieces: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    normal, unknown, control, byte = 1, 2, 3, 6
    return np.array([unknown, control, control, control] + [byte] * 256 + [normal] * n_pieces, np.int32)
