/* How an access passes the gate: what matches counts and asks, what holds waits outside of the device, and comes back. */
#include "gate.h"

#include "system.h"
#include "tap.h"

/* Out of the device, once. With no lock held. */
static void step_out(struct gated *g) {
    if (g->visit && !g->visit->is_out) {
        leave(g->device, &g->visit->inside);
        g->visit->is_out = 1;
    }
}

/* Whether the device is to be asked (again). */
static int goes_in(const struct gated *g, uint32_t action) {
    if (g->hit.phase == HDVLAB_AFTER)
        return action == HDVLAB_RETRY;
    return action != HDVLAB_SKIP && !(action == HDVLAB_OVERRIDE && gate_is_read(g->hit.kind));
}

static void step_in(struct gated *g, struct verdict *verdict) {
    if (g->visit && g->visit->is_out && goes_in(g, verdict->action)) {
        HRESULT hr = visit_again(g->visit);
        if (FAILED(hr)) {
            verdict->action = GATE_GONE;
            verdict->status = hr;
        }
    }
    if (g->is_paused) {
        watch_resume(thread_context.watch);
        g->is_paused = 0;
    }
}

/* With the VM's patience running, as for any other code of a person: what is asked may never answer. */
static uint32_t ask(struct gate *gate, struct gated *g, uint32_t id) {
    HDVLAB_GATE_ASK callback = gate->ask;
    void *context = gate->ask_context;
    HDVLAB_STOP_STATE hit = g->hit;
    hit.breakpoint = id;
    gate->calls++;
    pthread_mutex_unlock(&gate->lock);
    step_out(g);
    thread_context.asking++;
    uint32_t answer = callback(context, id, &hit);
    thread_context.asking--;
    pthread_mutex_lock(&gate->lock);
    gate->calls--;
    pthread_cond_broadcast(&gate->changed);
    return answer;
}

/* Counts a hit. Whether it is to be held for it. */
static int hits(struct system *system, struct gated *g, uint32_t id) {
    struct gate *gate = &system->gate;
    struct breakpoint *b = gate_find(gate, id);
    if (!b)
        return 0;
    if (b->is.flags & HDVLAB_BREAK_ASK && gate->ask) {
        uint32_t answer = ask(gate, g, id);
        b = gate_find(gate, id); /* the callback, or another thread, may have removed it */
        if (!answer || !b)
            return 0;
    }
    if (++b->hits <= b->is.ignore)
        return 0;
    int holds = !(b->is.flags & HDVLAB_BREAK_PASS);
    if (!holds && b->is.flags & HDVLAB_BREAK_ONCE) {
        gate_drop(gate, id);
        gate_rearm(system);
    }
    return holds;
}

/* Under the lock: the breakpoints that match, lowest id first. */
static uint32_t collect(struct gate *gate, const HDVLAB_STOP_STATE *hit, uint32_t id[GATE_BREAKPOINTS]) {
    uint32_t count = 0;
    for (struct breakpoint *b = gate->breakpoints; b; b = b->next)
        if (gate_matches(&b->is, hit) && (!(b->is.flags & HDVLAB_BREAK_CHANGED) || gate_is_changed(b->seen, hit)))
            id[count++] = b->id;
    return count;
}

static int is_step_due(struct system *system, const HDVLAB_STOP_STATE *hit) {
    struct gate *gate = &system->gate;
    if (!gate->steps || hit->phase != HDVLAB_BEFORE || (hit->origin != HDVLAB_GUEST && hit->origin != HDVLAB_DEVICE) ||
        --gate->steps)
        return 0;
    gate_rearm(system);
    return 1;
}

static int is_nothing_held(const struct gate *gate, const struct device *device) {
    const struct watch *watch = thread_context.watch;
    return atomic_load(&gate->is_ending) || atomic_load(&device->is_leaving) ||
           (watch && watch->is_ending && atomic_load(watch->is_ending)) || (watch && watch_is_taken(thread_context.watch));
}

