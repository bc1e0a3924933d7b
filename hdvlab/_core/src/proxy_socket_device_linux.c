/* The device's end of the socket: registers the host, and lets the machine's requests reach it. The reader never runs a
 * callback: each device has a worker that does, so that a callback may ask the machine for something and be answered. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "handle.h"
#include "proxy_device.h"
#include "proxy_wire.h"

#define QUEUE_MAX 64 /* the machine asks a device one thing at a time */
#define WORKERS_MAX 1024

struct job {
    struct job *next;
    struct wire_header header;
    uint8_t data[]; /* aligned for UTF-16: the header is a multiple of 8 */
};

struct worker {
    struct worker *next; /* in its skeleton */
    struct connection *connection;
    proxy_instance *instance;
    uint64_t number;
    pthread_cond_t wake; /* with the connection's lock, as all of this */
    struct job *first, **last;
    uint32_t queued;
    int released, ended; /* no more jobs: the machine is done with it, or is gone */
};

struct skeleton {
    IVmDeviceHostSupport self; /* first */
    _Atomic uint32_t references;
    struct connection *connection;
    proxy_host *host;
    struct worker *workers;
    uint32_t worker_count;
    uint64_t last_number;
    int registered;
};

/* What carries a device's requests to the machine. */
static HRESULT request(void *context, uint64_t target, struct proxy_call *call) {
    struct connection *c = handle_acquire(context, HANDLE_PROXY);
    if (!c)
        return handle_refusal(context);
    HRESULT hr = connection_call(c, target, call, WIRE_FOR_EVER);
    handle_release(context);
    return hr == HCS_E_SERVICE_DISCONNECT ? E_HANDLE : hr;
}

/* ---- workers --------------------------------------------------------------------------------------------------------- */

static void do_job(struct worker *worker, const struct job *job) {
    const struct wire_header *h = &job->header;
    struct proxy_details details;
    struct proxy_call call = {.operation = h->operation, .in = job->data, .in_bytes = h->bytes, .memory = NO_HANDLE};
    memcpy(call.argument, h->argument, sizeof call.argument);
    if (h->operation == PROXY_GET_DETAILS) {
        call.out = &details;
        call.out_bytes = sizeof details;
    }
    thread_context.cause = h->cause;
    HRESULT hr = worker->instance->table->call(worker->instance, &call);
    thread_context.cause = -1;
    connection_answer(worker->connection, h, hr, call.answer, call.out, SUCCEEDED(hr) ? call.out_bytes : 0, -1);
}

static void *work(void *argument) {
    struct worker *worker = argument;
    struct connection *c = worker->connection;
    struct skeleton *skeleton = c->owner;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        struct job *job = worker->first;
        if (worker->ended || (!job && worker->released))
            break;
        if (!job) {
            pthread_cond_wait(&worker->wake, &c->lock);
            continue;
        }
        if (!(worker->first = job->next))
            worker->last = &worker->first;
        worker->queued--;
        pthread_mutex_unlock(&c->lock);
        do_job(worker, job);
        free(job);
        pthread_mutex_lock(&c->lock);
    }
    int ended = worker->ended;
    pthread_mutex_unlock(&c->lock);
    if (ended) { /* the machine is gone without a word: for the device that is Stop and Teardown */
        struct proxy_call last = {.operation = PROXY_TEARDOWN, .memory = NO_HANDLE};
        worker->instance->table->call(worker->instance, &last);
    }
    worker->instance->table->Release(worker->instance);
    pthread_mutex_lock(&c->lock);
    for (struct worker **w = &skeleton->workers; *w; w = &(*w)->next)
        if (*w == worker) {
            *w = worker->next;
            break;
        }
    skeleton->worker_count--;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    while (worker->first) {
        struct job *next = worker->first->next;
        free(worker->first);
        worker->first = next;
    }
    pthread_cond_destroy(&worker->wake);
    free(worker);
    handle_release(c->handle);
    return NULL;
}

static HRESULT employ(struct connection *c, proxy_instance *instance, uint64_t *number) {
    struct skeleton *skeleton = c->owner;
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return E_OUTOFMEMORY;
    *worker = (struct worker){.connection = c, .instance = instance};
    worker->last = &worker->first;
    pthread_cond_init(&worker->wake, NULL);
    handle_retain(c->handle);
    pthread_t thread;
    pthread_mutex_lock(&c->lock);
    int made = skeleton->worker_count < WORKERS_MAX && !platform_thread_start(&thread, work, worker);
    if (made) {
        pthread_detach(thread);
        *number = worker->number = ++skeleton->last_number;
        worker->next = skeleton->workers;
        skeleton->workers = worker;
        skeleton->worker_count++;
    }
    pthread_mutex_unlock(&c->lock);
    if (!made) {
        pthread_cond_destroy(&worker->wake);
        free(worker);
        handle_release(c->handle);
    }
    return made ? S_OK : HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
}

