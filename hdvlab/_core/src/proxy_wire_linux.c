#include "proxy_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handle.h"
#include "proxy_device.h"

_Static_assert(sizeof(struct wire_header) == 80, "both sides agree on it");

struct wire_pending {
    struct wire_pending *next;
    uint64_t id;
    struct proxy_call *call;
    int done;
    HRESULT status;
};

struct wire_abandoned {
    struct wire_abandoned *next;
    uint64_t id, target;
};

/* ---- one message ---------------------------------------------------------------------------------------------------- */

HRESULT wire_receive(int socket, struct wire_message *message, int *descriptor) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    struct iovec place = {message, sizeof *message};
    struct msghdr m = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t received;
    *descriptor = -1;
    do
        received = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received < 0)
        return HCS_E_SERVICE_DISCONNECT;
    int too_many = 0; /* descriptors are there to be closed in an empty message too, which is else like the end */
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int one;
            memcpy(&one, CMSG_DATA(c) + at, sizeof one);
            if (*descriptor < 0 && !too_many) {
                *descriptor = one;
            } else {
                too_many = 1;
                close(one);
            }
        }
    }
    const struct wire_header *h = &message->header;
    if (!too_many && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && (size_t)received >= sizeof *h &&
        h->magic == WIRE_MAGIC && h->bytes <= PROXY_DATA_MAX && (size_t)received == sizeof *h + h->bytes &&
        !(h->flags & ~WIRE_ANSWER))
        return S_OK;
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
    return received ? HCS_E_PROTOCOL_ERROR : HCS_E_SERVICE_DISCONNECT;
}

static HRESULT transmit(struct connection *c, const struct wire_header *header, const void *data, int descriptor) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec parts[2] = {{(void *)header, sizeof *header}, {(void *)data, header->bytes}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = header->bytes ? 2 : 1};
    if (descriptor >= 0) {
        memset(&control, 0, sizeof control);
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&m);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof descriptor);
        memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    HRESULT hr = S_OK;
    pthread_mutex_lock(&c->send_lock);
    while (sendmsg(c->socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        struct pollfd room = {.fd = c->socket, .events = POLLOUT};
        if (errno == EINTR)
            continue;
        /* A peer that does not read what it is sent is no better than one that is gone. */
        if (errno == EAGAIN && poll(&room, 1, (int)c->send_patience_ms) == 1 && room.revents & POLLOUT)
            continue;
        hr = HCS_E_SERVICE_DISCONNECT;
        break;
    }
    pthread_mutex_unlock(&c->send_lock);
    if (FAILED(hr))
        connection_fail(c, hr);
    return hr;
}

/* ---- the connection ------------------------------------------------------------------------------------------------- */

static void destroy_connection(void *object) {
    struct connection *c = object;
    if (c->destroy)
        c->destroy(c);
    while (c->abandoned) {
        struct wire_abandoned *next = c->abandoned->next;
        free(c->abandoned);
        c->abandoned = next;
    }
    close(c->socket);
    pthread_mutex_destroy(&c->send_lock);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}

struct connection *connection_open(int socket) {
    struct connection *c = calloc(1, sizeof *c);
    if (!c || !(c->handle = handle_create(HANDLE_PROXY, c, destroy_connection))) {
        free(c);
        close(socket);
        return NULL;
    }
    c->socket = socket;
    c->send_patience_ms = 1000;
    pthread_mutex_init(&c->send_lock, NULL);
    pthread_mutex_init(&c->lock, NULL);
    platform_condition_init(&c->changed);
    return c;
}

void connection_fail(struct connection *c, HRESULT why) {
    pthread_mutex_lock(&c->lock);
    if (!c->why)
        c->why = why;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    shutdown(c->socket, SHUT_RDWR);
}

/* An answer: to a call that waits, or to one that has been given up. */
static HRESULT take_answer(struct connection *c, const struct wire_message *m, int *descriptor) {
    const struct wire_header *h = &m->header;
    HRESULT hr = HCS_E_PROTOCOL_ERROR;
    uint64_t late = 0;
    int is_late = 0;
    pthread_mutex_lock(&c->lock);
    for (struct wire_pending *p = c->pending; p; p = p->next) {
        if (p->id != h->id || p->done)
            continue;
        if (SUCCEEDED(h->status) && h->bytes != p->call->out_bytes)
            break;
        if (SUCCEEDED(h->status) && h->bytes)
            memcpy(p->call->out, m->data, h->bytes);
        memcpy(p->call->answer, h->argument, sizeof p->call->answer);
        if (p->call->operation == PROXY_MAP && SUCCEEDED(h->status)) { /* with a refusal nobody looks for one */
            p->call->memory = (HANDLE)(intptr_t)*descriptor;
            *descriptor = -1;
        }
        p->status = h->status;
        p->done = 1;
        pthread_cond_broadcast(&c->changed);
        hr = S_OK;
        break;
    }
    for (struct wire_abandoned **a = &c->abandoned; FAILED(hr) && *a; a = &(*a)->next)
        if ((*a)->id == h->id) {
            struct wire_abandoned *known = *a;
            *a = known->next;
            late = known->target;
            is_late = 1;
            free(known);
            hr = S_OK;
            break;
        }
    pthread_mutex_unlock(&c->lock);
    if (is_late && c->late)
        c->late(c, late);
    return hr;
}

