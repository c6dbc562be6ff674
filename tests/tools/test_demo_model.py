import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama.gguf import GGUFFile
from tools.demo_model import export as export_module
from tools.demo_model.corpus import CONTROL_TOKENS, document, documents, plain_texts
from tools.demo_model.export import export
from tools.demo_model.grammar import TemplateError, expand, tidy
from tools.demo_model.plots import OPTIONAL, PLOTS, Plot
from tools.demo_model.q8_0 import BLOCK_BYTES, dequantise, quantise
from tools.demo_model.stories import write_story
from tools.demo_model.world import SPECIES, draw_cast

CONFIG: dict[str, Any] = {
    "vocab_size": 384,
    "context_length": 64,
    "embedding_length": 32,
    "block_count": 1,
    "feed_forward_length": 64,
    "head_count": 4,
    "head_count_kv": 2,
    "rope_freq_base": 10000.0,
    "rms_epsilon": 1e-5,
}


def tiny_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "token_embd.weight": (384, 32),
        "blk.0.attn_norm.weight": (32,),
        "blk.0.attn_q.weight": (32, 32),
        "blk.0.attn_k.weight": (16, 32),
        "blk.0.attn_v.weight": (16, 32),
        "blk.0.attn_output.weight": (32, 32),
        "blk.0.ffn_norm.weight": (32,),
        "blk.0.ffn_gate.weight": (64, 32),
        "blk.0.ffn_up.weight": (64, 32),
        "blk.0.ffn_down.weight": (32, 64),
        "output_norm.weight": (32,),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> sentencepiece.SentencePieceProcessor:
    from tools.demo_model.tokenizer import train_tokenizer

    path = tmp_path_factory.mktemp("spm") / "spm.model"
    train_tokenizer(path, vocab_size=384, num_documents=50)
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def test_the_same_seed_gives_the_same_documents() -> None:
    assert list(documents(50, start=7)) == [document(index) for index in range(7, 57)]
    assert document(3) != document(3, seed=1)


def test_stories_are_many() -> None:
    stories = {write_story(random.Random(seed)).text for seed in range(500)}
    assert len(stories) == 500


@pytest.mark.parametrize("start", [0, 5000])
def test_no_document_shows_its_template(start: int) -> None:
    for item in documents(400, start=start):
        for text in plain_texts(item):
            assert text
            assert text == text.strip()
            assert not re.search(r"[{}\[\]|<>_]|  | [.,!?]|\b[Aa] [aeio]|\.\.|None", text), text
            assert not any(token in text for token in CONTROL_TOKENS)


def test_chats_alternate_and_end_with_the_assistant() -> None:
    chats = [item for item in documents(300) if not isinstance(item, str)]
    assert len(chats) > 100
    for chat in chats:
        roles = [role for role, _ in chat]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2)
        assert turns


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_every_sentence_of_a_plot_expands(plot: Plot) -> None:
    rng = random.Random(plot.name)
    for _ in range(5):
        cast = draw_cast(rng)
        slots = {**cast.slots, "a_thing": "a cup", "a_food": "a pie"}
        for beat in plot.beats:
            for option in beat:
                if option != OPTIONAL:
                    assert expand(rng, option, slots)


def test_a_story_names_its_hero_and_one_pronoun() -> None:
    for seed in range(200):
        story = write_story(random.Random(seed), cast=draw_cast(random.Random(seed), kind="fox"))
        assert story.cast.hero.name in story.text
        assert "fox" in story.text
        assert story.cast.hero.name != story.cast.friend.name
        assert story.cast.friend.kind in (*SPECIES, "girl", "boy")
        assert story.cast.friend.kind != "fox"


def test_grammar() -> None:
    rng = random.Random(0)
    assert expand(rng, "{He} [sat|sat].", {"he": "she"}) == "She sat."
    assert tidy('a owl saw a unicorn. "hello," said A old cat, "come."') == (
        'An owl saw a unicorn. "Hello," said An old cat, "come."'
    )
    with pytest.raises(TemplateError, match="no slot 'she'"):
        expand(rng, "{she}", {"he": "x"})
    with pytest.raises(TemplateError, match="unexpanded"):
        expand(rng, "[a|b", {})


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_q8_0_is_within_half_a_step(rows: int, blocks: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal((rows, blocks * 32)) * 10.0 ** rng.integers(-1, 4)).astype(np.float32)
    values[0, :32] = 0
    packed = quantise(values)
    assert packed.shape == (rows, blocks * BLOCK_BYTES)
    steps = np.abs(values.reshape(rows, blocks, 32)).max(axis=2, keepdims=True) / 127
    errors = np.abs(dequantise(packed).reshape(rows, blocks, 32) - values.reshape(rows, blocks, 32))
    assert (errors <= steps * 0.57).all()


def test_q8_0_refuses_broken_rows() -> None:
    with pytest.raises(ValueError, match="multiple of 32 values, found 33"):
        quantise(np.zeros((2, 33), np.float32))


