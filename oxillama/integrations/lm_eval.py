"""A model class for lm-eval, over an engine in this process: `lm_eval.simple_evaluate(model=OxillamaLM("model.gguf"))`.

    python -m oxillama.integrations.lm_eval run --model oxillama --model_args pretrained=model.gguf --tasks ...

is lm-eval's own command with this model in its list. A continuation is scored in one pass over it and what the prefix
cache does not have of its context, so the answers to one question read the question once. Numbers are those of
`engine.logprobs`, whatever runs beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text

from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.requests.batch import Batch
from oxillama.requests.options import EngineOptions
from oxillama.requests.request import RequestHandle
from oxillama.results.completion import Completion
from oxillama.sampling.params import Lora, SamplingParams
from oxillama.values import integer, refused

# What other models of lm-eval take where a task says nothing.
MAX_GEN_TOKS = 256
SEED = 1234


@dataclass(frozen=True)
class _Work:
    """One prompt, and what is wanted of it."""

    ids: list[int]
    params: SamplingParams


@register_model("oxillama")
class OxillamaLM(TemplateLM):
    """An engine as lm-eval asks for it.

    pretrained: a GGUF file, or an Engine, which stays its owner's; `model` is the same. max_length: the most tokens
    that one request reads and writes, None: the engine's context. max_gen_toks: tokens to write where a task does not
    say. num_concurrent: requests in flight at most, None: as many as the engine queues; it changes no number.
    add_bos_token: None: as the file says. prefix_token_id: what a text without a context stands behind, None: the
    begin-of-text token, or the end token of vocabularies without one. lora: loaded adapters to wear. seed: of tasks
    that sample. think_end_token: what ends the thinking of a model, which is not part of its answer. batch_size and
    device are lm-eval's own, and say nothing here: the engine makes its batches, on the CPU. options: those of Engine.

    Raises InvalidRequestError for an option that cannot be used, and what Engine raises."""

    def __init__(
        self,
        pretrained: str | Engine | None = None,
        *,
        model: str | Engine | None = None,
        max_length: int | None = None,
        max_gen_toks: int = MAX_GEN_TOKS,
        num_concurrent: int | None = None,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        lora: Lora = None,
        seed: int = SEED,
        think_end_token: str | None = None,
        batch_size: int | str | None = None,
        device: str | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        super().__init__()
        source = pretrained if pretrained is not None else model
        if source is None or (pretrained is not None and model is not None):
            raise InvalidRequestError("one of pretrained and model is needed: a GGUF file", param="pretrained")
        if device not in (None, "cpu"):
            raise refused("device", "'cpu' or None", device)
        if isinstance(source, Engine) and options:
            raise InvalidRequestError(
                f"the engine is open already: {', '.join(options)} belong to its own options", param="pretrained"
            )
        self._is_own = not isinstance(source, Engine)
        self.engine = source if isinstance(source, Engine) else Engine(source, **options)
        most = self.engine.n_ctx
        # The last place is that of a token to be written.
        self.max_length = (most if max_length is None else integer("max_length", max_length, 2, most)) - 1
        self.max_gen_toks = integer("max_gen_toks", max_gen_toks, 1, most)
        queue = self.engine.queue_size
        self.num_concurrent = queue if num_concurrent is None else integer("num_concurrent", num_concurrent, 1, queue)
        if self.engine.tokenizer is None:
            raise InvalidRequestError("the model has no tokenizer, so it reads no text", param="pretrained")
        self._tokens = self.engine.tokenizer
        self._adds_bos = self._tokens.add_bos if add_bos_token is None else bool(add_bos_token)
        self._prefix = prefix_token_id
        self._lora = lora
        self._seed = seed
        self._think_end = think_end_token

    def close(self) -> None:
        """Closes the engine, if it was opened here."""
        if self._is_own:
            self.engine.close()

    # --- texts and tokens

    @property
    def eot_token_id(self) -> int | None:
        return self._tokens.eos_id

    @property
    def prefix_token_id(self) -> int:
        for token in (self._prefix, self._tokens.bos_id, self._tokens.eos_id):
            if token is not None:
                return token
        raise InvalidRequestError(
            "the vocabulary has no token that a text may begin after; name one", param="prefix_token_id"
        )

    @property
    def tokenizer_name(self) -> str:
        return self.engine.name

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **options: Any) -> list[int]:
        """Control tokens written in the text are tokens, as chat templates need it."""
        if options:
            raise TypeError(f"unknown options: {', '.join(options)}")
        ids = self._tokens.encode(string, add_special=False, parse_special=True)
        bos = self._tokens.bos_id
        adds = self._adds_bos if add_special_tokens is None else add_special_tokens and self._tokens.add_bos
        return [bos, *ids] if adds and bos is not None and ids[:1] != [bos] else ids

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.engine.render_chat(
            chat_history,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return self.engine.chat_template if chat_template else None

    # --- what is asked

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        windows: list[tuple[None, list[int], list[int]]] = []
        ends = []
        for (text,) in (request.args for request in requests):
            pairs = utils.get_rolling_token_windows(
                token_list=self.tok_encode(text, add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length - 1,
                context_len=1,
            )
            windows += [(None, *utils.make_disjoint_window(pair)) for pair in pairs]
            ends.append(len(windows))
        scores = [score for score, _ in self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm)]
        found = []
        for request, first, end in zip(requests, [0, *ends], ends, strict=False):
            found.append(float(sum(scores[first:end])))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, found[-1])
        return found

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        works = []
        for _, context, continuation in requests:
            ids = [*context, *continuation][-self.max_length :]
            start = max(0, len(ids) - len(continuation))
            params = SamplingParams(
                max_tokens=0, temperature=0, prompt_logprobs=1, prompt_logprobs_start=start, lora=self._lora
            )
            works.append(_Work(ids, params))
        found = []
        for (key, _, _), completion in zip(requests, self._run(works, "scoring", disable_tqdm), strict=True):
            found.append(_score(completion))
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, found[-1])
        return found

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        works, untils = [], []
        # A task that samples asks the same several times, for answers that differ: each has a seed of its own.
        asked: Counter[str] = Counter()
        for context, given in (request.args for request in requests):
            number = asked[repr((context, given))]
            asked[repr((context, given))] += 1
            options = normalize_gen_kwargs(given, self.max_gen_toks)
            most, until = options.pop("max_gen_toks"), options.pop("until")
            if not options.pop("do_sample"):
                options["temperature"] = 0
            room = self.max_length + 1 - most
            if room < 1:
                raise InvalidRequestError(
                    f"the task writes up to {most} tokens, of the {self.max_length + 1} of the context",
                    param="max_gen_toks",
                )
            # What a model thinks may well have in it what ends an answer.
            stop = [] if self._think_end else [text for text in until if text]
            options = {"seed": self._seed, **options}
            if options["seed"] is not None:
                options["seed"] += number
            params = SamplingParams(max_tokens=most, stop=stop, lora=self._lora, **options)
            works.append(_Work(self.tok_encode(context)[-room:], params))
            untils.append(until)
        found = []
        completions = self._run(works, "generating", disable_tqdm)
        for request, completion, until in zip(requests, completions, untils, strict=True):
            found.append(postprocess_generated_text(completion.text, until, self._think_end))
            self.cache_hook.add_partial("generate_until", request.args, found[-1])
        return found

    def _run(self, works: list[_Work], label: str, disable_tqdm: bool) -> list[Completion]:
        # The longest first, as lm-eval does it, and of equally long ones those that begin alike one after the other.
        order = sorted(range(len(works)), key=lambda place: (-len(works[place].ids), works[place].ids))
        batch: Batch[Completion] = Batch(
            [works[place] for place in order],
            max_flight=self.num_concurrent,
            progress=False if disable_tqdm else None,
            label=label,
        )
        completions = batch.run(self._submit)
        found = dict(zip(order, completions, strict=True))
        return [found[place] for place in range(len(works))]

    def _submit(self, work: _Work) -> RequestHandle:
        return self.engine.submit(work.ids, work.params, queue_timeout=None)


def _score(completion: Completion) -> tuple[float, bool]:
    """The log-probability of what was scored of a prompt, and whether the model would have written just that."""
    assert completion.prompt_logprobs is not None
    entries = [entry for entry in completion.prompt_logprobs.content if entry.top]
    return float(sum(entry.logprob for entry in entries)), all(
        entry.token_id == entry.top[0].token_id for entry in entries
    )


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
