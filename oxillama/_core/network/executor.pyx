"""Walks a program over a batch with a team of threads.

Threads divide rows, weight groups and attention items among them, never a sum, so their number changes no bit."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from oxillama._core.atomics cimport ox_load_acquire_ptr, ox_load_relaxed_i32, ox_store_relaxed_i32
from oxillama._core.network.adapter_products cimport adapt_batch, site_is_adapted
from oxillama._core.network.attention_items cimport plan_attention
from oxillama._core.parking cimport ox_monotonic_ns
from oxillama._core.scheduling.profile cimport profile_add, profile_lap
from oxillama._core.network.team cimport (
    ox_barrier_forget,
    ox_barrier_is_crowded,
    ox_barrier_try_again,
    ox_barrier_wait,
    ox_team_share,
    ox_team_together,
)

cdef enum:
    # One part in this many of the weight groups is left to whoever is done first; the rest is one stretch per thread,
    # which memory likes better. Beside other programs, which keep a thread from its stretch, all of them are.
    SHARED_TAIL = 8
    SHARED_ALL = 1
    # Beside other programs a barrier costs some 0.2 ms, whatever stands between two of them. A step with fewer
    # multiply-adds per barrier than one thread does in about 0.02 ms is then run alone, all of it, sampling too; the
    # team tries again later.
    SMALL_PRODUCTS = 2000000
    ALONE_NS = 500000000


ctypedef struct Walk:
    # One step, as the team is called for it.
    ox_program *program
    ox_batch *batch
    int32_t size           # members that take part, all of them
    ox_profile *profile


cdef int execute(ox_program *program, ox_batch *batch) noexcept nogil:
    cdef int32_t i, row
    cdef ox_run *run
    cdef ox_profile *profile = <ox_profile *>ox_load_acquire_ptr(&program.profile)
    cdef int64_t begin = ox_monotonic_ns()
    cdef Walk step
    cdef bint is_small = program.row_products * batch.n_tokens < <int64_t>SMALL_PRODUCTS * program.n_barriers
    plan_attention(program, batch)
    for i in range(batch.n_runs):
        run = &batch.runs[i]
        for row in range(run.first_row, run.first_row + run.n_tokens):
            program.row_runs[row] = i
    adapt_batch(program, batch)
    if program.alone_until_ns != 0 and begin >= program.alone_until_ns:
        program.alone_until_ns = 0
        ox_barrier_try_again(&program.team.barrier, begin)
    program.shared = SHARED_ALL if ox_barrier_is_crowded(&program.team.barrier) else SHARED_TAIL
    memset(program.counters, 0, program.n_ops * sizeof(int32_t))
    ox_store_relaxed_i32(&program.stop_at, -1)
    program.step_team = NULL if is_small and program.alone_until_ns != 0 else program.team
    step.program = program
    step.batch = batch
    step.size = 1 if program.step_team == NULL else program.team.size
    step.profile = profile
    ox_team_together(program.step_team, enter, &step)
    if step.size > 1:
        if is_small and ox_barrier_is_crowded(&program.team.barrier):
            program.alone_until_ns = ox_monotonic_ns() + ALONE_NS
        else:
            ox_barrier_forget(&program.team.barrier, ox_monotonic_ns())
    if profile != NULL:
        profile_add(&profile.walk_ns, ox_monotonic_ns() - begin)
        profile_add(&profile.n_steps, 1)
    return OX_STEP_DONE if ox_load_relaxed_i32(&program.stop_at) < 0 else OX_STEP_ABANDONED


cdef void replay(ox_program *program, ox_batch *batch) noexcept nogil:
    cdef Walk step
    cdef int32_t i, n_accepted = 0
    for i in range(batch.n_runs):
        n_accepted += batch.runs[i].n_accepted
    if n_accepted == 0 or program.n_replayed == 0:
        return
    step.program = program
    step.batch = batch
    ox_team_share(program.step_team, program.n_replayed * batch.n_runs, replay_one, &step)


cdef void replay_one(void *context, int32_t item, int32_t place) noexcept nogil:
    cdef Walk *step = <Walk *>context
    cdef const ox_run *run = &step.batch.runs[item % step.batch.n_runs]
    cdef const ox_op *op = &step.program.ops[step.program.replayed[item // step.batch.n_runs]]
    cdef uint64_t fp_mode
    if run.n_accepted > 0:
        fp_mode = ox_default_fp_mode()
        op.operation.replay(step.program, op, run)
        ox_restore_fp_mode(fp_mode)


cdef void enter(void *context, int32_t item, int32_t place) noexcept nogil:
    # A host library may have left another rounding or denormal mode in this thread.
    cdef uint64_t fp_mode = ox_default_fp_mode()
    cdef Walk *step = <Walk *>context
    cdef ox_member member
    member.index = place
    member.size = step.size
    member.scratch = step.program.scratch + place * step.program.scratch_bytes
    member.profile = step.profile if place == 0 else NULL
    walk(step.program, step.batch, &member)
    ox_restore_fp_mode(fp_mode)


cdef void walk(ox_program *program, ox_batch *batch, const ox_member *member) noexcept nogil:
    cdef int32_t i, first, last, n_rows
    cdef ox_op *op
    cdef int64_t time = ox_monotonic_ns() if member.profile != NULL else 0
    for i in range(program.n_ops):
        op = &program.ops[i]
        if op.barrier:
            if op.checkpoint and member.index == 0 and batch.abandon != NULL and batch.abandon(batch.context):
                ox_store_relaxed_i32(&program.stop_at, i)
            ox_barrier_wait(&program.team.barrier, member.size)
            # The index, not a flag: thread 0 may already be at the next checkpoint when a slow thread reads this.
            if op.checkpoint and ox_load_relaxed_i32(&program.stop_at) == i:
                return
            if member.profile != NULL:
                time = profile_lap(&member.profile.wait_ns[i], time)
        if op.space == OX_ROWS_TOKENS:
            n_rows = batch.n_tokens
        elif op.space == OX_ROWS_OUTPUTS:
            n_rows = batch.n_outputs
        else:
            n_rows = batch.n_logits
        if n_rows == 0:
            continue
        n_rows *= op.fold
        if batch.n_sets > 0 and op.operation.shrink != NULL and site_is_adapted(batch, op):
            op.operation.shrink(program, op, batch, n_rows, member)
            ox_barrier_wait(&program.team.barrier, member.size)
        if op.operation.rows == NULL:
            op.operation.work(program, op, batch, &program.counters[i], n_rows, member)
        else:
            first = <int32_t>(<long long>n_rows * member.index // member.size)
            last = <int32_t>(<long long>n_rows * (member.index + 1) // member.size)
            op.operation.rows(program, op, batch, first, last)
        if member.profile != NULL:
            time = profile_lap(&member.profile.op_ns[i], time)
