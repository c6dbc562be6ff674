/* The contract between the program executor and the vector kernels.
 *
 * One `ox_kernels` table exists per instruction-set level; one is chosen at import. A kernel knows nothing of models,
 * requests or threads: it works on the rows it is given, in an order that depends only on absolute positions, so that
 * a value never depends on what else is in the batch. No function here allocates or keeps state. */
#ifndef OX_KERNELS_H
#define OX_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* The first compilers that know AVX-VNNI; an older one leaves the level out. */
#if defined(__x86_64__)
#  if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#    define OX_COMPILES_AVX_VNNI
#  endif
#endif

enum {
    OX_GROUP_ROWS = 32,      /* weight rows per group: the unit in which a matrix product is divided */
    OX_ACT_BLOCK = 256,      /* values of an activation row that lie together in an int8 block */
    OX_KV_BLOCK = 32,        /* tokens per KV block, and per attention tile */
    OX_ATTN_RANGE = 1024,    /* keys per partial softmax; ranges are combined in ascending order */
    OX_ALIGN = 64            /* alignment of every packed weight, activation and KV block */
};

/* A weight matrix of `rows` x `k`, packed by the same table's pack_group(): ceil(rows / 32) groups, ascending, each
 * `group_bytes` long; missing rows of the last group are zero. */
typedef struct ox_matrix {
    int32_t type;             /* ggml type number of the values */
    int32_t rows;
    int32_t k;                /* values per row */
    size_t group_bytes;       /* packed_group_bytes(type, k) */
    const uint8_t *data;      /* [n_groups][group_bytes], OX_ALIGN-aligned */
    float scale;              /* of the products, before the bias is added; 1 for most */
    const float *bias;        /* [rows], or NULL */
} ox_matrix;

/* The forms of activations beside the float32 values that a product may read, as bits. INT8 has a scale for each
 * OX_ACT_BLOCK values, INT8_32 for each 32 of them. */
enum { OX_FORM_INT8 = 1, OX_FORM_BF16 = 2, OX_FORM_INT8_32 = 4 };

/* OX_ACT_BLOCK consecutive activations of one token as int8, with everything that a product needs to know of them. */
typedef struct ox_act_block {
    int8_t quants[OX_ACT_BLOCK];                   /* in [-127, 127]; zero behind the end of the row */
    union {
        int32_t neg_sums16[OX_ACT_BLOCK / 16];     /* OX_FORM_INT8: minus the sum of 16 quants, or of two
                                                      halves of them in 16 bits: vn_word() of vec/int.h */
        struct {                                   /* OX_FORM_INT8_32 */
            float scales32[OX_ACT_BLOCK / 32];     /* value = quant * scale of its 32 */
            float scaled_sums32[OX_ACT_BLOCK / 32];
        };
    };
    int32_t neg_sums32[OX_ACT_BLOCK / 32];         /* the same of 32 */
    int16_t sums32[OX_ACT_BLOCK / 32];             /* the sum of 32 quants */
    float scale;                                   /* OX_FORM_INT8: value = quant * scale; else 1 */
    int32_t unused[3];                             /* to a multiple of OX_ALIGN */
} ox_act_block;

/* Rows of activations as the products read them. `values` always holds the float32 rows; quantize_row() writes the
other
 * forms that `forms` names. A product works on one block of k and all tokens at a time, so those lie
 * next to each other; rows of a power of two apart would also compete for a few sets of the first-level cache. */
typedef struct ox_activations {
    int32_t k;
    int32_t max_rows;         /* rows from one block of k to the next */
    const float *values;      /* [rows][value_stride] */
    size_t value_stride;      /* floats */
    int32_t forms;
    ox_act_block *blocks;     /* OX_FORM_INT8: [ceil(k / OX_ACT_BLOCK)][max_rows], OX_ALIGN-aligned */
    ox_act_block *blocks32;   /* OX_FORM_INT8_32: the same */
    uint16_t *rounded;        /* OX_FORM_BF16: [ceil(k / OX_ACT_BLOCK)][max_rows][OX_ACT_BLOCK], the same */
} ox_activations;

/* act_sub: 32 or OX_ACT_BLOCK values per scale. */
static inline ox_act_block *ox_act_block_at(const ox_activations *x, int32_t act_sub, int32_t block, int32_t row) {
    return (act_sub == 32 ? x->blocks32 : x->blocks) + (size_t)block * (size_t)x->max_rows + row;
}
static inline uint16_t *ox_rounded_at(const ox_activations *x, int32_t block, int32_t row) {
    return x->rounded + ((size_t)block * (size_t)x->max_rows + (size_t)row) * OX_ACT_BLOCK;
}

