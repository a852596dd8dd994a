// Conditions on the device, three-valued, 64 bars to a word: `value[word * stride + slot]` and `defined[...]`. A value bit
// is set only where the defined bit is, and bits past the last bar are zero in both.
#pragma once
#include "platform.cuh"

// An operand of a comparison: a slot of the series, or, with this bit, an index into the scalars.
static const u64 SCALAR = 1ULL << 63;

struct Compare {
    const double* series;
    const u64* series_defined;
    const double* scalars;
    const u64* jobs;  // operand, operand, output slot
    u64* value;
    u64* defined;
    u64 bars, series_stride, stride, count, op;
};

enum { OP_LT = 0, OP_LE = 1, OP_EQ = 2, OP_NE = 3, OP_CROSSES_ABOVE = 4 };

struct Operand {
    const double* at;
    u64 stride;
    const u64* defined;  // null: a number for all bars
    bool is_defined;
};

DEVICE Operand operand(const Compare& a, u64 code) {
    Operand o;
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

DEVICE u64 defined_word(const Operand& o, u64 word, u64 series_stride, u64 bars) {
    if (o.defined) return o.defined[word * series_stride];
    return o.is_defined ? bars_in_word(word, bars) : 0;
}

// A comparison with an undefined number is false in all of these.
DEVICE bool holds(u64 op, double a, double b) {
    return op == OP_LT ? a < b : op == OP_LE ? a <= b : op == OP_CROSSES_ABOVE ? a > b : a == b;
}

// Thread = comparison, grid y = word.
KERNEL compare(const Compare a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    const u64* job = a.jobs + index * 3;
    Operand x = operand(a, job[0]), y = operand(a, job[1]);
    u64 out = job[2];
    for (u64 word = blockIdx.y; word < words_of(a.bars); word += gridDim.y) {
        u64 first = word * 64, end = first + 64 < a.bars ? first + 64 : a.bars, bits = 0;
        for (u64 bar = first; bar < end; bar++)
            bits |= (u64)holds(a.op, x.at[bar * x.stride], y.at[bar * y.stride]) << (bar - first);
        u64 both = defined_word(x, word, a.series_stride, a.bars) & defined_word(y, word, a.series_stride, a.bars);
        if (a.op == OP_NE) bits = both & ~bits;
        if (a.op == OP_CROSSES_ABOVE) {
            u64 was_not = (both & ~bits) << 1, was_defined = both << 1;
            if (word > 0) {
                u64 before = first - 1;
                double p = x.at[before * x.stride], q = y.at[before * y.stride];
                was_not |= (u64)(p <= q);
                was_defined |= (u64)(!is_undefined(p) && !is_undefined(q));
            }
            bits &= was_not;
            both &= was_defined;
        }
        a.value[word * a.stride + out] = bits;
        a.defined[word * a.stride + out] = both;
    }
}

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
