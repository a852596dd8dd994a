// One combination's account and the sums that its statistics are made of: the operations of the Rust side's `account`,
// `fold`, `measure` and `moments`, in their order.
//
// There are two ways, as there. The fold takes one walk; where it is unfit, and for strategies that the Rust side does not
// fold, two walks find the means first and the deviations from them then.
#pragma once
#include "platform.cuh"

struct Extremes {
    double min, max;
};

// What all combinations of a launch share. Every field is 8 bytes.
struct Simulate {
    const double* open;
    const double* high;
    const double* low;
    const double* close;
    const double* lowest;   // of low and open
    const double* highest;  // of high and open
    const Extremes* blocks;      // of lowest and highest, per 64 bars
    const Extremes* from_start;  // of closes, from the start of the block of 16 to the bar
    const Extremes* to_end;      // of closes, from the bar to the end of its block
    const Extremes* spans;       // level k, block b: closes of blocks b .. b + 2^k
    const u64* span_offsets;     // where each level begins
    const u64* first_at;         // samples before each bar's close; one more than bars
    const double* sample_closes;
    const long long* prefix;  // eight integers per sample and one more row
    const u64* value;         // signals: [word][slot]
    const u64* rows;          // four signal slots and a rule index, each for all combinations
    const u64* rules;         // RULE_WORDS per set of rules
    const u64* selected;      // null, or the combinations to run
    const u32* touches;       // null, or the first touch of level l (of side s) after an entry at a bar: [s * levels + l][bar]
    u64* out;                 // RESULT_WORDS, each for all combinations that are run
    u64* trades;              // null, or TRADE_WORDS per trade
    u64 trade_capacity;       // per combination
    u64 levels;
    u64 stride;
    u64 bars;
    u64 lead;   // samples before the first close
    u64 total;  // combinations in `rows`
    u64 count;  // combinations that are run
    double cash, maker_fee, taker_fee, slippage;
    u64 fill, intrabar;
    u64 has_edges;  // whether the returns at the ends of all-in long trades are summed as integers, times `scales`
    double scales[5];
};

enum { FILL_NEXT_OPEN = 0, FILL_CLOSE = 1 };
enum { STOP_FIRST = 0, TARGET_FIRST = 1, NEAREST_OPEN = 2 };
enum { LONG = 0, SHORT = 1 };
enum { BY_SIGNAL = 0, BY_STOP = 1, BY_TARGET = 2, BY_TRAILING = 3, BY_TIME = 4 };
enum { SIZE_EQUITY = 0, SIZE_QUOTE = 1, SIZE_RISK = 2 };
enum { RULE_WORDS = 10, RESULT_WORDS = 34, TRADE_WORDS = 11 };

// One unit in the last place of 1, and more: see `measure::MARGIN`.
#define MARGIN 1e-15

// Quantities and equities above it keep all their digits: see `edges::LEAST`.
#define LEAST 1e-280

// How far a short position may fall and be walked: see `account::NEAR_RUIN`.
#define NEAR_RUIN (1.0 / 256.0)

// A bar, or a number of bars, samples or trades. There are at most 2^30 bars.
typedef u32 Bar;

// After every bar.
static const u32 NEVER = ~0U;

struct Rules {
    double stop_loss, take_profit, trailing_stop;  // undefined: none
    Bar max_bars;                                  // 0: none
    Bar cooldown;
    u32 sizing;
    double size, risk_stop;
    u32 stop_level, target_level;  // levels of the table of touches; NEVER: not there
};

DEVICE Rules rules_of(const u64* words) {
    Rules r;
    r.stop_loss = __longlong_as_double((long long)words[0]);
    r.take_profit = __longlong_as_double((long long)words[1]);
    r.trailing_stop = __longlong_as_double((long long)words[2]);
    r.max_bars = words[3] < NEVER ? (Bar)words[3] : NEVER;
    r.cooldown = words[4] < NEVER ? (Bar)words[4] : NEVER;
    r.sizing = (u32)words[5];
    r.size = __longlong_as_double((long long)words[6]);
    r.risk_stop = __longlong_as_double((long long)words[7]);
    r.stop_level = (u32)words[8];
    r.target_level = (u32)words[9];
    return r;
}