typedef enum ox_kv_type { OX_KV_F32 = 0, OX_KV_F16 = 1, OX_KV_BF16 = 2, OX_KV_Q8_0 = 3 } ox_kv_type;

/* How one block of OX_KV_BLOCK tokens of one store lies in memory: for each KV head first K, then V.
 * K is transposed, [k_dim][32 tokens], so that a score has its token in a vector lane; V is [32 tokens][v_dim rounded
 * up to 16]. Neither needs horizontal sums. A quantised cache keeps its scales behind the values. */
typedef struct ox_kv_layout {
    ox_kv_type type;
    int32_t n_head_kv;
    int32_t k_dim;            /* values of a head's key */
    int32_t v_dim;            /* values of a head's value */
    size_t k_bytes;           /* of one head in one block; V begins here */
    size_t head_bytes;        /* K and V of one head in one block */
    size_t block_bytes;       /* from one block to the next: n_head_kv * head_bytes, or that of all layers */
} ox_kv_layout;

/* Which keys a token at `position` attends. window 0 means no bound, except for chunks. */
typedef enum ox_span {
    OX_SPAN_CAUSAL = 0,       /* itself and what came before; keys at distance >= window are masked */
    OX_SPAN_SYMMETRIC = 1,    /* the whole sequence; keys at distance > window / 2 are masked */
    OX_SPAN_CHUNK = 2         /* itself and what came before in its own stretch of `window` positions */
} ox_span;

/* Attention of consecutive tokens of one sequence with one KV head and its group of query heads. */
typedef struct ox_attention_run {
    const float *q;           /* q[t * q_stride + g * k_dim + d]: points at the first query head of the group */
    size_t q_stride;          /* floats from one token to the next */
    float *out;               /* out[t * out_stride + g * v_dim + d] */
    size_t out_stride;
    int32_t n_tokens;
    int32_t first_position;   /* absolute position of token 0 */
    int32_t n_keys;           /* of the sequence, those of this step included */
    int32_t group;            /* query heads per KV head */
    int32_t head_kv;
    ox_span span;
    int32_t window;
    float scale;
    float soft_cap;           /* scores become cap * tanh(score / cap); 0: they stay */
    const float *slopes;      /* [group]: slope times distance between key and token is taken from a score; or NULL */
    const float *sinks;       /* [group]: a score that takes part in the softmax and has no value; or NULL */
    const uint8_t *layer;     /* KV arena of this layer: block b lies at layer + b * block_bytes */
    const int32_t *blocks;    /* block table of the sequence: block of positions [32 i, 32 i + 32) */
    void *scratch;            /* attention_scratch() bytes, OX_ALIGN-aligned, one per thread */
} ox_attention_run;

/* The keys [*first, *end) that a token at `position` attends; never none. Both ascend with the position. */
static inline void ox_attended_keys(const ox_attention_run *run, int32_t position, int32_t *first, int32_t *end) {
    *first = 0;
    *end = position + 1;
    if (run->span == OX_SPAN_CHUNK) {
        *first = position - position % run->window;
    } else if (run->span == OX_SPAN_SYMMETRIC) {
        *first = run->window > 0 && position > run->window / 2 ? position - run->window / 2 : 0;
        *end = run->window > 0 && position + run->window / 2 < run->n_keys ? position + run->window / 2 + 1 :
        run->n_keys;
    } else if (run->window > 0 && position >= run->window) {
        *first = position - run->window + 1;
    }
}

/* Functions of single values: the name that Python knows, and the number. p: the function's parameters.
 *   soft_cap         p[0] tanh(x / p[0])
 *   clamp            x between p[0] and p[1]
 *   swiglu_clamped   g / (1 + e^(-p[0] g)) with g = min(x, p[1]); gated, its other factor is 1 + that between -p[1]
 * and p[1]   xielu            p: alpha of positive values, alpha of the others, beta, epsilon */
#define OX_ACTIVATIONS(X)               \
    X(identity, OX_IDENTITY)            \
    X(silu, OX_SILU)                    \
    X(gelu, OX_GELU)                    \
    X(gelu_tanh, OX_GELU_TANH)          \
    X(gelu_quick, OX_GELU_QUICK)        \
    X(relu, OX_RELU)                    \
    X(relu_squared, OX_RELU_SQUARED)    \
    X(sigmoid, OX_SIGMOID)              \
    X(tanh, OX_TANH)                    \
    X(softplus, OX_SOFTPLUS)            \
    X(soft_cap, OX_SOFT_CAP)            \
    X(clamp, OX_CLAMP)                  \
    X(swiglu_clamped, OX_SWIGLU_CLAMPED) \
    X(xielu, OX_XIELU)                  \
    X(exp, OX_EXP)

