#include "compute_operation.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "compute_document.h"
#include "device.h"
#include "handle.h"
#include "platform.h"

enum operation_state { IDLE, QUEUED, RUNNING, DONE };

struct operation {
    HCS_OPERATION handle;
    uint64_t id;
    pthread_mutex_t lock; /* all that follows */
    pthread_cond_t changed;
    enum operation_state state;
    HCS_OPERATION_TYPE type;
    HCS_SYSTEM system;
    HRESULT result; /* of DONE, and of IDLE after a call that was refused */
    WCHAR *document;
    const void *context;
    HCS_OPERATION_COMPLETION callback;
    int closed, telling;
    pthread_t teller;
};

static void destroy(void *object) {
    struct operation *o = object;
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->changed);
    free(o->document);
    free(o);
}

HCS_OPERATION HcsCreateOperation(const void *context, HCS_OPERATION_COMPLETION callback) {
    static _Atomic uint64_t last_id;
    struct operation *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    pthread_mutex_init(&o->lock, NULL);
    platform_condition_init(&o->changed);
    o->type = HcsOperationTypeNone;
    o->result = HCS_E_OPERATION_NOT_STARTED;
    o->id = atomic_fetch_add(&last_id, 1) + 1;
    o->context = context;
    o->callback = callback;
    o->handle = handle_create(HANDLE_OPERATION, o, destroy);
    if (!o->handle) {
        destroy(o);
        return NULL;
    }
    return o->handle;
}

/* With its lock held; NULL for a handle that is none. */
static struct operation *enter(HCS_OPERATION handle) {
    struct operation *o = handle_acquire(handle, HANDLE_OPERATION);
    if (o)
        pthread_mutex_lock(&o->lock);
    return o;
}

static void leave(struct operation *o) {
    pthread_mutex_unlock(&o->lock);
    handle_release(o->handle);
}

void HcsCloseOperation(HCS_OPERATION operation) {
    struct operation *o = enter(operation);
    if (!o)
        return;
    o->closed = 1;
    while (o->telling && !pthread_equal(o->teller, pthread_self()))
        pthread_cond_wait(&o->changed, &o->lock);
    pthread_mutex_unlock(&o->lock);
    handle_retire(operation, HANDLE_OPERATION);
    handle_release(operation);
}

void *HcsGetOperationContext(HCS_OPERATION operation) {
    struct operation *o = enter(operation);
    void *context = o ? (void *)(uintptr_t)o->context : NULL;
    if (o)
        leave(o);
    return context;
}

HRESULT HcsSetOperationContext(HCS_OPERATION operation, const void *context) {
    struct operation *o = enter(operation);
    if (!o)
        return E_HANDLE;
    o->context = context;
    leave(o);
    return S_OK;
}

HCS_SYSTEM HcsGetComputeSystemFromOperation(HCS_OPERATION operation) {
    struct operation *o = enter(operation);
    HCS_SYSTEM system = o ? o->system : NULL;
    if (o)
        leave(o);
    return system;
}

HCS_OPERATION_TYPE HcsGetOperationType(HCS_OPERATION operation) {
    struct operation *o = enter(operation);
    HCS_OPERATION_TYPE type = o ? o->type : HcsOperationTypeNone;
    if (o)
        leave(o);
    return type;
}

UINT64 HcsGetOperationId(HCS_OPERATION operation) {
    struct operation *o = enter(operation);
    UINT64 id = o ? o->id : HCS_INVALID_OPERATION_ID;
    if (o)
        leave(o);
    return id;
}

/* A document as the caller will free it: with LocalFree. */
static HRESULT give(const WCHAR *document, PWSTR *out) {
    if (!out || !document)
        return S_OK;
    size_t bytes = (wide_length(document) + 1) * sizeof *document;
#ifdef _WIN32
    *out = LocalAlloc(0, bytes);
#else
    *out = malloc(bytes);
#endif
    if (!*out)
        return HCS_E_OPERATION_RESULT_ALLOCATION_FAILED;
    memcpy(*out, document, bytes);
    return S_OK;
}

static HRESULT result_of(struct operation *o, PWSTR *document) {
    if (o->state == QUEUED || o->state == RUNNING)
        return HCS_E_OPERATION_PENDING;
    HRESULT hr = give(o->document, document);
    return FAILED(hr) ? hr : o->result;
}

HRESULT HcsGetOperationResult(HCS_OPERATION operation, PWSTR *resultDocument) {
    if (resultDocument)
        *resultDocument = NULL;
    struct operation *o = enter(operation);
    if (!o)
        return E_HANDLE;
    HRESULT hr = result_of(o, resultDocument);
    leave(o);
    return hr;
}

