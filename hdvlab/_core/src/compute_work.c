/* The work of compute systems: calls in their order, each on a thread of its own, and what each call does.
 *
 * A thread takes one job, does it, lets the next one begin, and only then calls callbacks, which may so issue calls for
 * the same system and wait for them. Then it ends: an idle system has no thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute_system.h"
#include "handle.h"
#include "platform.h"

static void *serve(void *argument);

static void drop(struct job *job) {
    struct compute *compute = job->compute;
    slot_settings_drop(&job->added);
    query_settings_drop(&job->query);
    free(job);
    if (compute)
        handle_release(compute->system->handle);
}

/* A thread for the first job of `compute`, or for this one that needs none. */
static int begin_thread(struct compute *compute, struct job *job) {
    pthread_t thread;
    if (platform_thread_start(&thread, serve, compute ? compute->first : job))
        return 0;
    pthread_detach(thread);
    return 1;
}

HRESULT compute_submit(struct job *job) {
    struct compute *compute = job->compute;
    int begun = 1, is_end = job->type == HcsOperationTypeTerminate;
    if (!compute) {
        begun = begin_thread(NULL, job);
    } else {
        pthread_mutex_lock(&compute->lock);
        struct job **last = &compute->first;
        while (*last)
            last = &(*last)->next;
        *last = job;
        if (!compute->working) {
            begun = compute->working = begin_thread(compute, NULL);
            if (!begun)
                *last = NULL;
        }
        pthread_mutex_unlock(&compute->lock);
    }
    if (begun && is_end)
        gate_end(compute->system); /* what comes before it may wait for what is held */
    if (begun)
        return S_OK;
    operation_refuse(job->operation, E_OUTOFMEMORY, NULL);
    drop(job);
    return E_OUTOFMEMORY;
}

/* Out of the queue with it; the next one begins. */
static void hand_over(struct compute *compute) {
    pthread_mutex_lock(&compute->lock);
    compute->first = compute->first->next;
    compute->working = compute->first != NULL;
    while (compute->first && !begin_thread(compute, NULL)) {
        struct job *job = compute->first; /* no thread to be had: this one fails, the next one may have more luck */
        compute->first = job->next;
        compute->working = compute->first != NULL;
        pthread_mutex_unlock(&compute->lock);
        operation_finish(job->operation, E_OUTOFMEMORY, NULL);
        operation_tell(job->operation);
        drop(job);
        pthread_mutex_lock(&compute->lock);
    }
    pthread_mutex_unlock(&compute->lock);
}

static void tell_exit(struct compute *compute, HRESULT status) {
    static const char *const types[] = {"None", "GracefulExit", "ForcedExit", "UnexpectedExit"};
    struct json_writer w = {0};
    json_write(&w, "{\"Status\":");
    json_write_number(&w, status);
    json_write(&w, ",\"ExitType\":\"");
    json_write(&w, types[compute->exit_type]);
    json_write(&w, "\"}");
    WCHAR *data = json_written(&w);
    compute_raise(compute, NULL, HcsEventSystemExited, HcsEventOptionNone, data, NULL);
    free(data);
}

static void *serve(void *argument) {
    struct job *job = argument;
    struct compute *compute = job->compute;
    WCHAR *document = NULL;
    int was_stopped = compute && compute->stopped; /* only its work stops it, and that is this thread's now */
    HRESULT hr = S_OK;
    if (operation_run(job->operation)) {
        hr = compute_work(job, &document);
        operation_finish(job->operation, hr, document);
    }
    int exited = compute && compute->stopped && !was_stopped;
    HCS_OPERATION operation = operation_handle(job->operation);
    if (compute)
        hand_over(compute);
    if (exited)
        tell_exit(compute, job->type == HcsOperationTypeStart ? hr : S_OK);
    if (compute && operation)
        compute_raise(compute, job->handle, HcsEventOperationCallback, HcsEventOptionEnableOperationCallbacks, NULL,
                      operation);
    operation_tell(job->operation);
    drop(job);
    return NULL;
}

/* ---- the calls ----------------------------------------------------------------------------------------------------- */

/* The error document of a call that the state of the system does not allow. */
static HRESULT refuse(HRESULT code, const char *why, WCHAR **document) {
    struct json_writer none = {0};
    *document = document_error(code, &none, why);
    return code;
}

