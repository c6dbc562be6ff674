"""Sound model files with one metadata entry replaced, doubled or taken away: every type, and its extreme values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from struct import pack
from tempfile import TemporaryDirectory
from typing import Any

from oxillama.gguf import VALUE_TYPES, GGUFFile
from oxillama.testing.tiny_models import TinyModel
from tests.gguf_bytes import array, entry, gguf, tensor, text
from tests.vocab.vocabularies import byte_pair_metadata, sentencepiece_metadata, wordpiece_metadata

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
VOCABULARIES = ("spm", "bpe", "unigram", "wordpiece")

Value = tuple[int, bytes]  # type number and payload

FORMATS = {
    name: code
    for name, code in zip(VALUE_TYPES, ["B", "b", "H", "h", "I", "i", "f", "?", "", "", "Q", "q", "d"], strict=True)
    if code
}
UINT8, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = 0, 4, 5, 6, 7, 8, 9, 10, 11, 12

# Keys that the small files below do not have and that the library reads all the same.
OPTIONAL_TEXT = """
    general.alignment general.type general.file_type general.author adapter.type imatrix.chunk_count
    clip.projector_type split.count split.no split.tensors.count tokenizer.chat_template
    tokenizer.chat_template.tool_use
    llama.expert_count llama.nextn_predict_layers llama.attention.sliding_window llama.rope.freq_base
    llama.rope.scale_linear llama.rope.scaling.type llama.rope.scaling.factor llama.rope.scaling.original_context_length
    llama.rope.scaling.attn_factor llama.rope.scaling.yarn_beta_fast llama.rope.scaling.yarn_beta_slow
    llama.pooling_type llama.attention.causal llama.attention.scale llama.attention.clamp_kqv
    llama.expert_feed_forward_length llama.rope.scaling.yarn_log_multiplier llama.rope.scaling.yarn_attn_factor
    llama.rope.scaling.yarn_ext_factor
    tokenizer.ggml.pre tokenizer.ggml.add_bos_token tokenizer.ggml.add_eos_token tokenizer.ggml.add_sep_token
    tokenizer.ggml.add_space_prefix tokenizer.ggml.remove_extra_whitespaces tokenizer.ggml.precompiled_charsmap
    tokenizer.ggml.normalizer.lowercase tokenizer.ggml.cls_token_id tokenizer.ggml.eot_token_id
    tokenizer.ggml.eom_token_id tokenizer.ggml.unknown_token_id tokenizer.ggml.seperator_token_id
    tokenizer.ggml.padding_token_id tokenizer.ggml.mask_token_id tokenizer.ggml.fim_pre_token_id
    tokenizer.ggml.prefix_token_id tokenizer.ggml.fim_suf_token_id tokenizer.ggml.suffix_token_id
    tokenizer.ggml.fim_mid_token_id tokenizer.ggml.middle_token_id tokenizer.ggml.fim_pad_token_id
    tokenizer.ggml.fim_rep_token_id tokenizer.ggml.fim_sep_token_id tokenizer.ggml.bos_token_id
    tokenizer.ggml.eos_token_id
