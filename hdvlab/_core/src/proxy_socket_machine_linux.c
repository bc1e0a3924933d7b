/* The machine's end of the socket: what stands for a device host in another process and for its devices. A device that
 * does not answer in time, a peer that sends rubbish, a process that dies: the guest goes on. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handle.h"
#include "proxy_device.h"
#include "proxy_wire.h"

#define BUDGET_MS 1000
#define BUDGET_MAX_MS 4000 /* a VM gives up after 5 s */
#define STEPS_BUDGET 10    /* lifecycle callbacks do more, and no guest waits */

struct stub;

struct remote {
    proxy_host self; /* first */
    _Atomic uint32_t references;
    struct connection *connection;
    struct wire_header hello;
    /* under the connection's lock */
    int registered, ending, finished;
    HRESULT why; /* once finished, or about to be: it was lost */
    uint64_t host; /* the machine's handle */
    uint32_t budget_ms, hung;
    struct stub *stubs;
};

/* A device elsewhere. Keeps the connection. */
struct stub {
    proxy_instance self; /* first */
    _Atomic uint32_t references;
    struct remote *remote;
    uint64_t number; /* the peer's name for it */
    uint64_t device; /* the machine's handle */
    uint32_t late;   /* answers it owes */
    struct stub *next;
};

/* ---- a device -------------------------------------------------------------------------------------------------------- */

static HRESULT WINAPI query_stub(proxy_instance *self, REFIID iid, void **object) {
    *object = NULL;
    if (!proxy_same_id(iid, &proxy_unknown_iid) && !proxy_same_id(iid, &proxy_instance_iid))
        return E_NOINTERFACE;
    self->table->AddRef(self);
    *object = self;
    return S_OK;
}

static ULONG WINAPI add_stub_reference(proxy_instance *self) {
    return atomic_fetch_add(&((struct stub *)self)->references, 1) + 1;
}

static ULONG WINAPI release_stub(proxy_instance *self) {
    struct stub *stub = (struct stub *)self;
    struct connection *c = stub->remote->connection;
    uint32_t left = atomic_fetch_sub(&stub->references, 1) - 1;
    if (!left) {
        pthread_mutex_lock(&c->lock);
        for (struct stub **s = &stub->remote->stubs; *s; s = &(*s)->next)
            if (*s == stub) {
                *s = stub->next;
                break;
            }
        if (stub->late) {
            stub->remote->hung--;
            pthread_cond_broadcast(&c->changed);
        }
        int up = !c->why;
        pthread_mutex_unlock(&c->lock);
        if (up)
            connection_tell(c, WIRE_RELEASE, stub->number);
        handle_release(c->handle);
        free(stub);
    }
    return left;
}

static HRESULT connect_stub(proxy_instance *self, const struct proxy_port *port) {
    struct stub *stub = (struct stub *)self;
    struct connection *c = stub->remote->connection;
    pthread_mutex_lock(&c->lock);
    stub->device = port->target;
    uint32_t budget = stub->remote->budget_ms;
    pthread_mutex_unlock(&c->lock);
    struct proxy_call call = {.operation = WIRE_CONNECT, .argument = {port->target}};
    return connection_call(c, stub->number, &call, budget * STEPS_BUDGET);
}

/* With the lock held: an answer is owed that nobody waits for any more. */
static void given_up(struct connection *c, uint64_t number) {
    struct remote *remote = c->owner;
    for (struct stub *stub = remote->stubs; stub; stub = stub->next)
        if (number && stub->number == number && !stub->late++)
            remote->hung++;
    pthread_cond_broadcast(&c->changed);
}

static void tell_of_hanging(const struct stub *stub, uint32_t waited_ms) {
    char text[120];
    snprintf(text, sizeof text, "the device's process gave no answer within %u ms; until it does the guest reads all ones",
             waited_ms);
    proxy_fault(stub->device, HRESULT_FROM_WIN32(ERROR_TIMEOUT), text);
}

