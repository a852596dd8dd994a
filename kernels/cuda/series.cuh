// Series of numbers on the device, doubles or floats: `series[bar * stride + slot]`, so that neighbouring threads, which work on neighbouring
// slots, read neighbouring addresses. `defined` holds a bit per bar: `defined[word * stride + slot]`.
#pragma once
#include "platform.cuh"

// An operand that is not a slot of the series but, with this bit, an index into the scalars.
static const u64 SCALAR = 1ULL << 63;

template <class T>
struct ScatterSeries {
    const T* rows;     // one after the other, `bars` numbers each
    const u64* slots;  // where each row goes
    T* series;
    u64 bars, stride, count;
};

// Thread = bar, grid y = row.
template <class T>
DEVICE void scatter_rows(const ScatterSeries<T>& a) {
    u64 bar = thread_x();
    if (bar >= a.bars) return;
    for (u64 row = blockIdx.y; row < a.count; row += gridDim.y)
        a.series[bar * a.stride + a.slots[row]] = a.rows[row * a.bars + bar];
}

KERNEL scatter_series(const ScatterSeries<double> a) { scatter_rows(a); }
KERNEL scatter_series_f32(const ScatterSeries<float> a) { scatter_rows(a); }

struct GatherSeries {
    const double* series;
    const u64* slots;
    double* rows;
    u64 bars, stride, count;
};

// The other way round. Thread = bar, grid y = row.
KERNEL gather_series(const GatherSeries a) {
    u64 bar = thread_x();
    if (bar >= a.bars) return;
    for (u64 row = blockIdx.y; row < a.count; row += gridDim.y)
        a.rows[row * a.bars + bar] = a.series[bar * a.stride + a.slots[row]];
}

template <class T>
struct MarkDefined {
    const T* series;
    const u64* slots;
    u64* defined;
    u64 bars, stride, count;
};

// Which bars of a series are defined. Thread = slot, grid y = word.
template <class T>
DEVICE void mark_slots(const MarkDefined<T>& a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    u64 slot = a.slots[index];
    for (u64 word = blockIdx.y; word < words_of(a.bars); word += gridDim.y) {
        u64 bits = 0, first = word * 64, end = first + 64 < a.bars ? first + 64 : a.bars;
        for (u64 bar = first; bar < end; bar++)
            bits |= (u64)!is_undefined(a.series[bar * a.stride + slot]) << (bar - first);
        a.defined[word * a.stride + slot] = bits;
    }
}

KERNEL mark_defined(const MarkDefined<double> a) { mark_slots(a); }
KERNEL mark_defined_f32(const MarkDefined<float> a) { mark_slots(a); }

// Indicators of which a bar depends on the bar before: thread = (inputs, period), the order of operations of the Rust
// ones. An undefined input starts the indicator afresh. They are computed in double; only what is kept may be narrower.
template <class T>
struct Indicator {
    const double* inputs;
    T* series;
    const u64* jobs;  // input, input, input, period, output
    u64 bars, input_stride, stride, count;
};

enum { JOB_INPUT = 0, JOB_PERIOD = 3, JOB_OUTPUT = 4, JOB_WORDS = 5 };

template <class T>
DEVICE void sma_of(const Indicator<T>& a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    const u64* job = a.jobs + index * JOB_WORDS;
    const double* x = a.inputs + job[JOB_INPUT];
    T* out = a.series + job[JOB_OUTPUT];
    u64 n = job[JOB_PERIOD], seen = 0;
    double divisor = (double)n, total = 0.0;
    for (u64 bar = 0; bar < a.bars; bar++) {
        double newest = x[bar * a.input_stride];
        if (is_undefined(newest)) {
            total = 0.0, seen = 0;
            out[bar * a.stride] = stored<T>(newest);
            continue;
        }
        if (seen >= n) total -= x[(bar - n) * a.input_stride];
        total += newest;
        seen++;
        out[bar * a.stride] = stored<T>(seen < n ? undefined() : total / divisor);
    }
}

template <class T>
DEVICE void ema_of(const Indicator<T>& a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    const u64* job = a.jobs + index * JOB_WORDS;
    const double* x = a.inputs + job[JOB_INPUT];
    T* out = a.series + job[JOB_OUTPUT];
    u64 n = job[JOB_PERIOD], seen = 0;
    double k = 2.0 / ((double)n + 1.0), value = 0.0;
    for (u64 bar = 0; bar < a.bars; bar++) {
        double newest = x[bar * a.input_stride], result = undefined();
        if (is_undefined(newest)) {
            value = 0.0, seen = 0;
        } else if (n == 1) {
            result = newest;
        } else if (seen >= n) {
            value = (newest - value) * k + value;
            result = value;
        } else {
            value += newest;
            if (++seen == n) {
                value /= (double)n;
                result = value;
            }
        }
        out[bar * a.stride] = stored<T>(result);
    }
}

// Wilder's smoothing: a mean, then `value * (n - 1) / n + x * (1 / n)`.
struct Wilder {
    double keep, take, value;
    u64 n, seen;
};

