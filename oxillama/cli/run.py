"""`oxillama run`: writes the answer to a prompt, or its continuation, to the terminal as it comes."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import click

from oxillama.chat.messages import Message
from oxillama.cli.lora_options import load_adapters, lora_option, named_adapters
from oxillama.cli.mistakes import wrong_use
from oxillama.cli.options import Option, Words, engine_options, loading_options, model_and_rest, model_options
from oxillama.cli.sampling_options import sampling_options, sampling_params, sampling_values
from oxillama.demo import demo_path
from oxillama.engine import Engine
from oxillama.requests.chat_builder import ChatStream
from oxillama.requests.completion_builder import CompletionStream
from oxillama.results.completion import Timings, Usage
from oxillama.sampling.params import SamplingParams
from oxillama.standard_error import say


def options() -> list[click.Parameter]:
    _, *model = model_options()
    return [
        Words("MODEL [PROMPT]"),
        *model,
        *loading_options(),
        Option("-p", "--prompt", metavar="TEXT", help="the prompt; - reads it from standard input"),
        Option("-f", "--file", metavar="PATH", help="file with the prompt"),
        Option("--raw", is_flag=True, help="continue the prompt as it is, without the model's chat template"),
        Option("-sys", "--system", metavar="TEXT", help="system message before the prompt, where there is a template"),
        Option(
            "--chat-template", metavar="FILE|NAME", field="chat_template",
            help="chat template instead of the model's own: a file, or the name of a usual one, say chatml",
        ),
        *sampling_options(),
        lora_option("an adapter to write with"),
        Option("--no-display-prompt", is_flag=True, help="with --raw: print only what the model writes"),
        Option("--json", is_flag=True, help="the whole result as JSON, in the shape of OpenAI's API"),
        Option("-q", "--quiet", is_flag=True, help="no figures at the end"),
    ]  # fmt: skip


def main(args: SimpleNamespace) -> int:
    path, rest = model_and_rest(args)
    source = _prompt_source(args, rest)
    adapters = named_adapters(args)
    SamplingParams(**sampling_values(args))  # what is wrong with them is told before a model is loaded
    prompt = _read(source, args)
    with Engine(
        demo_path() if path is None else path,
        max_batch_size=1,
        chat_template=args.chat_template,
        **engine_options(args),
    ) as engine:
        params = sampling_params(args, engine).replace(lora=load_adapters(engine, adapters) or None)
        if args.raw or engine.chat_template is None:
            if args.system is not None:
                raise wrong_use("--system: there is no chat template to say it with" + (", for --raw" * args.raw))
            if args.json:
                print(json.dumps(engine.generate(prompt, params).to_dict()))
                return 0
            stream = engine.stream(prompt, params)
            return _show(stream, "" if args.no_display_prompt else prompt, args)
        messages: list[Message] = [{"role": "user", "content": prompt}]
        if args.system is not None:
            messages.insert(0, {"role": "system", "content": args.system})
        if args.json:
            print(json.dumps(engine.chat(messages, params).to_dict()))
            return 0
        return _show_chat(engine.stream_chat(messages, params), args)


def _prompt_source(args: SimpleNamespace, rest: tuple[str, ...]) -> str:
    """Where the prompt is: "text" or "file"."""
    given = {"PROMPT": bool(rest), "-p": args.prompt is not None, "-f": args.file is not None}
    named = [name for name, is_there in given.items() if is_there]
    if len(rest) > 1:
        raise wrong_use(f"unrecognized arguments: {' '.join(rest[1:])}; a prompt of several words needs quotes")
    if not named:
        raise wrong_use("expected a prompt: oxillama run MODEL PROMPT, -p TEXT or -f PATH")
    if rest and len(named) > 1:
        raise wrong_use(f"expected one prompt, found PROMPT and {named[1]}")
    args.prompt = rest[0] if rest else args.prompt
    return "file" if args.file is not None else "text"


def _read(source: str, args: SimpleNamespace) -> str:
    if source == "file":
        with open(args.file, encoding="utf-8") as file:
            return file.read()
    return sys.stdin.read() if args.prompt == "-" else str(args.prompt)


def _show(stream: CompletionStream, head: str, args: SimpleNamespace) -> int:
    with stream:
        _write(head)
        try:
            for chunk in stream:
                _write(chunk.text)
        finally:
            _write("\n")
        if not args.quiet:
            _print_figures(stream.usage, stream.handle.timings)
    return 0


def _show_chat(stream: ChatStream, args: SimpleNamespace) -> int:
    with stream:
        try:
            for chunk in stream:
                _write((chunk.delta.reasoning_content or "") + (chunk.delta.content or ""))
        finally:
            _write("\n")
        if not args.quiet:
            _print_figures(stream.usage, stream.handle.timings)
    return 0


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _print_figures(usage: Usage, timings: Timings) -> None:
    # The first token comes with the prompt; the others are what decoding makes.
    decoded = usage.completion_tokens - 1
    parts = [f"{usage.prompt_tokens} prompt tokens in {timings.prefill:.2f} s"]
    if decoded > 0 and timings.decode > 0:
        parts.append(f"{usage.completion_tokens} tokens written, {decoded / timings.decode:.1f} tokens/s")
    say(f"[{', '.join(parts)}]")