// What the returns within a segment are those of: the closes, `close + offset`, or the account.
enum { OF_CLOSES, OF_OFFSET, OF_EQUITY };

// Closes of the bars `from..to` are worth `cash + quantity * close`.
struct Segment {
    Bar from, to;
    double cash, quantity;
    u32 returns;
    double offset;
};

struct Position {
    Bar entry_bar, first_bar;
    u32 side;
    double price, quantity, notional, fee;
    u32 returns;
    double offset;
};

struct Exit {
    Bar bar, bars_held;
    double raw;
    u32 reason;
};

enum { POWERS = 5, LANES = 8 };

// What a walk sums.
enum Walk {
    FOLD_ALL_IN,  // every position is long with all the cash
    FOLD,
    MEANS,       // first of two
    DEVIATIONS,  // second of two
};

DEVICE constexpr bool is_fold(Walk walk) { return walk == FOLD_ALL_IN || walk == FOLD; }

struct Powers {
    double of[POWERS];
};

DEVICE Powers powers(double r) {
    double square = r * r, loss = r < 0.0 ? r : 0.0;
    Powers p = {{r, square, square * r, square * square, loss * loss}};
    return p;
}

// Sums of the two walks.
struct Moments {
    double before, sum, mean, m2, m3, m4, downside, pnl_mean, pnl_m2;
    bool is_defined;
};

// Everything that is summed on the way.
struct Fold {
    double cash, fees, peak, worst, floor, sampled;
    Bar marked, open_bars;
    Segment last;
    long long held[POWERS];
    Bar held_samples;
    double walked[POWERS];
    double edges[POWERS];
    Bar trades, long_trades, wins, losses_in_a_row, most_losses_in_a_row, bars_held, ambiguous_bars;
    double gross_profit, gross_loss, pnl, pnl_squares, returns, best, worst_trade;
    bool is_fit;
    Moments moments;
};

// Begins a walk; what an earlier one found stays in `moments`.
DEVICE void fold_start(Fold& f, const Simulate& a) {
    f.cash = a.cash, f.fees = 0.0, f.peak = a.cash, f.worst = 0.0;
    f.floor = a.cash * (1.0 + MARGIN);
    f.sampled = a.cash;
    f.marked = 0, f.open_bars = 0;
    f.last.from = 0, f.last.to = 0, f.last.cash = a.cash, f.last.quantity = 0.0;
    f.last.returns = OF_CLOSES, f.last.offset = 0.0;
    f.held_samples = 0;
    for (int p = 0; p < POWERS; p++) {
        f.held[p] = 0, f.edges[p] = 0.0, f.walked[p] = 0.0;
    }
    f.trades = f.long_trades = f.wins = f.losses_in_a_row = f.most_losses_in_a_row = f.bars_held = f.ambiguous_bars = 0;
    f.gross_profit = f.gross_loss = f.pnl = f.pnl_squares = f.returns = 0.0;
    f.best = __longlong_as_double((long long)0xfff0000000000000ULL);
    f.worst_trade = __longlong_as_double(0x7ff0000000000000LL);
    f.is_fit = a.cash > LEAST;
    f.moments.before = a.cash;
}

DEVICE double equity_at(const Segment& s, double close) { return s.cash + s.quantity * close; }

DEVICE Extremes join(Extremes a, Extremes b) {
    if (b.min < a.min) a.min = b.min;
    if (b.max > a.max) a.max = b.max;
    return a;
}