DEVICE Wilder wilder_new(u64 n) {
    double bars = (double)n;
    Wilder w = {(bars - 1.0) / bars, 1.0 / bars, 0.0, n, 0};
    return w;
}

DEVICE double wilder_step(Wilder& w, double x) {
    if (w.seen >= w.n) {
        w.value = w.value * w.keep + x * w.take;
        return w.value;
    }
    w.value += x;
    if (++w.seen < w.n) return undefined();
    w.value /= (double)w.n;
    return w.value;
}

template <class T>
DEVICE void rsi_of(const Indicator<T>& a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    const u64* job = a.jobs + index * JOB_WORDS;
    const double* x = a.inputs + job[JOB_INPUT];
    T* out = a.series + job[JOB_OUTPUT];
    u64 n = job[JOB_PERIOD];
    Wilder gains = wilder_new(n), losses = wilder_new(n);
    double before = undefined();
    for (u64 bar = 0; bar < a.bars; bar++) {
        double now = x[bar * a.input_stride], result = undefined();
        if (is_undefined(now)) {
            gains = wilder_new(n), losses = wilder_new(n);
        } else if (!is_undefined(before)) {
            double change = now - before;
            double gain = wilder_step(gains, change > 0.0 ? change : 0.0);
            double loss = wilder_step(losses, change < 0.0 ? -change : 0.0);
            double sum = gain + loss;
            result = sum == 0.0 ? 0.0 : 100.0 * (gain / sum);
        }
        before = now;
        out[bar * a.stride] = stored<T>(result);
    }
}

template <class T>
DEVICE void atr_of(const Indicator<T>& a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    const u64* job = a.jobs + index * JOB_WORDS;
    const double* high = a.inputs + job[JOB_INPUT];
    const double* low = a.inputs + job[JOB_INPUT + 1];
    const double* close = a.inputs + job[JOB_INPUT + 2];
    T* out = a.series + job[JOB_OUTPUT];
    u64 n = job[JOB_PERIOD];
    Wilder range = wilder_new(n);
    double before = undefined();
    for (u64 bar = 0; bar < a.bars; bar++) {
        u64 at = bar * a.input_stride;
        double h = high[at], l = low[at], c = close[at], result = undefined();
        if (is_undefined(h) || is_undefined(l) || is_undefined(c)) {
            range = wilder_new(n);
            before = undefined();
        } else {
            if (!is_undefined(before)) {
                double top = before > h ? before : h, bottom = before < l ? before : l;
                result = wilder_step(range, top - bottom);
            }
            before = c;
        }
        out[bar * a.stride] = stored<T>(result);
    }
}

KERNEL sma(const Indicator<double> a) { sma_of(a); }
KERNEL sma_f32(const Indicator<float> a) { sma_of(a); }
KERNEL ema(const Indicator<double> a) { ema_of(a); }
KERNEL ema_f32(const Indicator<float> a) { ema_of(a); }
KERNEL rsi(const Indicator<double> a) { rsi_of(a); }
KERNEL rsi_f32(const Indicator<float> a) { rsi_of(a); }
KERNEL atr(const Indicator<double> a) { atr_of(a); }
KERNEL atr_f32(const Indicator<float> a) { atr_of(a); }

// Arithmetic on series and scalars, bar by bar, in the series' own precision.
template <class T>
struct Combine {
    T* series;
    const T* scalars;
    const u64* jobs;  // two operands and the output slot; an operand is a slot, or, with SCALAR, an index into the scalars
    u64 bars, stride, count, op;
};

enum { COMBINE_JOB = 3 };

enum { OP_ADD = 0, OP_SUB = 1, OP_MUL = 2, OP_DIV = 3 };

// Thread = output, grid y = 64 bars.
template <class T>
DEVICE void combine_slots(const Combine<T>& a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    const u64* job = a.jobs + index * COMBINE_JOB;
    bool is_x_fixed = (job[0] & SCALAR) != 0, is_y_fixed = (job[1] & SCALAR) != 0;
    const T* x = is_x_fixed ? a.scalars + (job[0] & ~SCALAR) : a.series + job[0];
    const T* y = is_y_fixed ? a.scalars + (job[1] & ~SCALAR) : a.series + job[1];
    u64 x_stride = is_x_fixed ? 0 : a.stride, y_stride = is_y_fixed ? 0 : a.stride;
    for (u64 word = blockIdx.y; word < words_of(a.bars); word += gridDim.y) {
        u64 first = word * 64, end = first + 64 < a.bars ? first + 64 : a.bars;
        for (u64 bar = first; bar < end; bar++) {
            T p = x[bar * x_stride], q = y[bar * y_stride], result;
            switch (a.op) {
                case OP_ADD: result = p + q; break;
                case OP_SUB: result = p - q; break;
                case OP_MUL: result = p * q; break;
                default: result = p / q; break;
            }
            a.series[bar * a.stride + job[2]] = kept(result);
        }
    }
}

KERNEL combine(const Combine<double> a) { combine_slots(a); }
KERNEL combine_f32(const Combine<float> a) { combine_slots(a); }
