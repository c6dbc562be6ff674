"""The vocabulary families of GGUF files and the settings a file may leave out.

Defaults are those of llama.cpp (src/llama-vocab.cpp, ``impl::load``), the reader that defined them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from oxillama.errors import UnsupportedModelError
from oxillama.gguf.file import described
from oxillama.vocab.metadata import VocabMetadata
from oxillama.vocab.pretokenizers import PreTokenizer, find_pre_tokenizer


@dataclass(frozen=True)
class Family:
    """How a vocabulary's texts are spelt and what is added around a text.

    ``byte_level``: token texts use GPT-2's byte alphabet; otherwise U+2581 stands for a space.
    ``space_prefix``: a space is put before text that starts the input or follows a special token.
    ``clean_spaces``: decoding drops the spaces before punctuation.
    ``defaults``: special ids of files that name none.
    """

    name: str
    byte_level: bool = False
    add_bos: bool = False
    add_eos: bool = False
    add_sep: bool = False
    space_prefix: bool = False
    clean_spaces: bool = False
    pre_tokenizer: PreTokenizer | None = None
    defaults: dict[str, int] = field(default_factory=dict)


FAMILIES = {
    "llama": Family("SPM", add_bos=True, space_prefix=True, defaults={"bos": 1, "eos": 2, "unk": 0}),
    "bert": Family(
        "WordPiece",
        add_bos=True,
        add_sep=True,
        clean_spaces=True,
        defaults={"bos": 101, "unk": 100, "sep": 102, "pad": 0, "mask": 103},
    ),
    "t5": Family("Unigram", add_eos=True, defaults={"eos": 1, "unk": 2, "pad": 0}),
    # 11 was Falcon's end of text and became every reader's default. As an end of generation it would stop other
    # models at an ordinary token, so it is a default for bos only.
    "gpt2": Family("BPE", byte_level=True, defaults={"bos": 11}),
    "gemma4": Family("BPE"),
    "rwkv": Family("RWKV", byte_level=True),
}


def find_family(metadata: VocabMetadata) -> Family:
    """The family of a file with the file's own settings in it; UnsupportedModelError names what is unknown."""
    model = metadata.model
    family = FAMILIES.get(model)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise UnsupportedModelError(f"tokenizer.ggml.model: expected one of {known}, found {described(model)}")
    if family.name == "BPE":
        name = "gemma4" if model == "gemma4" else metadata.string("tokenizer.ggml.pre") or "default"
        pre = find_pre_tokenizer(name)
        family = replace(
            family,
            byte_level=pre.byte_level,
            add_bos=pre.add_bos,
            add_sep=pre.add_sep,
            clean_spaces=pre.clean_spaces,
            pre_tokenizer=pre,
            defaults={} if pre.no_default_bos else family.defaults,
        )
    return replace(
        family,
        add_bos=file_setting(metadata, "add_bos_token", family.add_bos),
        add_eos=file_setting(metadata, "add_eos_token", family.add_eos),
        add_sep=file_setting(metadata, "add_sep_token", family.add_sep),
        space_prefix=file_setting(metadata, "add_space_prefix", family.space_prefix),
    )


def file_setting(metadata: VocabMetadata, name: str, default: bool) -> bool:
    value = metadata.flag(name)
    return default if value is None else value