typedef enum ox_activation {
#define OX_ACTIVATION_NUMBER(name, number) number,
    OX_ACTIVATIONS(OX_ACTIVATION_NUMBER)
#undef OX_ACTIVATION_NUMBER
    OX_N_ACTIVATIONS
} ox_activation;

enum { OX_ACTIVATION_PARAMETERS = 4 };

/* kind: 0 .. OX_N_ACTIVATIONS - 1 */
static inline const char *ox_activation_name(int32_t kind) {
#define OX_ACTIVATION_NAME(name, number) #name,
    static const char *const names[] = {OX_ACTIVATIONS(OX_ACTIVATION_NAME)};
#undef OX_ACTIVATION_NAME
    return names[kind];
}

typedef enum ox_rope_layout { OX_ROPE_INTERLEAVED = 0, OX_ROPE_HALVES = 1 } ox_rope_layout;

enum { OX_GUMBEL_BLOCK = 64 };

/* One draw of a token. Words 0 to 2 of its Philox counters are position, choice and stage; see sampling/gumbel.h. */
typedef struct ox_gumbel_draw {
    uint32_t key[2];          /* low and high half of the seed */
    uint32_t position, choice, stage;
    float max;                /* the greatest logit of all candidates */
    float inverse_temperature; /* of the bound only */
    double temperature;
} ox_gumbel_draw;

/* How the state of a linear recurrence grows with a token; see ox_recurrence. */
typedef enum ox_rule {
    OX_RULE_PLAIN = 0,        /* S = decay S + k (step v)^T; out = S^T q                   Mamba-2 */
    OX_RULE_DELTA = 1,        /* the same with v - (decay S)^T k for v                     gated delta net, KDA */
    OX_RULE_SCAN = 2,         /* the same as PLAIN with e^(step rates) for decay           Mamba */
    OX_RULE_BONUS = 3,        /* S = decay S + k v^T; out = (S as it was + bonus k v^T)^T q   RWKV-6 */
    OX_RULE_PAIRED = 4        /* S = decay S + k v^T + b ((S as it was)^T a)^T; out = S^T q  RWKV-7 */
} ox_rule;

/* A row of each token, `stride` floats apart. */
typedef struct ox_row_series {
    const float *data;
    size_t stride;
} ox_row_series;

/* Consecutive tokens of one sequence in one head of a linear recurrence, or in some lanes of its values. */
typedef struct ox_recurrence {
    ox_rule rule;
    int32_t n_tokens;
    int32_t k_dim;
    int32_t v_dim;            /* lanes; everything below points at the first of them */
    int32_t decay_by_key;     /* decay is [k_dim], else one value */
    float *state;             /* [k_dim][state_stride] */
    size_t state_stride;
    ox_row_series q, k;       /* [k_dim] */
    ox_row_series v;          /* [v_dim] */
    ox_row_series decay;      /* factors, not logarithms; SCAN has none */
    ox_row_series step;       /* one value, or NULL for 1; SCAN: [v_dim] */
    ox_row_series a, b;       /* PAIRED: [k_dim] */
    const float *bonus;       /* BONUS: [k_dim] */
    const float *rates;       /* SCAN: [k_dim][rate_stride] */
    size_t rate_stride;
    float *out;               /* [v_dim] of each token */
    size_t out_stride;
} ox_recurrence;