/* The breakpoint that holds is taken at its word: it counts, and goes if it was for once. */
static void note_stop(struct system *system, uint32_t id) {
    struct breakpoint *b = gate_find(&system->gate, id);
    b->stops++;
    if (b->is.flags & HDVLAB_BREAK_ONCE)
        gate_drop(&system->gate, id);
    system->gate.steps = 0;
    gate_rearm(system);
}

struct verdict gate_look(struct gated *g, uint32_t phase, uint64_t value, HRESULT status) {
    struct system *system = g->device->system;
    struct gate *gate = &system->gate;
    struct verdict verdict = {.action = HDVLAB_CONTINUE, .status = S_OK, .value = value};
    uint32_t id[GATE_BREAKPOINTS], holder = 0;
    if (thread_context.asking)
        return verdict;
    g->hit.phase = phase;
    g->hit.value = value;
    g->hit.status = phase == HDVLAB_AFTER ? status : E_PENDING;
    g->hit.is_inside = !g->visit && (atomic_load_explicit(&g->device->inside, memory_order_relaxed) == pthread_self() ||
                                     device_is_shared_here(g->device) || thread_context.is_held);
    pthread_mutex_lock(&gate->lock);
    uint32_t count = collect(gate, &g->hit, id);
    int is_held = is_step_due(system, &g->hit);
    for (uint32_t i = 0; i < count; i++)
        if (!hits(system, g, id[i]))
            id[i] = 0;
    for (uint32_t i = 0; i < count && !holder; i++) /* while others were asked it may have gone, or held once for all */
        holder = gate_find(gate, id[i]) ? id[i] : 0;
    is_held = (holder || is_held) && !is_nothing_held(gate, g->device);
    if (is_held && holder)
        note_stop(system, holder);
    pthread_mutex_unlock(&gate->lock);
    if (is_held) {
        struct hold hold = {.stop = g->hit};
        hold.stop.breakpoint = holder;
        step_out(g);
        int is_watched = thread_context.watch && thread_context.depth;
        g->is_paused = is_watched && watch_pause(thread_context.watch);
        if (g->is_paused || !is_watched)
            gate_hold(system, g, &hold); /* else the guest has just got its answer, and waits no more */
        verdict.action = hold.action;
        if (hold.action == HDVLAB_OVERRIDE)
            verdict.value = hold.value;
        else if (hold.action == HDVLAB_RETRY && phase == HDVLAB_BEFORE)
            verdict.action = HDVLAB_CONTINUE;
    }
    step_in(g, &verdict);
    return verdict;
}

/* ---- the access of a visit ------------------------------------------------------------------------------------------ */

HRESULT gate_visit(struct visit *v, const struct tapped *tapped, visit_ask *ask_device, uint64_t *value) {
    int is_read = gate_is_read(v->kind);
    struct gated g = gated_of(v->device, v->access->origin, v->kind, v->bar, v->address, v->size);
    g.visit = v;
    g.hit.pc = v->access->pc;
    g.hit.row = tapped->row;
    struct verdict verdict = gate_look(&g, HDVLAB_BEFORE, is_read ? 0 : *value, S_OK);
    if (verdict.action == GATE_GONE || verdict.action == HDVLAB_SKIP) {
        if (is_read)
            *value = ones(v->size);
        return verdict.action == HDVLAB_SKIP ? 1 : verdict.status;
    }
    if (verdict.action == HDVLAB_OVERRIDE) {
        *value = verdict.value;
        if (is_read)
            return S_OK;
    }
    for (;;) {
        HRESULT hr = ask_device(v, value);
        verdict = gate_look(&g, HDVLAB_AFTER, *value, hr);
        if (verdict.action == HDVLAB_OVERRIDE) {
            *value = verdict.value;
            return S_OK;
        }
        if (verdict.action == GATE_GONE) /* the answer that was there is what the guest gets */
            return hr;
        if (verdict.action != HDVLAB_RETRY)
            return hr;
    }
}
