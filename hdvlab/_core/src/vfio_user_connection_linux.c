/* A VM's connection: who connects, messages in and out, and the thread that does it. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handle.h"
#include "tap.h"
#include "vfio_user.h"

#define SEND_PATIENCE_MS 4000 /* a peer that does not read for so long is cut off */

/* ---- out ------------------------------------------------------------------------------------------------------------ */

static int send_all(struct server *server, const void *bytes, size_t size, const int *fds, uint32_t fd_count) {
    union { char room[CMSG_SPACE(sizeof(int) * FDS_MAX)]; struct cmsghdr align; } control;
    struct iovec part = {(void *)bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(rights), fds, sizeof(int) * fd_count);
    }
    while (part.iov_len) {
        ssize_t sent = sendmsg(server->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            part.iov_base = (char *)part.iov_base + sent;
            part.iov_len -= (size_t)sent;
            message.msg_control = NULL;
            message.msg_controllen = 0;
            continue;
        }
        if (errno == EINTR)
            continue;
        struct pollfd room[2] = {{.fd = server->socket, .events = POLLOUT}, {.fd = server->wake, .events = POLLIN}};
        if (errno != EAGAIN || poll(room, 2, SEND_PATIENCE_MS) <= 0 || room[1].revents) {
            shutdown(server->socket, SHUT_RDWR); /* half a message may be out: nothing after it makes sense */
            return EPIPE;
        }
    }
    return 0;
}

static int send_reply(struct server *server, struct message *m, int error) {
    struct header header = {.id = m->header.id, .command = m->header.command,
                            .bytes = HEADER_BYTES + (error ? 0 : m->reply_bytes),
                            .flags = TYPE_REPLY | (error ? FLAG_ERROR : 0), .error = (uint32_t)error};
    uint8_t *whole = m->reply - HEADER_BYTES;
    memcpy(whole, &header, sizeof header);
    pthread_mutex_lock(&server->send_lock);
    int failed = send_all(server, whole, header.bytes, m->reply_fd, error ? 0 : m->reply_fd_count);
    pthread_mutex_unlock(&server->send_lock);
    return failed;
}

int vfio_user_tell(struct server *server, uint16_t command, const void *payload, uint32_t bytes) {
    uint8_t whole[HEADER_BYTES + 64];
    if (bytes > 64)
        return EINVAL;
    pthread_mutex_lock(&server->send_lock);
    struct header header = {.id = server->next_id++, .command = command, .bytes = HEADER_BYTES + bytes,
                            .flags = TYPE_COMMAND | FLAG_NO_REPLY};
    memcpy(whole, &header, sizeof header);
    memcpy(whole + HEADER_BYTES, payload, bytes);
    int failed = server->socket < 0 ? ENOTCONN : send_all(server, whole, header.bytes, NULL, 0);
    pthread_mutex_unlock(&server->send_lock);
    return failed;
}

/* ---- in ------------------------------------------------------------------------------------------------------------- */

static void close_fds(struct message *m) {
    for (uint32_t i = 0; i < m->fd_count; i++)
        if (m->fd[i] >= 0)
            close(m->fd[i]);
    m->fd_count = 0;
}

static void take_fds(struct msghdr *message, struct message *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        uint32_t count = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (uint32_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (m->fd_count < FDS_MAX) {
                m->fd[m->fd_count++] = fd;
            } else {
                m->fds_lost = 1;
                close(fd);
            }
        }
    }
    if (message->msg_flags & MSG_CTRUNC)
        m->fds_lost = 1;
}

/* Waits for bytes; the server's end and acknowledged lines are looked after meanwhile. 0 = there are some. */
static int wait_for_bytes(struct server *server) {
    for (;;) {
        pthread_mutex_lock(&server->lines.lock);
        int unmask = server->lines.unmask_fd;
        pthread_mutex_unlock(&server->lines.lock);
        struct pollfd ready[3] = {{.fd = server->socket, .events = POLLIN}, {.fd = server->wake, .events = POLLIN},
                                  {.fd = unmask, .events = POLLIN}};
        if (poll(ready, 3, -1) < 0 && errno != EINTR)
            return EIO;
        if (ready[1].revents || atomic_load(&server->is_ending))
            return ECANCELED;
        if (ready[2].revents & POLLIN) {
            uint64_t count;
            (void)!read(unmask, &count, sizeof count);
            struct device *device = system_slot_device(&server->machine->system, server->slot);
            if (device) {
                vfio_user_line_changed(server, device, 1);
                handle_release(device->handle);
            }
        }
        if (ready[0].revents)
            return 0;
    }
}

#define QUICK_NS 50000 /* messages that come so close together are looked for before the thread sleeps */
#define RESTS_LEAST 16u /* messages that are slept for */
#define RESTS_MOST 1024u

