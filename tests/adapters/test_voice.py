"""The shipped adapter: the same prompt, two voices."""

from __future__ import annotations

from pathlib import Path

from oxillama import Engine

PIRATE = Path(__file__).resolve().parents[2] / "examples" / "pirate.gguf"
PROMPTS = ("Once upon a time", "One day, a little fox", "There was once a rabbit named Lily.")


def test_one_prompt_has_two_voices() -> None:
    with Engine.demo(n_threads=1, progress=False) as engine:
        plain = engine.generate_batch(PROMPTS, max_tokens=120, temperature=0)
        info = engine.load_lora("pirate", PIRATE)
        assert info.rank == 4
        assert PIRATE.stat().st_size < 300_000
        applied = [engine.submit(prompt, max_tokens=120, temperature=0, lora="pirate") for prompt in PROMPTS]
        beside = engine.generate_batch(PROMPTS, max_tokens=120, temperature=0)
        for one, other, again in zip(plain, applied, beside, strict=True):
            assert again.token_ids == one.token_ids
            assert "arr!" not in one.text
            assert other.result(60).text.count("arr!") >= 2
        engine.unload_lora("pirate")