/* ---- the reader's side ------------------------------------------------------------------------------------------------ */

static void get_instance(struct connection *c, const struct wire_message *m) {
    struct skeleton *skeleton = c->owner;
    GUID ids[2];
    IUnknown *unknown = NULL;
    proxy_instance *instance = NULL;
    uint64_t answer[2] = {0};
    memcpy(ids, m->data, sizeof ids);
    HRESULT hr = skeleton->host->table->GetDeviceInstance(skeleton->host, &ids[0], &ids[1], &unknown);
    if (hr == S_OK) {
        hr = unknown->lpVtbl->QueryInterface(unknown, &proxy_instance_iid, (void **)&instance);
        unknown->lpVtbl->Release(unknown);
    }
    if (hr == S_OK && FAILED(hr = employ(c, instance, &answer[0])))
        instance->table->Release(instance);
    connection_answer(c, &m->header, hr, answer, NULL, 0, -1);
}

/* A job for a worker, or the end of one. */
static HRESULT for_worker(struct connection *c, const struct wire_message *m) {
    struct skeleton *skeleton = c->owner;
    const struct wire_header *h = &m->header;
    HRESULT hr = HCS_E_PROTOCOL_ERROR;
    struct job *job = malloc(sizeof *job + h->bytes);
    if (!job)
        return E_OUTOFMEMORY;
    job->next = NULL;
    job->header = *h;
    memcpy(job->data, m->data, h->bytes);
    pthread_mutex_lock(&c->lock);
    for (struct worker *w = skeleton->workers; w; w = w->next) {
        if (w->number != h->target || w->released || w->queued >= QUEUE_MAX)
            continue;
        if (h->operation == WIRE_RELEASE) {
            w->released = 1;
        } else {
            *w->last = job;
            w->last = &job->next;
            w->queued++;
            job = NULL;
        }
        pthread_cond_signal(&w->wake);
        hr = S_OK;
        break;
    }
    pthread_mutex_unlock(&c->lock);
    free(job);
    return hr;
}

static HRESULT connect_device(struct connection *c, const struct wire_header *h) {
    struct skeleton *skeleton = c->owner;
    proxy_instance *instance = NULL;
    pthread_mutex_lock(&c->lock);
    for (struct worker *w = skeleton->workers; w; w = w->next)
        if (w->number == h->target) {
            instance = w->instance;
            instance->table->AddRef(instance);
        }
    pthread_mutex_unlock(&c->lock);
    if (!instance)
        return HCS_E_PROTOCOL_ERROR;
    const struct proxy_port port = {request, c->handle, h->argument[0]};
    connection_answer(c, h, instance->table->connect(instance, &port), NULL, NULL, 0, -1);
    instance->table->Release(instance);
    return S_OK;
}

static HRESULT serve(struct connection *c, const struct wire_message *m) {
    switch (m->header.operation) {
    case WIRE_GET_INSTANCE:
        if (m->header.bytes != 2 * sizeof(GUID))
            return HCS_E_PROTOCOL_ERROR;
        get_instance(c, m);
        return S_OK;
    case WIRE_CONNECT: return connect_device(c, &m->header);
    default: return m->header.operation <= PROXY_WRITE || m->header.operation == WIRE_RELEASE ? for_worker(c, m)
                                                                                               : HCS_E_PROTOCOL_ERROR;
    }
}

static void ended(struct connection *c, HRESULT why) {
    struct skeleton *skeleton = c->owner;
    (void)why;
    handle_retire(c->handle, HANDLE_PROXY); /* no request finds it any more */
    pthread_mutex_lock(&c->lock);
    for (struct worker *w = skeleton->workers; w; w = w->next) {
        w->ended = 1;
        pthread_cond_signal(&w->wake);
    }
    while (skeleton->workers)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
    if (skeleton->host)
        skeleton->host->table->gone(skeleton->host);
}

static void destroy(struct connection *c) {
    struct skeleton *skeleton = c->owner;
    if (skeleton->host)
        skeleton->host->table->Release(skeleton->host);
    free(skeleton);
}