// Lowest and highest close of the bars `from..to`, at least one.
DEVICE Extremes closes_of(const Simulate& a, Bar from, Bar to) {
    Bar first = from / 16, last = (to - 1) / 16;
    if (first == last) {
        Extremes all = {a.close[from], a.close[from]};
        for (Bar bar = from + 1; bar < to; bar++) {
            Extremes one = {a.close[bar], a.close[bar]};
            all = join(all, one);
        }
        return all;
    }
    Extremes ends = join(a.to_end[from], a.from_start[to - 1]);
    Bar inner = last - first - 1;
    if (inner == 0) return ends;
    u32 level = 63 - (u32)__clzll((long long)inner);
    const Extremes* spans = a.spans + a.span_offsets[level];
    return join(ends, join(spans[first + 1], spans[last - (1U << level)]));
}

DEVICE void deepen(Fold& f, double equity) {
    double drawdown = 1.0 - equity / f.peak;
    if (drawdown > f.worst) f.worst = drawdown;
}

DEVICE void lower_floor(Fold& f) { f.floor = f.peak * ((1.0 - f.worst) + MARGIN); }

DEVICE void draw_down(Fold& f, const Simulate& a, const Segment& s) {
    if (s.quantity == 0.0) {
        if (s.cash > f.peak || s.cash < f.floor) {
            if (s.cash > f.peak) f.peak = s.cash;
            deepen(f, s.cash);
            f.is_fit = f.is_fit && s.cash > LEAST;
            lower_floor(f);
        }
        return;
    }
    Extremes range = closes_of(a, s.from, s.to);
    double at_min = equity_at(s, range.min), at_max = equity_at(s, range.max);
    double lowest = s.quantity < 0.0 ? at_max : at_min, highest = s.quantity < 0.0 ? at_min : at_max;
    double least = s.quantity < 0.0 && s.cash * NEAR_RUIN > LEAST ? s.cash * NEAR_RUIN : LEAST;
    if (!(highest > f.peak || lowest < f.floor || lowest < least)) return;
    if (highest <= f.peak) {
        deepen(f, lowest);
    } else if (lowest >= 0.0 && 1.0 - lowest / highest <= f.worst) {
        f.peak = highest;
    } else {
        for (Bar bar = s.from; bar < s.to; bar++) {
            double equity = equity_at(s, a.close[bar]);
            if (equity > f.peak) f.peak = equity;
            deepen(f, equity);
        }
    }
    f.is_fit = f.is_fit && lowest > least;
    lower_floor(f);
}

DEVICE double lanes_sum(const double* l) { return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7])); }

struct LaneSums {
    double of[POWERS][LANES];
};

DEVICE void add_to_lane(LaneSums& sums, int lane, double r) {
    Powers p = powers(r);
    for (int power = 0; power < POWERS; power++) sums.of[power][lane] += p.of[power];
}

// Up to eight returns from the sample `first` on that depend on the account.
DEVICE void walk_equity(LaneSums& sums, const double* closes, const Segment& s, Bar first, Bar to) {
    for (int lane = 0; lane < LANES; lane++) {
        Bar at = first + lane;
        double before = equity_at(s, closes[at + 1 < to ? at : first]);
        double after = equity_at(s, closes[at + 1 < to ? at + 1 : first]);
        add_to_lane(sums, lane, at + 1 < to ? after / before - 1.0 : 0.0);
    }
}

// The same of a position whose offset says all. Lanes `i` and `i + 4` share a division, as `Eight::reciprocals` says.
DEVICE void walk_offset(LaneSums& sums, const double* closes, double offset, Bar first, Bar to) {
    for (int lane = 0; lane < LANES / 2; lane++) {
        Bar low = first + lane, high = low + LANES / 2;
        double a = closes[low + 1 < to ? low : first] + offset, b = closes[high + 1 < to ? high : first] + offset;
        double shared = 1.0 / (a * b);
        add_to_lane(sums, lane, low + 1 < to ? (closes[low + 1] - closes[low]) * (b * shared) : 0.0);
        add_to_lane(sums, lane + LANES / 2, high + 1 < to ? (closes[high + 1] - closes[high]) * (a * shared) : 0.0);
    }
}