static HRESULT call_stub(proxy_instance *self, struct proxy_call *call) {
    struct stub *stub = (struct stub *)self;
    struct connection *c = stub->remote->connection;
    int last = call->operation == PROXY_STOP || call->operation == PROXY_TEARDOWN;
    pthread_mutex_lock(&c->lock);
    uint32_t wait_ms = stub->remote->budget_ms * (call->operation < PROXY_CONFIG_READ ? STEPS_BUDGET : 1);
    int hung = stub->late != 0;
    pthread_mutex_unlock(&c->lock);
    if (hung && !last)
        return HRESULT_FROM_WIN32(ERROR_TIMEOUT);
    if (hung)
        wait_ms = 0; /* it is told, for when it comes back, and not waited for */
    HRESULT hr = connection_call(c, stub->number, call, wait_ms);
    pthread_mutex_lock(&c->lock);
    int hangs = !hung && stub->late; /* the device may return ERROR_TIMEOUT of its own */
    pthread_mutex_unlock(&c->lock);
    if (hangs && hr == HRESULT_FROM_WIN32(ERROR_TIMEOUT))
        tell_of_hanging(stub, wait_ms);
    return hr;
}

static const struct proxy_instance_table stub_table = {query_stub, add_stub_reference, release_stub, connect_stub,
                                                       call_stub};

/* On the reader: an answer that came after all. */
static void late(struct connection *c, uint64_t number) {
    struct remote *remote = c->owner;
    uint64_t device = 0;
    pthread_mutex_lock(&c->lock);
    for (struct stub *stub = remote->stubs; stub; stub = stub->next)
        if (number && stub->number == number && stub->late && !--stub->late) { /* the last that it owed */
            remote->hung--;
            device = stub->device;
        }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (device)
        proxy_fault(device, S_OK, "the late answer came and was thrown away; the device serves the guest again");
}

/* ---- a host ---------------------------------------------------------------------------------------------------------- */

static ULONG WINAPI add_reference(proxy_host *self) {
    return atomic_fetch_add(&((struct remote *)self)->references, 1) + 1;
}

static ULONG WINAPI release(proxy_host *self) {
    struct remote *remote = (struct remote *)self;
    struct connection *c = remote->connection;
    uint32_t left = atomic_fetch_sub(&remote->references, 1) - 1;
    if (!left) {
        pthread_mutex_lock(&c->lock);
        int ending = remote->ending; /* then its thread has something to say first */
        pthread_mutex_unlock(&c->lock);
        if (!ending)
            connection_fail(c, HCS_E_SERVICE_DISCONNECT);
        connection_leave_reader(c, !ending);
        handle_retire(c->handle, HANDLE_PROXY);
    }
    return left;
}

static HRESULT WINAPI get_device_instance(proxy_host *self, REFGUID class_id, REFGUID instance_id, IUnknown **device) {
    struct remote *remote = (struct remote *)self;
    struct connection *c = remote->connection;
    if (!class_id || !instance_id || !device)
        return E_POINTER;
    *device = NULL;
    struct stub *stub = calloc(1, sizeof *stub);
    if (!stub)
        return E_OUTOFMEMORY;
    GUID ids[2] = {*class_id, *instance_id};
    struct proxy_call call = {.operation = WIRE_GET_INSTANCE, .in = ids, .in_bytes = sizeof ids};
    HRESULT hr = connection_call(c, 0, &call, remote->budget_ms * STEPS_BUDGET);
    if (hr == S_OK && !call.answer[0]) { /* no number: nothing that hangs could be told from what does not */
        connection_fail(c, HCS_E_PROTOCOL_ERROR);
        hr = HCS_E_PROTOCOL_ERROR;
    }
    if (hr != S_OK) {
        free(stub);
        return hr;
    }
    *stub = (struct stub){.self = {&stub_table}, .references = 1, .remote = remote, .number = call.answer[0]};
    handle_retain(c->handle);
    pthread_mutex_lock(&c->lock);
    stub->next = remote->stubs;
    remote->stubs = stub;
    pthread_mutex_unlock(&c->lock);
    *device = (IUnknown *)stub;
    return S_OK;
}

static HRESULT registered(proxy_host *self, const struct proxy_port *port) {
    struct remote *remote = (struct remote *)self;
    struct connection *c = remote->connection;
    pthread_mutex_lock(&c->lock);
    HRESULT hr = c->why ? c->why : remote->registered ? HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS) : S_OK;
    if (hr == S_OK) {
        remote->registered = 1;
        remote->host = port->target;
    }
    pthread_mutex_unlock(&c->lock);
    const uint64_t answer[2] = {port->target};
    if (hr == S_OK)
        connection_answer(c, &remote->hello, S_OK, answer, NULL, 0, -1);
    return hr;
}