/* ---- the IVmDeviceHostSupport ----------------------------------------------------------------------------------------- */

static HRESULT WINAPI query(IVmDeviceHostSupport *self, REFIID iid, void **object) {
    if (!object)
        return E_POINTER;
    *object = NULL;
    if (!proxy_same_id(iid, &proxy_unknown_iid) && !proxy_same_id(iid, &IID_IVmDeviceHostSupport))
        return E_NOINTERFACE;
    self->lpVtbl->AddRef(self);
    *object = self;
    return S_OK;
}

static ULONG WINAPI add_reference(IVmDeviceHostSupport *self) {
    return atomic_fetch_add(&((struct skeleton *)self)->references, 1) + 1;
}

static ULONG WINAPI release(IVmDeviceHostSupport *self) {
    struct skeleton *skeleton = (struct skeleton *)self;
    uint32_t left = atomic_fetch_sub(&skeleton->references, 1) - 1;
    if (!left) {
        struct connection *c = skeleton->connection;
        connection_fail(c, HCS_E_SERVICE_DISCONNECT);
        if (!c->has_reader) /* which does it else */
            handle_retire(c->handle, HANDLE_PROXY);
        connection_leave_reader(c, 1);
        handle_release(c->handle);
    }
    return left;
}

static HRESULT WINAPI register_host(IVmDeviceHostSupport *self, IVmDeviceHost *host, DWORD process_id, UINT64 *ipc) {
    struct skeleton *skeleton = (struct skeleton *)self;
    struct connection *c = skeleton->connection;
    proxy_host *mine = NULL;
    (void)process_id; /* the socket tells */
    if (!host || !ipc)
        return E_POINTER;
    if (skeleton->registered)
        return HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS); /* one host a socket */
    if (FAILED(host->lpVtbl->QueryInterface(host, &proxy_host_iid, (void **)&mine)))
        return E_NOINTERFACE;
    const struct proxy_port port = {request, c->handle, 0};
    HRESULT hr = mine->table->registered(mine, &port);
    if (FAILED(hr)) {
        mine->table->Release(mine);
        return hr;
    }
    skeleton->host = mine;
    skeleton->registered = 1;
    if (FAILED(hr = connection_start(c))) {
        connection_fail(c, hr); /* nobody will read an answer: none is waited for */
        return hr;
    }
    GUID vm_id = ((struct proxy_local *)mine)->vm_id;
    struct proxy_call hello = {.operation = WIRE_HELLO, .argument = {WIRE_VERSION}, .in = &vm_id, .in_bytes = sizeof vm_id};
    hr = connection_call(c, 0, &hello, WIRE_FOR_EVER);
    *ipc = hello.answer[0];
    return hr;
}

static const IVmDeviceHostSupportVtbl support_table = {query, add_reference, release, register_host};

HRESULT hdvlab_proxy_support_from_socket(int socket, IVmDeviceHostSupport **support) {
    if (!support)
        return E_POINTER;
    int type = 0;
    socklen_t length = sizeof type;
    if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &length)) {
        if (errno != EBADF)
            close(socket);
        return E_HANDLE;
    }
    struct skeleton *skeleton = type == SOCK_SEQPACKET ? calloc(1, sizeof *skeleton) : NULL;
    if (!skeleton) {
        close(socket);
        return type == SOCK_SEQPACKET ? E_OUTOFMEMORY : E_INVALIDARG;
    }
    struct connection *c = connection_open(socket);
    if (!c) {
        free(skeleton);
        return E_OUTOFMEMORY;
    }
    *skeleton = (struct skeleton){.self = {&support_table}, .references = 1, .connection = c};
    c->send_patience_ms = 60000; /* a machine that is being debugged is not gone */
    c->owner = skeleton;
    c->serve = serve;
    c->ended = ended;
    c->destroy = destroy;
    handle_retain(c->handle); /* the object's */
    *support = &skeleton->self;
    return S_OK;
}

HRESULT hdvlab_proxy_connect(const char *path, IVmDeviceHostSupport **support) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || !support)
        return E_POINTER;
    if (strlen(path) >= sizeof address.sun_path)
        return E_INVALIDARG;
    memcpy(address.sun_path, path, strlen(path));
    int one = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (one < 0)
        return HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
    if (connect(one, (const struct sockaddr *)&address, sizeof address)) {
        close(one);
        return errno == EACCES || errno == EPERM ? E_ACCESSDENIED : HCS_E_CONNECT_FAILED;
    }
    return hdvlab_proxy_support_from_socket(one, support);
}
