"""`oxillama chat`: a conversation in the terminal."""

from __future__ import annotations

from types import SimpleNamespace

import click

from oxillama.chat.messages import Message
from oxillama.cli.lora_options import load_adapters, lora_option, named_adapters
from oxillama.cli.options import Option, engine_options, loading_options, model_options, model_path
from oxillama.cli.sampling_options import sampling_options, sampling_params, sampling_values
from oxillama.cli.session import Session
from oxillama.cli.terminal import Terminal
from oxillama.demo import demo_path
from oxillama.engine import Engine
from oxillama.errors import UnsupportedModelError
from oxillama.sampling.params import SamplingParams

WELCOME = "Ask away. /help lists the commands, Ctrl-C stops an answer, Ctrl-D ends."


def options() -> list[click.Parameter]:
    return [
        *model_options(),
        *loading_options(),
        Option("-sys", "--system", metavar="TEXT", help="system message, as with /system"),
        Option(
            "--chat-template", metavar="FILE|NAME", field="chat_template",
            help="chat template instead of the model's own: a file, or the name of a usual one, say chatml",
        ),
        *sampling_options(),
        lora_option("an adapter to answer with"),
        Option("-q", "--quiet", is_flag=True, help="no welcome"),
    ]  # fmt: skip


def main(args: SimpleNamespace) -> int:
    path = model_path(args)
    adapters = named_adapters(args)
    SamplingParams(**sampling_values(args))  # what is wrong with them is told before a model is loaded
    with Engine(
        demo_path() if path is None else path,
        max_batch_size=1,
        chat_template=args.chat_template,
        **engine_options(args),
    ) as engine:
        params = sampling_params(args, engine).replace(lora=load_adapters(engine, adapters) or None)
        if engine.chat_template is None:
            raise UnsupportedModelError(
                f"{engine.name} has no chat template; give one with --chat-template, say chatml, or use `oxillama run`"
            )
        terminal = Terminal()
        if terminal.is_interactive and not args.quiet:
            terminal.say(f"{engine.name}, context {engine.n_ctx}. {WELCOME}")
        first: list[Message] = [] if args.system is None else [{"role": "system", "content": args.system}]
        return Session(engine, params, terminal, first).run()