// The returns of the samples `from..to` of one position, eight lanes side by side; lanes without a sample stand still.
DEVICE void walk(Fold& f, const double* closes, const Segment& s, Bar from, Bar to) {
    LaneSums sums;
    for (int p = 0; p < POWERS; p++) {
        for (int lane = 0; lane < LANES; lane++) sums.of[p][lane] = 0.0;
    }
    for (Bar first = from; first + 1 < to; first += LANES) {
        if (s.returns == OF_OFFSET) walk_offset(sums, closes, s.offset, first, to);
        else walk_equity(sums, closes, s, first, to);
    }
    for (int p = 0; p < POWERS; p++) f.walked[p] += lanes_sum(sums.of[p]);
}

// Whether a trade's returns are its own: see `edges`.
template <Walk WALK>
DEVICE bool has_edges(const Simulate& a, bool is_all_in) {
    return is_fold(WALK) && (WALK == FOLD_ALL_IN || is_all_in) && a.has_edges;
}

// Adds the powers of the return `of / over - 1` in units, halves away from 0.
DEVICE void add_return(Fold& f, const Simulate& a, double of, double over) {
    Powers p = powers(of / over - 1.0);
    for (int power = 0; power < POWERS; power++) {
        double x = p.of[power] * a.scales[power];
        f.held[power] = (long long)((u64)f.held[power] + (u64)(long long)(x + (x < 0.0 ? -0.5 : 0.5)));
    }
    f.held_samples += 1;
}

// Adds the returns into the samples `from..to`, held all-in long.
DEVICE void add_held(Fold& f, const Simulate& a, Bar from, Bar to) {
    const long long *before = a.prefix + (u64)from * 8, *after = a.prefix + (u64)to * 8;
    for (int p = 0; p < POWERS; p++) f.held[p] = (long long)((u64)f.held[p] + ((u64)after[p] - (u64)before[p]));
    f.held_samples += to - from;
}

// What a position adds that is closed in a later bar, or never, up to the exit.
DEVICE void add_entry(Fold& f, const Simulate& a, const Position& p, Bar to) {
    add_return(f, a, a.close[p.entry_bar], p.price * (1.0 + a.taker_fee));
    add_held(f, a, p.entry_bar + 1, to);
    f.is_fit = f.is_fit && p.quantity > LEAST;
}

template <Walk WALK>
DEVICE void sample(Fold& f, const Simulate& a, const Segment& s, bool is_all_in) {
    if (has_edges<WALK>(a, is_all_in)) return;
    Bar from = (Bar)a.first_at[s.from], to = (Bar)a.first_at[s.to];
    if (from >= to) return;
    double first = equity_at(s, a.sample_closes[from]);
    Powers edge = powers(first / f.sampled - 1.0);
    for (int p = 0; p < POWERS; p++) f.edges[p] += edge.of[p];
    f.sampled = first;
    if (s.quantity == 0.0 || to - from <= 1) return;
    if (WALK == FOLD_ALL_IN || s.returns == OF_CLOSES) {
        add_held(f, a, from + 1, to);
    } else {
        walk(f, a.sample_closes, s, from, to);
    }
    f.sampled = equity_at(s, a.sample_closes[to - 1]);
}

DEVICE void take_return(Moments& m, double after) {
    double r = after / m.before - 1.0;
    m.is_defined = m.is_defined && m.before > 0.0 && r - r == 0.0;
    m.sum += r;
    m.before = after;
}

DEVICE void take_deviation(Moments& m, double r) {
    double deviation = r - m.mean, square = deviation * deviation, loss = r < 0.0 ? r : 0.0;
    m.m2 += square;
    m.m3 += square * deviation;
    m.m4 += square * square;
    m.downside += loss * loss;
}

// The samples of a segment, one after the other. Flat closes have one return that may differ from 0.
template <Walk WALK>
DEVICE void sample_twice(Moments& m, const Simulate& a, const Segment& s) {
    Bar from = (Bar)a.first_at[s.from], to = (Bar)a.first_at[s.to];
    for (Bar at = from; at < to; at++) {
        double after = s.quantity == 0.0 ? s.cash : equity_at(s, a.sample_closes[at]);
        if (WALK == MEANS) {
            take_return(m, after);
        } else {
            take_deviation(m, after / m.before - 1.0);
            m.before = after;
        }
    }
}

