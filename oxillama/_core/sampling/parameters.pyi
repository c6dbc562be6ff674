"""The sampling parameters of one request as a C struct; ranges are checked by ``sampling.params``, not here."""

from collections.abc import Mapping, Sequence

class CompiledSampling:
    """An immutable C copy of resolved sampling parameters; see ``SamplingParams.resolve``.

    The arguments are the fields of ``SamplingParams``, with every text replaced by token ids: ``logit_bias`` has
    token keys, ``dry_breakers`` are sequences of tokens, ``eog_tokens`` are the model's end-of-generation tokens.
    """

    def __init__(
        self,
        *,
        seed: int,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        typical_p: float,
        top_a: float,
        top_n_sigma: float,
        epsilon_cutoff: float,
        eta_cutoff: float,
        xtc_probability: float,
        xtc_threshold: float,
        dry_multiplier: float,
        dry_base: float,
        dry_allowed_length: int,
        dry_penalty_last_n: int,
        dry_breakers: Sequence[Sequence[int]],
        repetition_penalty: float,
        repeat_last_n: int,
        presence_penalty: float,
        frequency_penalty: float,
        dynatemp_range: float,
        dynatemp_exponent: float,
        mirostat: int,
        mirostat_tau: float,
        mirostat_eta: float,
        logit_bias: Mapping[int, float],
        banned_tokens: Sequence[int],
        eog_tokens: Sequence[int],
        stop_tokens: Sequence[int],
        ignore_eos: bool,
        min_tokens: int,
        logprobs: int | None,
    ) -> None: ...
    @property
    def seed(self) -> int: ...
    @property
    def greedy(self) -> bool: ...
    @property
    def mirostat(self) -> int: ...
    @property
    def mirostat_tau(self) -> float: ...
    def copy(self) -> CompiledSampling:
        """Return an independent copy, made the way a request makes its own."""