static void finish(struct remote *remote, HRESULT why) {
    struct connection *c = remote->connection;
    pthread_mutex_lock(&c->lock);
    if (!remote->finished) {
        remote->finished = 1;
        remote->why = remote->why ? remote->why : why;
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void gone(proxy_host *self) {
    struct remote *remote = (struct remote *)self;
    finish(remote, S_OK); /* unless it is finished already */
    pthread_mutex_lock(&remote->connection->lock);
    int ending = remote->ending;
    pthread_mutex_unlock(&remote->connection->lock);
    if (!ending)
        connection_fail(remote->connection, HCS_E_SERVICE_DISCONNECT);
}

static const struct proxy_host_table remote_table = {proxy_host_query, add_reference, release, get_device_instance, registered, gone};

/* ---- the reader's side ------------------------------------------------------------------------------------------------ */

struct ending {
    struct connection *connection; /* with a reference */
    struct wire_header request;
};

/* The peer tears its host down. Not on the reader: Stop and Teardown are asked through it. */
static void *end_host(void *argument) {
    struct ending *ending = argument;
    struct connection *c = ending->connection;
    struct remote *remote = c->owner;
    struct proxy_call call = {.operation = PROXY_HOST_END};
    HRESULT hr = proxy_serve(NULL, remote->host, &call);
    connection_answer(c, &ending->request, hr, NULL, NULL, 0, -1);
    connection_fail(c, HCS_E_SERVICE_DISCONNECT);
    handle_release(c->handle);
    free(ending);
    return NULL;
}

static HRESULT begin_end(struct connection *c, const struct wire_header *h) {
    struct remote *remote = c->owner;
    struct ending *ending = malloc(sizeof *ending);
    pthread_t thread;
    if (!ending)
        return E_OUTOFMEMORY;
    *ending = (struct ending){c, *h};
    handle_retain(c->handle);
    pthread_mutex_lock(&c->lock);
    int already = remote->ending || !remote->registered;
    int made = !already && !platform_thread_start(&thread, end_host, ending);
    if (made) {
        remote->ending = 1; /* the thread looks at it under the lock */
        pthread_detach(thread);
    }
    pthread_mutex_unlock(&c->lock);
    if (!made) {
        handle_release(c->handle);
        free(ending);
    }
    return made ? S_OK : E_FAIL;
}

static HRESULT serve(struct connection *c, const struct wire_message *m) {
    struct remote *remote = c->owner;
    const struct wire_header *h = &m->header;
    if (h->bytes)
        return HCS_E_PROTOCOL_ERROR;
    if (h->operation == PROXY_HOST_END)
        return begin_end(c, h);
    if (h->operation < PROXY_MAP || h->operation > PROXY_DENIED)
        return HCS_E_PROTOCOL_ERROR;
    int mine = 0; /* a peer may speak for its own devices only */
    pthread_mutex_lock(&c->lock);
    for (struct stub *stub = remote->stubs; stub && !mine; stub = stub->next)
        mine = h->target && stub->device == h->target;
    pthread_mutex_unlock(&c->lock);
    struct proxy_call call = {.operation = h->operation, .memory = NO_HANDLE};
    memcpy(call.argument, h->argument, sizeof call.argument);
    thread_context.cause = mine ? proxy_sound_cause(h->target, h->cause) : -1;
    thread_context.is_held = &c->is_held;
    HRESULT hr = mine ? proxy_serve(NULL, h->target, &call) : E_HANDLE;
    thread_context.is_held = NULL;
    thread_context.cause = -1;
    if (hr == HCS_E_PROTOCOL_ERROR)
        return hr;
    connection_answer(c, h, hr, call.answer, NULL, 0, SUCCEEDED(hr) ? (int)(intptr_t)call.memory : -1);
    platform_close(call.memory);
    return S_OK;
}

static void ended(struct connection *c, HRESULT why) {
    struct remote *remote = c->owner;
    pthread_mutex_lock(&c->lock);
    uint64_t host = remote->host;
    int in_order = remote->finished || remote->ending;
    if (!in_order)
        remote->why = why;
    pthread_mutex_unlock(&c->lock);
    if (host && !in_order)
        proxy_host_lost(host, why,
                        why == HCS_E_PROTOCOL_ERROR
                            ? "the device's process was cut off: it sent what is no message; the guest reads all ones"
                            : "the device's process is gone; the guest reads all ones");
    if (!in_order || !host)
        finish(remote, why);
}

static void destroy(struct connection *c) { free(c->owner); }

/* ---- what the machine's owner calls ----------------------------------------------------------------------------------- */

static HRESULT check_peer(int socket, DWORD *process_id) {
    struct ucred peer = {0};
    int type = 0;
    socklen_t length = sizeof type;
    if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &length))
        return E_HANDLE;
    length = sizeof peer;
    if (type != SOCK_SEQPACKET || getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length))
        return E_INVALIDARG;
    *process_id = (DWORD)peer.pid;
    return peer.uid == geteuid() ? S_OK : E_ACCESSDENIED;
}