def test_export_round_trip(tmp_path: Path, pieces: sentencepiece.SentencePieceProcessor) -> None:
    path = tmp_path / "tiny.gguf"
    weights = tiny_weights()
    export(path, weights, CONFIG, pieces)
    with GGUFFile(path) as file:
        assert file.metadata["general.architecture"] == "llama"
        assert file.metadata["llama.rope.dimension_count"] == 8
        tokens = [token.decode() for token in file.metadata["tokenizer.ggml.tokens"]]
        types = np.asarray(file.metadata["tokenizer.ggml.token_type"])
        assert tokens == [pieces.id_to_piece(token) for token in range(384)]
        controls = [tokens[token] for token in np.flatnonzero(types == export_module.CONTROL)]
        assert controls == ["<s>", "</s>", *CONTROL_TOKENS]
        assert (types == export_module.BYTE).sum() == 256
        assert tokens[file.metadata["tokenizer.ggml.eot_token_id"]] == "<|end|>"
        assert "raise_exception" in file.metadata["tokenizer.chat_template"]
        assert set(file.tensors) == set(weights)


def test_the_chat_template_renders_the_training_format() -> None:
    jinja2 = pytest.importorskip("jinja2", reason="the template is rendered with jinja2")

    def refuse(message: str) -> None:
        raise ValueError(message)

    template = jinja2.Environment().from_string(export_module.CHAT_TEMPLATE.read_text().strip())
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": " Hi! "}]
    text = template.render(messages=messages, bos_token="<s>", add_generation_prompt=True, raise_exception=refuse)
    assert text == "<s><|system|>Be kind.<|end|><|user|>Hi!<|end|><|assistant|>"
    with pytest.raises(ValueError, match="not tool"):
        template.render(messages=[{"role": "tool", "content": ""}], bos_token="<s>", raise_exception=refuse)


def test_what_users_say_is_not_learnt(tmp_path: Path, pieces: sentencepiece.SentencePieceProcessor) -> None:
    from tools.demo_model.tokenizer import DocumentEncoder

    path = tmp_path / "spm.model"
    path.write_bytes(pieces.serialized_model_proto())
    encoder = DocumentEncoder(path)
    ids, weights = encoder.encode([("user", "Hi!"), ("assistant", "Hello.")])
    learnt = [token for token, weight in zip(ids, weights, strict=True) if weight]
    assert learnt == [pieces.bos_id(), *pieces.encode("Hello."), encoder.end]
    story = [pieces.bos_id(), *pieces.encode("Hi!"), pieces.eos_id()]
    ids, weights = encoder.encode("Hi!")
    assert ids == story
    assert min(weights) > 0


def test_pytorch_model_has_the_tensors_of_the_file() -> None:
    pytest.importorskip("torch", reason="PyTorch is only needed to train the demo model")
    import torch

    from tools.demo_model.model import Model, ModelConfig

    config = ModelConfig(**{**CONFIG, "vocab_size": 384})
    model = Model(config)
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in tiny_weights().items()
    }
    ids = torch.arange(20)[None] % 384
    with torch.no_grad():
        assert torch.allclose(model(ids)[:, :10], model(ids[:, :10]), atol=1e-5)


@pytest.fixture(scope="module")
def shipped() -> Path:
    path = Path(__file__).resolve().parents[2] / "oxillama" / "data" / "demo.gguf"
    assert path.is_file(), f"{path} belongs to the repository"
    return path


def test_the_shipped_file_is_small_and_complete(shipped: Path) -> None:
    assert shipped.stat().st_size <= 4_000_000
    with GGUFFile(shipped) as file:
        assert file.metadata["general.license"] == "apache-2.0"
        assert file.metadata["tokenizer.chat_template"] == export_module.CHAT_TEMPLATE.read_text().strip()
        assert {info.type_name for info in file.tensors.values()} == {"F32", "Q8_0"}
        assert file.tensors["token_embd.weight"].shape[1] == len(file.metadata["tokenizer.ggml.tokens"])


def test_the_reference_belongs_to_the_shipped_file(shipped: Path) -> None:
    path = Path(__file__).resolve().parents[1] / "data" / "demo_reference.json"
    assert path.stat().st_size < 200_000
    record = json.loads(path.read_text())
    assert record["sha256"] == hashlib.sha256(shipped.read_bytes()).hexdigest()
    with GGUFFile(shipped) as file:
        tokens = [token.decode() for token in file.metadata["tokenizer.ggml.tokens"]]
        end_ids = {file.metadata[f"tokenizer.ggml.{name}_token_id"] for name in ("eos", "eot")}
    for case in record["cases"]:
        assert tokens[case["ids"][0]] == "<s>"
        assert "".join(tokens[token] for token in case["ids"][1:]).replace("\u2581", " ") == case["prompt"]
        assert case["greedy_ids"][0] == case["top20"][0][0]
        assert len(case["greedy_ids"]) == len(case["greedy_margin"])
        assert len(case["greedy_ids"]) == 64 or case["greedy_ids"][-1] in end_ids
        assert min(case["greedy_margin"]) >= 0
