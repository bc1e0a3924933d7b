/* Time since a trace began, in nanoseconds: the TSC where it is invariant, else CLOCK_MONOTONIC.
 * Ref: Intel SDM volume 3, section 18.17.1 (invariant TSC). */
#ifndef HDVLAB_CLOCK_H
#define HDVLAB_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "platform.h"

struct clock {
    uint32_t kind;       /* HDVLAB_CLOCK_* but never AUTO */
    uint32_t pad;
    uint64_t tsc0;       /* ticks when t_ns was 0 */
    uint64_t multiplier; /* ns = ticks * multiplier >> 32 */
    int64_t mono0_ns;    /* CLOCK_MONOTONIC when t_ns was 0 */
    _Atomic int64_t manual_ns;
};

static inline int64_t clock_now(const struct clock *clock) {
#if defined(__x86_64__)
    if (clock->kind == 1) /* HDVLAB_CLOCK_TSC */
        return (int64_t)((unsigned __int128)(__rdtsc() - clock->tsc0) * clock->multiplier >> 32);
#endif
    if (clock->kind == 2) /* HDVLAB_CLOCK_MONOTONIC */
        return monotonic_ns() - clock->mono0_ns;
    return atomic_load_explicit(&clock->manual_ns, memory_order_relaxed);
}

/* Sets up `clock` so that now is 0. `wanted` may be AUTO; a TSC that is not invariant gives MONOTONIC. */
void clock_start(struct clock *clock, uint32_t wanted);

#endif
