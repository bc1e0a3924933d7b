#include "clock.h"

#include <string.h>

#include "hdvlab.h"
#if defined(__x86_64__)
#include <cpuid.h>

#define CALIBRATION_NS 20000000

static int tsc_is_invariant(void) {
    uint32_t a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1u << 8 && platform_trusts_tsc();
}

/* A pair of readings taken as close together as possible: of several tries the tightest. */
static void read_pair(uint64_t *ticks, int64_t *ns) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 16; i++) {
        uint64_t before = __rdtsc();
        int64_t now = monotonic_ns();
        uint64_t after = __rdtsc();
        if (after - before < best) {
            best = after - before;
            *ticks = before + (after - before) / 2;
            *ns = now;
        }
    }
}

static uint64_t first_ticks;
static int64_t first_ns;

__attribute__((constructor)) static void note_load_time(void) { read_pair(&first_ticks, &first_ns); }

static uint64_t tsc_multiplier(void) {
    uint64_t ticks = 0;
    int64_t ns = 0;
    read_pair(&ticks, &ns);
    if (ns - first_ns < CALIBRATION_NS) {
        struct timespec rest = {0, CALIBRATION_NS - (long)(ns - first_ns)};
        nanosleep(&rest, NULL);
        read_pair(&ticks, &ns);
    }
    return (uint64_t)(((unsigned __int128)(ns - first_ns) << 32) / (ticks - first_ticks));
}
#endif

void clock_start(struct clock *clock, uint32_t wanted) {
    memset(clock, 0, sizeof *clock);
    clock->kind = wanted == HDVLAB_CLOCK_MANUAL ? HDVLAB_CLOCK_MANUAL : HDVLAB_CLOCK_MONOTONIC;
#if defined(__x86_64__)
    if ((wanted == HDVLAB_CLOCK_AUTO || wanted == HDVLAB_CLOCK_TSC) && tsc_is_invariant()) {
        clock->multiplier = tsc_multiplier();
        clock->kind = HDVLAB_CLOCK_TSC;
        read_pair(&clock->tsc0, &clock->mono0_ns);
        return;
    }
#endif
    clock->mono0_ns = monotonic_ns();
}
