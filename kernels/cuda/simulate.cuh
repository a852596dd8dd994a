// One combination's way through the bars, thread = combination: while flat to the next entry bit, in a position to the first
// of exit bit, time exit and touched level. The rules are those of the Rust side's `path` and `levels`.
#pragma once
#include "fold.cuh"

// Which sides a strategy has, known when the kernel is compiled: a side that does not exist is not looked for.
enum { ONLY_LONG = 1, ONLY_SHORT = 2, BOTH = 3 };

struct Signals {
    const u64* value;
    u64 stride;
    u32 words;
    u64 long_enter, long_exit, short_enter, short_exit;
};

DEVICE u64 word_at(const Signals& s, u64 slot, u32 word) { return s.value[word * s.stride + slot]; }

DEVICE bool is_set(const Signals& s, u64 slot, Bar bar) { return word_at(s, slot, bar / 64) >> (bar % 64) & 1; }

template <int SIDES>
DEVICE u64 entry_word(const Signals& s, u32 word) {
    if (SIDES == ONLY_LONG) return word_at(s, s.long_enter, word);
    if (SIDES == ONLY_SHORT) return word_at(s, s.short_enter, word);
    return word_at(s, s.long_enter, word) ^ word_at(s, s.short_enter, word);
}

template <int SIDES>
DEVICE u64 exit_word(const Signals& s, u32 side, u32 word) {
    if (SIDES == ONLY_LONG) return word_at(s, s.long_exit, word);
    if (SIDES == ONLY_SHORT) return word_at(s, s.short_exit, word);
    u64 own = side == LONG ? s.long_enter : s.short_enter, other = side == LONG ? s.short_enter : s.long_enter;
    u64 exit = side == LONG ? s.long_exit : s.short_exit;
    return word_at(s, exit, word) | (word_at(s, other, word) & ~word_at(s, own, word));
}

// The first bar from `from` on whose close decides an entry; `NEVER` if there is none.
template <int SIDES>
DEVICE Bar next_entry(const Signals& s, Bar from) {
    u32 word = from / 64;
    if (word >= s.words) return NEVER;
    u64 bits = entry_word<SIDES>(s, word) & (~0ULL << (from % 64));
    while (bits == 0) {
        if (++word >= s.words) return NEVER;
        bits = entry_word<SIDES>(s, word);
    }
    return word * 64 + (Bar)__ffsll((long long)bits) - 1;
}

template <int SIDES>
DEVICE Bar next_exit(const Signals& s, u32 side, Bar from) {
    u32 word = from / 64;
    if (word >= s.words) return NEVER;
    u64 bits = exit_word<SIDES>(s, side, word) & (~0ULL << (from % 64));
    while (bits == 0) {
        if (++word >= s.words) return NEVER;
        bits = exit_word<SIDES>(s, side, word);
    }
    return word * 64 + (Bar)__ffsll((long long)bits) - 1;
}

// The levels of a position. A short is a long in the mirror, every price negated, which is exact.
struct Levels {
    bool is_short, trails;
    double stop, target, entry, factor;
};

DEVICE Levels levels_of(const Rules& r, const Position& p) {
    Levels l;
    l.is_short = p.side == SHORT;
    double against = l.is_short ? 1.0 : -1.0, along = -against;
    l.entry = l.is_short ? -p.price : p.price;
    l.stop = is_undefined(r.stop_loss) ? __longlong_as_double((long long)0xfff0000000000000ULL)
                                       : l.entry * (1.0 + against * r.stop_loss);
    l.target = is_undefined(r.take_profit) ? __longlong_as_double(0x7ff0000000000000LL)
                                           : l.entry * (1.0 + along * r.take_profit);
    l.trails = !is_undefined(r.trailing_stop);
    l.factor = l.trails ? 1.0 + against * r.trailing_stop : 1.0;
    return l;
}

DEVICE double mirrored(const Levels& l, double long_price, double short_price) {
    return l.is_short ? -short_price : long_price;
}

struct Touch {
    Bar bar;
    u32 reason;
    double price;
    bool is_ambiguous;
};

