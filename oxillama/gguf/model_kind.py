"""What a sound GGUF file holds that is no language model, or none that this version can read, and what to do about it.

Told by the keys and tensor names that the programs of llama.cpp and its kin write; nothing here reads weights.
"""

from __future__ import annotations

from typing import Final

from oxillama.errors import UnsupportedModelError
from oxillama.gguf import GGUFFile, Metadata


def numbered(table: str) -> dict[int, str]:
    """Names by number, from both of them in turn."""
    words = table.split()
    return dict(zip(map(int, words[::2]), words[1::2], strict=True))


# Tensor types that llama.cpp has removed.
REMOVED: Final = numbered("4 Q4_2 5 Q4_3 31 Q4_0_4_4 32 Q4_0_4_8 33 Q4_0_8_8 37 IQ4_NL_4_8 38 IQ4_NL_8_8")
# Types of ik_llama.cpp, by their numbers in its ggml.h. Those with _R are laid out for one kind of processor.
FOREIGN: Final = numbered(
    """
    36 I2_S 133 Q6_0 134 IQ1_BN 135 IQ2_BN 137 IQ2_K 138 IQ3_K 139 IQ4_K 140 IQ5_K 141 IQ6_K 144 IQ4_KS
    145 IQ2_KS 146 IQ4_KSS 151 Q8_KV 152 IQ5_KS 153 IQ2_KT 154 IQ3_KT 155 IQ4_KT 156 IQ3_KS 157 IQ2_KL 158 IQ1_KT
    202 Q4_0_R8 206 Q5_0_R4 208 Q8_0_R8 210 Q2_K_R4 211 Q3_K_R4 212 Q4_K_R4 213 Q5_K_R4 214 Q6_K_R4
    216 IQ2_XXS_R4 217 IQ2_XS_R4 218 IQ3_XXS_R4 219 IQ1_S_R4 220 IQ4_NL_R4 221 IQ3_S_R4 222 IQ2_S_R4
    223 IQ4_XS_R8 229 IQ1_M_R4 230 BF16_R16 233 Q6_0_R4 335 IQ2_BN_R4 337 IQ2_K_R4 338 IQ3_K_R4 339 IQ4_K_R4
    340 IQ5_K_R4 344 IQ4_KS_R4 352 IQ5_KS_R4 398 Q8_KV_R8 399 Q8_K_R8
    """
)
# Numbers from here on belong to that program, also where the name is not known here.
FIRST_FOREIGN, LAST_FOREIGN = 97, 399


def check_kind(file: GGUFFile) -> None:
    """UnsupportedModelError for a file that holds something else than the weights of a language model."""
    found = describe_kind(file)
    if found is not None:
        what, remedy = found
        raise UnsupportedModelError(f"{file.path} is {what}, no language model; {remedy}")


def describe_kind(file: GGUFFile) -> tuple[str, str] | None:
    """What the file is, and what to do; None for a model."""
    metadata, names = file.metadata, file.tensors
    kind, architecture = text_of(metadata, "general.type"), text_of(metadata, "general.architecture")
    if kind == "adapter" or "adapter.type" in metadata or (names and all(map(is_adapters, names))):
        method = "a LoRA adapter" if text_of(metadata, "adapter.type") in ("", "lora") else "an adapter"
        return f"{method}, which changes a model", "open the model itself, and load_lora() the adapter into it"
    if kind == "imatrix" or "imatrix.chunk_count" in metadata or any(name.endswith(".in_sum2") for name in names):
        return "an importance matrix (imatrix), which serves to quantize a model", "open the model itself"
    if kind == "mmproj" or architecture == "clip" or "clip.projector_type" in metadata:
        return "a projector (mmproj) for images or sound", "open the model that it belongs to; it takes text only"
    if architecture == "controlvector":
        return "a control vector, which steers a model", "control vectors are not supported: open the model itself"
    if not names:
        if "tokenizer.ggml.model" in metadata:
            return (
                "a vocabulary-only file",
                "Tokenizer.from_gguf() reads it; to generate, open the file with the weights",
            )
        return "a file without tensors", "open the file with the weights"
    return None


def check_tensor_types(file: GGUFFile) -> None:
    """UnsupportedModelError for tensors of a type that this version has no name for."""
    for info in file.tensors.values():
        if not info.is_known:
            raise UnsupportedModelError(
                f"tensor {info.name!r} has type {info.type_id}, which is {describe_type(info.type_id)}"
            )


def describe_type(number: int) -> str:
    if number in REMOVED:
        return f"{REMOVED[number]}, no longer in use; quantize the model anew, or download another quantization of it"
    if number in FOREIGN or FIRST_FOREIGN <= number <= LAST_FOREIGN:
        name = f"{FOREIGN[number]} of" if number in FOREIGN else "a type of"
        return f"{name} ik_llama.cpp and not supported; download a quantization that llama.cpp reads, such as Q4_K_M"
    return "not known to this version; the file is newer, or damaged"


def is_adapters(name: str) -> bool:
    return name.endswith((".lora_a", ".lora_b", ".loraA", ".loraB"))


def text_of(metadata: Metadata, key: str) -> str:
    """A text that only names things; "" where there is none."""
    value = metadata.read(key, strict=False) if key in metadata else None
    return value if isinstance(value, str) else ""
