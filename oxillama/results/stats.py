"""Counters and gauges of an engine, and the memory it takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Memory:
    """Bytes promised to an engine's model. The cache grows into its own as it is used."""

    weights: int
    kv_cache: int
    buffers: int

    def __add__(self, other: Memory) -> Memory:
        return Memory(
            weights=self.weights + other.weights,
            kv_cache=self.kv_cache + other.kv_cache,
            buffers=self.buffers + other.buffers,
        )

    @property
    def promised(self) -> int:
        return self.weights + self.kv_cache + self.buffers


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineStats:
    """Gauges of now and counters since the start. Times in seconds. Reading them never stops the worker."""

    queue_depth: int  # submitted and not yet running
    running: int
    waiting: int  # taken from the ring, not running (also after preemption)
    finished: int
    preemptions: int
    steps: int
    step_seconds: float  # the last step
    busy_seconds: float
    prompt_tokens: int  # computed, recomputation included
    cached_tokens: int  # not computed, thanks to the prefix cache
    output_tokens: int
    accepted_draft_tokens: int  # of these, that were drafted and computed ahead
    rejected_draft_tokens: int  # computed ahead in vain
    draft_acceptance: float  # share of the drafted tokens that were accepted; 0 without any
    tokens_per_pass: float  # output tokens per pass over a sequence that wrote; 1 without drafts, 0 without tokens
    tokens_per_second: float  # prompt and output tokens per busy second
    kv_blocks_free: int
    kv_blocks_cached: int  # free, but still good for a prefix hit
    kv_blocks_used: int
    kv_window_blocks_cached: int = 0  # the same of stores with a window, where they have blocks of their own
    kv_window_blocks_used: int = 0
    state_snapshots: int  # recurrent states that cached beginnings can be continued from
    kv_bytes_promised: int  # the whole cache; 0 once the engine is closed, as the two below
    kv_bytes_resident: int  # what it has grown to
    kv_bytes_used: int  # held by running requests
    stalled_seconds: float  # since the worker last moved, be it by one layer; 0 when it has nothing to do
    queue_seconds: float  # from submit to the first step, on average
    ttft_seconds: float  # from submit to the first token, on average
    grammar_engine: str | None = None  # what grammars run on, and how; None: nothing is installed for them

    @classmethod
    def from_worker(cls, raw: dict[str, int], *, grammar_engine: str | None = None) -> EngineStats:
        busy = raw["busy_ns"] / 1e9
        accepted = raw["num_accepted_drafts"]
        tokens = raw["num_prompt_tokens"] + raw["num_output_tokens"]
        # At rest, the worker has no heartbeat; between its last request and its rest it has one that tells nothing.
        is_busy = raw["heartbeat_ns"] > 0 and raw["queue_depth"] + raw["num_running"] + raw["num_waiting"] > 0
        return cls(
            queue_depth=raw["queue_depth"],
            running=raw["num_running"],
            waiting=raw["num_waiting"],
            finished=raw["num_finished"],
            preemptions=raw["num_preemptions"],
            steps=raw["num_steps"],
            step_seconds=raw["step_ns"] / 1e9,
            busy_seconds=busy,
            prompt_tokens=raw["num_prompt_tokens"],
            cached_tokens=raw["num_cached_tokens"],
            output_tokens=raw["num_output_tokens"],
            accepted_draft_tokens=raw["num_accepted_drafts"],
            rejected_draft_tokens=raw["num_rejected_drafts"],
            draft_acceptance=accepted / max(1, accepted + raw["num_rejected_drafts"]),
            tokens_per_pass=raw["num_output_tokens"] / max(1, raw["num_output_tokens"] - accepted),
            tokens_per_second=tokens / busy if busy else 0.0,
            kv_blocks_free=raw["num_blocks_free"],
            kv_blocks_cached=raw["num_blocks_cached"],
            kv_blocks_used=raw["num_blocks_referenced"],
            kv_window_blocks_cached=raw["num_window_blocks_cached"],
            kv_window_blocks_used=raw["num_window_blocks_read"],
            state_snapshots=raw["num_snapshots"],
            kv_bytes_promised=raw["kv_bytes"],
            kv_bytes_resident=raw["kv_bytes_resident"],
            kv_bytes_used=raw["num_blocks_referenced"] * raw["kv_block_bytes"]
            + raw["num_window_blocks_read"] * raw["kv_window_block_bytes"],
            stalled_seconds=max(0, raw["now_ns"] - raw["heartbeat_ns"]) / 1e9 if is_busy else 0.0,
            queue_seconds=raw["queue_ns"] / 1e9 / max(1, raw["num_started"]),
            ttft_seconds=raw["ttft_ns"] / 1e9 / max(1, raw["num_first_tokens"]),
            grammar_engine=grammar_engine,
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the figures that one looks at first. All of them are in `to_dict()`."""
        from oxillama.results.pictures import table

        blocks = self.kv_blocks_used + self.kv_blocks_cached + self.kv_blocks_free
        read = self.prompt_tokens + self.cached_tokens
        return table(
            [
                ("running, waiting, queued", f"{self.running}, {self.waiting}, {self.queue_depth}"),
                ("finished", f"{self.finished:,}"),
                ("tokens written", f"{self.output_tokens:,}"),
                ("prompt tokens computed", f"{self.prompt_tokens:,}"),
                ("of prompts from the cache", f"{self.cached_tokens / max(1, read):.0%}"),
                ("tokens per busy second", f"{self.tokens_per_second:,.1f}"),
                ("time to the first token", f"{self.ttft_seconds:.3f} s"),
                ("time in the queue", f"{self.queue_seconds:.3f} s"),
                ("KV blocks in use", f"{self.kv_blocks_used:,} of {blocks:,}"),
                ("KV memory", f"{self.kv_bytes_resident / 2**20:,.0f} of {self.kv_bytes_promised / 2**20:,.0f} MiB"),
                ("sequences put back", f"{self.preemptions:,}"),
                ("tokens per pass", f"{self.tokens_per_pass:.2f}"),
            ]
        )
