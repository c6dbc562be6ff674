"""Adapters in GGUF files, as llama.cpp's converter writes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from oxillama.adapters.pairs import Factor, Floats, LowRankAdapter, Pair, gain_of
from oxillama.errors import AdapterError, ModelLoadError
from oxillama.gguf import GGUFFile, TensorInfo
from oxillama.gguf.file import described
from oxillama.network.sites import TABLES
from oxillama.quantize import TYPES, dequantize

A, B = ".lora_a", ".lora_b"


def read_gguf(path: str) -> LowRankAdapter:
    """Raises AdapterError for anything but a sound LoRA adapter. Values are read when they are asked for."""
    try:
        with GGUFFile(path) as file:
            return _read(path, file)
    except ModelLoadError as error:
        raise AdapterError(str(error), param="path") from None


def _read(path: str, file: GGUFFile) -> LowRankAdapter:
    metadata = file.metadata
    kind, method = metadata.get("general.type"), metadata.get("adapter.type")
    if kind != "adapter":
        raise AdapterError(
            f"{path}: expected a file whose general.type is 'adapter', found {_described(kind)}; Engine opens models",
            param="path",
        )
    if method != "lora":
        raise AdapterError(f"{path}: adapter.type is {_described(method)}, expected 'lora'", param="path")
    if "adapter.alora.invocation_tokens" in metadata:
        raise AdapterError(
            f"{path}: the adapter is an activated LoRA (adapter.alora.invocation_tokens), which works only from those "
            "tokens on and is not supported",
            param="path",
        )
    alpha = metadata.get("adapter.lora.alpha")
    pairs: dict[str, Pair] = {}
    for tensor, halves in _halves(path, file).items():
        pairs[tensor] = make_pair(tensor, _factor(halves[A]), _factor(halves[B]), alpha)
    if not pairs:
        raise AdapterError(f"{path}: the adapter has no tensors", param="path")
    return LowRankAdapter(
        path,
        _text(metadata.get("general.architecture"), "general.architecture"),
        pairs,
        _text(metadata.get("adapter.lora.task_name", ""), "adapter.lora.task_name"),
        _text(metadata.get("adapter.lora.prompt_prefix", ""), "adapter.lora.prompt_prefix"),
    )


def _halves(path: str, file: GGUFFile) -> dict[str, dict[str, TensorInfo]]:
    """Both halves of each pair, by the base tensor's name."""
    found: dict[str, dict[str, TensorInfo]] = {}
    for name, info in file.tensors.items():
        half = name[-len(A) :]
        if half in (A, B):
            found.setdefault(name[: -len(A)], {})[half] = info
        elif not name.endswith("_norm.weight"):  # what is trained along with some adapters, and ignored everywhere
            raise AdapterError(f"{path}: tensor {name!r} is no half of a LoRA pair ({A}, {B})", param="path")
    for tensor, halves in found.items():
        for half in (A, B):
            if half not in halves:
                raise AdapterError(f"{path}: tensor {tensor + half!r} is missing beside its other half", param="path")
    return found


def make_pair(tensor: str, a: Factor, b: Factor, alpha: object, *, alpha_name: str = "adapter.lora.alpha") -> Pair:
    """A pair of two halves that fit each other; whether they fit the base is checked later."""
    n_dims = max(len(a.shape), len(b.shape), 2)
    if n_dims > 3:
        raise AdapterError(f"tensor {a.shown} has {n_dims} dimensions, expected 2, or 3 in a stack", param="path")
    a, b = (replace(half, shape=(1,) * (n_dims - len(half.shape)) + half.shape) for half in (a, b))
    rank, in_a = b.shape[-1], a.shape[-1] if tensor in TABLES else a.shape[-2]
    if rank != in_a or a.shape[:-2] != b.shape[:-2]:
        raise AdapterError(
            f"tensors {a.shown} of shape {list(a.shape[::-1])} and {b.shown} of shape {list(b.shape[::-1])} do not "
            f"agree about their rank{'' if rank != in_a else ', or about their number'}",
            param="path",
        )
    return Pair(tensor, a, b, rank, gain_of(alpha, rank, alpha_name))


def _factor(info: TensorInfo) -> Factor:
    if info.type_name not in ("F32", "F16", "BF16", *TYPES):
        raise AdapterError(f"tensor {info.name!r} has type {info.type_name}, which is not supported", param="path")
    is_half = info.type_name == "F16"
    return Factor(
        info.name, tuple(info.shape[::-1]), is_half, lambda: decoded(info.type_name, info.data, info.n_elements)
    )


def decoded(type_name: str, data: Any, n: int) -> Floats:
    """The n values of raw tensor data: float16 stays what it is, everything else becomes float32, exactly."""
    match type_name:
        case "F32":
            return np.asarray(data.view(np.float32))
        case "F16":
            return np.asarray(data.view(np.float16))
        case "BF16":
            return np.asarray((data.view(np.uint16).astype(np.uint32) << 16).view(np.float32))
    return dequantize(type_name, data, n)


def _described(value: object) -> str:
    return "nothing" if value is None else described(value)


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise AdapterError(f"{key} is {_described(value)}, expected a text", param="path")
    return value
