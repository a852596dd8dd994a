// Runs the unmodified CUDA kernels on the processor: one block after the other, one fiber per thread of the block, a barrier
// being a switch to the next fiber. For tests: the same launches, the same arguments, the same arithmetic, no GPU. What it
// cannot show is a race.
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <vector>

struct Dim3 {
    unsigned x, y, z;
};
static thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)

static inline int __ffsll(long long word) { return __builtin_ffsll(word); }
static inline int __clzll(long long word) { return word ? __builtin_clzll((unsigned long long)word) : 64; }
static inline int __popcll(unsigned long long word) { return __builtin_popcountll(word); }
static inline double __longlong_as_double(long long bits) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
static inline long long __double_as_longlong(double value) {
    long long bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Plain: the fibers of a block are one thread, and blocks run one after the other.
static inline unsigned long long atomicAdd(unsigned long long* at, unsigned long long value) {
    unsigned long long before = *at;
    *at = before + value;
    return before;
}

static thread_local ucontext_t scheduler;
static thread_local ucontext_t* current;

static void __syncthreads() {
    Dim3 mine = threadIdx;
    swapcontext(current, &scheduler);
    threadIdx = mine;
}

#include "kernels.cu"

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    bool is_done;
};

typedef void (*Body)(const void*);
static thread_local Body body;
static thread_local const void* arguments;
static thread_local bool* done;

static void entry() {
    body(arguments);
    *done = true;
}

static void resume(std::vector<Fiber>& fibers, unsigned index) {
    Fiber& fiber = fibers[index];
    threadIdx = {index % blockDim.x, index / blockDim.x, 0};
    current = &fiber.context;
    done = &fiber.is_done;
    swapcontext(&scheduler, &fiber.context);
}

static void run_block(std::vector<Fiber>& fibers) {
    for (Fiber& fiber : fibers) {
        fiber.is_done = false;
        fiber.stack.resize(1 << 16);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, entry, 0);
    }
    for (bool is_live = true; is_live;) {
        is_live = false;
        for (unsigned index = 0; index < fibers.size(); index++) {
            if (fibers[index].is_done) continue;
            resume(fibers, index);
            is_live = is_live || !fibers[index].is_done;
        }
    }
}

struct Entry {
    const char* name;
    size_t bytes;
    Body body;
};

template <class A, void (*kernel)(A)>
static void call(const void* args) {
    kernel(*static_cast<const A*>(args));
}

#define ENTRY(name, Arguments) {#name, sizeof(Arguments), call<const Arguments, name>}
static const Entry ENTRIES[] = {
    ENTRY(scatter_series, ScatterSeries<double>),
    ENTRY(scatter_series_f32, ScatterSeries<float>),
    ENTRY(gather_series, GatherSeries),
    ENTRY(mark_defined, MarkDefined<double>),
    ENTRY(mark_defined_f32, MarkDefined<float>),
    ENTRY(sma, Indicator<double>),
    ENTRY(sma_f32, Indicator<float>),
    ENTRY(ema, Indicator<double>),
    ENTRY(ema_f32, Indicator<float>),
    ENTRY(rsi, Indicator<double>),
    ENTRY(rsi_f32, Indicator<float>),
    ENTRY(atr, Indicator<double>),
    ENTRY(atr_f32, Indicator<float>),
    ENTRY(combine, Combine<double>),
    ENTRY(combine_f32, Combine<float>),
    ENTRY(compare, Compare<double>),
    ENTRY(compare_f32, Compare<float>),
    ENTRY(compare_grid, Compare<double>),
    ENTRY(compare_grid_f32, Compare<float>),
    ENTRY(logic, Logic),
    ENTRY(scatter_bits, ScatterBits),
    ENTRY(gather_bits, GatherBits),
    ENTRY(stream_copy, Copy),
    ENTRY(arithmetic, Arithmetic),
    ENTRY(rank, Rank),
    ENTRY(gather_words, GatherWords),
    ENTRY(first_touch, FirstTouch),
    ENTRY(simulate_all_in, Simulate),
    ENTRY(simulate_long, Simulate),
    ENTRY(simulate_short, Simulate),
    ENTRY(simulate_both, Simulate),
    ENTRY(measure_long, Simulate),
    ENTRY(measure_short, Simulate),
    ENTRY(measure_both, Simulate),
};

// 0: done. 1: no such kernel. 2: the arguments have another size.
extern "C" int polybolos_launch(const char* name, const unsigned* grid, unsigned block, const void* args, size_t bytes) {
    for (const Entry& entry : ENTRIES) {
        if (std::strcmp(entry.name, name) != 0) continue;
        if (entry.bytes != bytes) return 2;
        body = entry.body;
        arguments = args;
        gridDim = {grid[0], grid[1], grid[2]};
        blockDim = {block, 1, 1};
        static thread_local std::vector<Fiber> fibers;
        fibers.resize(block);
        for (unsigned z = 0; z < grid[2]; z++)
            for (unsigned y = 0; y < grid[1]; y++)
                for (unsigned x = 0; x < grid[0]; x++) {
                    blockIdx = {x, y, z};
                    run_block(fibers);
                }
        return 0;
    }
    return 1;
}
