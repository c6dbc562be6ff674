"""The sampling chain once more, in plain NumPy and Python: full sorts, float64, no cleverness. The tests' oracle.

It shares three definitions with the compiled chain, because they are part of what it promises: weights are
round(exp(x - max) * 2**44), a value is rounded to float32 after each stage that changes it, and a draw takes the
highest score, a whole number, as csrc/sampling/gumbel.h defines it. Everything else is derived anew. A decision
that hangs on the last bits of ``exp`` is not a difference worth a failing test: ``Reference.ambiguous`` reports it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from oxillama import SamplingParams
from oxillama._core.sampling.philox import random_bits

FLOAT_MAX = float(np.finfo(np.float32).max)
ONE = 2.0**44
# The stage numbers of random streams.
XTC = 1
GUMBEL, GUMBEL_LOW = 2, 3
SCORE_ONE = 2.0**32
LOW_HALF = np.uint64(2**32 - 1)


def rounded(value: float) -> float:
    return float(np.float32(min(max(value, -FLOAT_MAX), FLOAT_MAX)))


def edited_logits(
    params: SamplingParams,
    logits: NDArray[np.float32],
    prompt: list[int],
    output: list[int],
    position: int,
    allowed: NDArray[np.bool_] | None = None,
    eog_tokens: tuple[int, ...] = (),
) -> list[float]:
    x = [float(value) for value in logits]
    banned = set(params.banned_tokens)
    if params.ignore_eos:
        banned |= set(eog_tokens)
    if position < params.min_tokens:
        banned |= set(eog_tokens) | set(params.stop_token_ids)
    for token, bias in params.logit_bias.items():
        assert isinstance(token, int)
        x[token] = rounded(x[token] + bias) if bias != -math.inf else -math.inf
    if allowed is not None:
        banned |= set(np.flatnonzero(~allowed).tolist())
    for token in banned:
        x[token] = -math.inf

    both = prompt + output
    if params.repetition_penalty != 1:
        for token in set(last(both, params.repeat_last_n)):
            if x[token] != -math.inf:
                factor = params.repetition_penalty
                x[token] = rounded(x[token] / factor if x[token] > 0 else x[token] * factor)
    for token in set(output):
        if x[token] != -math.inf and (params.presence_penalty or params.frequency_penalty):
            count = output.count(token)
            x[token] = rounded(x[token] - params.frequency_penalty * count - params.presence_penalty)
    if params.dry_multiplier > 0:
        for token, length in repetitions(params, last(both, params.dry_penalty_last_n)).items():
            if x[token] != -math.inf:
                power = length - params.dry_allowed_length
                x[token] = rounded(x[token] - params.dry_multiplier * math.pow(params.dry_base, power))
    return x


def last(tokens: list[int], n: int) -> list[int]:
    return tokens if n < 0 else tokens[len(tokens) - min(n, len(tokens)) :]


def repetitions(params: SamplingParams, tokens: list[int]) -> dict[int, int]:
    """For each token that would prolong a repetition, how many tokens repeat already."""
    breakers = [list(breaker) for breaker in params.dry_sequence_breakers]
    limit = next(
        (
            n
            for n in range(len(tokens))
            if any(tokens[: len(tokens) - n][-len(breaker) :] == breaker for breaker in breakers)
        ),
        len(tokens),
    )
    longest: dict[int, int] = {}
    for end in range(1, len(tokens)):
        length = 0
        while length < min(end, limit) and tokens[end - 1 - length] == tokens[-1 - length]:
            length += 1
        if length >= max(params.dry_allowed_length, 1) and [tokens[end]] not in breakers:
            longest[tokens[end]] = max(length, longest.get(tokens[end], 0))
    return longest


def philox(counter: list[NDArray[np.uint64]], seed: int) -> list[NDArray[np.uint64]]:
    """Philox4x32-10 of many counters, four arrays of 32-bit words in uint64."""
    a, b, c, d = counter
    for i in range(10):
        key_0 = np.uint64((seed + i * 0x9E3779B9) % 2**32)
        key_1 = np.uint64(((seed >> 32) + i * 0xBB67AE85) % 2**32)
        product_0, product_1 = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        high_0, high_1 = product_0 >> np.uint64(32), product_1 >> np.uint64(32)
        a, b, c, d = high_1 ^ b ^ key_0, product_1 & LOW_HALF, high_0 ^ d ^ key_1, product_0 & LOW_HALF
    return [a, b, c, d]


def token_words(tokens: NDArray[np.int64], seed: int, choice: int, position: int, stage: int) -> NDArray[np.uint64]:
    """The random word of each token: of 64 the first 16 take word 0 of 16 counters, the next word 1, and so on."""
    counter = [np.full(tokens.size, word, dtype=np.uint64) for word in (position, choice, stage)]
    counter.append((tokens // 64 * 16 + tokens % 16).astype(np.uint64))
    words: NDArray[np.uint64] = np.choose(tokens // 16 % 4, philox(counter, seed))
    return words


def gumbel_noise(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """-log(-log(1 - U)) with U = (bits + 1/2) / 2**64, as csrc/sampling/gumbel.h computes it, bit for bit."""
    u = (bits.astype(np.float64) + 0.5) * 2.0**-64
    small = 2.0 * atanh(u / (2.0 - u))
    large = -natural_log(((~bits).astype(np.float64) + 0.5) * 2.0**-64)
    return -natural_log(np.where(bits < np.uint64(2**62), small, large))


def natural_log(v: NDArray[np.float64]) -> NDArray[np.float64]:
    m, exponent = np.frexp(v)  # m in [1/2, 1)
    below = m < 0.5**0.5
    m, exponent = np.where(below, 2.0 * m, m), np.where(below, exponent - 1, exponent)
    return exponent * math.log(2.0) + 2.0 * atanh((m - 1.0) / (m + 1.0))


def atanh(s: NDArray[np.float64]) -> NDArray[np.float64]:
    z = s * s
    p = np.full_like(s, 1.0 / 21.0)
    for k in range(19, 1, -2):
        p = p * z + 1.0 / k
    return s + s * (z * p)


def scores(
    tokens: NDArray[np.int64], x: NDArray[np.float32], temperature: float, seed: int, choice: int, position: int
) -> list[int]:
    """The score of each of the tokens, in units of 2**-32."""
    high = token_words(tokens, seed, choice, position, GUMBEL)
    low = token_words(tokens, seed, choice, position, GUMBEL_LOW)
    noise = np.rint(gumbel_noise(high << np.uint64(32) | low) * SCORE_ONE)
    units = np.rint(x.astype(np.float64) / temperature * SCORE_ONE)
    return [int(unit) + int(g) for unit, g in zip(units, noise, strict=True)]


def drawn(
    tokens: NDArray[np.int64], x: NDArray[np.float32], temperature: float, seed: int, choice: int, position: int
) -> int:
    found = zip(scores(tokens, x, temperature, seed, choice, position), -tokens, strict=True)
    return -int(max(found)[1])


class Reference:
    """The final distribution for one row; ``probs`` is float64 [n_vocab]."""

    def __init__(
        self, params: SamplingParams, x: list[float], seed: int, position: int, mu: float | None = None
    ) -> None:
        self.ambiguous = False
        self.params = params
        self.n_vocab = len(x)
        self.x = x
        self.kept = sorted((i for i in range(len(x)) if x[i] != -math.inf), key=lambda i: (-x[i], i))
        if not self.kept:
            raise ValueError("nothing left")
        if params.temperature == 0:
            self.kept = self.kept[:1]
            self.temperature = 1.0
        else:
            if params.mirostat and mu is not None:
                self.mirostat(mu)
            else:
                self.truncate()
            coin = (random_bits(seed, 0, position, XTC) >> 11) / 2.0**53
            if params.xtc_probability > 0 and coin < params.xtc_probability:
                self.exclude_top()
            self.temperature = self.final_temperature()
        weights = self.weights(self.temperature)
        total = sum(weights)
        self.probs = np.zeros(len(x))
        for token, weight in zip(self.kept, weights, strict=True):
            self.probs[token] = weight / total

    def draw(self, seed: int, choice: int, position: int) -> int:
        if self.params.temperature == 0:
            return self.kept[0]
        kept = np.array(self.kept)
        x = np.array([self.x[i] for i in self.kept], dtype=np.float32)
        return drawn(kept, x, self.temperature, seed, choice, position)

    def weights(self, temperature: float = 1.0) -> list[int]:
        scale = np.float32(1 / temperature)
        best = np.float32(max(self.x[i] for i in self.kept))
        with np.errstate(over="ignore"):
            return [round(math.exp(max(-50.0, float((np.float32(self.x[i]) - best) * scale))) * ONE) for i in self.kept]

    def exact(self) -> bool:
        """Whether no weight depends on how well ``exp`` was computed."""
        return all(weight in (0, int(ONE)) for weight in self.weights())

    def log_sum_exp(self) -> float:
        return max(self.x[i] for i in self.kept) + math.log(sum(self.weights()) / ONE)

    def entropy(self) -> float:
        weights = self.weights()
        total = sum(weights)
        best = max(self.x[i] for i in self.kept)
        mean = math.fsum(w / total * (self.x[i] - best) for w, i in zip(weights, self.kept, strict=True))
        return max(0.0, math.log(total / ONE) - mean)

    def truncate(self) -> None:
        p = self.params
        if p.top_n_sigma > 0:
            values = [self.x[i] - self.x[self.kept[0]] for i in self.kept]
            mean = math.fsum(values) / len(values)
            variance = max(0.0, math.fsum(v * v for v in values) / len(values) - mean * mean)
            self.keep_above(self.x[self.kept[0]] - p.top_n_sigma * math.sqrt(variance))
        if p.top_k > 0:
            self.kept = self.kept[: p.top_k]
        if p.typical_p < 1:
            self.keep_typical(p.typical_p)
        if p.top_p < 1:
            self.kept = self.kept[: self.count_reaching(self.weights(), p.top_p)]
        best = max(self.x[i] for i in self.kept)
        if p.min_p > 0:
            self.keep_above(best + math.log(p.min_p))
        if p.top_a > 0:
            self.keep_above(2 * best - self.log_sum_exp() + math.log(p.top_a))
        if p.epsilon_cutoff > 0:
            self.keep_above(self.log_sum_exp() + math.log(p.epsilon_cutoff))
        if p.eta_cutoff > 0:
            bound = math.sqrt(p.eta_cutoff) * math.exp(-self.entropy())
            self.keep_above(self.log_sum_exp() + math.log(max(min(p.eta_cutoff, bound), 1e-300)))

    def keep_above(self, threshold: float) -> None:
        best = max(self.x[i] for i in self.kept)
        self.check_apart(threshold, [self.x[i] for i in self.kept if self.x[i] != best])
        self.kept = [i for i in self.kept if self.x[i] >= min(threshold, best)]

    def check_apart(self, threshold: float, values: list[float]) -> None:
        if any(abs(value - threshold) < 1e-5 * max(1.0, abs(threshold)) for value in values):
            self.ambiguous = True

    def count_reaching(self, weights: list[int], share: float) -> int:
        """How many of the first tokens it takes to reach the share."""
        total = sum(weights)
        target = min(max(math.ceil(share * total), 1), total)
        mass = 0
        exact = self.exact()
        for i, weight in enumerate(weights):
            mass += weight
            if not exact and abs(mass - share * total) < 2e-6 * total:
                self.ambiguous = True
            if mass >= target:
                return i + 1
        raise AssertionError("the target is at most the total")

    def keep_typical(self, share: float) -> None:
        centre = self.log_sum_exp() - self.entropy()
        weights = dict(zip(self.kept, self.weights(), strict=True))
        distance = {i: float(np.float32(abs(centre - self.x[i]))) for i in self.kept}
        order = sorted(self.kept, key=lambda i: (distance[i], i))
        count = self.count_reaching([weights[i] for i in order], share)
        edge = order[count - 1]
        if any(self.x[i] != self.x[edge] and abs(distance[i] - distance[edge]) < 1e-4 for i in order):
            self.ambiguous = True
        typical = set(order[:count])
        self.kept = [i for i in self.kept if i in typical]

    def mirostat(self, mu: float) -> None:
        if self.params.mirostat == 2:
            self.keep_above(self.log_sum_exp() - mu * math.log(2))
            return
        head = [self.x[i] for i in self.kept[:100]]
        if len(head) == 1:
            return
        steps = [math.log((i + 2) / (i + 1)) for i in range(len(head) - 1)]
        drops = [head[i] - head[i + 1] for i in range(len(head) - 1)]
        exponent = math.fsum(t * b for t, b in zip(steps, drops, strict=True)) / math.fsum(t * t for t in steps)
        if exponent <= 0:
            return
        excess = exponent - 1
        try:
            count = (excess * 2**mu / (1 - self.n_vocab**-excess)) ** (1 / exponent)
        except (OverflowError, ZeroDivisionError):
            return
        if abs(excess) < 1e-6 or (count < len(self.kept) + 1 and abs(count - round(count)) < 1e-6 * max(count, 1)):
            self.ambiguous = True
        self.kept = self.kept[: max(1, int(min(count, len(self.kept))))]

    def exclude_top(self) -> None:
        threshold = -math.inf
        if self.params.xtc_threshold > 0:
            threshold = self.log_sum_exp() + math.log(self.params.xtc_threshold)
            if not self.exact():
                self.check_apart(threshold, [self.x[i] for i in self.kept])
        high = [i for i in self.kept if self.x[i] >= threshold]
        removed = set(high[:-1])
        self.kept = [i for i in self.kept if i not in removed]

    def final_temperature(self) -> float:
        p = self.params
        if p.dynatemp_range == 0 or len(self.kept) == 1:
            return min(max(p.temperature, 1e-5), 1e7)
        low = max(0.0, p.temperature - p.dynatemp_range)
        share = min(1.0, self.entropy() / math.log(len(self.kept)))
        place: float = share**p.dynatemp_exponent
        return max(low + (p.temperature + p.dynatemp_range - low) * place, 1e-5)

    def doubtful_tokens(self) -> set[int]:
        """Tokens whose weight is so near to the smallest one that either rounding is right."""
        scale = np.float32(1 / self.temperature)
        best = np.float32(max(self.x[i] for i in self.kept))
        with np.errstate(over="ignore"):
            raw = {i: float((np.float32(self.x[i]) - best) * scale) for i in self.kept}
        return {i for i in self.kept if abs(raw[i] - math.log(0.5 / ONE)) < 1e-3}
