r"""How byte-pair vocabularies cut text into words before merging, by the name in ``tokenizer.ggml.pre``.

The expressions are those the models were trained with (their ``tokenizer.json``), collected under these names by
llama.cpp (src/llama-vocab.cpp). They are applied one after another, each to the pieces the last one left; what an
expression does not match is a piece too. Where llama.cpp approximates letter case with ASCII (tekken, gpt-4o and
kin), the model's own expression stands here.
"""

# ruff: noqa: RUF001  (the letters are meant)
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oxillama.errors import UnsupportedModelError
from oxillama.gguf.file import described

CONTRACTION = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
WHITESPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{SYMBOLS}|{WHITESPACE}"
QWEN2 = rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{SYMBOLS}|{WHITESPACE}"
QWEN35 = (
    rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{WHITESPACE}"
)
MINICPM5 = rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}+|{SYMBOLS}|{WHITESPACE}"
SEED_CODER = rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{WHITESPACE}"
BAILING = (
    r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
EXAONE_MOE = (
    rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
K2_HORIZON = (
    rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}\x{{200C}}\x{{200D}}]+|\p{{N}}{{1,3}}"
    rf"|{SYMBOLS}|{WHITESPACE}"
)
JAIS2 = (
    rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{SYMBOLS}|\s*[\r\n]+"
    r"|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)"
    r"|\s{1,2}(?!\S)|\s{1}"
)


def cased(upper: str, lower: str, contraction: str, number: str, symbols: str) -> str:
    """A word ends where lower case is followed by upper case; letters without case belong to both."""
    lead = r"[^\r\n\p{L}\p{N}]?"
    return f"{lead}{upper}*{lower}+{contraction}|{lead}{upper}+{lower}*{contraction}|{number}|{symbols}|{WHITESPACE}"


UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SLASHED_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
TEKKEN = cased(UPPER, LOWER, "", r"\p{N}", SLASHED_SYMBOLS)
GPT4O = cased(UPPER, LOWER, f"{CONTRACTION}?", r"\p{N}{1,3}", SLASHED_SYMBOLS)
YOUTU = cased(UPPER, LOWER, f"{CONTRACTION}?", r"\p{N}", SLASHED_SYMBOLS)
KIMI_K2 = r"\p{Han}+|" + cased(
    r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
    f"{CONTRACTION}?",
    r"\p{N}{1,3}",
    SYMBOLS,
)

# Latin, Greek, Cyrillic and other letters with case, as DeepSeek's first tokenizer lists them. Escaped are those that
# Unicode normalisation would turn into another letter.
CASED_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7d"
    "ᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮ\u2cf2\u2cf3"
    "Ꙁ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
EAST_ASIAN = "[一-龥ࠀ-一가-퟿]+"
HAN_AND_KANA = "[一-龥぀-ゟ゠-ヿ]+"
MARKED_WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{WHITESPACE}"
)
SENTENCE_PARTS = " ?[^(\\s|.,!?…。，、।۔،)]+"
# Digits in threes from the right. The bound keeps the work linear; longer numbers keep their left part in one piece.
SUPERBPE_TRIPLES = r"(?=(\d{3}){1,100}(?!\d))"
AFMOE_TRIPLES = r"(?=(\p{N}{3}){1,100}(?!\p{N}))"
AYA_TRIPLES = r"\d{1,3}(?=(?:\d{3}){0,100}\b)"

# Where a word certainly ends if each digit is one.
WITH_DIGITS = ("words", "lines", "digits")


