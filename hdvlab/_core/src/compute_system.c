/* Compute systems by id and by handle: HcsCreateComputeSystem, HcsOpenComputeSystem, HcsCloseComputeSystem.
 *
 * The machine's own handle belongs to the registry as long as the system is not stopped. A client's handle is an entry of
 * its own for the same machine, which keeps the machine's alive. */
#include "compute_system.h"

#include <stdlib.h>
#include <string.h>

#include "guid_name.h"
#include "handle.h"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER; /* taken before a system's, never held across a call */
static struct compute *registry;

/* Namespace of runtime ids: the nil UUID. */
static const GUID nil;

void compute_free(struct compute *compute) {
    if (!compute)
        return;
    for (int i = 0; i < HDVLAB_SLOT_COUNT; i++)
        free(compute->keys[i]);
    pthread_mutex_destroy(&compute->lock);
    pthread_cond_destroy(&compute->changed);
    free(compute->id);
    free(compute->owner);
    free(compute);
}

static int wide_equal(const WCHAR *a, const WCHAR *b) {
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* With the registry's lock held. */
static struct compute *find(const WCHAR *id) {
    struct compute *compute = registry;
    while (compute && !wide_equal(compute->id, id))
        compute = compute->next;
    return compute;
}

/* In a forked child: the parent's systems are known there by no id, and by no handle either (handle.c). */
static void leave_to_parent(void *object) {
    (void)object;
    registry = NULL;
    pthread_mutex_init(&registry_lock, NULL);
}

void compute_leave(struct compute *compute, enum exit_type exit_type) {
    pthread_mutex_lock(&registry_lock);
    for (struct compute **c = &registry; *c; c = &(*c)->next)
        if (*c == compute) {
            *c = compute->next;
            break;
        }
    pthread_mutex_lock(&compute->lock);
    compute->stopped = 1;
    compute->exit_type = exit_type;
    pthread_cond_broadcast(&compute->changed);
    pthread_mutex_unlock(&compute->lock);
    pthread_mutex_unlock(&registry_lock);
    handle_retire(compute->system->handle, HANDLE_SYSTEM); /* whoever calls this has a reference */
}

void compute_for_each(void (*visit)(struct compute *, void *), void *context) {
    pthread_mutex_lock(&registry_lock);
    for (struct compute *compute = registry; compute; compute = compute->next)
        visit(compute, context);
    pthread_mutex_unlock(&registry_lock);
}

/* ---- handles ------------------------------------------------------------------------------------------------------- */

static void destroy_opened(void *object) {
    struct system *system = object;
    handle_release(system->handle);
}

/* One more handle; NULL: out of memory. The caller has a reference on the system. */
static HCS_SYSTEM open_handle(struct compute *compute) {
    struct opened *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    handle_retain(compute->system->handle);
    if (!(o->handle = handle_create(HANDLE_SYSTEM, compute->system, destroy_opened))) {
        handle_release(compute->system->handle);
        free(o);
        return NULL;
    }
    HCS_SYSTEM handle = o->handle;
    pthread_mutex_lock(&compute->lock);
    o->next = compute->opened;
    compute->opened = o;
    pthread_mutex_unlock(&compute->lock);
    return handle;
}

HRESULT HcsOpenComputeSystem(PCWSTR id, DWORD requestedAccess, HCS_SYSTEM *computeSystem) {
    (void)requestedAccess; /* there is one user: this process */
    if (!id || !computeSystem)
        return E_POINTER;
    *computeSystem = NULL;
    HRESULT hr = HCS_E_SYSTEM_NOT_FOUND;
    pthread_mutex_lock(&registry_lock);
    struct compute *compute = find(id);
    if (compute)
        hr = (*computeSystem = open_handle(compute)) ? S_OK : E_OUTOFMEMORY;
    pthread_mutex_unlock(&registry_lock);
    return hr;
}

static void terminate_and_wait(struct compute *compute) {
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return; /* it lives on, as without the flag; whoever opens it can terminate it */
    job->type = HcsOperationTypeTerminate;
    job->compute = compute;
    handle_retain(compute->system->handle);
    if (FAILED(compute_submit(job)) || thread_context.depth)
        return; /* in a callback, whose end the work waits for */
    pthread_mutex_lock(&compute->lock);
    while (!compute->stopped)
        pthread_cond_wait(&compute->changed, &compute->lock);
    pthread_mutex_unlock(&compute->lock);
}

void HcsCloseComputeSystem(HCS_SYSTEM computeSystem) {
    struct system *system = handle_acquire(computeSystem, HANDLE_SYSTEM);
    if (!system)
        return;
    struct compute *compute = system->compute;
    struct opened *gone = NULL;
    int last = 0;
    if (!compute)
        hdvlab_system_close(computeSystem);
    else if (handle_retire(computeSystem, HANDLE_SYSTEM)) {
        pthread_mutex_lock(&compute->lock);
        for (struct opened *o = compute->opened; o; o = o->next)
            if (o->handle == computeSystem)
                o->callback = NULL; /* no call begins any more */
        compute_await_events(compute, computeSystem);
        for (struct opened **o = &compute->opened; *o; o = &(*o)->next)
            if ((*o)->handle == computeSystem) {
                gone = *o;
                *o = gone->next;
                break;
            }
        last = !compute->opened && compute->terminate_on_last_close && !compute->stopped;
        pthread_mutex_unlock(&compute->lock);
        free(gone);
    }
    if (last)
        terminate_and_wait(compute);
    handle_release(computeSystem);
}

/* ---- creation ------------------------------------------------------------------------------------------------------ */

/* The machine of `settings`, out of which it takes what it keeps; in no registry yet. */
static HRESULT make(const WCHAR *id, struct system_settings *settings, struct compute **made) {
    HCS_SYSTEM handle = NULL;
    struct compute *compute = calloc(1, sizeof *compute);
    HRESULT hr = compute && (compute->id = wide_copy(id)) ? S_OK : E_OUTOFMEMORY;
    if (hr == S_OK)
        hr = hdvlab_embedded_create(settings->ram_bytes, 0, NULL, &handle);
    if (FAILED(hr)) {
        if (compute)
            free(compute->id);
        free(compute);
        return hr;
    }
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    for (uint32_t i = 0; i < settings->slot_count && hr == S_OK; i++) {
        struct slot_settings *slot = &settings->slots[i];
        hr = system_add_slot(system, i, slot->hosting, &slot->class_id, &slot->instance_id, slot->configuration_count,
                             slot->configuration);
        compute->keys[i] = slot->key;
        slot->key = NULL;
    }
    compute->owner = settings->owner;
    settings->owner = NULL;
    size_t length = wide_length(id);
    if (!guid_parse(id, length, &compute->runtime_id))
        compute->runtime_id = guid_of_name(&nil, id, length);
    compute->ram_bytes = settings->ram_bytes;
    compute->terminate_on_last_close = settings->terminate_on_last_close;
    pthread_mutex_init(&compute->lock, NULL);
    pthread_cond_init(&compute->changed, NULL);
    compute->system = system;
    system->compute = compute;
    if (FAILED(hr))
        handle_retire(handle, HANDLE_SYSTEM);
    handle_release(handle);
    *made = compute;
    return hr;
}

/* Puts it into the registry and gives out its first handle; else there is none. */
static HRESULT admit(struct compute *compute, HCS_SYSTEM *handle) {
    HRESULT hr = S_OK;
    handle_on_fork(HANDLE_SYSTEM, leave_to_parent);
    pthread_mutex_lock(&registry_lock);
    if (find(compute->id))
        hr = HCS_E_SYSTEM_ALREADY_EXISTS;
    else if (!(*handle = open_handle(compute)))
        hr = E_OUTOFMEMORY;
    if (hr == S_OK) {
        compute->next = registry;
        registry = compute;
    }
    pthread_mutex_unlock(&registry_lock);
    if (FAILED(hr))
        handle_retire(compute->system->handle, HANDLE_SYSTEM);
    return hr;
}

HRESULT HcsCreateComputeSystem(PCWSTR id, PCWSTR configuration, HCS_OPERATION operation,
                               const SECURITY_DESCRIPTOR *securityDescriptor, HCS_SYSTEM *computeSystem) {
    (void)securityDescriptor;
    if (!id || !configuration || !computeSystem)
        return E_POINTER;
    *computeSystem = NULL;
    struct operation *tracked;
    HRESULT hr = operation_begin(operation, HcsOperationTypeCreate, NULL, &tracked);
    if (FAILED(hr))
        return hr;
    struct system_settings settings = {0};
    struct json_writer path = {0};
    struct compute *compute = NULL;
    struct job *job = calloc(1, sizeof *job);
    HCS_SYSTEM handle = NULL;
    WCHAR *error = NULL;
    if (!*id)
        error = document_error(hr = E_INVALIDARG, &path, "the id of a compute system is not empty");
    else
        hr = job ? document_read_system(configuration, &settings, &error) : E_OUTOFMEMORY;
    if (hr == S_OK)
        hr = make(id, &settings, &compute);
    if (hr == S_OK)
        hr = admit(compute, &handle);
    system_settings_drop(&settings);
    if (hr == HCS_E_SYSTEM_ALREADY_EXISTS) {
        json_write_units(&path, id, wide_length(id));
        error = document_error(hr, &path, "a compute system of this id exists");
    }
    if (FAILED(hr)) {
        free(job);
        operation_refuse(tracked, hr, error);
        return hr;
    }
    operation_made(tracked, handle);
    *job = (struct job){.type = HcsOperationTypeCreate, .compute = compute, .operation = tracked, .handle = handle};
    handle_retain(compute->system->handle); /* the job's */
    handle_retain(compute->system->handle);
    struct system *system = compute->system;
    *computeSystem = handle;
    hr = compute_submit(job);
    if (FAILED(hr)) { /* no thread for the completion: as if it had not been called */
        *computeSystem = NULL;
        compute_leave(compute, EXIT_NONE);
        HcsCloseComputeSystem(handle);
    }
    handle_release(system->handle);
    return hr;
}
