/* A VM's connection: who connects, messages in and replies out, and the thread that does it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "handle.h"
#include "tap.h"
#include "vfio_user.h"

#define NO_DESCRIPTORS_PAUSE_MS 100 /* a VM waits in the queue when this process may open no more files */

/* ---- messages ------------------------------------------------------------------------------------------------------- */

static int send_reply(struct server *server, struct message *m, int error) {
    struct header header = {.id = m->header.id, .command = m->header.command,
                            .bytes = HEADER_BYTES + (error ? 0 : m->reply_bytes),
                            .flags = TYPE_REPLY | (error ? FLAG_ERROR : 0), .error = (uint32_t)error};
    uint8_t *whole = m->reply - HEADER_BYTES;
    memcpy(whole, &header, sizeof header);
    struct iovec part = {whole, header.bytes};
    pthread_mutex_lock(&server->send_lock);
    int failed = vfio_user_send(server, &part, 1, m->reply_fd, error ? 0 : m->reply_fd_count);
    server->may_ask |= m->header.command == COMMAND_VERSION && !error && !failed;
    pthread_mutex_unlock(&server->send_lock);
    return failed;
}

/* A message's header and the payload of most accesses are one read, which may be too much of a message that is shorter: the
 * rest is kept for the next. No message so short has descriptors, so those that came are the next one's too. */
static int receive(struct server *server, struct message *m) {
    uint8_t first[AHEAD_BYTES];
    size_t have = server->ahead.bytes, got;
    memcpy(first, server->ahead.data, have);
    m->fds = server->ahead.fds;
    server->ahead.bytes = server->ahead.fds.count = 0;
    server->ahead.fds.lost = 0;
    int error = 0;
    size_t wanted = HEADER_BYTES;
    while (have < wanted && !(error = vfio_user_receive_some(server, first + have, sizeof first - have, &m->fds, &got))) {
        have += got;
        if (wanted > HEADER_BYTES || have < HEADER_BYTES)
            continue;
        memcpy(&m->header, first, HEADER_BYTES);
        if (m->header.bytes <= MESSAGE_MAX)
            wanted = m->header.bytes < sizeof first ? m->header.bytes : sizeof first;
    }
    if (error)
        return error;
    memcpy(&m->header, first, HEADER_BYTES);
    if (m->header.bytes > MESSAGE_MAX)
        return 0; /* nobody reads that much */
    size_t bytes = m->header.bytes < HEADER_BYTES ? HEADER_BYTES : m->header.bytes;
    if (have > bytes) {
        server->ahead.bytes = have - bytes;
        memcpy(server->ahead.data, first + bytes, have - bytes);
        server->ahead.fds = m->fds;
        m->fds.count = 0;
        m->fds.lost = 0;
        have = bytes;
    }
    memcpy(m->payload, first + HEADER_BYTES, have - HEADER_BYTES);
    for (; have < bytes && !error; have += got)
        error = vfio_user_receive_some(server, m->payload + have - HEADER_BYTES, bytes - have, NULL, &got);
    return error;
}

/* Does what the message says and replies; goes on where another thread was replaced. */
static int answer(struct server *server) {
    struct message *m = &server->message;
    int is_long = m->header.bytes > MESSAGE_MAX, error = 0;
    int refusal = is_long || m->header.bytes < HEADER_BYTES || (m->header.flags & TYPE_MASK) != TYPE_COMMAND ||
                          m->fds.lost
                      ? EINVAL
                      : vfio_user_dispatch(server, m);
    if (refusal == ESTALE)
        return ESTALE;
    m->is_resumed = 0;
    vfio_user_close_fds(&m->fds);
    if (is_long || !(m->header.flags & FLAG_NO_REPLY))
        error = send_reply(server, m, refusal);
    for (uint32_t i = 0; i < m->reply_fd_count; i++)
        close(m->reply_fd[i]);
    m->reply_fd_count = 0;
    if (is_long || (refusal && !server->is_negotiated))
        return EPROTO;
    return error;
}

static int is_dma_reply(const struct header *header) {
    return (header->flags & TYPE_MASK) == TYPE_REPLY && header->bytes >= HEADER_BYTES && header->bytes <= MESSAGE_MAX &&
           (header->command == COMMAND_DMA_READ || header->command == COMMAND_DMA_WRITE);
}

