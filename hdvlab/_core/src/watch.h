/* A callback that is watched: whoever gives a guest's answer in the device's place takes the turn first, so that a row
 * is completed once and a message answered once. One writer, the thread that calls; and whoever may take it. */
#ifndef HDVLAB_WATCH_H
#define HDVLAB_WATCH_H

#include <stdatomic.h>
#include <stdint.h>

enum { WATCH_IDLE, WATCH_INSIDE, WATCH_TAKEN, WATCH_STATES = 4 };

struct device;
struct trace;

struct watch {
    _Atomic uint64_t turn; /* counts callbacks, times WATCH_STATES, and the state */
    struct device *device; /* of the outermost callback; this and what follows, only of the turn that is INSIDE or TAKEN */
    struct trace *trace;
    int64_t row, began_ns;
    uint64_t all_ones; /* of the access's width */
    _Atomic int *is_asleep; /* who watches; then it is to be woken */
    _Atomic int *is_ending; /* who serves: it is not to be held any more; NULL = never */
    void (*wake)(struct watch *watch);
    void (*settle)(struct watch *watch); /* waits until whoever took the turn is through with it */
};

static inline void watch_begin(struct watch *watch, struct device *device, struct trace *trace, int64_t row,
                               int64_t began_ns, uint64_t all_ones) {
    watch->device = device;
    watch->trace = trace;
    watch->row = row;
    watch->began_ns = began_ns;
    watch->all_ones = all_ones;
    uint64_t turn = atomic_load_explicit(&watch->turn, memory_order_relaxed);
    atomic_store(&watch->turn, (turn / WATCH_STATES + 1) * WATCH_STATES + WATCH_INSIDE);
    if (__builtin_expect(atomic_load(watch->is_asleep), 0))
        watch->wake(watch);
}

/* True: the answer is still this thread's to give. Else whoever took it has done so: this thread may let go of what it has
 * of the device, and of the device. */
static inline int watch_end(struct watch *watch) {
    uint64_t turn = atomic_load_explicit(&watch->turn, memory_order_relaxed);
    if (turn % WATCH_STATES == WATCH_INSIDE &&
        atomic_compare_exchange_strong(&watch->turn, &turn, turn - WATCH_INSIDE + WATCH_IDLE))
        return 1;
    watch->settle(watch);
    return 0;
}

/* While the gate holds the access nobody's patience runs: true = `watch_resume` begins anew what was to be watched. One that
 * was taken before stays taken. */
static inline int watch_pause(struct watch *watch) { return watch_end(watch); }
static inline void watch_resume(struct watch *watch) {
    watch_begin(watch, watch->device, watch->trace, watch->row, watch->began_ns, watch->all_ones);
}

static inline int watch_is_taken(struct watch *watch) { return atomic_load(&watch->turn) % WATCH_STATES == WATCH_TAKEN; }

#endif
