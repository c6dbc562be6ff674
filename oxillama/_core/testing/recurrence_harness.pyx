"""Calls the kernels of recurrences of any usable level on NumPy arrays, for tests and benchmarks only."""

import numpy as np

from libc.stdint cimport int32_t
from libc.string cimport memset

from oxillama._core.network.kernels cimport kernels_of, ox_kernels, ox_recurrence, ox_row_series, ox_rule
from oxillama._core.network.recurrence import MAX_TAPS, RULES


cdef ox_row_series series_of(const float[:, ::1] rows, int32_t n, int32_t width) except *:
    cdef ox_row_series series
    if rows.shape[0] != n or rows.shape[1] != width:
        raise ValueError(f"expected rows of shape ({n}, {width}), found ({rows.shape[0]}, {rows.shape[1]})")
    series.data = &rows[0, 0]
    series.stride = rows.shape[1]
    return series


def convolve(str level, const float[:, ::1] inputs not None, const float[:, ::1] weight not None, bias=None):
    cdef const ox_kernels *kernels = kernels_of(level)
    cdef const float *rows[16]
    cdef const float[::1] bias_values
    cdef const float *bias_data = NULL
    cdef int32_t n = <int32_t>inputs.shape[1], n_taps = <int32_t>inputs.shape[0], tap
    if not 0 < n_taps <= MAX_TAPS or weight.shape[0] != n_taps or weight.shape[1] != n or n == 0:
        raise ValueError(f"inputs and weight need one shape, [1 to {MAX_TAPS}, width]")
    if bias is not None:
        bias_values = bias
        if bias_values.shape[0] != n:
            raise ValueError(f"a bias needs {n} values, found {bias_values.shape[0]}")
        bias_data = &bias_values[0]
    for tap in range(n_taps):
        rows[tap] = &inputs[tap, 0]
    out = np.empty(n, np.float32)
    cdef float[::1] view = out
    kernels.convolve(n, n_taps, rows, &weight[0, 0], n, bias_data, &view[0])
    return out


def recur(str level, str rule, float[:, ::1] state not None, const float[:, ::1] q not None,
          const float[:, ::1] k not None, const float[:, ::1] v not None, *, decay=None, step=None, a=None, b=None,
          bonus=None, rates=None):
    cdef const ox_kernels *kernels = kernels_of(level)
    cdef ox_recurrence r
    cdef const float[::1] bonus_values
    cdef const float[:, ::1] rate_values
    cdef int32_t n = <int32_t>q.shape[0], k_dim = <int32_t>state.shape[0], v_dim = <int32_t>state.shape[1]
    if n == 0 or k_dim == 0 or v_dim == 0:
        raise ValueError("a recurrence needs tokens, keys and values")
    memset(&r, 0, sizeof(r))
    r.rule = <ox_rule><int>RULES[rule]
    r.n_tokens = n
    r.k_dim = k_dim
    r.v_dim = v_dim
    r.state = &state[0, 0]
    r.state_stride = v_dim
    r.q = series_of(q, n, k_dim)
    r.k = series_of(k, n, k_dim)
    r.v = series_of(v, n, v_dim)
    if rule == "scan":
        rate_values = rates
        series_of(rate_values, k_dim, v_dim)
        r.rates = &rate_values[0, 0]
        r.rate_stride = v_dim
    else:
        r.decay_by_key = decay.shape[1] != 1
        r.decay = series_of(decay, n, k_dim if r.decay_by_key else 1)
    if step is not None:
        r.step = series_of(step, n, v_dim if rule == "scan" else 1)
    elif rule in ("scan", "delta"):
        raise ValueError(f"the rule {rule!r} needs steps")
    if rule == "paired":
        r.a = series_of(a, n, k_dim)
        r.b = series_of(b, n, k_dim)
    if rule == "bonus":
        bonus_values = bonus
        if bonus_values.shape[0] != k_dim:
            raise ValueError(f"a bonus needs {k_dim} values, found {bonus_values.shape[0]}")
        r.bonus = &bonus_values[0]
    out = np.empty((n, v_dim), np.float32)
    cdef float[:, ::1] view = out
    r.out = &view[0, 0]
    r.out_stride = v_dim
    kernels.recur(&r)
    return out
