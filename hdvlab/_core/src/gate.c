/* The gate's table and its holds: who is held, until when, and who lets go. */
#include "gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "system.h"
#include "watch.h"

#define IDLE_NS 100000000ll

void gate_init(struct gate *gate) {
    pthread_mutex_init(&gate->lock, NULL);
    platform_condition_init(&gate->changed);
    gate->limit_ms = GATE_LIMIT_MS;
}

static void free_breakpoint(struct breakpoint *b) {
    if (b->seen)
        free(b->seen->at);
    free(b->seen);
    free(b);
}

void gate_destroy(struct gate *gate) {
    while (gate->breakpoints) {
        struct breakpoint *next = gate->breakpoints->next;
        free_breakpoint(gate->breakpoints);
        gate->breakpoints = next;
    }
    pthread_mutex_destroy(&gate->lock);
    pthread_cond_destroy(&gate->changed);
}

void gate_rearm(struct system *system) {
    int is_armed = system->gate.steps != 0;
    for (const struct breakpoint *b = system->gate.breakpoints; b; b = b->next)
        is_armed |= !(b->is.flags & HDVLAB_BREAK_DISABLED);
    atomic_store(&system->is_gated, is_armed);
}

struct breakpoint *gate_find(struct gate *gate, uint32_t id) {
    struct breakpoint *b = gate->breakpoints;
    while (b && b->id != id)
        b = b->next;
    return b;
}

void gate_drop(struct gate *gate, uint32_t id) {
    for (struct breakpoint **b = &gate->breakpoints; *b; b = &(*b)->next)
        if ((*b)->id == id) {
            struct breakpoint *gone = *b;
            *b = gone->next;
            gate->count--;
            free_breakpoint(gone);
            return;
        }
}