DEVICE Touch touch(const Simulate& a, const Levels& l, Bar bar, double stop, u32 stop_reason) {
    double open = mirrored(l, a.open[bar], a.open[bar]);
    Touch t;
    t.bar = bar;
    t.is_ambiguous = false;
    if (open <= stop) {
        t.price = open, t.reason = stop_reason;
    } else if (open >= l.target) {
        t.price = open, t.reason = BY_TARGET;
    } else {
        bool hits_stop = mirrored(l, a.low[bar], a.high[bar]) <= stop;
        bool hits_target = mirrored(l, a.high[bar], a.low[bar]) >= l.target;
        bool is_stop_first = a.intrabar == STOP_FIRST || (a.intrabar == NEAREST_OPEN && open - stop <= l.target - open);
        bool is_stop = hits_stop && (is_stop_first || !hits_target);
        t.price = is_stop ? stop : l.target;
        t.reason = is_stop ? stop_reason : (u32)BY_TARGET;
        t.is_ambiguous = hits_stop && hits_target;
    }
    if (l.is_short) t.price = -t.price;
    return t;
}

// The first bar of `from..to` that reaches a fixed level; blocks of bars that cannot are skipped.
DEVICE bool first_fixed_touch(const Simulate& a, const Levels& l, Bar from, Bar to, Touch& out) {
    for (Bar bar = from; bar < to;) {
        Bar block = bar / 64, end = (block + 1) * 64 < to ? (block + 1) * 64 : to;
        Extremes range = a.blocks[block];
        if (mirrored(l, range.min, range.max) <= l.stop || mirrored(l, range.max, range.min) >= l.target) {
            for (; bar < end; bar++) {
                double low = mirrored(l, a.lowest[bar], a.highest[bar]);
                double high = mirrored(l, a.highest[bar], a.lowest[bar]);
                if (low <= l.stop || high >= l.target) {
                    out = touch(a, l, bar, l.stop, BY_STOP);
                    return true;
                }
            }
        }
        bar = end;
    }
    return false;
}

DEVICE bool first_trailing_touch(const Simulate& a, const Levels& l, Bar from, Bar to, Touch& out) {
    double best = l.entry, level = best * l.factor;
    for (Bar bar = from; bar < to; bar++) {
        bool is_fixed = l.stop >= level;
        double stop = is_fixed ? l.stop : level;
        double low = mirrored(l, a.lowest[bar], a.highest[bar]), high = mirrored(l, a.highest[bar], a.lowest[bar]);
        if (low <= stop || high >= l.target) {
            out = touch(a, l, bar, stop, is_fixed ? BY_STOP : BY_TRAILING);
            return true;
        }
        double top = mirrored(l, a.high[bar], a.low[bar]);
        if (top > best) {
            best = top;
            level = best * l.factor;
        }
    }
    return false;
}

// The same from the table of first touches, which combinations with the same levels share.
DEVICE bool tabled_touch(const Simulate& a, const Rules& r, const Levels& l, const Position& p, Bar to, Touch& out) {
    const u32* touches = a.touches + p.side * a.levels * a.bars + p.entry_bar;
    Bar stop = is_undefined(r.stop_loss) ? NEVER : touches[r.stop_level * a.bars];
    Bar target = is_undefined(r.take_profit) ? NEVER : touches[r.target_level * a.bars];
    Bar first = stop < target ? stop : target;
    if (first >= to) return false;
    out = touch(a, l, first, l.stop, BY_STOP);
    return true;
}

// Whether the table has the fixed levels of these rules.
DEVICE bool is_tabled(const Simulate& a, const Rules& r) {
    return a.touches && (is_undefined(r.stop_loss) || r.stop_level != NEVER) &&
           (is_undefined(r.take_profit) || r.target_level != NEVER);
}

DEVICE bool has_levels(const Rules& r) {
    return !is_undefined(r.stop_loss) || !is_undefined(r.take_profit) || !is_undefined(r.trailing_stop);
}

DEVICE Bar saturating_add(Bar a, Bar b) { return a > NEVER - b ? NEVER : a + b; }

// Bar and raw price at which an order decided at the close of `bar` fills; false if no bar follows.
DEVICE bool fill_of(const Simulate& a, Bar bar, Bar& at, double& raw) {
    at = a.fill == FILL_CLOSE ? bar : bar + 1;
    if (at >= a.bars) return false;
    raw = a.fill == FILL_CLOSE ? a.close[at] : a.open[at];
    return true;
}

