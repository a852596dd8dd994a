// Conditions on the device, three-valued, 64 bars to a word: `value[word * stride + slot]` and `defined[...]`. A value bit
// is set only where the defined bit is, and bits past the last bar are zero in both.
#pragma once
#include "series.cuh"

template <class T>
struct Compare {
    const T* series;
    const u64* series_defined;
    const T* scalars;
    const u64* jobs;  // COMPARE_JOB words each; an operand is a slot of the series or a SCALAR
    u64* value;
    u64* defined;
    u64 bars, series_stride, stride, count, op;
    u64 across;  // comparisons i and i + across have the same second operand
};

// Two operands, the output slot, and the slot of the mirrored cross for OP_CROSSES_BOTH.
enum { COMPARE_JOB = 4 };

enum {
    OP_LT = 0,
    OP_LE = 1,
    OP_GT = 2,
    OP_GE = 3,
    OP_EQ = 4,
    OP_NE = 5,
    OP_CROSSES_ABOVE = 6,
    OP_CROSSES_BELOW = 7,
    OP_CROSSES_BOTH = 8
};

template <class T>
struct Operand {
    const T* at;
    const u64* defined;  // null: a number for all bars
    u64 stride;
    bool is_defined;
};

template <class T>
DEVICE Operand<T> operand(const Compare<T>& a, u64 code) {
    Operand<T> o;
    if (code & SCALAR) {
        o.at = a.scalars + (code & ~SCALAR);
        o.stride = 0;
        o.defined = 0;
        o.is_defined = !is_undefined(*o.at);
    } else {
        o.at = a.series + code;
        o.stride = a.series_stride;
        o.defined = a.series_defined + code;
        o.is_defined = true;
    }
    return o;
}

template <class T>
DEVICE u64 defined_word(const Operand<T>& o, u64 word, const Compare<T>& a) {
    if (o.defined) return o.defined[word * a.series_stride];
    return o.is_defined ? bars_in_word(word, a.bars) : 0;
}

// A comparison with an undefined number is false in all of these.
template <int TEST, class T>
DEVICE bool holds(T x, T y) {
    if (TEST == OP_LT) return x < y;
    if (TEST == OP_LE) return x <= y;
    if (TEST == OP_GT) return x > y;
    if (TEST == OP_GE) return x >= y;
    return x == y;
}

// The words of a test of `ROWS` first operands and one second operand, and, with BOTH, of the opposite of OP_GT. The second
// operand is read once for all. Eight bars at a time: shifts by constants are cheap.
template <int TEST, bool BOTH, int ROWS, class T>
DEVICE void test_word(const Operand<T>* x, const Operand<T>& y, u64 first, u32 bars, u64* bits, u64* other) {
    const T *px[ROWS], *py = y.at + first * y.stride;
    for (int k = 0; k < ROWS; k++) px[k] = x[k].at + first * x[k].stride, bits[k] = 0, other[k] = 0;
    for (u32 eight = 0; eight < bars; eight += 8) {
        u32 byte[ROWS], other_byte[ROWS];
        for (int k = 0; k < ROWS; k++) byte[k] = other_byte[k] = 0;
#pragma unroll
        for (u32 bar = 0; bar < 8; bar++) {
            if (eight + bar >= bars) break;
            T second = *py;
            py += y.stride;
            for (int k = 0; k < ROWS; k++) {
                T one = *px[k];
                px[k] += x[k].stride;
                byte[k] |= (u32)holds<TEST>(one, second) << bar;
                if (BOTH) other_byte[k] |= (u32)(one < second) << bar;
            }
        }
        for (int k = 0; k < ROWS; k++) {
            bits[k] |= (u64)byte[k] << eight;
            if (BOTH) other[k] |= (u64)other_byte[k] << eight;
        }
    }
}

// A cross is a comparison that holds and did not hold a bar ago, all four numbers defined. `now` is TEST of these bars.
template <int TEST, class T>
DEVICE void cross(const Operand<T>& x, const Operand<T>& y, u64 first, u64 now, u64 both, u64& value, u64& defined) {
    u64 was_not = (both & ~now) << 1, was_defined = both << 1;
    if (first > 0) {
        T p = x.at[(first - 1) * x.stride], q = y.at[(first - 1) * y.stride];
        was_not |= (u64)holds<TEST == OP_GT ? OP_LE : OP_GE>(p, q);
        was_defined |= (u64)(!is_undefined(p) && !is_undefined(q));
    }
    value = now & was_not;
    defined = both & was_defined;
}

template <class T>
DEVICE void put(const Compare<T>& a, u64 word, u64 slot, u64 value, u64 defined) {
    a.value[word * a.stride + slot] = value;
    a.defined[word * a.stride + slot] = defined;
}

template <int TEST, bool BOTH, int ROWS, class T>
DEVICE void compare_rows(const Compare<T>& a, u64 job, int rows) {
    Operand<T> x[ROWS], y = operand(a, a.jobs[job * COMPARE_JOB + 1]);
    for (int k = 0; k < ROWS; k++) x[k] = operand(a, a.jobs[(job + (k < rows ? k : 0) * a.across) * COMPARE_JOB]);
    for (u64 word = blockIdx.y; word < words_of(a.bars); word += gridDim.y) {
        u64 first = word * 64, bits[ROWS], other[ROWS];
        u32 bars = a.bars - first < 64 ? (u32)(a.bars - first) : 64;
        test_word<TEST, BOTH, ROWS>(x, y, first, bars, bits, other);
        u64 second = defined_word(y, word, a);
        for (int k = 0; k < ROWS; k++) {
            if (k >= rows) break;
            const u64* out = a.jobs + (job + k * a.across) * COMPARE_JOB + 2;
            u64 both = defined_word(x[k], word, a) & second, value = bits[k], defined = both;
            if (a.op == OP_NE) value = both & ~value;
            if (a.op >= OP_CROSSES_ABOVE) cross<TEST>(x[k], y, first, bits[k], both, value, defined);
            put(a, word, out[0], value, defined);
            if (BOTH) {
                cross<OP_LT>(x[k], y, first, other[k], both, value, defined);
                put(a, word, out[1], value, defined);
            }
        }
    }
}

