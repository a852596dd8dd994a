// What every kernel here is written in: fixed-width words, one struct of 8-byte fields per kernel, no library.
//
// Three compilers read these files: NVRTC (which has no headers), nvcc, and a host C++ compiler behind the tests' shim. They
// must give the bits of the Rust code: IEEE arithmetic, never contracted to a fused multiply-add (--fmad=false,
// -ffp-contract=off), no transcendental function, minimum and maximum spelled out as comparisons.
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE static __device__ __forceinline__
#define KERNEL extern "C" __global__ void
// Four blocks of 128 threads per multiprocessor: registers are bounded, so that more threads hide more latency.
#define FOUR_BLOCKS extern "C" __global__ void __launch_bounds__(128, 4)

// The undefined number of the Rust side, by its bits.
DEVICE double undefined() { return __longlong_as_double(0x7ff8000000000000LL); }

template <class T>
DEVICE bool is_undefined(T x) {
    return x != x;
}

// A number as it is kept: itself if finite, else the undefined number.
template <class T>
DEVICE T kept(T x) {
    return x - x == (T)0 ? x : (T)undefined();
}

// A number as a series holds it: the double, or the nearest float, undefined beyond the range of floats.
template <class T>
DEVICE T stored(double x) {
    return kept((T)x);
}

// Index of this thread along x, and how many there are.
DEVICE u64 thread_x() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

// Words of 64 bars.
DEVICE u64 words_of(u64 bars) { return (bars + 63) / 64; }

// The bits of a word that stand for bars.
DEVICE u64 bars_in_word(u64 word, u64 bars) {
    u64 left = bars - word * 64;
    return left >= 64 ? ~0ULL : (1ULL << left) - 1;
}