static void *read_messages(void *argument) {
    struct connection *c = argument;
    struct wire_message *message = malloc(sizeof *message);
    HRESULT hr = message ? S_OK : E_OUTOFMEMORY;
    while (hr == S_OK) {
        int descriptor;
        hr = wire_receive(c->socket, message, &descriptor);
        if (hr == S_OK && message->header.flags & WIRE_ANSWER)
            hr = take_answer(c, message, &descriptor);
        else if (hr == S_OK)
            hr = descriptor < 0 && SUCCEEDED(c->serve(c, message)) ? S_OK : HCS_E_PROTOCOL_ERROR;
        if (descriptor >= 0)
            close(descriptor);
    }
    free(message);
    connection_fail(c, hr);
    c->ended(c, hr);
    handle_release(c->handle);
    return NULL;
}

HRESULT connection_start(struct connection *c) {
    handle_retain(c->handle);
    if (platform_thread_start(&c->reader, read_messages, c)) {
        handle_release(c->handle);
        return E_OUTOFMEMORY;
    }
    c->has_reader = 1;
    return S_OK;
}

void connection_leave_reader(struct connection *c, int may_wait) {
    if (!c->has_reader)
        return;
    c->has_reader = 0;
    /* In a callback, or in one of the reader's own: it would wait for itself. */
    if (may_wait && !thread_context.depth && !pthread_equal(c->reader, pthread_self()))
        pthread_join(c->reader, NULL);
    else
        pthread_detach(c->reader);
}

static void forget(struct connection *c, struct wire_pending *pending) {
    for (struct wire_pending **p = &c->pending; *p; p = &(*p)->next)
        if (*p == pending) {
            *p = pending->next;
            return;
        }
}

/* With the lock held: the answer is not waited for any more, but it may come. */
static void abandon(struct connection *c, uint64_t id, uint64_t target) {
    struct wire_abandoned *one = malloc(sizeof *one);
    if (!one)
        return; /* then its answer counts as unasked for, and cuts the peer off */
    *one = (struct wire_abandoned){c->abandoned, id, target};
    c->abandoned = one;
    if (c->given_up)
        c->given_up(c, target);
}

HRESULT connection_call(struct connection *c, uint64_t target, struct proxy_call *call, uint32_t timeout_ms) {
    struct wire_pending pending = {.call = call};
    struct wire_header header = {.magic = WIRE_MAGIC, .operation = (uint16_t)call->operation, .target = target,
                                 .cause = thread_context.cause, .bytes = call->in_bytes};
    int64_t deadline_ns = proxy_deadline(timeout_ms);
    memcpy(header.argument, call->argument, sizeof header.argument);
    call->memory = NO_HANDLE;
    pthread_mutex_lock(&c->lock);
    HRESULT hr = c->why;
    if (hr == S_OK) {
        header.id = pending.id = ++c->last_id;
        if (timeout_ms) {
            pending.next = c->pending;
            c->pending = &pending;
        } else {
            abandon(c, pending.id, target);
        }
    }
    pthread_mutex_unlock(&c->lock);
    if (FAILED(hr))
        return hr;
    transmit(c, &header, call->in, -1);
    if (!timeout_ms)
        return HRESULT_FROM_WIN32(ERROR_TIMEOUT);
    int late = 0, seen_held = 0;
    pthread_mutex_lock(&c->lock);
    while (!pending.done && !c->why && !late) {
        late = timeout_ms == WIRE_FOR_EVER ? pthread_cond_wait(&c->changed, &c->lock)
                                           : platform_wait_until(&c->changed, &c->lock, deadline_ns) == ETIMEDOUT;
        if (late && (seen_held || atomic_load(&c->is_held))) { /* its time begins anew when it goes on */
            seen_held = atomic_load(&c->is_held) != 0;
            deadline_ns = proxy_deadline(timeout_ms);
            late = 0;
        }
    }
    forget(c, &pending);
    if (pending.done) {
        hr = pending.status;
    } else if (c->why) {
        hr = c->why;
    } else {
        abandon(c, pending.id, target);
        hr = HRESULT_FROM_WIN32(ERROR_TIMEOUT);
    }
    pthread_mutex_unlock(&c->lock);
    return hr;
}

void connection_tell(struct connection *c, uint32_t operation, uint64_t target) {
    struct wire_header header = {.magic = WIRE_MAGIC, .operation = (uint16_t)operation, .target = target, .cause = -1};
    transmit(c, &header, NULL, -1);
}

void connection_answer(struct connection *c, const struct wire_header *request, HRESULT status,
                       const uint64_t answer[2], const void *data, uint32_t bytes, int descriptor) {
    struct wire_header header = {.magic = WIRE_MAGIC, .operation = request->operation, .flags = WIRE_ANSWER,
                                 .id = request->id, .cause = -1, .status = status, .bytes = bytes};
    if (answer)
        memcpy(header.argument, answer, 2 * sizeof *answer);
    transmit(c, &header, data, descriptor);
}