// Thread = comparisons with the same second operand, `ROWS` of them, grid y = word.
template <int ROWS, class T>
DEVICE void compare_by(const Compare<T>& a) {
    u64 index = thread_x(), column = index % a.across, row = index / a.across * ROWS;
    u64 job = row * a.across + column;
    if (job >= a.count) return;
    u64 left = (a.count - job - 1) / a.across + 1;
    int rows = left < ROWS ? (int)left : ROWS;
    switch (a.op) {
        case OP_LT:
        case OP_CROSSES_BELOW: return compare_rows<OP_LT, false, ROWS>(a, job, rows);
        case OP_LE: return compare_rows<OP_LE, false, ROWS>(a, job, rows);
        case OP_GT:
        case OP_CROSSES_ABOVE: return compare_rows<OP_GT, false, ROWS>(a, job, rows);
        case OP_GE: return compare_rows<OP_GE, false, ROWS>(a, job, rows);
        case OP_CROSSES_BOTH: return compare_rows<OP_GT, true, ROWS>(a, job, rows);
        default: return compare_rows<OP_EQ, false, ROWS>(a, job, rows);
    }
}

KERNEL compare(const Compare<double> a) { compare_by<1>(a); }
KERNEL compare_f32(const Compare<float> a) { compare_by<1>(a); }

// For grids of pairs: four first operands share each second one.
FOUR_BLOCKS compare_grid(const Compare<double> a) { compare_by<4>(a); }
FOUR_BLOCKS compare_grid_f32(const Compare<float> a) { compare_by<4>(a); }

struct Logic {
    u64* value;
    u64* defined;
    const u64* jobs;  // `arity` slots, then the output slot
    u64 bars, stride, count, arity, op;
};

enum { OP_AND = 0, OP_OR = 1, OP_NOT = 2, OP_CASE = 3 };

DEVICE void fold(const Logic& a, const u64* job, u64 row, u64& value, u64& defined) {
    value = a.value[row + job[0]];
    defined = a.defined[row + job[0]];
    for (u64 part = 1; part < a.arity; part++) {
        u64 other = a.value[row + job[part]];
        value = a.op == OP_AND ? value & other : value | other;
        defined &= a.defined[row + job[part]];
    }
    value = (a.op == OP_NOT ? ~value : value) & defined;
}

// Condition, value, condition, value, ..., otherwise: the value behind the first TRUE condition.
DEVICE void choose(const Logic& a, const u64* job, u64 row, u64& value, u64& defined) {
    u64 open = ~0ULL;
    value = 0, defined = 0;
    for (u64 part = 0; part + 1 < a.arity; part += 2) {
        u64 condition = a.value[row + job[part]], taken = open & condition;
        value |= taken & a.value[row + job[part + 1]];
        defined |= taken & a.defined[row + job[part + 1]];
        open &= a.defined[row + job[part]] & ~condition;
    }
    value |= open & a.value[row + job[a.arity - 1]];
    defined |= open & a.defined[row + job[a.arity - 1]];
}

// Thread = output, grid y = word.
KERNEL logic(const Logic a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    const u64* job = a.jobs + index * (a.arity + 1);
    for (u64 word = blockIdx.y; word < words_of(a.bars); word += gridDim.y) {
        u64 row = word * a.stride, value, defined;
        if (a.op == OP_CASE) choose(a, job, row, value, defined);
        else fold(a, job, row, value, defined);
        a.value[row + job[a.arity]] = value;
        a.defined[row + job[a.arity]] = defined;
    }
}

struct ScatterBits {
    const u64* rows;   // per row its value words, then its defined words
    const u64* slots;  // where each row goes
    u64* value;
    u64* defined;
    u64 bars, stride, count;
};

// Thread = word, grid y = row.
KERNEL scatter_bits(const ScatterBits a) {
    u64 word = thread_x(), words = words_of(a.bars);
    if (word >= words) return;
    for (u64 row = blockIdx.y; row < a.count; row += gridDim.y) {
        a.value[word * a.stride + a.slots[row]] = a.rows[(2 * row) * words + word];
        a.defined[word * a.stride + a.slots[row]] = a.rows[(2 * row + 1) * words + word];
    }
}

struct GatherBits {
    const u64* value;
    const u64* defined;
    const u64* slots;
    u64* rows;
    u64 bars, stride, count;
};

// The other way round. Thread = word, grid y = row.
KERNEL gather_bits(const GatherBits a) {
    u64 word = thread_x(), words = words_of(a.bars);
    if (word >= words) return;
    for (u64 row = blockIdx.y; row < a.count; row += gridDim.y) {
        a.rows[(2 * row) * words + word] = a.value[word * a.stride + a.slots[row]];
        a.rows[(2 * row + 1) * words + word] = a.defined[word * a.stride + a.slots[row]];
    }
}
