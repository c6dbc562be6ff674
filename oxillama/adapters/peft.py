"""Adapters as PEFT saves them: a folder with `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from oxillama.adapters.module_names import has_paired_rows, tensor_of
from oxillama.adapters.pairs import Factor, Floats, LowRankAdapter, Pair, checked_alpha
from oxillama.adapters.safetensors import open_regular, read_safetensors, shortened
from oxillama.errors import AdapterError
from oxillama.gguf.file import described
from oxillama.network.sites import TABLES, Sites

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_CONFIG_BYTES = 1 << 20
# Ways of making the first A and B that took something away from the base model's own weights: without theirs, what was
# trained beside them is wrong.
_CHANGED_BASE = {
    "pissa": "PiSSA",
    "olora": "OLoRA",
    "corda": "CorDA",
    "loftq": "LoftQ",
    "lora_ga": "LoRA-GA",
}
_HALF = re.compile(r"^(?P<module>.+)\.lora_(?P<table>embedding_)?(?P<half>[AB])(?:\.default)?(?:\.weight)?$")
_WRAPPER = re.compile(r"^(?:base_model\.)?(?:model\.)?(?=.)")
_PLAIN = re.compile(r"\^?[\w.-]+")
# Options that change what the adapter computes, beyond A and B; and what they must be.
_REFUSED = {
    "use_dora": "DoRA",
    "modules_to_save": "whole modules beside the adapter (modules_to_save)",
    "lora_bias": "biases of the adapter (lora_bias)",
    "layer_replication": "repeated layers (layer_replication)",
    "trainable_token_indices": "single trained tokens (trainable_token_indices)",
    "alora_invocation_tokens": "activated LoRA (alora_invocation_tokens)",
    "use_qalora": "QALoRA",
    "arrow_config": "Arrow routing",
}


@dataclass(frozen=True)
class Config:
    """What the file of the configuration says of the gains."""

    alpha: float
    is_rank_stabilised: bool
    alphas: Mapping[str, float]

    def gain(self, module: str, rank: int) -> float:
        alpha = self.alpha
        for pattern, value in self.alphas.items():
            name = pattern.removeprefix("^")
            if module == name or module.endswith(f".{name}"):
                alpha = value
                break
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def read_peft(folder: str, sites: Sites) -> LowRankAdapter:
    """Converts names, shapes and the order of rows to those of the base model. Raises OSError or AdapterError."""
    config = read_config(folder)
    weights = os.path.join(folder, WEIGHTS)
    if not os.path.exists(weights) and os.path.exists(os.path.join(folder, "adapter_model.bin")):
        raise _fault(folder, "adapter_model.bin is a pickle, which may run anything; save the adapter as safetensors")
    halves: dict[str, dict[str, Factor]] = {}
    for name, factor in read_safetensors(weights).items():
        found = _HALF.match(name)
        if found is None:
            what = "DoRA" if "magnitude" in name else "no half of a LoRA pair"
            raise _fault(folder, f"tensor {described(name)} is {what}, which is not supported")
        key = found["module"] + ("\n" if found["table"] else "")
        both = halves.setdefault(key, {})
        if (first := both.get(found["half"])) is not None:
            raise _fault(folder, f"tensors {first.shown} and {factor.shown} are the same half of one pair")
        both[found["half"]] = factor
    pairs: dict[str, Pair] = {}
    experts: dict[str, dict[int, Pair]] = {}
    for key, both in halves.items():
        for half in "AB":
            if half not in both:
                other = next(iter(both.values())).name
                raise _fault(folder, f"tensor {described(other)} has no other half, lora_{half}")
        module = _WRAPPER.sub("", key.rstrip("\n"))
        place = tensor_of(module)
        if place is None:
            raise _fault(
                folder,
                f"tensor {both['A'].shown}: the module {described(module)} has no known name in GGUF files",
            )
        tensor, expert = place
        pair = _pair(tensor, module, both["A"], both["B"], config, sites, is_table=key.endswith("\n"))
        if tensor in pairs or (expert is not None and expert in experts.get(tensor, {})):
            raise _fault(folder, f"tensor {both['A'].shown}: another one is for {described(tensor)}, too")
        if expert is None:
            pairs[tensor] = pair
        else:
            experts.setdefault(tensor, {})[expert] = pair
    for tensor, found_experts in experts.items():
        pairs[tensor] = _stacked(folder, tensor, found_experts, sites)
    if not pairs:
        raise _fault(folder, "the adapter has no tensors")
    return LowRankAdapter(folder, None, pairs)


def read_config(folder: str) -> Config:
    with open_regular(os.path.join(folder, CONFIG)) as file:
        raw = file.read(MAX_CONFIG_BYTES + 1)
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _fault(folder, f"{CONFIG} is not JSON: {error}") from None
    if not isinstance(told, dict) or len(raw) > MAX_CONFIG_BYTES:
        raise _fault(folder, f"{CONFIG}: expected an object of at most {MAX_CONFIG_BYTES} bytes")
    if told.get("peft_type") != "LORA":
        raise _fault(folder, f"{CONFIG}: peft_type is {shortened(told.get('peft_type'))}, expected 'LORA'")
    _check_base(folder, told.get("init_lora_weights"))
    for key, what in _REFUSED.items():
        if told.get(key):
            raise _fault(folder, f"the adapter uses {what}, which is not supported")
    if told.get("bias", "none") != "none":
        raise _fault(folder, f"{CONFIG}: bias is {shortened(told['bias'])}: trained biases are not supported")
    alphas = told.get("alpha_pattern") or {}
    if not isinstance(alphas, dict) or len(alphas) > 1000:
        raise _fault(folder, f"{CONFIG}: alpha_pattern is no object of names and numbers")
    for pattern in alphas:
        # A pattern of a stranger's file may take for ever.
        if not isinstance(pattern, str) or not _PLAIN.fullmatch(pattern):
            raise _fault(
                folder, f"{CONFIG}: alpha_pattern {shortened(pattern)} is no module's name, which alone is supported"
            )
    return Config(
        checked_alpha(told.get("lora_alpha"), f"{folder}: {CONFIG}: lora_alpha"),
        bool(told.get("use_rslora", False)),
        {pattern: checked_alpha(alpha, f"{folder}: {CONFIG}: alpha_pattern") for pattern, alpha in alphas.items()},
    )


def _check_base(folder: str, way: object) -> None:
    """What PEFT converts to a plain LoRA when it saves, it notes as such."""
    for name, title in _CHANGED_BASE.items():
        if isinstance(way, str) and (way.lower() == name or way.lower().startswith(f"{name}_")):
            raise _fault(
                folder,
                f"{CONFIG}: init_lora_weights is {shortened(way)}: {title} changes the base model's weights, and the "
                "adapter is wrong beside others; save it converted (path_initial_model_for_weight_conversion)",
            )


def _pair(tensor: str, module: str, a: Factor, b: Factor, config: Config, sites: Sites, *, is_table: bool) -> Pair:
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise AdapterError(
            f"tensors {a.shown} of shape {list(a.shape)} and {b.shown} of shape {list(b.shape)} do not agree about "
            "their rank",
            param="path",
        )
    rank = b.shape[1]
    if is_table != (tensor in TABLES):
        kind = "embedding" if tensor in TABLES else "matrix"
        raise AdapterError(f"tensor {a.shown}: expected the halves of an adapter of an {kind}", param="path")
    if is_table:
        a = replace(a, shape=a.shape[::-1], load=partial(_transposed, a))
    elif has_paired_rows(sites.architecture, tensor):
        n_heads = _heads(tensor, sites)
        if b.shape[0] % (2 * n_heads):
            raise AdapterError(
                f"tensor {b.shown} has {b.shape[0]} rows, expected pairs in each of {n_heads} heads",
                param="path",
            )
        b = replace(b, load=partial(_paired_rows, b, n_heads))
    return Pair(tensor, a, b, rank, config.gain(module, rank))


def _transposed(a: Factor) -> Floats:
    return a.load().reshape(a.shape).T


def _paired_rows(b: Factor, n_heads: int) -> Floats:
    return paired(b.load().reshape(b.shape), n_heads)


def paired(rows: Floats, n_heads: int) -> Floats:
    """Rows i and i + half of each head next to each other, as the files of these families have them."""
    half = len(rows) // (2 * n_heads)
    return rows.reshape(n_heads, 2, half, -1).swapaxes(1, 2).reshape(rows.shape)


def _heads(tensor: str, sites: Sites) -> int:
    key = "head_count" if tensor.endswith("attn_q.weight") else "head_count_kv"
    prefix = f"{sites.architecture}.attention"
    count: Any = sites.metadata.get(f"{prefix}.{key}", sites.metadata.get(f"{prefix}.head_count", 1))
    if isinstance(count, np.ndarray):  # a number for each layer
        count = count[min(int(tensor.split(".")[1]), len(count) - 1)]
    return max(1, int(count))


def _stacked(folder: str, tensor: str, found: Mapping[int, Pair], sites: Sites) -> Pair:
    """One pair of three dimensions. Experts that the adapter has not trained get zeros."""
    shape = sites.shapes.get(tensor)
    if shape is None or len(shape) != 3 or max(found) >= shape[2]:
        raise _fault(folder, f"tensor {found[max(found)].a.shown}: the model has no expert {max(found)} in {tensor!r}")
    first = next(iter(found.values()))
    for pair in found.values():
        if pair.a.shape != first.a.shape or pair.b.shape != first.b.shape or pair.gain != first.gain:
            raise _fault(folder, f"tensor {pair.a.shown} differs in shape or gain from {first.a.shown}")
    n_experts = shape[2]

    def stack(half: str) -> Factor:
        example: Factor = getattr(first, half)

        def load() -> Floats:
            out = np.zeros((n_experts, *example.shape), np.float32)
            for expert, pair in found.items():
                out[expert] = getattr(pair, half).load().reshape(example.shape)
            return out

        return Factor(example.name, (n_experts, *example.shape), False, load)

    return Pair(tensor, stack("a"), stack("b"), first.rank, first.gain)


def _fault(folder: str, message: str) -> AdapterError:
    return AdapterError(f"{folder}: {message}", param="path")
