"""A scheduler's counters as a dictionary; the contract stands in the .pxd."""

from oxillama._core.atomics cimport ox_load_relaxed_i64


cdef dict scheduler_counters(ox_scheduler *s):
    return {
        "num_added": ox_load_relaxed_i64(&s.stats.num_added),
        "num_started": ox_load_relaxed_i64(&s.stats.num_started),
        "queue_ns": ox_load_relaxed_i64(&s.stats.queue_ns),
        "num_first_tokens": ox_load_relaxed_i64(&s.stats.num_first_tokens),
        "ttft_ns": ox_load_relaxed_i64(&s.stats.ttft_ns),
        "num_running": ox_load_relaxed_i64(&s.stats.num_running),
        "num_waiting": ox_load_relaxed_i64(&s.stats.num_waiting),
        "num_finished": ox_load_relaxed_i64(&s.stats.num_finished),
        "num_preemptions": ox_load_relaxed_i64(&s.stats.num_preemptions),
        "num_prompt_tokens": ox_load_relaxed_i64(&s.stats.num_prompt_tokens),
        "num_cached_tokens": ox_load_relaxed_i64(&s.stats.num_cached_tokens),
        "num_accepted_drafts": ox_load_relaxed_i64(&s.stats.num_accepted_drafts),
        "num_rejected_drafts": ox_load_relaxed_i64(&s.stats.num_rejected_drafts),
        "num_output_tokens": ox_load_relaxed_i64(&s.stats.num_output_tokens),
        "num_snapshots": ox_load_relaxed_i64(&s.stats.num_snapshots),
        "num_blocks_free": ox_load_relaxed_i64(&s.stats.num_blocks_free),
        "num_blocks_cached": ox_load_relaxed_i64(&s.stats.num_blocks_cached),
        "num_blocks_referenced": ox_load_relaxed_i64(&s.stats.num_blocks_referenced),
        "num_window_blocks_cached": ox_load_relaxed_i64(&s.stats.num_window_blocks_cached),
        "num_window_blocks_read": ox_load_relaxed_i64(&s.stats.num_window_blocks_read),
    }
