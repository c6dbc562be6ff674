"""The architectures, by the name that `general.architecture` gives them. One short file per family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.gguf import described
from oxillama.models.apertus import apertus
from oxillama.models.arctic import arctic
from oxillama.models.baichuan import baichuan
from oxillama.models.bailing import bailingmoe, bailingmoe2
from oxillama.models.bert import bert, jina_bert_v2, jina_bert_v3, nomic_bert, nomic_bert_moe
from oxillama.models.cohere import cohere2, command_r
from oxillama.models.cohere2_moe import cohere2_moe
from oxillama.models.dbrx import dbrx
from oxillama.models.deepseek import deepseek, deepseek2
from oxillama.models.dots1 import dots1
from oxillama.models.ernie4_5_moe import ernie4_5_moe
from oxillama.models.eurobert import eurobert, neo_bert
from oxillama.models.exaone import exaone4
from oxillama.models.exaone_moe import exaone_moe
from oxillama.models.falcon_h1 import falcon_h1
from oxillama.models.gemma import gemma, gemma2, gemma3, gemma_embedding
from oxillama.models.gemma3n import gemma3n
from oxillama.models.gemma4 import gemma4
from oxillama.models.glm4 import glm4
from oxillama.models.glm4moe import glm4moe
from oxillama.models.gpt_oss import gpt_oss
from oxillama.models.granite import granite, granite_swa
from oxillama.models.granite_hybrid import granitehybrid
from oxillama.models.grok import grok
from oxillama.models.hunyuan import hunyuan
from oxillama.models.hunyuan_moe import hunyuan_moe
from oxillama.models.hyperparameters import Hyperparameters
from oxillama.models.jamba import jamba
from oxillama.models.kimi_linear import kimi_linear
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
from oxillama.models.lfm2 import lfm2
from oxillama.models.llama import llama
from oxillama.models.llama4 import llama4
from oxillama.models.llama_like import arcee, plamo, qwen, refact, seed_oss
from oxillama.models.mamba import mamba, mamba2
from oxillama.models.mimo2 import mimo2
from oxillama.models.minicpm import minicpm, minicpm3
from oxillama.models.minimax_m2 import minimax_m2
from oxillama.models.mistral3 import mistral3
from oxillama.models.nemotron_h import nemotron_h
from oxillama.models.olmo import olmo, olmo2
from oxillama.models.olmoe import olmoe
from oxillama.models.phi import phi2, phi3
from oxillama.models.phimoe import phimoe
from oxillama.models.qwen2 import qwen2, qwen2moe
from oxillama.models.qwen3 import qwen3
from oxillama.models.qwen35 import qwen3next, qwen35
from oxillama.models.qwen_vl import qwen2vl, qwen3vl
from oxillama.models.rwkv import rwkv6, rwkv7
from oxillama.models.smollm3 import smollm3
from oxillama.models.step35 import step35
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
    "arctic": arctic,
    "baichuan": baichuan,
    "bailingmoe": bailingmoe,
    "bailingmoe2": bailingmoe2,
    "bert": bert,
    "bloom": bloom,
    "chatglm": llama,
    "codeshell": starcoder2,
    "cohere2": cohere2,
    "cohere2moe": cohere2_moe,
    "command-r": command_r,
    "dbrx": dbrx,
    "deepseek": deepseek,
    "deepseek2": deepseek2,
    "dots1": dots1,
    "ernie4_5": llama,
    "ernie4_5-moe": ernie4_5_moe,
    "eurobert": eurobert,
    "exaone": qwen2,
    "exaone-moe": exaone_moe,
    "exaone4": exaone4,
    "falcon": falcon,
    "falcon-h1": falcon_h1,
    "gemma": gemma,
    "gemma-embedding": gemma_embedding,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "gemma3n": gemma3n,
    "gemma4": gemma4,
    "glm4": glm4,
    "glm4moe": glm4moe,
    "gpt-oss": gpt_oss,
    "gpt2": gpt2,
    "gptneox": gptneox,
    "granite": granite,
    "granite_swa": granite_swa,
    "granitehybrid": granitehybrid,
    "granitemoe": granite,
    "grok": grok,
    "hunyuan-dense": hunyuan,
    "hunyuan-moe": hunyuan_moe,
    "hunyuan_vl": hunyuan,
    "internlm2": llama,
    "jais": jais,
    "jais2": nemotron,
    "jamba": jamba,
    "jina-bert-v2": jina_bert_v2,
    "jina-bert-v3": jina_bert_v3,
    "kimi-linear": kimi_linear,
    "lfm2": lfm2,
    "lfm2moe": lfm2,
    "llama": llama,
    "llama4": llama4,
    "mamba": mamba,
    "mamba2": mamba2,
    "mimo2": mimo2,
    "minicpm": minicpm,
    "minicpm3": minicpm3,
    "minimax-m2": minimax_m2,
    "mistral3": mistral3,
    "mpt": mpt,
    "nemotron": nemotron,
    "nemotron_h": nemotron_h,
    "nemotron_h_moe": nemotron_h,
    "neo-bert": neo_bert,
    "nomic-bert": nomic_bert,
    "nomic-bert-moe": nomic_bert_moe,
    "olmo": olmo,
    "olmo2": olmo2,
    "olmoe": olmoe,
    "orion": orion,
    "phi2": phi2,
    "phi3": phi3,
    "phimoe": phimoe,
    "plamo": plamo,
    "qwen": qwen,
    "qwen2": qwen2,
    "qwen2moe": qwen2moe,
    "qwen2vl": qwen2vl,
    "qwen3": qwen3,
    "qwen35": qwen35,
    "qwen35moe": qwen35,
    "qwen3moe": qwen3,
    "qwen3next": qwen3next,
    "qwen3vl": qwen3vl,
    "qwen3vlmoe": qwen3vl,
    "refact": refact,
    "rwkv6": rwkv6,
    "rwkv7": rwkv7,
    "seed_oss": seed_oss,
    "smollm3": smollm3,
    "stablelm": stablelm,
    "starcoder": gpt2,
    "starcoder2": starcoder2,
    "step35": step35,
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