"""
OPTIONAL = OPTIONAL_TEXT.split()


@dataclass(frozen=True)
class Parts:
    """A file taken apart. `tensors` are descriptions, whose offsets count from the start of `data`."""

    entries: dict[str, Value]
    tensors: tuple[bytes, ...]
    data: bytes

    def file(self, *changes: tuple[str, Value | None], doubled: str | None = None) -> bytes:
        """The file with other values (None: without that key), and one key twice."""
        entries = {**self.entries, **dict(changes)}
        parts = [entry(key, *value) for key, value in entries.items() if value is not None]
        if doubled is not None:
            parts.append(entry(doubled, *self.entries[doubled]))
        return gguf(tuple(parts), self.tensors, self.data)


@cache
def parts(vocabulary: str) -> Parts:
    """A llama of one layer with a vocabulary of that family, and yarn scaling."""
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "spm": lambda: sentencepiece_metadata("bpe"),
        "bpe": byte_pair_metadata,
        "unigram": lambda: sentencepiece_metadata("unigram"),
        "wordpiece": wordpiece_metadata,
    }
    known = makers[vocabulary]()
    metadata = known | {
        "llama.rope.scaling.type": "yarn",
        "llama.rope.scaling.factor": 2.0,
        "tokenizer.chat_template": CHATML,
    }
    model = TinyModel(
        n_vocab=len(known["tokenizer.ggml.tokens"]),
        n_layers=1,
        n_embd=32,
        n_ff=32,
        n_head=2,
        n_head_kv=1,
        n_ctx=64,
        metadata=metadata,
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        model.write(path)
        whole = path.read_bytes()
        with GGUFFile(path) as file:
            raw = {key: file.metadata.raw(key) for key in file.metadata}
            entries = {key: (number, bytes(payload)) for key, (number, payload) in raw.items()}
            infos = list(file.tensors.values())
            start = min(info.offset for info in infos)
            tensors = tuple(tensor(info.name, info.shape, info.type_id, info.offset - start) for info in infos)
    return Parts(entries, tensors, whole[start:])


def keys(vocabulary: str) -> list[str]:
    """All that the library reads of such a file."""
    return [*dict.fromkeys([*parts(vocabulary).entries, *OPTIONAL])]


def scalar(type_name: str, value: float) -> Value:
    return VALUE_TYPES.index(type_name), pack(f"<{FORMATS[type_name]}", value)


def scalars() -> Iterator[Value]:
    for type_name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"):
        bits = int(type_name.lstrip("uint")) - (type_name[0] == "i")
        numbers = {0, 1, 2, 2**bits - 1} | ({2**31} if bits > 31 else set())
        for number in sorted(numbers | ({-1, -(2**bits)} if type_name[0] == "i" else set())):
            yield scalar(type_name, number)
    for number in (0.0, -0.0, 0.5, 1.0, -1.0, 1e-45, 1e-38, 3.4e38, float("inf"), float("-inf"), float("nan")):
        yield scalar("float32", number)
    for number in (1.0 + 2**-52, 5e-324, 1e-300, 1e-30, 1e30, 1.7e308, -1.7e308, float("inf"), float("nan")):
        yield scalar("float64", number)
    yield from (scalar("bool", value) for value in (False, True))


def strings() -> Iterator[Value]:
    names = ["", "llama", "none", "linear", "yarn", "adapter", "gpt2", "bert", "t5", "default", "phi-3", "llama-bpe"]
    templates = ["{{", "{{ messages }}", "{% for m in messages %}", "{{ raise_exception('no') }}", "{{ 1 / 0 }}"]
    for value in [*names, *templates, "a\0b", "\u2581", "x" * 5000]:
        yield STRING, text(value)
    for damaged in (b"\xff\xfe", b"J\xfcrgen"):
        yield STRING, text(damaged)


def arrays() -> Iterator[Value]:
    for element_type in (UINT8, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64):
        yield ARRAY, array(element_type, 0, b"")
    for numbers in ([1], [1, 2, 3], [0] * 1000, [-1, -(2**31), 2**31 - 1]):
        yield ARRAY, array(INT32, len(numbers), pack(f"<{len(numbers)}i", *numbers))
    yield ARRAY, array(UINT32, 2, pack("<2I", 2**31, 2**32 - 1))
    yield ARRAY, array(UINT64, 2, pack("<2Q", 2**63, 2**64 - 1))
    yield ARRAY, array(FLOAT32, 3, pack("<3f", 0.0, float("inf"), float("nan")))
    yield ARRAY, array(FLOAT64, 2, pack("<2d", 1e300, -1e300))
    yield ARRAY, array(BOOL, 2, b"\0\1")
    for words in ([b"yarn"], [b"", b"a", b"a"], [b"\xff", b"a b"], [b"x" * 3000]):
        yield ARRAY, array(STRING, len(words), b"".join(map(text, words)))
    yield ARRAY, array(ARRAY, 2, array(INT32, 1, pack("<i", 1)) * 2)
    yield ARRAY, array(ARRAY, 1, array(ARRAY, 1, array(STRING, 1, text("a"))))


def elements(vocabulary: str, key: str) -> Iterator[Value]:
    """Arrays as long as the file's own: one element, or all of them, out of the ordinary."""
    number, payload = parts(vocabulary).entries.get(key, (0, b""))
    if number != ARRAY:
        return
    element_type, count = payload[0], int.from_bytes(payload[4:12], "little")
    if element_type == STRING:
        words = words_of(payload)
        for word in (b"", b"\xff", b" ", b"a b c", b"<0x41>", b"x" * 3000, "\ud7ff\U0010ffff".encode(), words[0]):
            yield ARRAY, array(STRING, count, b"".join(map(text, [*words[:-1], word])))
        yield ARRAY, array(STRING, count, text("a") * count)
        yield ARRAY, array(STRING, count, text("") * count)
        yield ARRAY, array(STRING, count - 1, b"".join(map(text, words[1:])))
        yield ARRAY, array(STRING, count, b"".join(map(text, reversed(words))))
        return
    for type_name, value in (
        ("int32", 0), ("int32", 6), ("int32", -1), ("int32", 2**31 - 1), ("uint32", 2**31), ("uint64", 2**63),
        ("int64", -(2**63)), ("float32", 0.0), ("float32", float("nan")), ("float32", float("inf")),
        ("float32", float("-inf")), ("float32", 3e38), ("float64", 1e300), ("uint8", 255), ("bool", 1),
    ):  # fmt: skip
        one = pack(f"<{FORMATS[type_name]}", value)
        yield ARRAY, array(VALUE_TYPES.index(type_name), count, one * count)
        if VALUE_TYPES.index(type_name) == element_type:
            yield ARRAY, payload[:12] + payload[12 : -len(one)] + one
            yield ARRAY, array(element_type, count - 1, payload[12 : -len(one)])


def words_of(payload: bytes) -> list[bytes]:
    words, at = [], 12
    while at < len(payload):
        end = at + 8 + int.from_bytes(payload[at : at + 8], "little")
        words.append(payload[at + 8 : end])
        at = end
    return words


def mutations(vocabulary: str, key: str) -> list[Value | None]:
    """None takes the key away."""
    found = [None, *scalars(), *strings(), *arrays(), *elements(vocabulary, key)]
    return list(dict.fromkeys(found))