struct End {
    Exit exit;
    bool reverses;
    Bar free_from;
};

// Where a position ends; false if it stays open.
template <int SIDES>
DEVICE bool next_end(Fold& f, const Simulate& a, const Rules& r, const Signals& s, const Position& p, End& end) {
    Bar first = p.first_bar, due = r.max_bars == 0 ? NEVER : saturating_add(first, r.max_bars - 1);
    Bar signal = next_exit<SIDES>(s, p.side, first), decided = due < signal ? due : signal;
    bool is_decided = decided < a.bars;
    Touch t;
    if (has_levels(r)) {
        Levels l = levels_of(r, p);
        Bar to = is_decided ? decided + 1 : (Bar)a.bars;
        bool is_touched = l.trails ? first_trailing_touch(a, l, first, to, t)
                        : is_tabled(a, r) ? tabled_touch(a, r, l, p, to, t)
                                          : first_fixed_touch(a, l, first, to, t);
        if (is_touched) {
            f.ambiguous_bars += t.is_ambiguous;
            end.exit.bar = t.bar, end.exit.raw = t.price, end.exit.reason = t.reason;
            end.exit.bars_held = t.bar + 1 - first;
            end.reverses = false, end.free_from = t.bar;
            return true;
        }
    }
    if (!is_decided || !fill_of(a, decided, end.exit.bar, end.exit.raw)) return false;
    end.free_from = a.fill == FILL_CLOSE ? decided + 1 : end.exit.bar;
    end.exit.reason = signal == decided ? BY_SIGNAL : BY_TIME;
    end.exit.bars_held = decided + 1 - first;
    u64 own = p.side == LONG ? s.long_enter : s.short_enter, other = p.side == LONG ? s.short_enter : s.long_enter;
    end.reverses = SIDES == BOTH && is_set(s, other, decided) && !is_set(s, own, decided);
    return true;
}

// All trades of a combination. A fold ends early, unfit, where an order is not placed; the two walks go on.
template <int SIDES, Walk WALK>
DEVICE void run(Fold& f, const Simulate& a, const Rules& r, const Signals& s, u64 row) {
    bool is_all_in = WALK == FOLD_ALL_IN || (SIDES == ONLY_LONG && r.sizing == SIZE_EQUITY && r.size == 1.0);
    Bar from = 0, bar;
    double raw;
    for (;;) {
        Bar decided = next_entry<SIDES>(s, from);
        if (decided == NEVER || !fill_of(a, decided, bar, raw)) break;
        u32 side = SIDES == ONLY_LONG ? (u32)LONG
                 : SIDES == ONLY_SHORT ? (u32)SHORT
                 : is_set(s, s.long_enter, decided) ? (u32)LONG : (u32)SHORT;
        Position p;
        bool is_placed = enter<WALK>(f, a, r, side, bar, raw, is_all_in, p);
        if (is_fold(WALK)) {
            f.is_fit = f.is_fit && is_placed;
            if (!f.is_fit) return;
        }
        from = decided + 1;
        while (is_placed) {
            End end;
            if (!next_end<SIDES>(f, a, r, s, p, end)) {
                mark<WALK>(f, a, (Bar)a.bars, &p, is_all_in);
                if (has_edges<WALK>(a, is_all_in)) add_entry(f, a, p, (Bar)a.bars);
                f.open_bars = a.bars > p.first_bar ? (Bar)a.bars - p.first_bar : 0;
                return;
            }
            leave<WALK>(f, a, row, p, end.exit, is_all_in);
            Bar free_at = saturating_add(end.exit.bar, r.cooldown);
            u32 opposite = p.side == LONG ? SHORT : LONG;
            from = end.free_from > free_at ? end.free_from : free_at;
            is_placed = end.reverses && enter<WALK>(f, a, r, opposite, end.exit.bar, end.exit.raw, is_all_in, p);
            if (is_fold(WALK)) {
                f.is_fit = f.is_fit && (is_placed || !end.reverses);
                if (!f.is_fit) return;
            }
        }
    }
    mark<WALK>(f, a, (Bar)a.bars, nullptr, is_all_in);
}

DEVICE void signals_of(const Simulate& a, u64 row, Signals& s) {
    s.value = a.value, s.stride = a.stride, s.words = (u32)words_of(a.bars);
    s.long_enter = a.rows[row], s.long_exit = a.rows[a.total + row];
    s.short_enter = a.rows[2 * a.total + row], s.short_exit = a.rows[3 * a.total + row];
}

