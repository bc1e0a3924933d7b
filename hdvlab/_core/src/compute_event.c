/* Events of a compute system: HcsSetComputeSystemCallback, and how its callbacks are called. */
#include <stdlib.h>

#include "compute_system.h"
#include "handle.h"

static int is_inside(const struct opened *o) {
    for (struct event_call *call = o->calling; call; call = call->next)
        if (pthread_equal(call->thread, pthread_self()))
            return 1;
    return 0;
}

void compute_await_events(struct compute *compute, HCS_SYSTEM handle) {
    for (;;) {
        struct opened *o = compute->opened;
        while (o && o->handle != handle)
            o = o->next;
        if (!o || !o->calling || is_inside(o))
            return;
        pthread_cond_wait(&compute->changed, &compute->lock);
    }
}

HRESULT HcsSetComputeSystemCallback(HCS_SYSTEM computeSystem, HCS_EVENT_OPTIONS callbackOptions, const void *context,
                                    HCS_EVENT_CALLBACK callback) {
    struct system *system = handle_acquire(computeSystem, HANDLE_SYSTEM);
    if (!system)
        return handle_refusal(computeSystem);
    struct compute *compute = system->compute;
    HRESULT hr = !compute ? E_NOTIMPL
                 : callbackOptions & ~(HcsEventOptionEnableOperationCallbacks | HcsEventOptionEnableVmLifecycle)
                     ? E_INVALIDARG
                     : S_OK;
    if (hr == S_OK) {
        hr = E_HANDLE; /* closed meanwhile */
        pthread_mutex_lock(&compute->lock);
        for (struct opened *o = compute->opened; o; o = o->next)
            if (o->handle == computeSystem) {
                hr = callback && o->callback ? HCS_E_OPERATION_SYSTEM_CALLBACK_ALREADY_SET : S_OK;
                if (hr == S_OK) {
                    o->callback = callback;
                    o->context = context;
                    o->options = callbackOptions;
                    if (!callback)
                        compute_await_events(compute, computeSystem);
                }
                break;
            }
        pthread_mutex_unlock(&compute->lock);
    }
    handle_release(computeSystem);
    return hr;
}

void compute_raise(struct compute *compute, HCS_SYSTEM only, HCS_EVENT_TYPE type, HCS_EVENT_OPTIONS wanted,
                   PCWSTR data, HCS_OPERATION operation) {
    HCS_EVENT event = {.Type = type, .EventData = data, .Operation = operation};
    struct event_call call = {.thread = pthread_self()};
    size_t count = 0;
    pthread_mutex_lock(&compute->lock);
    for (struct opened *o = compute->opened; o; o = o->next)
        count++;
    HCS_SYSTEM *told = malloc((count + 1) * sizeof *told); /* by handle, for the list changes while a callback runs */
    count = 0;
    for (struct opened *o = compute->opened; o && told; o = o->next)
        if (o->callback && (!only || o->handle == only) && (o->options & wanted) == wanted)
            told[count++] = o->handle;
    for (size_t i = 0; i < count; i++)
        for (struct opened *o = compute->opened; o; o = o->next)
            if (o->handle == told[i] && o->callback) {
                HCS_EVENT_CALLBACK callback = o->callback;
                void *context = (void *)(uintptr_t)o->context;
                call.next = o->calling;
                o->calling = &call;
                pthread_mutex_unlock(&compute->lock);
                callback(&event, context);
                pthread_mutex_lock(&compute->lock);
                /* Whoever closes the handle meanwhile, but from inside, waits for this; then it may be gone. */
                for (o = compute->opened; o && o->handle != told[i];)
                    o = o->next;
                for (struct event_call **c = o ? &o->calling : NULL; c && *c; c = &(*c)->next)
                    if (*c == &call) {
                        *c = call.next;
                        break;
                    }
                pthread_cond_broadcast(&compute->changed);
                break;
            }
    pthread_mutex_unlock(&compute->lock);
    free(told);
}
