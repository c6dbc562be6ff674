"""The architectures, by the name that `general.architecture` gives them. One short file per family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.gguf import described
from oxillama.models.apertus import apertus
from oxillama.models.baichuan import baichuan
from oxillama.models.cohere import cohere2, command_r
from oxillama.models.dbrx import dbrx
from oxillama.models.exaone import exaone4
from oxillama.models.gemma import gemma, gemma2, gemma3
from oxillama.models.gemma4 import gemma4
from oxillama.models.glm4 import glm4
from oxillama.models.granite import granite, granite_swa
from oxillama.models.hunyuan import hunyuan
from oxillama.models.hyperparameters import Hyperparameters
from oxillama.models.layer_norm_decoders import (
    bloom,
    falcon,
    gpt2,
    gptneox,
    jais,
    mpt,
    nemotron,
    orion,
    stablelm,
    starcoder2,
)
from oxillama.models.llama import llama
from oxillama.models.llama_like import arcee, plamo, qwen, refact, seed_oss
from oxillama.models.minicpm import minicpm
from oxillama.models.mistral3 import mistral3
from oxillama.models.olmo import olmo, olmo2
from oxillama.models.phi import phi2, phi3
from oxillama.models.qwen2 import qwen2, qwen2moe
from oxillama.models.qwen3 import qwen3
from oxillama.models.qwen_vl import qwen2vl, qwen3vl
from oxillama.models.smollm3 import smollm3
from oxillama.network.graph import Graph


class Architecture(Protocol):
    """What the loader needs to know of a network, and its description."""

    @property
    def n_vocab(self) -> int: ...
    @property
    def n_ctx_train(self) -> int: ...
    def build(self, graph: Graph) -> None: ...


ARCHITECTURES: dict[str, Callable[[Hyperparameters, Graph], Architecture]] = {
    "apertus": apertus,
    "arcee": arcee,
    "baichuan": baichuan,
    "bloom": bloom,
    "chatglm": llama,
    "codeshell": starcoder2,
    "cohere2": cohere2,
    "command-r": command_r,
    "dbrx": dbrx,
    "ernie4_5": llama,
    "exaone": qwen2,
    "exaone4": exaone4,
    "falcon": falcon,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "gemma4": gemma4,
    "glm4": glm4,
    "gpt2": gpt2,
    "gptneox": gptneox,
    "granite": granite,
    "granite_swa": granite_swa,
    "granitemoe": granite,
    "hunyuan-dense": hunyuan,
    "hunyuan_vl": hunyuan,
    "internlm2": llama,
    "jais": jais,
    "jais2": nemotron,
    "llama": llama,
    "minicpm": minicpm,
    "mistral3": mistral3,
    "mpt": mpt,
    "nemotron": nemotron,
    "olmo": olmo,
    "olmo2": olmo2,
    "orion": orion,
    "phi2": phi2,
    "phi3": phi3,
    "plamo": plamo,
    "qwen": qwen,
    "qwen2": qwen2,
    "qwen2moe": qwen2moe,
    "qwen2vl": qwen2vl,
    "qwen3": qwen3,
    "qwen3moe": qwen3,
    "qwen3vl": qwen3vl,
    "qwen3vlmoe": qwen3vl,
    "refact": refact,
    "seed_oss": seed_oss,
    "smollm3": smollm3,
    "stablelm": stablelm,
    "starcoder": gpt2,
    "starcoder2": starcoder2,
    "xverse": llama,
}


def read_architecture(metadata: Mapping[str, object], graph: Graph, *, n_ctx: int | None = None) -> Architecture:
    """The network that a file's metadata describes, for a context of n_ctx tokens: None for as many as it was trained
    for.

    Raises UnsupportedModelError for one that is not in the table, and for a key that its family does not know."""
    name = metadata.get("general.architecture")
    if not isinstance(name, str):
        raise ModelLoadError(f"general.architecture is {described(name)}, expected the name of an architecture")
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UnsupportedModelError(f"architecture {described(name)} is not supported; supported: {known}")
    hp = Hyperparameters(name, metadata, n_ctx=n_ctx)
    architecture = ARCHITECTURES[name](hp, graph)
    hp.check_all_read()
    return architecture


__all__ = ["ARCHITECTURES", "Architecture", "read_architecture"]
