"""A query and a document as one prompt, as the model was trained to read the two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oxillama.chat.control_texts import ControlTexts
from oxillama.errors import ContextLengthError, InvalidRequestError, UnsupportedModelError
from oxillama.tokenizer import Tokenizer, check_text

TEMPLATE_KEY = "tokenizer.chat_template.rerank"
# Networks whose vocabularies are RoBERTa's where they are not BERT's: two separators between two texts.
_ROBERTAS = ("bert", "jina-bert-v2", "jina-bert-v3")
_PLACE = re.compile(r"\{(query|document)\}")


@dataclass(frozen=True)
class Pair:
    """second_start: where the document begins, for networks that tell the texts apart."""

    ids: list[int]
    second_start: int


class Pairs:
    """Makes prompts of a query and a document: under the file's template where it has one, else with the separators of
    its vocabulary.

    Raises UnsupportedModelError for a vocabulary without them."""

    def __init__(self, tokenizer: Tokenizer, metadata: Mapping[str, Any], *, limit: int) -> None:
        self._tokenizer = tokenizer
        self._limit = limit
        template = metadata.get(TEMPLATE_KEY)
        self._template = template if isinstance(template, str) else None
        if self._template is not None:
            written = {text for text in tokenizer.user_defined_texts() if text in self._template}
            self._written = frozenset(written)
            self._controls = ControlTexts(tokenizer.control_texts() | written)
            return
        separator = tokenizer.eos_id if tokenizer.sep_id is None else tokenizer.sep_id
        if tokenizer.bos_id is None or separator is None:
            raise UnsupportedModelError("the vocabulary has no tokens around and between the texts of a pair")
        is_double = metadata.get("tokenizer.ggml.model") != "bert" and metadata["general.architecture"] in _ROBERTAS
        self._head, self._end = [tokenizer.bos_id], [separator]
        self._between = [separator] * (2 if is_double else 1)

    def pair(self, query: str, document: str, *, truncate: bool) -> Pair:
        """Raises InvalidRequestError for what is no text and, unless the document's end may be cut off (`truncate`),
        ContextLengthError for what is too long together."""
        for param, text in (("query", query), ("documents", document)):
            try:
                check_text(text)
            except InvalidRequestError as error:
                raise InvalidRequestError(str(error), param=param) from None
        if self._template is not None:
            return self._rendered(self._template, query, document, truncate)
        encode = self._tokenizer.encode
        first = [*self._head, *encode(query, add_special=False), *self._between]
        return self._fitted(first, encode(document, add_special=False), self._end, truncate)

    def _rendered(self, template: str, query: str, document: str, truncate: bool) -> Pair:
        marks = self._controls.marks([template, query, document])
        texts = {name: self._controls.broken(text, marks) for name, text in (("query", query), ("document", document))}

        def ids(rendered: str) -> list[int]:
            return self._tokenizer.encode_parsed(rendered, marks.remove, broken=self._written)

        found = ids(_PLACE.sub(lambda match: texts[match[1]], template))
        if len(found) > self._limit and truncate:
            # The tokens of the document alone, and of what stands around it: close to those of the whole.
            head, _, tail = template.partition("{document}")
            first = ids(_PLACE.sub(lambda match: texts[match[1]], head))
            return self._fitted(first, ids(texts["document"]), ids(_PLACE.sub(lambda m: texts[m[1]], tail)), truncate)
        return self._fitted(found, [], [], truncate)

    def _fitted(self, first: list[int], document: list[int], end: list[int], truncate: bool) -> Pair:
        room = self._limit - len(first) - len(end)
        if truncate and 0 < room < len(document):
            document = document[:room]
        if len(document) > room:
            n = len(first) + len(document) + len(end)
            raise ContextLengthError(
                f"query and document have {n} tokens, at most {self._limit} can be read together",
                n_prompt_tokens=n,
                n_ctx=self._limit,
                param="documents",
            )
        return Pair([*first, *document, *end], len(first))
