// What combinations are ranked by, from the sums of a launch, so that only the best ones' sums travel: the operations of the
// Rust side's `fold::statistics`, `moments` and `Score`, in their order.
#pragma once
#include "fold.cuh"

struct Rank {
    const u64* words;  // RESULT_WORDS, each for all combinations
    double* scores;
    u64 count, observations, score, is_measured, min_trades;
    double units[POWERS];
};

enum { SCORE_FINAL_EQUITY = 0, SCORE_SHARPE = 1, SCORE_SORTINO = 2, SCORE_PROFIT_FACTOR = 3, SCORE_DRAWDOWN = 4 };

// The square of 2^44, see `moments::DIGITS`.
#define DIGITS 309485009821345068724781056.0

DEVICE double infinity() { return __longlong_as_double(0x7ff0000000000000LL); }

DEVICE double number_at(const Rank& a, u64 index, int word) {
    return __longlong_as_double((long long)a.words[word * a.count + index]);
}

struct Returns {
    double mean, m2, downside;
    bool is_known;  // else the combination has to be measured
};

DEVICE Returns measured_returns(const Rank& a, u64 index) {
    Returns r = {number_at(a, index, 19), number_at(a, index, 20), number_at(a, index, 23), true};
    return r;
}

DEVICE bool has_digits(double held, double samples) { return samples == 0.0 || held * held >= samples * DIGITS; }

DEVICE Returns folded_returns(const Rank& a, u64 index) {
    Returns r = {0.0, 0.0, 0.0, true};
    if (a.observations == 0) return r;
    double sums[POWERS], samples = (double)a.words[18 * a.count + index];
    for (int p = 0; p < POWERS; p++) {
        double held = (double)(long long)a.words[(19 + p) * a.count + index];
        if (p == 1 || p == 3 || p == 4) r.is_known = r.is_known && has_digits(held, samples);
        sums[p] = held * a.units[p] + number_at(a, index, 24 + p) + number_at(a, index, 29 + p);
    }
    double count = (double)a.observations, mean = sums[0] / count, square = mean * mean;
    double m2 = sums[1] - mean * sums[0];
    double m4 = sums[3] - 4.0 * mean * sums[2] + 6.0 * square * sums[1] - 3.0 * count * (square * square);
    bool is_flat = sums[1] == 0.0 && samples == 0.0;
    bool is_sound = m2 >= 0.75 * sums[1] && m4 > 0.0 && m2 - m2 == 0.0 && m4 - m4 == 0.0;
    r.mean = mean, r.m2 = m2, r.downside = sums[4];
    r.is_known = r.is_known && (is_flat || is_sound);
    return r;
}

// Whether the deviations of the trades have their digits.
DEVICE bool has_trade_digits(const Rank& a, u64 index, u64 trades) {
    if (trades <= 1) return true;
    double squares = number_at(a, index, 9), pnl = number_at(a, index, 8);
    double around_mean = squares - pnl * (pnl / (double)trades);
    return around_mean >= 0.125 * squares && around_mean - around_mean == 0.0;
}

DEVICE double score_of(const Rank& a, u64 index, const Returns& r) {
    double count = (double)a.observations;
    if (a.score == SCORE_FINAL_EQUITY) return number_at(a, index, 1);
    if (a.score == SCORE_SHARPE) return r.mean / sqrt(r.m2 / (count - 1.0));
    if (a.score == SCORE_SORTINO) return r.mean / sqrt(r.downside / count);
    if (a.score == SCORE_PROFIT_FACTOR) return number_at(a, index, 6) / number_at(a, index, 7);
    return -number_at(a, index, 2);
}

// Infinity: to be measured. Undefined: too few trades. Minus infinity: a score that is not a finite number.
// Thread = combination.
KERNEL rank(const Rank a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    u64 trades = a.words[3 * a.count + index];
    if (trades < a.min_trades && (a.is_measured || a.words[index])) {
        a.scores[index] = undefined();
        return;
    }
    Returns r = a.is_measured ? measured_returns(a, index) : folded_returns(a, index);
    bool is_known = a.is_measured || (a.words[index] && r.is_known && has_trade_digits(a, index, trades));
    double score = score_of(a, index, r);
    a.scores[index] = !is_known ? infinity() : score - score == 0.0 ? score : -infinity();
}

struct GatherWords {
    const u64* words;  // `total` combinations
    const u64* selected;
    u64* out;  // `count` combinations
    u64 total, count;
};

// Thread = selected combination, grid y = word.
KERNEL gather_words(const GatherWords a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    for (u64 word = blockIdx.y; word < RESULT_WORDS; word += gridDim.y)
        a.out[word * a.count + index] = a.words[word * a.total + a.selected[index]];
}
