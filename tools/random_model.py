"""Writes GGUF models of real shapes with random weights, for benchmarks: `python -m tools.random_model --help`.

The files load in llama.cpp too. They need no download and say nothing sensible. One tensor is in memory at a time, in
pieces; the same seed gives the same file.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import GGUFWriter
from oxillama.testing.random_blocks import FORMATS
from tools.random_shapes import SHAPES, Shape, numbers, tensor_shapes

DEVIATION = 0.02
PIECE_VALUES = 1 << 22
# Tensors that stay floats, whatever the file type.
SMALL = ("attn_sinks.weight", "conv1d.weight", "shortconv.conv.weight", "ssm_a", "ssm_d")


# Of a whole-file type: the type of its matrices, and llama.cpp's number for general.file_type. Q5_K and Q3_K are what
# llama.cpp calls Q5_K_S and Q3_K_S; its Q2_K and IQ types give some matrices more bits, these do not.
FILE_TYPES = {"F32": ("F32", 0), "F16": ("F16", 1), "BF16": ("BF16", 32), "Q4_0": ("Q4_0", 2), "Q8_0": ("Q8_0", 7),
              "Q2_K": ("Q2_K", 10), "Q3_K": ("Q3_K", 11), "Q4_K_M": ("Q4_K", 15), "Q5_K": ("Q5_K", 16),
              "Q5_K_M": ("Q5_K", 17), "Q6_K": ("Q6_K", 18), "IQ4_XS": ("IQ4_XS", 30),
              "IQ2_XXS": ("IQ2_XXS", 19), "IQ2_XS": ("IQ2_XS", 20), "IQ3_XXS": ("IQ3_XXS", 23), "IQ3_S": ("IQ3_S", 26),
              "IQ2_S": ("IQ2_S", 28), "IQ1_S": ("IQ1_S", 24), "IQ1_M": ("IQ1_M", 31), "TQ1_0": ("TQ1_0", 36),
              "TQ2_0": ("TQ2_0", 37), "MXFP4": ("MXFP4", 38)}  # fmt: skip


def has_more_bits(block: int, block_count: int) -> bool:
    """Whether a *_M mixture gives a block's attn_v and ffn_down the better type.

    It does in the first and the last eighth of the blocks and in every third between, about half of all. The rule is
    llama.cpp's (`use_more_bits` in src/llama-quant.cpp).
    """
    eighth = block_count // 8
    return block < eighth or block >= 7 * block_count // 8 or (block - eighth) % 3 == 2


def tensor_type(name: str, file_type: str, shape: Shape) -> str:
    """The type llama-quantize gives a tensor in a file of `file_type`, for the shapes and types known here."""
    base = FILE_TYPES[file_type][0]
    if name.endswith(("_norm.weight", ".bias", "ffn_gate_inp.weight", *SMALL)):
        return "F32"
    if base == "MXFP4" and shape.experts and "_exps" not in name:
        return "Q8_0"
    if name == ("token_embd.weight" if shape.tied else "output.weight") and base not in ("F32", "F16", "BF16", "Q8_0"):
        return "Q6_K"
    if file_type in ("Q4_K_M", "Q5_K_M") and name.endswith(
        ("attn_v.weight", "ffn_down.weight", "ffn_down_exps.weight")
    ):
        return "Q6_K" if has_more_bits(int(name.split(".")[1]), shape.block_count) else base
    return base


def byte_letters() -> list[str]:
    """The printable letter of each byte in GPT-2's byte-level BPE (Radford et al. 2019, encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(extra)) for byte in range(256)]


def vocabulary(size: int) -> tuple[list[str], list[int], list[str]]:
    """(tokens, types, merges) of a byte-level BPE tokenizer: bytes, a few merges, made-up words, <s> and </s>."""
    letters = byte_letters()
    space = letters[32]
    merges = [f"{space} {chr(letter)}" for letter in range(ord("a"), ord("z") + 1)]
    words = itertools.chain.from_iterable(
        (space + "".join(parts) for parts in itertools.product(_syllables(), repeat=count)) for count in (1, 2, 3)
    )
    head = [*letters, *(merge.replace(" ", "") for merge in merges)]
    tokens = [*head, *itertools.islice(words, size - len(head) - 2), "<s>", "</s>"]
    normal, control = 1, 3
    return tokens, [normal] * (size - 2) + [control] * 2, merges