DEVICE double signed_quantity(const Position& p) { return p.side == LONG ? p.quantity : -p.quantity; }

// Marks the closes up to bar `to` with the position that is held now, or with none.
template <Walk WALK>
DEVICE void mark(Fold& f, const Simulate& a, Bar to, const Position* held, bool is_all_in) {
    if (f.marked >= to) return;
    Segment s = {f.marked, to, f.cash, 0.0, OF_CLOSES, 0.0};
    if (held) s.quantity = signed_quantity(*held), s.returns = held->returns, s.offset = held->offset;
    if (WALK != DEVIATIONS) draw_down(f, a, s);
    if (is_fold(WALK)) sample<WALK>(f, a, s, is_all_in);
    else sample_twice<WALK>(f.moments, a, s);
    f.last = s;
    f.marked = to;
}

DEVICE double lesser(double a, double b) { return is_undefined(a) || b < a ? b : a; }

DEVICE double quantity_of(const Fold& f, const Simulate& a, const Rules& r, u32 side, double price) {
    double unit = side == LONG ? price * (1.0 + a.taker_fee) : price;
    if (r.sizing == SIZE_EQUITY) return r.size * f.cash / unit;
    if (r.sizing == SIZE_QUOTE) return lesser(r.size, f.cash) / unit;
    return lesser((r.size * f.cash) / (price * r.risk_stop), f.cash / unit);
}

// Opens a position; false if the order has no positive finite quantity.
template <Walk WALK>
DEVICE bool enter(Fold& f, const Simulate& a, const Rules& r, u32 side, Bar bar, double raw, bool is_all_in, Position& p) {
    double price = side == LONG ? raw * (1.0 + a.slippage) : raw * (1.0 - a.slippage);
    double quantity = quantity_of(f, a, r, side, price);
    if (!(quantity > 0.0 && quantity - quantity == 0.0)) return false;
    mark<WALK>(f, a, bar, nullptr, is_all_in);
    double notional = quantity * price, fee = notional * a.taker_fee;
    f.cash = side == LONG ? f.cash - (notional + fee) : f.cash + (notional - fee);
    f.fees += fee;
    p.side = side, p.entry_bar = bar, p.first_bar = a.fill == FILL_CLOSE ? bar + 1 : bar;
    p.price = price, p.quantity = quantity, p.notional = notional, p.fee = fee;
    bool is_whole = r.sizing == SIZE_EQUITY && r.size == 1.0;
    p.returns = !is_whole ? OF_EQUITY : side == LONG ? OF_CLOSES : OF_OFFSET;
    p.offset = -(price * (1.0 + (1.0 - a.taker_fee)));
    return true;
}

DEVICE u64 bits_of(double x) { return (u64)__double_as_longlong(x); }

DEVICE void log_trade(const Fold& f, const Simulate& a, u64 row, const Position& p, const Exit& x, double price,
                      double fees, double pnl, double trade_return) {
    if (f.trades > a.trade_capacity) return;
    u64* to = a.trades + (row * a.trade_capacity + f.trades - 1) * TRADE_WORDS;
    to[0] = p.side, to[1] = p.entry_bar, to[2] = bits_of(p.price);
    to[3] = x.bar, to[4] = bits_of(price), to[5] = bits_of(p.quantity), to[6] = x.reason;
    to[7] = bits_of(fees), to[8] = bits_of(pnl), to[9] = bits_of(trade_return), to[10] = x.bars_held;
}