static int has_bytes(struct server *server) {
    char byte;
    return recv(server->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

/* Waits for bytes. A wake-up costs more than anything else on the way: while messages follow each other closely, it looks
 * for the next one for a little while first; once one does not come, it sleeps at once until they do again. Where one comes
 * only once the thread sleeps, looking kept the VM from the CPU it needed (sched_yield does not mend that: it yields to no
 * other session's threads where these are grouped): the next ones are slept for, the more of them the more often that is. */
static int await_bytes(struct server *server) {
    uint32_t poll_us = server->options.poll_us;
    int is_adaptive = poll_us == UINT32_MAX, looks = server->is_quick && !server->rest;
    int64_t began = monotonic_ns(), until = began + (!is_adaptive ? (int64_t)poll_us * 1000 : looks ? QUICK_NS : 0);
    while (monotonic_ns() < until && !atomic_load_explicit(&server->is_ending, memory_order_relaxed))
        if (has_bytes(server)) {
            server->next_rest = server->next_rest > RESTS_LEAST ? server->next_rest - 1 : RESTS_LEAST;
            return 0;
        }
    int error = wait_for_bytes(server);
    int was_quick = server->is_quick;
    server->is_quick = monotonic_ns() - began < 2 * QUICK_NS;
    if (server->rest)
        server->rest--;
    else if (was_quick && server->is_quick && is_adaptive) {
        server->rest = server->next_rest;
        server->next_rest = 2 * server->rest < RESTS_MOST ? 2 * server->rest : RESTS_MOST;
    }
    return error;
}

/* Reads so many bytes, into nowhere when `to` is NULL; descriptors go to `m`, unless NULL. */
static int receive(struct server *server, void *to, uint64_t bytes, struct message *m) {
    union { char room[CMSG_SPACE(sizeof(int) * (FDS_MAX + 1))]; struct cmsghdr align; } control;
    char nowhere[4096];
    for (uint64_t done = 0; done < bytes;) {
        uint64_t left = bytes - done;
        struct iovec part = {to ? (char *)to + done : nowhere, to || left < sizeof nowhere ? left : sizeof nowhere};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = m ? &control : NULL,
                                 .msg_controllen = m ? sizeof control : 0};
        ssize_t got = recvmsg(server->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got > 0) {
            if (m)
                take_fds(&message, m);
            done += (uint64_t)got;
        } else if (!got) {
            return ECONNRESET;
        } else if (errno == EAGAIN) {
            int error = await_bytes(server);
            if (error)
                return error;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

/* ---- the connection ------------------------------------------------------------------------------------------------- */

/* Does what the message says and replies; goes on where another thread was replaced. */
static int answer(struct server *server) {
    struct message *m = &server->message;
    int is_long = m->header.bytes > MESSAGE_MAX, error = 0;
    int refusal = is_long || m->header.bytes < HEADER_BYTES || (m->header.flags & TYPE_MASK) != TYPE_COMMAND ||
                          m->fds_lost
                      ? EINVAL
                      : vfio_user_dispatch(server, m);
    if (refusal == ESTALE)
        return ESTALE;
    m->is_resumed = 0;
    close_fds(m);
    if (is_long || !(m->header.flags & FLAG_NO_REPLY))
        error = send_reply(server, m, refusal);
    for (uint32_t i = 0; i < m->reply_fd_count; i++)
        close(m->reply_fd[i]);
    m->reply_fd_count = 0;
    if (is_long || (refusal && !server->is_negotiated))
        return EPROTO;
    return error;
}

/* One message in, its reply out. 0, or why the connection ends: EPROTO = the peer is cut off. */
static int serve_message(struct server *server) {
    struct message *m = &server->message;
    if (m->is_resumed)
        return answer(server);
    m->fd_count = m->reply_bytes = m->reply_fd_count = m->piece = m->entry = 0;
    m->fds_lost = 0;
    m->done = 0;
    int error = receive(server, &m->header, HEADER_BYTES, m);
    uint64_t bytes = m->header.bytes < HEADER_BYTES ? 0 : m->header.bytes - HEADER_BYTES;
    int is_long = !error && m->header.bytes > MESSAGE_MAX;
    if (!error && !is_long)
        error = receive(server, m->payload, bytes, NULL);
    if (error) {
        close_fds(m);
        return error;
    }
    atomic_fetch_add_explicit(&server->messages, 1, memory_order_relaxed);
    return answer(server);
}

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
    server->capabilities = (struct capabilities){0};
    server->rest = 0;
    server->next_rest = RESTS_LEAST;
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
    pthread_mutex_unlock(&server->send_lock);
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
