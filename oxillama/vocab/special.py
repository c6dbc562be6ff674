"""Which tokens are special: begin and end of text, fill-in-the-middle, and all that end a generation.

A file names some by id; others are known by their text only. Both lists follow llama.cpp (src/llama-vocab.cpp,
``impl::load``), since files are written for it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from oxillama._core.output.vocab import TokenFlag, TokenTable
from oxillama.vocab.families import Family
from oxillama.vocab.metadata import VocabMetadata

logger: logging.Logger = logging.getLogger("oxillama")

# Name -> keys of the file (without tokenizer.ggml.), the first present wins. "seperator" is the format's spelling.
KEYS: dict[str, tuple[str, ...]] = {
    "bos": ("bos_token_id", "cls_token_id"),
    "eos": ("eos_token_id",),
    "eot": ("eot_token_id",),
    "eom": ("eom_token_id",),
    "unk": ("unknown_token_id",),
    "sep": ("seperator_token_id",),
    "pad": ("padding_token_id",),
    "mask": ("mask_token_id",),
    "fim_pre": ("fim_pre_token_id", "prefix_token_id"),
    "fim_suf": ("fim_suf_token_id", "suffix_token_id"),
    "fim_mid": ("fim_mid_token_id", "middle_token_id"),
    "fim_pad": ("fim_pad_token_id",),
    "fim_rep": ("fim_rep_token_id",),
    "fim_sep": ("fim_sep_token_id",),
}

# Name -> texts that mean it when the file does not, most specific first. U+FF5C and U+2581 are DeepSeek's.
TEXTS: dict[str, tuple[str, ...]] = {
    "eot": (
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
        "<end_of_utterance>",
    ),
    "eom": ("<|eom_id|>",),
    "fim_pre": (
        "<|fim_prefix|>",
        "<fim-prefix>",
        "<fim_prefix>",
        "<\uff5cfim\u2581begin\uff5c>",
        "<PRE>",
        "\u2581<PRE>",
        "<|code_prefix|>",
        "<|prefix|>",
    ),
    "fim_suf": (
        "<|fim_suffix|>",
        "<fim-suffix>",
        "<fim_suffix>",
        "<\uff5cfim\u2581hole\uff5c>",
        "<SUF>",
        "\u2581<SUF>",
        "<|code_suffix|>",
        "<|suffix|>",
    ),
    "fim_mid": (
        "<|fim_middle|>",
        "<fim-middle>",
        "<fim_middle>",
        "<\uff5cfim\u2581end\uff5c>",
        "<MID>",
        "\u2581<MID>",
        "<|code_middle|>",
        "<|middle|>",
    ),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}

# Texts that end a generation in whatever vocabulary they occur.
END_TEXTS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
)
# In the harmony format and its kin "<|end|>" only closes a message: more messages follow.
MESSAGE_END = "<|end|>"
HARMONY_ENDS = (
    {"<|return|>", "<|call|>"},
    {"<|return|>", "<|calls|>"},
    {"<|flush|>", "<|call|>"},
    {"<|flush|>", "<|calls|>"},
)
# Tokens of type control that structure the harmony format's output and must reach its parser.
VISIBLE_TEXTS = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")
# What stands around a model's thinking, for the same reason. In most files these are no control tokens anyway.
THINKING_TEXTS = ("<think>", "</think>", "[THINK]", "[/THINK]", "<seed:think>", "</seed:think>")


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of special tokens; None where the vocabulary has none. ``eog`` holds all that end a generation."""

    bos: int | None = None
    eos: int | None = None
    eot: int | None = None
    eom: int | None = None
    unk: int | None = None
    sep: int | None = None
    pad: int | None = None
    mask: int | None = None
    fim_pre: int | None = None
    fim_suf: int | None = None
    fim_mid: int | None = None
    fim_pad: int | None = None
    fim_rep: int | None = None
    fim_sep: int | None = None
    newline: int | None = None
    eog: frozenset[int] = frozenset()
    structural: frozenset[int] = frozenset()  # written out like text, but read only where special tokens are parsed
    declared: frozenset[str] = frozenset()  # names that the file itself gives


def find_special_tokens(metadata: VocabMetadata, family: Family, table: TokenTable) -> SpecialTokens:
    """Reads the ids, finds the others by text, and marks those tokens in ``table`` as control tokens."""
    read = read_ids(metadata, len(table))
    ids: dict[str, int | None] = {name: token for name, token in family.defaults.items() if token < len(table)}
    ids |= read
    control = set()
    for name, texts in TEXTS.items():
        if ids.get(name) is None:
            ids[name] = next((found for text in texts if (found := table.find(text.encode())) is not None), None)
            control.add(ids[name])
    ends = {text: found for text in END_TEXTS if (found := table.find(text.encode())) is not None}
    visible = {table.find(text.encode()) for text in VISIBLE_TEXTS}
    thinking = (table.find(text.encode()) for text in THINKING_TEXTS)
    visible |= {token for token in thinking if token is not None and table.flag(token) & TokenFlag.CONTROL}
    control.update(ends.values())
    eog = set(ends.values()) | {ids.get(name) for name in ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")}
    if MESSAGE_END in ends and any(pair <= ends.keys() for pair in HARMONY_ENDS):
        eog.discard(ends[MESSAGE_END])
        visible.add(ends[MESSAGE_END])
    ids["newline"] = find_newline(family, table, ids.get("pad"))
    structural = frozenset(token for token in visible if token is not None)
    for token in control:
        if token is not None and token not in structural:
            table.set_flag(token, table.flag(token) | TokenFlag.CONTROL)
    for token in structural:
        table.set_flag(token, TokenFlag.USER_DEFINED)
    return SpecialTokens(
        **ids,
        eog=frozenset(token for token in eog if token is not None),
        structural=structural,
        declared=frozenset(name for name, token in read.items() if token is not None),
    )


def read_ids(metadata: VocabMetadata, num_tokens: int) -> dict[str, int | None]:
    """The ids that the file gives; None where it says that there is no such token."""
    ids: dict[str, int | None] = {}
    for name, keys in KEYS.items():
        for key in keys:
            token = metadata.integer(key)
            if token is None:
                continue
            if 0 <= token < num_tokens:
                ids[name] = token
                break
            if token in (-1, 2**32 - 1):
                ids[name] = None
                break
            logger.warning("tokenizer.ggml.%s is %d, outside the vocabulary of %d; ignored", key, token, num_tokens)
    return ids


def find_newline(family: Family, table: TokenTable, pad: int | None) -> int | None:
    if family.name == "WordPiece":
        return pad
    as_byte = (token for token in table.flagged(TokenFlag.BYTE) if table[token] == b"\n")
    return next(as_byte, table.find(b"\n"))
