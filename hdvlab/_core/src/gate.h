/* The gate: where accesses are counted, asked about and held. gate.c holds, gate_match.c decides what matches, gate_look.c is
 * how an access passes, gate_call.c is what the header exports. */
#ifndef HDVLAB_GATE_H
#define HDVLAB_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "hdvlab.h"

#define GATE_BREAKPOINTS 256u
#define GATE_SEEN 256u /* places of a CHANGED breakpoint to begin with, and at most */
#define GATE_SEEN_MOST (1u << 20)
#define GATE_LIMIT_MS 1200000u

struct device;
struct system;
struct visit;

/* Last values by place, for CHANGED: a hash table that grows, at most three quarters full. */
struct gate_seen {
    uint32_t count, room; /* a power of two, or 0 */
    struct seen_value {
        uint64_t address, value;
        uint32_t size;
        uint16_t device;
        int8_t bar;
        uint8_t kind; /* 0: an empty place */
    } *at;
};

struct breakpoint {
    struct breakpoint *next; /* of a higher id */
    uint32_t id;
    HDVLAB_BREAKPOINT is;
    uint64_t hits, stops;
    struct gate_seen *seen; /* NULL: it never was CHANGED */
};

/* A held access, on the stack of its thread. */
struct hold {
    struct hold *next; /* younger */
    HDVLAB_STOP_STATE stop;
    int64_t began_ns;
    int is_released;
    uint32_t action;
    uint64_t value;
};

struct gate {
    pthread_mutex_t lock; /* all that follows; never held across a callback, and no other lock is taken under it */
    pthread_cond_t changed;
    struct breakpoint *breakpoints;
    uint32_t count, last_id;
    uint64_t steps; /* left until one holds; 0 = none */
    struct hold *holds;
    uint64_t last_ticket, changes, overdue;
    uint32_t limit_ms;
    uint32_t calls; /* of ask and idle, that run now */
    HDVLAB_GATE_ASK ask;
    void *ask_context;
    HDVLAB_GATE_IDLE idle;
    void *idle_context;
    _Atomic int is_ending; /* the machine is: nothing is held any more */
};

void gate_init(struct gate *gate);
void gate_destroy(struct gate *gate);
/* Lets go of everything, for good. */
void gate_end(struct system *system);
/* Why something is held may have gone (a device, a server): who holds looks again. */
void gate_wake(struct system *system);
/* Under the lock, after breakpoints or steps have changed. */
void gate_rearm(struct system *system);
struct breakpoint *gate_find(struct gate *gate, uint32_t id);
void gate_drop(struct gate *gate, uint32_t id);
int gate_let_go(struct gate *gate, struct hold *hold, uint32_t action, uint64_t value);

/* What is at the gate. */
struct gated {
    struct device *device;
    struct visit *visit; /* NULL: it stays inside of what it is in */
    HDVLAB_STOP_STATE hit;
    int is_paused; /* the watch of this thread is */
};

enum { GATE_GONE = HDVLAB_RETRY + 1 }; /* the device cannot be asked any more: status says why */
struct verdict {
    uint32_t action;
    HRESULT status;
    uint64_t value;
};
/* What is to become of an access; waits where it is held. Not for hot paths: see gate_is_armed. */
struct verdict gate_look(struct gated *gated, uint32_t phase, uint64_t value, HRESULT status);
/* Holds it until it is released; called without the lock. */
void gate_hold(struct system *system, struct gated *gated, struct hold *hold);

/* gate_match.c: pure. */
int gate_sees(uint32_t kind);
int gate_is_sound(const HDVLAB_BREAKPOINT *breakpoint);
int gate_is_read(uint32_t kind);
int gate_is_step(uint32_t kind); /* of a device's life, which cannot be left out */
int gate_matches(const HDVLAB_BREAKPOINT *breakpoint, const HDVLAB_STOP_STATE *hit);
/* Whether the value is another than the last one there, which it takes the place of. The first one there is none, unless
 * there is no room to remember it: then nobody knows, and who asks is to look. */
int gate_is_changed(struct gate_seen *seen, const HDVLAB_STOP_STATE *hit);
int gate_allows(const HDVLAB_STOP_STATE *stop, uint32_t action, uint64_t value);

#endif