/* One message in, its reply out. 0, or why the connection ends: EPROTO = the peer is cut off. */
static int serve_message(struct server *server) {
    struct message *m = &server->message;
    if (m->is_resumed)
        return answer(server);
    if (atomic_load_explicit(&server->is_ending, memory_order_relaxed))
        return ECANCELED; /* also of a peer that never pauses */
    m->reply_bytes = m->reply_fd_count = m->piece = m->entry = 0;
    m->done = 0;
    int error = receive(server, m);
    if (error) {
        vfio_user_close_fds(&m->fds);
        return error;
    }
    atomic_fetch_add_explicit(&server->messages, 1, memory_order_relaxed);
    if (!server->is_negotiated || !is_dma_reply(&m->header))
        return answer(server);
    vfio_user_answered(server, m);
    vfio_user_close_fds(&m->fds);
    return 0;
}

/* ---- the connection ------------------------------------------------------------------------------------------------- */

static void note(struct server *server, const char *text) {
    struct device *device = system_slot_device(&server->machine->system, server->slot);
    (void)hdvlab_trace_mark(server->machine->system.trace_handle, HDVLAB_MARK, device ? device->index : HDVLAB_NO_DEVICE,
                            -1, S_OK, text, (uint32_t)strlen(text), &(int64_t){0});
    if (device)
        handle_release(device->handle);
}

static void begin(struct server *server) {
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    (void)getsockopt(server->socket, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    server->is_negotiated = 0;
    atomic_store(&server->is_guests, 0);
    vfio_user_forget(server);
    server->rest = server->next_rest = 0;
    atomic_store(&server->messages, 0);
    pthread_mutex_lock(&server->lock);
    server->state.state = HDVLAB_VFIO_USER_CONNECTED;
    server->state.connections++;
    server->state.resets = 0;
    server->state.peer = peer.pid;
    vfio_user_changed(server);
    pthread_mutex_unlock(&server->lock);
    if (server->machine->system.trace_handle)
        note(server, "the VM connected");
}

static void finish(struct server *server, int error) {
    pthread_mutex_lock(&server->send_lock);
    close(server->socket);
    server->socket = -1;
    server->may_ask = 0;
    pthread_mutex_unlock(&server->send_lock);
    vfio_user_nobody_answers(server);
    vfio_user_close_fds(&server->ahead.fds);
    server->ahead.bytes = 0;
    vfio_user_lines_close(&server->lines);
    vfio_user_memory_drop(server);
    if (server->machine->system.trace_handle)
        note(server, error == EPROTO ? "the VM's connection was cut off: it sent what is no message"
                                     : "the VM disconnected");
    pthread_mutex_lock(&server->lock);
    server->state.state = server->listener >= 0 ? HDVLAB_VFIO_USER_LISTENING : HDVLAB_VFIO_USER_NONE;
    server->state.why = error == EPROTO ? HCS_E_PROTOCOL_ERROR : S_OK;
    server->state.interrupt_mode = 0;
    server->state.dma_regions = server->state.dma_bytes = 0;
    server->state.peer = 0;
    vfio_user_changed(server);
    pthread_mutex_unlock(&server->lock);
}

static int accept_one(struct server *server) {
    while (!atomic_load(&server->is_ending)) {
        struct pollfd ready[2] = {{.fd = server->listener, .events = POLLIN}, {.fd = server->wake, .events = POLLIN}};
        if (poll(ready, 2, -1) < 0 && errno != EINTR)
            return -1;
        if (ready[0].revents && !ready[1].revents) {
            int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0)
                return fd;
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                (void)poll(&ready[1], 1, NO_DESCRIPTORS_PAUSE_MS);
        }
    }
    return -1;
}

/* Serves who is connected, then who connects. */
static int serve(struct server *server) {
    int attached = server->is_attached ? server->socket : -1;
    int is_taken_over = server->message.is_resumed;
    while (is_taken_over || !atomic_load(&server->is_ending)) {
        if (!is_taken_over) {
            int fd = attached >= 0 ? attached : server->listener >= 0 ? accept_one(server) : -1;
            if (fd < 0)
                break;
            attached = -1;
            server->is_attached = 0;
            pthread_mutex_lock(&server->send_lock);
            server->socket = fd;
            pthread_mutex_unlock(&server->send_lock);
            begin(server);
        }
        is_taken_over = 0;
        int error;
        while (!(error = serve_message(server)))
            ;
        if (error == ESTALE)
            return ESTALE;
        finish(server, error);
    }
    return 0;
}

void *vfio_user_serve(void *argument) {
    struct worker *worker = argument;
    struct server *server = worker->server;
    thread_context.watch = &worker->watch;
    if (serve(server) == ESTALE) {
        vfio_user_retire_stuck(worker);
        return NULL;
    }
    thread_context.watch = NULL;
    vfio_user_let_go(server); /* not the last: whoever ends the server waits for what follows, and then frees it */
    pthread_mutex_lock(&server->lock);
    server->worker = NULL;
    server->is_served = 0;
    free(worker);
    vfio_user_changed(server);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}