void gate_wake(struct system *system) {
    struct gate *gate = &system->gate;
    pthread_mutex_lock(&gate->lock);
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

void gate_end(struct system *system) {
    atomic_store(&system->gate.is_ending, 1);
    gate_wake(system);
}

/* Under the lock. False: it is not held (any more). */
int gate_let_go(struct gate *gate, struct hold *hold, uint32_t action, uint64_t value) {
    for (struct hold **h = &gate->holds; *h; h = &(*h)->next)
        if (*h == hold) {
            *h = hold->next;
            hold->action = action;
            hold->value = value;
            hold->is_released = 1;
            gate->changes++;
            pthread_cond_broadcast(&gate->changed);
            return 1;
        }
    return 0;
}

/* ---- holding -------------------------------------------------------------------------------------------------------- */

static int is_in(const struct device *device) {
    return atomic_load_explicit(&device->inside, memory_order_relaxed) == pthread_self() ||
           device_is_shared_here(device);
}

/* The devices that this thread is in the callbacks of: nobody else enters them while it is held. And the one of another
 * process whose answers it does not read meanwhile. */
struct around {
    uint32_t count;
    struct device *device[HDVLAB_SLOT_COUNT + 1]; /* each with a reference */
};

static void keep_out(struct system *system, struct device *own, struct around *around) {
    around->count = 0;
    for (uint32_t i = 0; i <= HDVLAB_SLOT_COUNT; i++) {
        struct device *device = i < HDVLAB_SLOT_COUNT ? system_slot_device(system, i) : own;
        if (i == HDVLAB_SLOT_COUNT)
            handle_retain(own->handle); /* it may be in no slot, or in one that is being emptied */
        if (device && (device == own ? i == HDVLAB_SLOT_COUNT && (is_in(own) || thread_context.is_held) : is_in(device))) {
            atomic_fetch_add(&device->held_inside, 1);
            around->device[around->count++] = device;
        } else if (device) {
            handle_release(device->handle);
        }
    }
}

static void let_in(struct around *around) {
    for (uint32_t i = 0; i < around->count; i++) {
        atomic_fetch_sub(&around->device[i]->held_inside, 1);
        handle_release(around->device[i]->handle);
    }
}

static int is_over(struct gate *gate, const struct device *own, const struct around *around) {
    int over = atomic_load(&gate->is_ending) || atomic_load(&own->is_leaving);
    if (thread_context.watch && thread_context.watch->is_ending)
        over |= atomic_load(thread_context.watch->is_ending);
    for (uint32_t i = 0; around && i < around->count; i++)
        over |= atomic_load(&around->device[i]->is_leaving);
    return over;
}

static uint32_t skip_or_continue(const HDVLAB_STOP_STATE *stop) {
    return gate_allows(stop, HDVLAB_SKIP, 0) ? HDVLAB_SKIP : HDVLAB_CONTINUE;
}

/* With the lock held, which is let go meanwhile. */
static void ask_idle(struct gate *gate, struct hold *hold) {
    HDVLAB_GATE_IDLE idle = gate->idle;
    void *context = gate->idle_context;
    gate->calls++;
    pthread_mutex_unlock(&gate->lock);
    thread_context.asking++;
    uint32_t leaves = idle(context, hold->stop.ticket);
    thread_context.asking--;
    pthread_mutex_lock(&gate->lock);
    gate->calls--;
    pthread_cond_broadcast(&gate->changed);
    if (leaves)
        gate_let_go(gate, hold, skip_or_continue(&hold->stop), 0);
}

static void mark(struct system *system, const struct hold *hold, const char *text) {
    trace_mark(system->trace, HDVLAB_MARK, HDVLAB_USER, hold->stop.device, hold->stop.row, S_OK, text,
               (uint32_t)strlen(text));
}

/* Under the lock, until it is released. */
static void wait(struct gate *gate, struct gated *gated, struct hold *hold, const struct around *around, uint32_t *over_ms) {
    while (!hold->is_released) {
        if (is_over(gate, gated->device, around)) {
            gate_let_go(gate, hold, skip_or_continue(&hold->stop), 0);
            break;
        }
        int64_t now = monotonic_ns();
        int64_t end = gate->limit_ms == UINT32_MAX ? INT64_MAX : hold->began_ns + (int64_t)gate->limit_ms * 1000000;
        if (now >= end) {
            gate->overdue++;
            *over_ms = gate->limit_ms;
            gate_let_go(gate, hold, HDVLAB_CONTINUE, 0);
            break;
        }
        int64_t until = gate->idle && end - now > IDLE_NS ? now + IDLE_NS : end;
        (void)platform_wait_until(&gate->changed, &gate->lock, until);
        if (gate->idle && !hold->is_released && monotonic_ns() >= until)
            ask_idle(gate, hold);
    }
}

void gate_hold(struct system *system, struct gated *gated, struct hold *hold) {
    struct gate *gate = &system->gate;
    struct around around;
    uint32_t over_ms = 0;
    keep_out(system, gated->device, &around);
    if (thread_context.is_held)
        atomic_fetch_add(thread_context.is_held, 1);
    pthread_mutex_lock(&gate->lock);
    hold->began_ns = monotonic_ns();
    hold->stop.ticket = ++gate->last_ticket;
    struct hold **place = &gate->holds;
    while (*place)
        place = &(*place)->next;
    *place = hold;
    gate->changes++;
    pthread_cond_broadcast(&gate->changed);
    wait(gate, gated, hold, &around, &over_ms);
    pthread_mutex_unlock(&gate->lock);
    let_in(&around);
    if (thread_context.is_held)
        atomic_fetch_sub(thread_context.is_held, 1);
    thread_context.held_ns += monotonic_ns() - hold->began_ns;
    char text[120] = "";
    unsigned long long was = hold->stop.value, is = hold->value;
    if (over_ms)
        snprintf(text, sizeof text, "held for %u ms, which is the longest; it goes on by itself", over_ms);
    else if (hold->action == HDVLAB_OVERRIDE && gate_is_read(hold->stop.kind) && hold->stop.phase == HDVLAB_BEFORE)
        snprintf(text, sizeof text, "override: 0x%llX, the device was not asked", is);
    else if (hold->action == HDVLAB_OVERRIDE)
        snprintf(text, sizeof text, "override: 0x%llX in place of 0x%llX", is, was);
    else if (hold->action == HDVLAB_SKIP)
        snprintf(text, sizeof text, "skip: the device was not asked");
    else if (hold->action == HDVLAB_RETRY && hold->stop.phase == HDVLAB_AFTER)
        snprintf(text, sizeof text, "retry: the device had answered 0x%llX (0x%08X)", was, (unsigned)hold->stop.status);
    if (*text)
        mark(system, hold, text);
}