static HRESULT wrong_state(const struct compute *compute, const char *needed, WCHAR **document) {
    char why[96];
    if (compute->stopped)
        return refuse(HCS_E_SYSTEM_ALREADY_STOPPED, "the compute system is Stopped", document);
    int running = atomic_load(&compute->system->state) == SYSTEM_RUNNING;
    snprintf(why, sizeof why, "the compute system is %s; this needs %s",
             !running                                ? "Created"
             : atomic_load(&compute->system->paused) ? "Paused"
                                                     : "Running",
             needed);
    return refuse(HCS_E_INVALID_STATE, why, document);
}

static int is_running(const struct compute *compute) {
    return atomic_load(&compute->system->state) == SYSTEM_RUNNING && !atomic_load(&compute->system->paused);
}

/* What kept the device of a slot from starting, with the slot's path. */
static HRESULT device_failed(struct compute *compute, const WCHAR *key, const GUID *class_id, const GUID *instance_id,
                             int hosting, HRESULT hr, WCHAR **document) {
    static const char *const models[] = {"", " of hosting model External", " of hosting model ExternalRestricted"};
    struct json_writer path = {0};
    char why[160];
    json_write(&path, "VirtualMachine.Devices.FlexibleIov.");
    json_write_units(&path, key, wide_length(key));
    if (hr == E_UNEXPECTED && !system_has_device(compute->system, class_id, instance_id, hosting))
        snprintf(why, sizeof why, "no device host%s has an instance of this class and id", models[hosting]);
    else
        snprintf(why, sizeof why, "the device failed to start (0x%08X)", (unsigned)hr);
    *document = document_error(hr, &path, why);
    return hr;
}

static HRESULT start(struct compute *compute, WCHAR **document) {
    struct system *system = compute->system;
    struct slot *failed;
    static const WCHAR unnamed[] = {0};
    if (atomic_load(&system->state) != SYSTEM_OFF)
        return wrong_state(compute, "Created", document);
    HRESULT hr = system_start(system, &failed);
    if (FAILED(hr)) {
        if (failed) {
            const WCHAR *key = compute->keys[failed - system->slots];
            device_failed(compute, key ? key : unnamed, &failed->class_id, &failed->instance_id, failed->hosting, hr,
                          document);
        }
        if (atomic_load(&system->state) == SYSTEM_STOPPED)
            compute_leave(compute, EXIT_UNEXPECTED);
    }
    return hr;
}

static HRESULT stop(struct compute *compute, enum exit_type exit_type, WCHAR **document) {
    if (exit_type == EXIT_GRACEFUL ? !is_running(compute) : compute->stopped)
        return wrong_state(compute, "Running", document);
    HRESULT hr = system_stop(compute->system);
    if (SUCCEEDED(hr))
        compute_leave(compute, exit_type);
    return hr;
}

static HRESULT set_paused(struct compute *compute, int paused, WCHAR **document) {
    struct system *system = compute->system;
    if (atomic_load(&system->state) != SYSTEM_RUNNING || (atomic_load(&system->paused) == PAUSED) == paused)
        return wrong_state(compute, paused ? "Running" : "Paused", document);
    struct row r = {.kind = paused ? HDVLAB_PAUSE : HDVLAB_RESUME, .origin = HDVLAB_USER, .device = HDVLAB_NO_DEVICE,
                    .bar = -1, .cause = -1};
    if (!paused)
        trace_event(system->trace, &r, S_OK); /* before the accesses that it lets go, and the other after the last */
    system_set_paused(system, paused ? PAUSED : NOT_PAUSED);
    if (paused)
        trace_event(system->trace, &r, S_OK);
    return S_OK;
}

static HRESULT add(struct compute *compute, struct slot_settings *added, WCHAR **document) {
    struct system *system = compute->system;
    if (!is_running(compute))
        return wrong_state(compute, "Running", document);
    uint32_t place = HDVLAB_SLOT_COUNT; /* only this thread changes slots, but for calls of hdvlab's own */
    int is_there = 0;
    pthread_mutex_lock(&system->lock);
    for (uint32_t i = HDVLAB_SLOT_COUNT; i-- > 0;) {
        const struct slot *slot = &system->slots[i];
        if (!slot->used)
            place = i;
        else
            is_there |= !memcmp(&slot->instance_id, &added->instance_id, sizeof(GUID));
    }
    pthread_mutex_unlock(&system->lock);
    if (is_there)
        return refuse(HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS), "ResourcePath: a device of this id is there", document);
    if (place == HDVLAB_SLOT_COUNT)
        return refuse(HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA), "all 32 slots are taken", document);
    HRESULT hr = system_add_slot(system, place, added->hosting, &added->class_id, &added->instance_id,
                                 added->configuration_count, added->configuration);
    if (FAILED(hr))
        return device_failed(compute, added->key, &added->class_id, &added->instance_id, added->hosting, hr, document);
    free(compute->keys[place]);
    compute->keys[place] = added->key;
    added->key = NULL;
    return S_OK;
}

