"""Draws of tokens that are known beforehand, for the sake of how likely they were."""

from __future__ import annotations

from collections.abc import Sequence

from oxillama.sampling.params import SamplingParams
from oxillama.tokenizer import Tokenizer

# What a model that was taught to judge documents answers, of which it gives the probability.
VERDICTS = ("yes", "no")
# Far more than logits differ by.
FORCING = 1e9


def forced(token: int) -> SamplingParams:
    """A draw of this token. Log-probabilities are those of the raw logits all the same."""
    return SamplingParams(max_tokens=1, temperature=0, logprobs=0, ignore_eos=True, logit_bias={token: FORCING})


def single_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int] | None:
    """The one token of each text, as the text is written there or else the token that says it byte for byte; None
    unless there is another one for each."""
    written = [tokenizer.encode(text, add_special=False) for text in texts]
    found = [ids[0] if len(ids) == 1 else None for ids in written]
    if None in found:
        by_bytes = {tokenizer.token_bytes(token): token for token in reversed(range(tokenizer.n_vocab))}
        found = [by_bytes.get(text.encode()) for text in texts]
    tokens = [token for token in found if token is not None]
    return tokens if len(set(tokens)) == len(texts) else None