typedef struct ox_kernels {
    const char *name;

    /* --- weights --- */
    /* Bytes of one packed group, a multiple of OX_ALIGN; 0 when this level cannot multiply the type. */
    size_t (*packed_group_bytes)(int32_t type, int32_t k);
    /* Packs n_rows (1..32) rows of the file's own format, `row_bytes` apart, into one group. */
    void (*pack_group)(int32_t type, int32_t k, int32_t n_rows, const uint8_t *rows, size_t row_bytes, uint8_t *group);
    /* The same bytes, always block by block: the oracle of the former, for tests. */
    void (*pack_group_decoded)(int32_t type, int32_t k, int32_t n_rows, const uint8_t *rows, size_t row_bytes,
                               uint8_t *group);
    /* The float32 values of one row, exactly as the format defines them (an embedding look-up). out: [k] */
    void (*unpack_row)(const ox_matrix *w, int32_t row, float *out);

    /* --- matrix products --- */
    /* Writes x->forms of row `row` from x->values. */
    void (*quantize_row)(const ox_activations *x, int32_t row);
    /* The form that a product with this type reads; 0: the values. */
    int32_t (*activation_form)(int32_t type);
    /* out[t * out_stride + r] (+)= w[32 * group + r] . x[t] + bias, for t in [0, n) and every valid row r of the
     * group; `out` points at the group's first column. Same bits for every n.
     * scratch: matmul_scratch(n) bytes, OX_ALIGN-aligned, one per thread. */
    void (*matmul_group)(const ox_matrix *w, int32_t group, const ox_activations *x, int32_t n, float *out,
                         size_t out_stride, int32_t accumulate, void *scratch);
    size_t (*matmul_scratch)(int32_t n);

    /* --- rows; out may be any of the inputs --- */
    /* y = x / sqrt(mean(x^2) + eps) * weight; weight may be NULL. */
    void (*rms_norm)(int32_t n, const float *x, const float *weight, float eps, float *y);
    /* y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight + bias; either may be NULL. */
    void (*layer_norm)(int32_t n, const float *x, const float *weight, const float *bias, float eps, float *y);
    void (*add)(int32_t n, const float *x, const float *y, float *out);
    void (*multiply)(int32_t n, const float *x, const float *y, float *out);
    /* out = factor * x, and out = x + factor * y with one rounding. */
    void (*scale)(int32_t n, float factor, const float *x, float *out);
    void (*add_scaled)(int32_t n, const float *x, float factor, const float *y, float *out);
    /* out = f(x), and out = f(gate) * up. p: OX_ACTIVATION_PARAMETERS values. */
    void (*activate)(ox_activation kind, int32_t n, const float *x, const float *p, float *out);
    void (*gated)(ox_activation kind, int32_t n, const float *gate, const float *up, const float *p, float *out);
    /* Rotates n_heads heads of head_dim in place. cos_sin: [rope_dims / 2] cosines, then as many sines. */
    void (*rope)(ox_rope_layout layout, int32_t n_heads, int32_t head_dim, int32_t rope_dims, const float *cos_sin,
                 float *x);
    /* log(sum(exp(x))), stable; NaN if any x is NaN. */
    double (*log_sum_exp)(int32_t n, const float *x);

    /* --- attention --- */
    /* Fills the sizes of a layout whose type, n_head_kv, k_dim and v_dim are set. */
    void (*kv_layout)(ox_kv_layout *layout);
    /* Stores one token's K and V rows ([n_head_kv * k_dim] and [n_head_kv * v_dim]) at `slot` (0..31) of a block. */
    void (*kv_store)(const ox_kv_layout *layout, const float *k, const float *v, int32_t slot, uint8_t *block);
    void (*attention)(const ox_kv_layout *layout, const ox_attention_run *run);
    size_t (*attention_scratch)(const ox_kv_layout *layout, int32_t group);
    /* Attention of a single token (n_tokens is 1), range of keys by range, each of which another thread may take:
     * attention_range() leaves the partial result of keys [range, range + 1024), of which at least one is attended;
     * attention_merge() merges the n parts of consecutive ranges, in place, and writes the token's output. The same
     * bits as attention(). A part has attention_part_floats() floats, a multiple of 16; 0: this cannot be divided. */
    size_t (*attention_part_floats)(const ox_kv_layout *layout, int32_t group);
    void (*attention_range)(const ox_kv_layout *layout, const ox_attention_run *run, int32_t range, float *part);
    void (*attention_merge)(const ox_kv_layout *layout, const ox_attention_run *run, int32_t n, float *parts);

    /* --- recurrences --- */
    /* out[i] = bias[i] + sum over taps of weight[tap * weight_stride + i] * inputs[tap][i]; bias may be NULL. */
    void (*convolve)(int32_t n, int32_t n_taps, const float *const *inputs, const float *weight, size_t weight_stride,
                     const float *bias, float *out);
    /* The same bits however the lanes and the tokens are divided. */
    void (*recur)(const ox_recurrence *recurrence);

    /* --- sampling --- */
    /* The high random words of tokens 64 * block to 64 * block + 63 into words[64]; logits [64] are theirs. Returns a
     * bit for each token whose ox_gumbel_bound() is not below the bar; levels may round that differently. */
    uint64_t (*gumbel_block)(const ox_gumbel_draw *draw, uint32_t block, const float *logits, float bar,
                             uint32_t *words);
} ox_kernels;

extern const ox_kernels ox_kernels_reference;
#if defined(__x86_64__) || defined(_M_X64)
extern const ox_kernels ox_kernels_base;
extern const ox_kernels ox_kernels_avx2;
#if defined(OX_COMPILES_AVX_VNNI)
extern const ox_kernels ox_kernels_avxvnni;
#endif
extern const ox_kernels ox_kernels_avx512vnni;
extern const ox_kernels ox_kernels_avx512bf16;
#elif defined(__aarch64__)
extern const ox_kernels ox_kernels_neon;
extern const ox_kernels ox_kernels_neon_dot;
#endif

#endif