void compute_write_properties(struct json_writer *w, struct compute *compute, int with_memory) {
    static const char *const exits[] = {"None", "GracefulExit", "ForcedExit", "UnexpectedExit"};
    int state = atomic_load(&compute->system->state), paused = atomic_load(&compute->system->paused);
    int stopped = state == SYSTEM_STOPPED;
    json_write(w, "{\"Id\":");
    json_write_string(w, compute->id, wide_length(compute->id));
    json_write(w, ",\"SystemType\":\"VirtualMachine\",\"RuntimeOsType\":\"Unknown\",\"Name\":");
    json_write_string(w, compute->id, wide_length(compute->id));
    json_write(w, ",\"Owner\":");
    json_write_string(w, compute->owner, compute->owner ? wide_length(compute->owner) : 0);
    json_write(w, ",\"RuntimeId\":\"");
    json_write_guid(w, &compute->runtime_id);
    json_write(w, "\",\"State\":\"");
    json_write(w, stopped                   ? "Stopped"
                  : state != SYSTEM_RUNNING ? "Created"
                  : paused                  ? "Paused"
                                            : "Running");
    json_write(w, stopped ? "\",\"Stopped\":true,\"ExitType\":\"" : "\",\"Stopped\":false,\"ExitType\":\"");
    json_write(w, exits[stopped ? compute->exit_type : EXIT_NONE]);
    json_write(w, compute->terminate_on_last_close ? "\",\"TerminateOnLastHandleClosed\":true"
                                                   : "\",\"TerminateOnLastHandleClosed\":false");
    if (with_memory) {
        json_write(w, ",\"Memory\":{\"VirtualMachineMemory\":{\"AssignedMemory\":");
        json_write_number(w, (int64_t)(compute->ram_bytes / 4096)); /* pages, as Hyper-V counts them */
        json_write(w, "}}");
    }
    json_write(w, "}");
}

struct enumeration {
    struct json_writer w;
    const struct query_settings *query;
    int count;
};

static int is_one_of(const WCHAR *text, WCHAR **texts, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (wide_length(texts[i]) == wide_length(text) &&
            !memcmp(texts[i], text, wide_length(text) * sizeof *text))
            return 1;
    return !texts;
}

static void enumerate_one(struct compute *compute, void *context) {
    static const WCHAR nobody[] = {0};
    struct enumeration *e = context;
    if (!is_one_of(compute->id, e->query->ids, e->query->id_count) ||
        !is_one_of(compute->owner ? compute->owner : nobody, e->query->owners, e->query->owner_count))
        return;
    json_write(&e->w, e->count++ ? "," : "");
    compute_write_properties(&e->w, compute, 0);
}

HRESULT compute_work(struct job *job, WCHAR **document) {
    struct json_writer w = {0};
    struct enumeration e = {.query = &job->query};
    if (job->compute) /* somebody may be plugging a device in or ending one, past these calls */
        system_await_settled(job->compute->system);
    switch (job->type) {
    case HcsOperationTypeStart: return start(job->compute, document);
    case HcsOperationTypeShutdown: return stop(job->compute, EXIT_GRACEFUL, document);
    case HcsOperationTypeTerminate: return stop(job->compute, EXIT_FORCED, document);
    case HcsOperationTypePause: return set_paused(job->compute, 1, document);
    case HcsOperationTypeResume: return set_paused(job->compute, 0, document);
    case HcsOperationTypeModify: return add(job->compute, &job->added, document);
    case HcsOperationTypeGetProperties:
        compute_write_properties(&w, job->compute, job->query.memory);
        return (*document = json_written(&w)) ? S_OK : HCS_E_OPERATION_RESULT_ALLOCATION_FAILED;
    case HcsOperationTypeEnumerate:
        json_write(&e.w, "[");
        compute_for_each(enumerate_one, &e);
        json_write(&e.w, "]");
        return (*document = json_written(&e.w)) ? S_OK : HCS_E_OPERATION_RESULT_ALLOCATION_FAILED;
    default: return S_OK; /* Create: done before */
    }
}
