/* What the header's section "gate" exports: the table, and who is held. */
#include <errno.h>
#include <stdlib.h>

#include "handle.h"
#include "system.h"

static struct system *enter(HCS_SYSTEM handle, HRESULT *hr) {
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    *hr = system ? S_OK : handle_refusal(handle);
    if (system)
        pthread_mutex_lock(&system->gate.lock);
    return system;
}

static HRESULT leave(struct system *system, HCS_SYSTEM handle, HRESULT hr) {
    pthread_mutex_unlock(&system->gate.lock);
    handle_release(handle);
    return hr;
}

/* Room for the last values of a breakpoint that needs them. */
static HRESULT keep_values(struct breakpoint *b) {
    if (b->is.flags & HDVLAB_BREAK_CHANGED && !b->seen && !(b->seen = calloc(1, sizeof *b->seen)))
        return E_OUTOFMEMORY;
    return S_OK;
}

HRESULT hdvlab_gate_add(HCS_SYSTEM handle, const HDVLAB_BREAKPOINT *breakpoint, uint32_t *id) {
    if (!breakpoint || !id)
        return E_POINTER;
    if (!gate_is_sound(breakpoint))
        return E_INVALIDARG;
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    struct gate *gate = &system->gate;
    if (gate->count >= GATE_BREAKPOINTS)
        return leave(system, handle, HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA));
    struct breakpoint *b = calloc(1, sizeof *b);
    if (!b)
        return leave(system, handle, E_OUTOFMEMORY);
    b->is = *breakpoint;
    if (FAILED(keep_values(b))) {
        free(b);
        return leave(system, handle, E_OUTOFMEMORY);
    }
    b->id = *id = ++gate->last_id;
    struct breakpoint **place = &gate->breakpoints;
    while (*place)
        place = &(*place)->next;
    *place = b;
    gate->count++;
    gate_rearm(system);
    return leave(system, handle, S_OK);
}

HRESULT hdvlab_gate_set(HCS_SYSTEM handle, uint32_t id, uint32_t flags) {
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    struct breakpoint *b = gate_find(&system->gate, id);
    if (!b)
        return leave(system, handle, HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    uint32_t before = b->is.flags;
    b->is.flags = flags;
    hr = gate_is_sound(&b->is) ? keep_values(b) : E_INVALIDARG;
    if (FAILED(hr))
        b->is.flags = before;
    gate_rearm(system);
    return leave(system, handle, hr);
}

HRESULT hdvlab_gate_remove(HCS_SYSTEM handle, uint32_t id) {
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    hr = gate_find(&system->gate, id) ? S_OK : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    gate_drop(&system->gate, id);
    gate_rearm(system);
    return leave(system, handle, hr);
}

HRESULT hdvlab_gate_hits(HCS_SYSTEM handle, uint32_t id, uint64_t *hits, uint64_t *stops) {
    if (!hits || !stops)
        return E_POINTER;
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    const struct breakpoint *b = gate_find(&system->gate, id);
    if (!b)
        return leave(system, handle, HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    *hits = b->hits;
    *stops = b->stops;
    return leave(system, handle, S_OK);
}

HRESULT hdvlab_gate_step(HCS_SYSTEM handle, uint64_t count) {
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    system->gate.steps = count;
    gate_rearm(system);
    return leave(system, handle, S_OK);
}

HRESULT hdvlab_gate_stops(HCS_SYSTEM handle, HDVLAB_STOP_STATE *stops, uint32_t room, uint32_t *count) {
    if (!count || (room && !stops))
        return E_POINTER;
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    int64_t now = monotonic_ns();
    *count = 0;
    for (const struct hold *hold = system->gate.holds; hold; hold = hold->next, ++*count)
        if (*count < room) {
            stops[*count] = hold->stop;
            stops[*count].held_ns = now - hold->began_ns;
        }
    return leave(system, handle, S_OK);
}

HRESULT hdvlab_gate_release(HCS_SYSTEM handle, uint64_t ticket, uint32_t action, uint64_t value) {
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    struct hold *hold = system->gate.holds;
    while (hold && hold->stop.ticket != ticket)
        hold = hold->next;
    if (!hold)
        hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    else if (!gate_allows(&hold->stop, action, value))
        hr = E_INVALIDARG;
    else
        gate_let_go(&system->gate, hold, action, value);
    return leave(system, handle, hr);
}

HRESULT hdvlab_gate_wait(HCS_SYSTEM handle, uint64_t *changes, uint32_t ms) {
    if (!changes)
        return E_POINTER;
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    struct gate *gate = &system->gate;
    int64_t end = ms == UINT32_MAX ? INT64_MAX : monotonic_ns() + (int64_t)ms * 1000000;
    while (gate->changes == *changes && hr == S_OK)
        if (atomic_load(&gate->is_ending) && !gate->holds)
            hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
        else if (platform_wait_until(&gate->changed, &gate->lock, end) == ETIMEDOUT && gate->changes == *changes)
            hr = HRESULT_FROM_WIN32(ERROR_BUSY);
    *changes = gate->changes;
    return leave(system, handle, hr);
}

HRESULT hdvlab_gate_limit(HCS_SYSTEM handle, uint32_t ms) {
    if (!ms)
        return E_INVALIDARG;
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    system->gate.limit_ms = ms;
    pthread_cond_broadcast(&system->gate.changed);
    return leave(system, handle, S_OK);
}

HRESULT hdvlab_gate_overdue(HCS_SYSTEM handle, uint64_t *count) {
    if (!count)
        return E_POINTER;
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    *count = system->gate.overdue;
    return leave(system, handle, S_OK);
}

/* Whoever is in the callback of before has left it; not from within one, which would wait for itself. */
static void await_calls(struct gate *gate) {
    while (gate->calls && !thread_context.asking)
        pthread_cond_wait(&gate->changed, &gate->lock);
}

HRESULT hdvlab_gate_on_ask(HCS_SYSTEM handle, HDVLAB_GATE_ASK ask, void *context) {
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    system->gate.ask = ask;
    system->gate.ask_context = context;
    await_calls(&system->gate);
    return leave(system, handle, S_OK);
}

HRESULT hdvlab_gate_on_idle(HCS_SYSTEM handle, HDVLAB_GATE_IDLE idle, void *context) {
    HRESULT hr;
    struct system *system = enter(handle, &hr);
    if (!system)
        return hr;
    system->gate.idle = idle;
    system->gate.idle_context = context;
    pthread_cond_broadcast(&system->gate.changed);
    await_calls(&system->gate);
    return leave(system, handle, S_OK);
}
