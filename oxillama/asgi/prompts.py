"""Prompts as clients send them (texts, token ids, lists of either) as lists of token ids."""

from __future__ import annotations

from oxillama.asgi.errors import refusal
from oxillama.asgi.settings import Limits
from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError, UnsupportedModelError
from oxillama.tokenizer import Tokenizer

RawPrompt = str | list[str | int | list[int]]


def split_prompts(raw: RawPrompt, limits: Limits) -> list[str | list[int]]:
    """One prompt or several, each a text or token ids."""
    if isinstance(raw, str):
        return [raw]
    if not raw:
        raise refusal("prompt is empty", "prompt")
    if any(isinstance(item, int) for item in raw):
        ids = [item for item in raw if isinstance(item, int)]
        if len(ids) != len(raw):
            index = next(index for index, item in enumerate(raw) if not isinstance(item, int))
            raise refusal(f"prompt[{index}]: token ids and texts cannot be mixed in one prompt", f"prompt[{index}]")
        return [ids]
    if len(raw) > limits.max_prompts:
        raise refusal(f"prompt is a list of {len(raw)}, at most {limits.max_prompts} are allowed", "prompt")
    return [item for item in raw if not isinstance(item, int)]


def fill_in_the_middle(tokenizer: Tokenizer, prefix: list[int], suffix: list[int]) -> list[int]:
    """The prompt that asks for what stands between two texts, for models that were trained to tell."""
    specials = tokenizer.specials
    pre, suf, mid = specials.fim_pre, specials.fim_suf, specials.fim_mid
    if pre is None or suf is None or mid is None:
        raise refusal("suffix: this model's vocabulary has no fill-in-the-middle tokens", "suffix")
    begin = [tokenizer.bos_id] if tokenizer.add_bos and tokenizer.bos_id is not None else []
    return [*begin, pre, *prefix, suf, *suffix, mid]


def require_tokenizer(engine: Engine) -> Tokenizer:
    if engine.tokenizer is None:
        raise UnsupportedModelError("the model has no tokenizer; use token ids")
    return engine.tokenizer


def at(place: str, error: InvalidRequestError) -> InvalidRequestError:
    """The same error, naming where in the request the prompt was."""
    if error.param in ("prompt", "text", "ids"):
        error.param = place
    return error
