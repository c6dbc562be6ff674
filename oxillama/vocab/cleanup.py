"""Drops the spaces that some vocabularies leave before punctuation, as llama.cpp's ``detokenize`` does.

It works on bytes, so that it may be applied before decoding.
"""

from __future__ import annotations

import re

BEFORE_PUNCTUATION = re.compile(rb" ([?!.,])")
LONE_APOSTROPHE = re.compile(rb" ' ")
CONTRACTION = re.compile(rb" ('(?:s|m|re|ve))")


def clean_spaces(text: bytes) -> bytes:
    """``" ?"`` becomes ``"?"``, then ``" ' "`` becomes ``"'"``, then ``" 's"`` becomes ``"'s"``."""
    text = BEFORE_PUNCTUATION.sub(rb"\1", text)
    text = LONE_APOSTROPHE.sub(rb"'", text)
    return CONTRACTION.sub(rb"\1", text)
