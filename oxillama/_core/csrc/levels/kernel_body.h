/* The kernels of one level and its table; compiled once per level between levels/isa_begin.h and levels/isa_end.h.
 * The headers included here define static functions named K(...), and nothing else. */

#if defined(OX_LEVEL_REFERENCE)
#  include "matmul/reference.h"
#  include "rows/reference.h"
#  include "rows/activations_reference.h"
#  include "attention/reference.h"
#  include "rows/recurrence_reference.h"
#  include "sampling/gumbel_reference.h"
#else
#  include "vec/vec.h"
#  include "vec/int.h"
#  include "matmul/matmul.h"
#  include "rows/rows.h"
#  include "rows/activations.h"
#  include "attention/attention.h"
#  include "rows/recurrence.h"
#  include "sampling/gumbel_rows.h"
#endif

const ox_kernels K(ox_kernels) = {
#define OX_TEXT2(word) #word
#define OX_TEXT(word) OX_TEXT2(word)
    .name = OX_TEXT(OX_ISA),
    .packed_group_bytes = K(packed_group_bytes),
    .pack_group = K(pack_group),
#if defined(OX_LEVEL_REFERENCE)
    .pack_group_decoded = K(pack_group),
#else
    .pack_group_decoded = K(pack_group_decoded),
#endif
    .unpack_row = K(unpack_row),
    .quantize_row = K(quantize_row),
    .activation_form = K(activation_form),
    .matmul_group = K(matmul_group),
    .matmul_scratch = K(matmul_scratch),
    .rms_norm = K(rms_norm),
    .layer_norm = K(layer_norm),
    .add = K(add),
    .multiply = K(multiply),
    .scale = K(scale),
    .add_scaled = K(add_scaled),
    .activate = K(activate),
    .gated = K(gated),
    .rope = K(rope),
    .log_sum_exp = K(log_sum_exp),
    .kv_layout = K(kv_layout),
    .kv_store = K(kv_store),
    .attention = K(attention),
    .attention_scratch = K(attention_scratch),
    .attention_part_floats = K(attention_part_floats),
#if !defined(OX_LEVEL_REFERENCE)
    .attention_range = K(attention_range),
    .attention_merge = K(attention_merge),
#endif
    .convolve = K(convolve),
    .recur = K(recur),
    .gumbel_block = K(gumbel_block),
};
