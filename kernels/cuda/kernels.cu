// The one translation unit: what NVRTC compiles to the PTX that is shipped.
#include "platform.cuh"
#include "series.cuh"
#include "bits.cuh"
#include "simulate.cuh"
#include "speed.cuh"
#include "score.cuh"