HRESULT HcsWaitForOperationResult(HCS_OPERATION operation, DWORD timeoutMs, PWSTR *resultDocument) {
    if (resultDocument)
        *resultDocument = NULL;
    struct operation *o = enter(operation);
    if (!o)
        return E_HANDLE;
    int64_t end = monotonic_ns() + (int64_t)timeoutMs * 1000000;
    int late = 0;
    HRESULT hr = S_OK;
    while ((o->state == QUEUED || o->state == RUNNING) && !late && hr == S_OK)
        if (thread_context.depth)
            hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
        else if (timeoutMs == INFINITE)
            pthread_cond_wait(&o->changed, &o->lock);
        else
            late = platform_wait_until(&o->changed, &o->lock, end) == ETIMEDOUT;
    if (hr == S_OK)
        hr = o->state == QUEUED || o->state == RUNNING ? HCS_E_OPERATION_TIMEOUT : result_of(o, resultDocument);
    leave(o);
    return hr;
}

HRESULT HcsSetOperationCallback(HCS_OPERATION operation, const void *context, HCS_OPERATION_COMPLETION callback) {
    if (!callback)
        return E_POINTER;
    struct operation *o = enter(operation);
    if (!o)
        return E_HANDLE;
    HRESULT hr = o->state == DONE ? HCS_E_OPERATION_ALREADY_STARTED : S_OK;
    if (hr == S_OK) {
        o->context = context;
        o->callback = callback;
    }
    leave(o);
    return hr;
}

static void set_result(struct operation *o, enum operation_state state, HRESULT result, WCHAR *document) {
    free(o->document);
    o->state = state;
    o->result = result;
    o->document = document;
    pthread_cond_broadcast(&o->changed);
}

HRESULT HcsCancelOperation(HCS_OPERATION operation) {
    struct operation *o = enter(operation);
    if (!o)
        return E_HANDLE;
    HRESULT hr = o->state == IDLE      ? HCS_E_OPERATION_NOT_STARTED
                 : o->state == RUNNING ? HCS_E_OPERATION_PENDING
                                       : S_OK;
    if (o->state == QUEUED)
        set_result(o, DONE, HRESULT_FROM_WIN32(ERROR_CANCELLED), NULL);
    leave(o);
    return hr;
}

/* ---- for the calls that are tracked ------------------------------------------------------------------------------- */

HRESULT operation_begin(HCS_OPERATION handle, HCS_OPERATION_TYPE type, HCS_SYSTEM system,
                        struct operation **operation) {
    *operation = NULL;
    if (!handle)
        return S_OK;
    struct operation *o = enter(handle);
    if (!o)
        return E_HANDLE;
    if (o->state != IDLE) {
        leave(o);
        return HCS_E_OPERATION_ALREADY_STARTED;
    }
    o->state = QUEUED;
    o->type = type;
    o->system = system;
    pthread_mutex_unlock(&o->lock);
    *operation = o;
    return S_OK;
}

void operation_refuse(struct operation *o, HRESULT result, WCHAR *document) {
    if (!o) {
        free(document);
        return;
    }
    pthread_mutex_lock(&o->lock);
    set_result(o, IDLE, result, document);
    leave(o);
}

int operation_run(struct operation *o) {
    if (!o)
        return 1;
    pthread_mutex_lock(&o->lock);
    int run = o->state == QUEUED;
    if (run)
        o->state = RUNNING;
    pthread_mutex_unlock(&o->lock);
    return run;
}

void operation_finish(struct operation *o, HRESULT result, WCHAR *document) {
    if (!o) {
        free(document);
        return;
    }
    pthread_mutex_lock(&o->lock);
    set_result(o, DONE, result, document);
    pthread_mutex_unlock(&o->lock);
}

void operation_tell(struct operation *o) {
    if (!o)
        return;
    pthread_mutex_lock(&o->lock);
    if (o->callback && !o->closed) {
        o->telling = 1;
        o->teller = pthread_self();
        HCS_OPERATION_COMPLETION callback = o->callback;
        const void *context = o->context;
        pthread_mutex_unlock(&o->lock);
        callback(o->handle, (void *)(uintptr_t)context);
        pthread_mutex_lock(&o->lock);
        o->telling = 0;
        pthread_cond_broadcast(&o->changed);
    }
    leave(o);
}

void operation_made(struct operation *o, HCS_SYSTEM system) {
    if (!o)
        return;
    pthread_mutex_lock(&o->lock);
    o->system = system;
    pthread_mutex_unlock(&o->lock);
}

HCS_OPERATION operation_handle(const struct operation *o) { return o ? o->handle : NULL; }
