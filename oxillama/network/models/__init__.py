"""The architectures, by the name that `general.architecture` gives them. One short file per family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.gguf.file import described
from oxillama.network.graph import Graph
from oxillama.network.models.apertus import apertus
from oxillama.network.models.arctic import arctic
from oxillama.network.models.baichuan import baichuan
from oxillama.network.models.bailing import bailingmoe, bailingmoe2
from oxillama.network.models.bert import bert, jina_bert_v2, jina_bert_v3, nomic_bert, nomic_bert_moe
from oxillama.network.models.cohere import cohere2, command_r
from oxillama.network.models.cohere2_moe import cohere2_moe
from oxillama.network.models.dbrx import dbrx
from oxillama.network.models.deepseek import deepseek, deepseek2
from oxillama.network.models.dots1 import dots1
from oxillama.network.models.ernie4_5_moe import ernie4_5_moe
from oxillama.network.models.eurobert import eurobert, neo_bert
from oxillama.network.models.exaone import exaone4
from oxillama.network.models.exaone_moe import exaone_moe
from oxillama.network.models.falcon_h1 import falcon_h1
from oxillama.network.models.gemma import gemma, gemma2, gemma3, gemma_embedding
from oxillama.network.models.gemma3n import gemma3n
from oxillama.network.models.gemma4 import gemma4
from oxillama.network.models.glm4 import glm4
from oxillama.network.models.glm4moe import glm4moe
from oxillama.network.models.gpt_oss import gpt_oss
from oxillama.network.models.granite import granite, granite_swa
from oxillama.network.models.granite_hybrid import granitehybrid
from oxillama.network.models.grok import grok
from oxillama.network.models.hunyuan import hunyuan
from oxillama.network.models.hunyuan_moe import hunyuan_moe
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.jamba import jamba
from oxillama.network.models.kimi_linear import kimi_linear
from oxillama.network.models.layer_norm_decoders import (
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
from oxillama.network.models.lfm2 import lfm2
from oxillama.network.models.llama import llama
from oxillama.network.models.llama4 import llama4
from oxillama.network.models.llama_like import arcee, plamo, qwen, refact, seed_oss
from oxillama.network.models.mamba import mamba, mamba2
from oxillama.network.models.mimo2 import mimo2
from oxillama.network.models.minicpm import minicpm, minicpm3
from oxillama.network.models.minimax_m2 import minimax_m2
from oxillama.network.models.mistral3 import mistral3
from oxillama.network.models.modern_bert import modern_bert
from oxillama.network.models.nemotron_h import nemotron_h
from oxillama.network.models.olmo import olmo, olmo2
from oxillama.network.models.olmoe import olmoe
from oxillama.network.models.phi import phi2, phi3
from oxillama.network.models.phimoe import phimoe
from oxillama.network.models.qwen2 import qwen2, qwen2moe
from oxillama.network.models.qwen3 import qwen3
from oxillama.network.models.qwen35 import qwen3next, qwen35
from oxillama.network.models.qwen_vl import qwen2vl, qwen3vl
from oxillama.network.models.rwkv import rwkv6, rwkv7
from oxillama.network.models.smollm3 import smollm3
from oxillama.network.models.step35 import step35
from oxillama.network.models.t5 import t5_encoder


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
    "modern-bert": modern_bert,
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
    "t5encoder": t5_encoder,
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
