"""The same prompt, two voices: one model, with a small adapter for some requests and without it for others.

python examples/two_voices.py
"""

from __future__ import annotations

from pathlib import Path

from oxillama import Engine

PIRATE = Path(__file__).with_name("pirate.gguf")  # made by tools/demo_model/voice.py
PROMPTS = ("Once upon a time", "One day, a little fox")


def main() -> None:
    with Engine.demo(progress=False) as engine:
        engine.load_lora("pirate", PIRATE)
        # All four advance in one batch; each text is what it would have been alone.
        handles = {
            (prompt, voice): engine.submit(prompt, max_tokens=60, temperature=0, lora=voice)
            for prompt in PROMPTS
            for voice in (None, "pirate")
        }
        for (prompt, voice), handle in handles.items():
            print(f"--- {voice or 'the model itself'}\n{prompt}{handle.result().text}\n")


if __name__ == "__main__":
    main()