@dataclass(frozen=True)
class PreTokenizer:
    """The expressions of one name, in Oniguruma's syntax, and the settings that go with the name.

    ``ignore_merges``: a word that is a token stays whole. ``windows``: where a word certainly ends, see ``Windows``.
    The other settings are those of ``Family``.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False
    add_sep: bool = False
    clean_spaces: bool = True
    byte_level: bool = True
    no_default_bos: bool = False
    windows: tuple[str, ...] = ("words", "lines")


def named(names: str, *patterns: str, **settings: Any) -> dict[str, PreTokenizer]:
    pre_tokenizer = PreTokenizer(patterns, **settings)
    return dict.fromkeys(names.split(), pre_tokenizer)


PRE_TOKENIZERS = {
    **named("default", r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    **named(
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        LLAMA3,
        ignore_merges=True,
        add_bos=True,
    ),
    **named("dbrx smaug-bpe", LLAMA3),
    **named("chatglm-bpe glm4", LLAMA3, no_default_bos=True),
    **named(
        "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt olmo jais exaone4",
        GPT2,
    ),
    **named("jina-v1-en jina-v2-code roberta-bpe", GPT2, add_sep=True),
    **named("trillion granite-docling", GPT2, clean_spaces=False),
    **named("starcoder refact codeshell exaone minerva-7b mellum2", r"\p{N}", GPT2, windows=WITH_DIGITS),
    **named("command-r smollm", r"\p{N}", GPT2, clean_spaces=False, windows=WITH_DIGITS),
    **named(
        "qwen2 deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open grok-2", QWEN2, clean_spaces=False, windows=WITH_DIGITS
    ),
    **named("stablelm2 megrez", QWEN2, windows=WITH_DIGITS),
    **named("qwen35", QWEN35, clean_spaces=False, windows=WITH_DIGITS),
    **named("laguna", r"[^\n]+|[\n]+", QWEN2, clean_spaces=False, windows=WITH_DIGITS),
    **named("falcon", r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"),
    **named("minicpm5", r"\p{N}{1,3}", MINICPM5, ignore_merges=True),
    **named("seed-coder", SEED_CODER, clean_spaces=False, windows=WITH_DIGITS),
    **named("bailingmoe bailingmoe2 llada-moe", BAILING, clean_spaces=False, windows=WITH_DIGITS),
    **named("exaone-moe", EXAONE_MOE, windows=("lines", "digits")),
    **named("k2-horizon", K2_HORIZON, clean_spaces=False),
    **named("jais-2", JAIS2),
    **named("tekken", TEKKEN, ignore_merges=True, add_bos=True, clean_spaces=False, windows=WITH_DIGITS),
    **named("gpt-4o llama4 kanana2 talkie minimax-m2", GPT4O, clean_spaces=False),
    **named("granite-embed-multi-97m", GPT4O, ignore_merges=True, clean_spaces=False),
    **named("tiny_aya cohere2moe", AYA_TRIPLES, GPT4O, clean_spaces=False),
    **named("kimi-k2", KIMI_K2, clean_spaces=False),
    **named(
        "youtu",
        f"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|{HAN_AND_KANA}",
        YOUTU,
        ignore_merges=True,
        clean_spaces=False,
    ),
    **named(
        "deepseek-llm",
        r"[\r\n]",
        rf"\s?[{CASED_LETTERS}]+",
        r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
        r"\s+$",
        EAST_ASIAN,
        r"\p{N}+",
        clean_spaces=False,
    ),
    **named("deepseek-coder", r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST_ASIAN, r"\p{N}", clean_spaces=False),
    **named("deepseek-v3 hunyuan-dense joyai-llm", r"\p{N}{1,3}", HAN_AND_KANA, MARKED_WORDS, clean_spaces=False),
    **named(
        "afmoe",
        r"\p{N}+",
        AFMOE_TRIPLES,
        "[一-鿿㐀-䶿\uf900-\ufaff぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿\u0e80-\u0effក-\u17ffက-႟ꩠ-ꩿꧠ-\ua9ff\uac00-\ud7afᄀ-ᇿ]+",
        MARKED_WORDS,
        clean_spaces=False,
    ),
    **named("bloom gpt3-finnish", SENTENCE_PARTS),
    **named("poro-chat", SENTENCE_PARTS, clean_spaces=False),
    **named("viking", SENTENCE_PARTS, r"\p{N}", clean_spaces=False),
    **named("superbpe", r"\p{N}+", SUPERBPE_TRIPLES, clean_spaces=False, windows=()),
    **named(
        "chameleon",
        "<sentinel:[0-9]+>",
        "IMGIMG[A-I]{1,4}Z",
        r"[\t\n]|    |  ",
        r"\p{N}",
        r"[\p{P}!-/:-@\[-`{-~]",
        GPT2,
        add_bos=True,
        clean_spaces=False,
    ),
    **named("gemma4 granite-embed-multi-311m", r"[^\n]+|[\n]+", byte_level=False, windows=("lines",)),
}


def find_pre_tokenizer(name: str) -> PreTokenizer:
    """The pre-tokenizer of a ``tokenizer.ggml.pre`` name; UnsupportedModelError names an unknown one."""
    try:
        return PRE_TOKENIZERS[name]
    except KeyError:
        raise UnsupportedModelError(
            f"tokenizer.ggml.pre: this version knows {len(PRE_TOKENIZERS)} pre-tokenizers, but not {described(name)}"
        ) from None