template <int SIDES, Walk WALK>
DEVICE void simulate(const Simulate& a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    u64 row = a.selected ? a.selected[index] : index;
    Signals s;
    signals_of(a, row, s);
    Rules r = rules_of(a.rules + a.rows[4 * a.total + row] * RULE_WORDS);
    Fold f;
    fold_start(f, a);
    run<SIDES, WALK>(f, a, r, s, index);
    write_common(f, a, a.out + index);
    write_sums(f, a, a.out + index);
}

// The long way: once for the means and once for the deviations from them.
template <int SIDES>
DEVICE void measure(const Simulate& a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    u64 row = a.selected ? a.selected[index] : index;
    Signals s;
    signals_of(a, row, s);
    Rules r = rules_of(a.rules + a.rows[4 * a.total + row] * RULE_WORDS);
    Fold f;
    Moments& m = f.moments;
    m.sum = m.mean = m.m2 = m.m3 = m.m4 = m.downside = m.pnl_mean = m.pnl_m2 = 0.0;
    m.is_defined = true;
    fold_start(f, a);
    run<SIDES, MEANS>(f, a, r, s, index);
    u64 observations = a.lead + a.first_at[a.bars];
    write_common(f, a, a.out + index);
    if (m.is_defined && observations > 0) m.mean = m.sum / (double)observations;
    if (f.trades > 0) m.pnl_mean = f.pnl / (double)f.trades;
    Simulate silent = a;
    silent.trades = 0;
    fold_start(f, a);
    for (u64 lead = 0; lead < a.lead; lead++) take_deviation(m, 0.0);
    run<SIDES, DEVIATIONS>(f, silent, r, s, index);
    if (!m.is_defined) m.mean = m.m2 = m.m3 = m.m4 = m.downside = 0.0;
    write_moments(m, a, a.out + index);
}

FOUR_BLOCKS simulate_all_in(const Simulate a) { simulate<ONLY_LONG, FOLD_ALL_IN>(a); }
struct FirstTouch {
    Simulate market;    // bars and settings; the rest is not used
    const u64* values;  // distances of stops, then of targets
    u32* touches;       // [s * (stops + targets) + l][bar]
    u64 stops, targets;
};

// Thread = bar of an entry, grid y = side and level: the first bar that reaches the level, from the first bar that the position
// is held in.
KERNEL first_touch(const FirstTouch a) {
    u64 bar = thread_x(), levels = a.stops + a.targets;
    if (bar >= a.market.bars) return;
    for (u64 row = blockIdx.y; row < 2 * levels; row += gridDim.y) {
        u64 level = row % levels;
        double value = __longlong_as_double((long long)a.values[level]);
        Position p;
        p.side = row < levels ? LONG : SHORT;
        double raw = a.market.fill == FILL_CLOSE ? a.market.close[bar] : a.market.open[bar];
        p.price = p.side == LONG ? raw * (1.0 + a.market.slippage) : raw * (1.0 - a.market.slippage);
        Rules r;
        r.stop_loss = level < a.stops ? value : undefined();
        r.take_profit = level < a.stops ? undefined() : value;
        r.trailing_stop = undefined();
        Touch t;
        Bar first = a.market.fill == FILL_CLOSE ? (Bar)bar + 1 : (Bar)bar;
        bool is_touched = first_fixed_touch(a.market, levels_of(r, p), first, (Bar)a.market.bars, t);
        a.touches[row * a.market.bars + bar] = is_touched ? t.bar : NEVER;
    }
}

KERNEL simulate_long(const Simulate a) { simulate<ONLY_LONG, FOLD>(a); }
KERNEL simulate_short(const Simulate a) { simulate<ONLY_SHORT, FOLD>(a); }
KERNEL simulate_both(const Simulate a) { simulate<BOTH, FOLD>(a); }
FOUR_BLOCKS measure_long(const Simulate a) { measure<ONLY_LONG>(a); }
FOUR_BLOCKS measure_short(const Simulate a) { measure<ONLY_SHORT>(a); }
FOUR_BLOCKS measure_both(const Simulate a) { measure<BOTH>(a); }