template <Walk WALK>
DEVICE void leave(Fold& f, const Simulate& a, u64 row, const Position& p, const Exit& x, bool is_all_in) {
    mark<WALK>(f, a, x.bar, &p, is_all_in);
    bool is_target = x.reason == BY_TARGET;
    double slippage = is_target ? 0.0 : a.slippage, rate = is_target ? a.maker_fee : a.taker_fee;
    double price = p.side == LONG ? x.raw * (1.0 - slippage) : x.raw * (1.0 + slippage);
    double notional = p.quantity * price, fee = notional * rate, proceeds, cost;
    f.fees += fee;
    if (has_edges<WALK>(a, is_all_in)) {
        if (p.entry_bar < x.bar) {
            add_entry(f, a, p, x.bar);
            add_return(f, a, price * (1.0 - rate), a.close[x.bar - 1]);
        } else {
            add_return(f, a, price * (1.0 - rate), p.price * (1.0 + a.taker_fee));
            f.is_fit = f.is_fit && p.quantity > LEAST;
        }
    }
    if (p.side == LONG) {
        f.cash += notional - fee;
        proceeds = notional - fee, cost = p.notional + p.fee;
    } else {
        f.cash -= notional + fee;
        proceeds = p.notional - p.fee, cost = notional + fee;
    }
    double pnl = proceeds - cost, trade_return = pnl / cost;
    f.trades++;
    if (WALK == DEVIATIONS) {
        double deviation = pnl - f.moments.pnl_mean;
        f.moments.pnl_m2 += deviation * deviation;
        return;
    }
    f.long_trades += p.side == LONG;
    f.wins += pnl > 0.0;
    f.gross_profit += pnl > 0.0 ? pnl : 0.0;
    f.gross_loss -= pnl < 0.0 ? pnl : 0.0;
    f.losses_in_a_row = pnl < 0.0 ? f.losses_in_a_row + 1 : 0;
    if (f.losses_in_a_row > f.most_losses_in_a_row) f.most_losses_in_a_row = f.losses_in_a_row;
    f.pnl += pnl;
    f.pnl_squares += pnl * pnl;
    f.returns += trade_return;
    bool is_first = WALK == MEANS && f.trades == 1;
    f.best = is_first || trade_return > f.best ? trade_return : f.best;
    f.worst_trade = is_first || trade_return < f.worst_trade ? trade_return : f.worst_trade;
    f.bars_held += x.bars_held;
    if (a.trades) log_trade(f, a, row, p, x, price, p.fee + fee, pnl, trade_return);
}

// The words that both ways have.
DEVICE void write_common(const Fold& f, const Simulate& a, u64* to) {
    u64 n = a.count;
    to[0 * n] = f.is_fit;
    to[1 * n] = bits_of(equity_at(f.last, a.close[a.bars - 1]));
    to[2 * n] = bits_of(f.worst);
    to[3 * n] = f.trades, to[4 * n] = f.long_trades, to[5 * n] = f.wins;
    to[6 * n] = bits_of(f.gross_profit), to[7 * n] = bits_of(f.gross_loss);
    to[8 * n] = bits_of(f.pnl), to[9 * n] = bits_of(f.pnl_squares);
    to[10 * n] = bits_of(f.returns), to[11 * n] = bits_of(f.best), to[12 * n] = bits_of(f.worst_trade);
    to[13 * n] = f.most_losses_in_a_row, to[14 * n] = f.bars_held, to[15 * n] = f.open_bars;
    to[16 * n] = bits_of(f.fees), to[17 * n] = f.ambiguous_bars;
}

DEVICE void write_sums(const Fold& f, const Simulate& a, u64* to) {
    u64 n = a.count;
    to[18 * n] = f.held_samples;
    for (int p = 0; p < POWERS; p++) {
        to[(19 + p) * n] = (u64)f.held[p];
        to[(24 + p) * n] = bits_of(f.walked[p]);
        to[(29 + p) * n] = bits_of(f.edges[p]);
    }
}

DEVICE void write_moments(const Moments& m, const Simulate& a, u64* to) {
    u64 n = a.count;
    to[18 * n] = m.is_defined;
    to[19 * n] = bits_of(m.mean), to[20 * n] = bits_of(m.m2), to[21 * n] = bits_of(m.m3), to[22 * n] = bits_of(m.m4);
    to[23 * n] = bits_of(m.downside), to[24 * n] = bits_of(m.pnl_m2);
}
