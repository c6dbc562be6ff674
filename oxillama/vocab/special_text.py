"""How special tokens stand in text: their spelling, and the white space around them that belongs to them.

The format has no key for that white space; llama.cpp (src/llama-vocab.cpp, ``impl::load``) knows it by model name.
"""

from __future__ import annotations

from dataclasses import dataclass

from oxillama._core.output.vocab import TokenFlag, TokenTable
from oxillama.vocab.metadata import VocabMetadata
from oxillama.vocab.special import SpecialTokens


@dataclass(frozen=True, slots=True)
class SpecialText:
    """A token that stands in text as ``text``. ``always``: recognised in ordinary text too (user-defined tokens).

    ``lstrip`` and ``rstrip``: the white space before or after belongs to the token.
    """

    text: str
    id: int
    always: bool
    lstrip: bool = False
    rstrip: bool = False


@dataclass(frozen=True)
class StripRule:
    """Which tokens take white space with them."""

    lstrip: frozenset[str] = frozenset()
    rstrip_all_but: frozenset[str] | None = None


NO_STRIPPING = StripRule()
PHI3 = StripRule(rstrip_all_but=frozenset({"<unk>", "<s>", "<|endoftext|>"}))


def find_strip_rule(metadata: VocabMetadata) -> StripRule:
    """The rule of the model that a file holds."""
    name = metadata.note("general.name").lower()
    pre = metadata.string("tokenizer.ggml.pre") or ""
    architecture = metadata.string("general.architecture") or ""
    if any(part in pre for part in ("jina-v2-de", "jina-v2-es", "jina-v2-code")) or any(
        part in architecture for part in ("nomic-bert-moe", "jina-bert-v3")
    ):
        return StripRule(lstrip=frozenset({"<mask>"}))
    if "phi-3" in name or "phi3" in name:
        return PHI3
    if "modern-bert" in name:
        return StripRule(lstrip=frozenset({"[MASK]"}))
    return NO_STRIPPING


def special_texts(metadata: VocabMetadata, table: TokenTable, specials: SpecialTokens) -> list[SpecialText]:
    """The tokens that stand in text as the file spells them: control, unknown and user-defined ones."""
    texts, flags = metadata.texts, table.flags
    rule = find_strip_rule(metadata)
    found = []
    for token in table.flagged(TokenFlag.HIDDEN | TokenFlag.USER_DEFINED):
        try:
            text = texts[token].decode()
        except UnicodeDecodeError:
            # Never part of a text; the byte look-up still has it.
            continue
        if text:
            always = not flags[token] & TokenFlag.HIDDEN and token not in specials.structural
            rstrip = rule.rstrip_all_but is not None and text not in rule.rstrip_all_but
            found.append(SpecialText(text, token, always, text in rule.lstrip, rstrip))
    return found