static HRESULT await_hello(int socket, uint32_t timeout_ms, struct wire_message *hello) {
    struct pollfd ready = {.fd = socket, .events = POLLIN};
    int descriptor;
    if (poll(&ready, 1, timeout_ms > INT32_MAX ? -1 : (int)timeout_ms) != 1)
        return HRESULT_FROM_WIN32(ERROR_TIMEOUT);
    HRESULT hr = wire_receive(socket, hello, &descriptor);
    if (descriptor >= 0)
        close(descriptor);
    if (hr == S_OK && (descriptor >= 0 || hello->header.operation != WIRE_HELLO || hello->header.flags ||
                       hello->header.argument[0] != WIRE_VERSION || hello->header.bytes != sizeof(GUID)))
        hr = HCS_E_PROTOCOL_ERROR;
    return hr;
}

HRESULT hdvlab_proxy_accept(int socket, uint32_t timeout_ms, GUID *vm_id, DWORD *process_id, IVmDeviceHost **host) {
    if (!vm_id || !process_id || !host)
        return E_POINTER;
    struct wire_message *hello = malloc(sizeof *hello);
    struct remote *remote = calloc(1, sizeof *remote);
    HRESULT hr = hello && remote ? check_peer(socket, process_id) : E_OUTOFMEMORY;
    if (hr == S_OK)
        hr = await_hello(socket, timeout_ms, hello);
    struct connection *c = NULL;
    if (FAILED(hr)) {
        if (hr != E_HANDLE || errno != EBADF)
            close(socket);
    } else if (!(c = connection_open(socket))) {
        hr = E_OUTOFMEMORY;
    }
    if (c) {
        memcpy(vm_id, hello->data, sizeof *vm_id);
        *remote = (struct remote){.self = {&remote_table}, .references = 1, .connection = c, .hello = hello->header,
                                  .budget_ms = BUDGET_MS};
        c->owner = remote;
        c->serve = serve;
        c->late = late;
        c->given_up = given_up;
        c->ended = ended;
        c->destroy = destroy;
        if (FAILED(hr = connection_start(c)))
            handle_retire(c->handle, HANDLE_PROXY);
        else
            *host = (IVmDeviceHost *)remote;
    } else {
        free(remote);
    }
    free(hello);
    return hr;
}

static struct remote *as_remote(IVmDeviceHost *host) {
    return ((proxy_host *)host)->table == &remote_table ? (struct remote *)host : NULL;
}

HRESULT hdvlab_proxy_set_budget(IVmDeviceHost *host, uint32_t budget_ms) {
    if (!host)
        return E_POINTER;
    struct remote *remote = as_remote(host);
    if (!remote)
        return E_NOTIMPL; /* a host of this very process is called, not asked */
    if (!budget_ms || budget_ms > BUDGET_MAX_MS)
        return E_INVALIDARG;
    pthread_mutex_lock(&remote->connection->lock);
    remote->budget_ms = budget_ms;
    remote->connection->send_patience_ms = budget_ms;
    pthread_mutex_unlock(&remote->connection->lock);
    return S_OK;
}

HRESULT hdvlab_proxy_wait(IVmDeviceHost *host, uint32_t known, uint32_t timeout_ms, uint32_t *state, HRESULT *why) {
    if (!host || !state || !why)
        return E_POINTER;
    struct remote *remote = as_remote(host);
    if (!remote)
        return E_NOTIMPL;
    struct connection *c = remote->connection;
    int64_t deadline_ns = proxy_deadline(timeout_ms);
    HRESULT hr = S_OK;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        *state = remote->finished ? HDVLAB_PROXY_ENDED : remote->hung ? HDVLAB_PROXY_HUNG : HDVLAB_PROXY_UP;
        if (*state != known || FAILED(hr))
            break;
        if (timeout_ms == UINT32_MAX)
            pthread_cond_wait(&c->changed, &c->lock);
        else if (platform_wait_until(&c->changed, &c->lock, deadline_ns) == ETIMEDOUT)
            hr = HRESULT_FROM_WIN32(ERROR_TIMEOUT);
    }
    if (*state != known)
        hr = S_OK;
    *why = remote->finished ? remote->why : S_OK;
    pthread_mutex_unlock(&c->lock);
    return hr;
}