def _syllables() -> list[str]:
    return [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ai")]


def add_metadata(
    writer: GGUFWriter, name: str, shape: Shape, file_type: str, vocab: str | os.PathLike[str] | None = None
) -> None:
    """Add everything llama.cpp asks for, a tokenizer included: that of the file `vocab`, or a made-up one."""
    arch = shape.architecture
    writer.add("general.architecture", arch)
    writer.add("general.name", f"random {name}")
    writer.add("general.file_type", FILE_TYPES[file_type][1], "uint32")
    writer.add("general.quantization_version", 2, "uint32")
    for key, number in numbers(shape).items():
        if isinstance(number, list):
            writer.add(f"{arch}.{key}", np.array(number, np.int32))
        else:
            writer.add(f"{arch}.{key}", number, "uint32")
    if not shape.scan:
        writer.add(f"{arch}.rope.freq_base", shape.rope_freq_base, "float32")
    writer.add(f"{arch}.attention.layer_norm_rms_epsilon", 1e-5, "float32")
    if vocab is not None:
        with GGUFFile(vocab) as file:
            for key, value in file.metadata.items():
                if key.startswith("tokenizer."):
                    writer.add(key, value)
        return
    tokens, types, merges = vocabulary(shape.vocab_size)
    writer.add("tokenizer.ggml.model", "gpt2")
    writer.add("tokenizer.ggml.pre", "llama-bpe" if arch == "llama" else "qwen2")
    writer.add("tokenizer.ggml.tokens", tokens)
    writer.add("tokenizer.ggml.token_type", np.array(types, np.int32))
    writer.add("tokenizer.ggml.merges", merges)
    writer.add("tokenizer.ggml.bos_token_id", shape.vocab_size - 2, "uint32")
    writer.add("tokenizer.ggml.eos_token_id", shape.vocab_size - 1, "uint32")
    writer.add("tokenizer.ggml.add_bos_token", True)


def random_bytes(type_name: str, num_values: int, seed: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """The packed bytes of one tensor, in pieces. `seed` alone decides them."""
    rng = np.random.default_rng(seed)
    row = FORMATS[type_name]
    left = num_values // row.block_size
    while left:
        count = min(left, PIECE_VALUES // row.block_size)
        yield row.fill(rng, count, DEVIATION)
        left -= count


def norm_weights(size: tuple[int, ...], seed: Sequence[int]) -> NDArray[np.float32]:
    """Weights of an RMSNorm, around 1."""
    return np.random.default_rng(seed).uniform(0.8, 1.2, size).astype(np.float32)


def small_values(size: tuple[int, ...], seed: Sequence[int]) -> NDArray[np.float32]:
    """Biases and the like, around 0."""
    return np.random.default_rng(seed).normal(0, DEVIATION, size).astype(np.float32)


def write_model(
    path: Path,
    name: str,
    file_type: str,
    *,
    seed: int = 0,
    block_count: int | None = None,
    vocab: str | os.PathLike[str] | None = None,
) -> None:
    """Write the shape `name` (a key of SHAPES) as `file_type` (a key of FILE_TYPES) to `path`.

    `block_count` cuts the number of layers, `vocab` is a file whose tokenizer it gets, of as many tokens as the shape
    has. Raises KeyError for unknown names.
    """
    shape = SHAPES[name]
    shape = replace(shape, block_count=block_count or shape.block_count)
    with GGUFWriter(path) as writer:
        add_metadata(writer, name, shape, file_type, vocab)
        for number, (tensor, size) in enumerate(tensor_shapes(shape)):
            key = (seed, number)
            if tensor.endswith("ssm_a"):
                writer.add_tensor(tensor, -norm_weights(size, key))
            elif tensor.endswith((".bias", *SMALL)):
                writer.add_tensor(tensor, small_values(size, key))
            elif tensor.endswith("_norm.weight"):
                writer.add_tensor(tensor, norm_weights(size, key))
            else:
                type_name = tensor_type(tensor, file_type, shape)
                pieces = functools.partial(random_bytes, type_name, math.prod(size), key)
                writer.add_tensor(tensor, pieces, shape=size[::-1], type_name=type_name)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.random_model", description=__doc__)
    parser.add_argument("path", type=Path, help="file to write")
    parser.add_argument("--shape", choices=SHAPES, default="llama-1b")
    parser.add_argument("--type", choices=FILE_TYPES, default="Q4_0", dest="file_type")
    parser.add_argument("--layers", type=int, help="write only so many layers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vocab", type=Path, help="a GGUF file whose tokenizer to take, instead of a made-up one")
    options = parser.parse_args()
    write_model(
        options.path,
        options.shape,
        options.file_type,
        seed=options.seed,
        block_count=options.layers,
        vocab=options.vocab,
    )
    print(f"{options.path}: {options.path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
