"""OpenAI's own client over an engine in this process: no socket, no server. What takes such a client runs in process.

python examples/in_process_client.py
"""

from __future__ import annotations

from oxillama import Engine, clients


def main() -> None:
    with Engine.demo(progress=False) as engine, clients.openai(engine) as client:
        question = {"role": "user", "content": "Tell me a story."}
        stream = client.chat.completions.create(
            model=engine.name,
            messages=[question],  # type: ignore[list-item]
            max_tokens=60,
            temperature=0,
            stream=True,
        )
        for chunk in stream:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
