// What a device can do at most: for the self-test.
#pragma once
#include "platform.cuh"

struct Copy {
    const double* from;
    double* to;
    u64 count, rounds;
};

// Reads and writes `count` numbers `rounds` times; four of them are on their way at once.
KERNEL stream_copy(const Copy a) {
    u64 threads = (u64)gridDim.x * blockDim.x;
    for (u64 round = 0; round < a.rounds; round++) {
        for (u64 i = thread_x(); i < a.count; i += 4 * threads) {
            double moved[4];
            for (int k = 0; k < 4; k++)
                if (i + k * threads < a.count) moved[k] = a.from[i + k * threads];
            for (int k = 0; k < 4; k++)
                if (i + k * threads < a.count) a.to[i + k * threads] = moved[k];
        }
    }
}

struct Arithmetic {
    double* out;
    u64 count, rounds;
};

// Eight chains of a multiplication and an addition per thread and round; they stay near 1.
KERNEL arithmetic(const Arithmetic a) {
    u64 index = thread_x();
    if (index >= a.count) return;
    double chain[8];
    for (int k = 0; k < 8; k++) chain[k] = 1.0 + (double)(index % 7 + k) * 0.125;
    for (u64 round = 0; round < a.rounds; round++)
        for (int k = 0; k < 8; k++) chain[k] = chain[k] * 0.5 + 0.5;
    double sum = 0.0;
    for (int k = 0; k < 8; k++) sum += chain[k];
    a.out[index] = sum;
}
