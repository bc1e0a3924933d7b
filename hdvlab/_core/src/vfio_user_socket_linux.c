/* Bytes of a VM's connection, in and out, with the descriptors that come along, and how the server waits for them. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "handle.h"
#include "vfio_user.h"

#define SEND_PATIENCE_NS 4000000000ll /* a peer that has not read a message after so long is cut off */
#define QUICK_NS 50000 /* messages that come so close together are looked for before the thread sleeps */
#define RESTS_LEAST 16u /* messages that are slept for */
#define RESTS_MOST 1024u

/* ---- out ------------------------------------------------------------------------------------------------------------ */

/* Waits for room; 0 = there is some. */
static int wait_for_room(struct server *server, int64_t deadline) {
    struct pollfd room[2] = {{.fd = server->socket, .events = POLLOUT}, {.fd = server->wake, .events = POLLIN}};
    int64_t left = deadline - monotonic_ns();
    return left <= 0 || poll(room, 2, (int)(left / 1000000) + 1) < 1 || room[1].revents ? EPIPE : 0;
}

int vfio_user_send(struct server *server, struct iovec *part, int parts, const int *fds, uint32_t fd_count) {
    union { char room[CMSG_SPACE(sizeof(int) * FDS_MAX)]; struct cmsghdr align; } control;
    struct msghdr message = {.msg_iov = part, .msg_iovlen = (size_t)parts};
    int64_t deadline = 0;
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
    while (message.msg_iovlen) {
        ssize_t sent = sendmsg(server->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            message.msg_control = NULL;
            message.msg_controllen = 0;
            for (; message.msg_iovlen && (size_t)sent >= message.msg_iov->iov_len; message.msg_iov++, message.msg_iovlen--)
                sent -= (ssize_t)message.msg_iov->iov_len;
            if (message.msg_iovlen) {
                message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + sent;
                message.msg_iov->iov_len -= (size_t)sent;
            }
            continue;
        }
        int error = errno;
        if (error == EINTR)
            continue;
        deadline = deadline ? deadline : monotonic_ns() + SEND_PATIENCE_NS;
        if (error != EAGAIN || wait_for_room(server, deadline)) {
            shutdown(server->socket, SHUT_RDWR); /* half a message may be out: nothing after it makes sense */
            return EPIPE;
        }
    }
    return 0;
}

/* ---- in ------------------------------------------------------------------------------------------------------------- */

void vfio_user_close_fds(struct received_fds *fds) {
    for (uint32_t i = 0; i < fds->count; i++)
        if (fds->fd[i] >= 0)
            close(fds->fd[i]);
    fds->count = 0;
    fds->lost = 0;
}

static void take_fds(struct msghdr *message, struct received_fds *fds) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        uint32_t count = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (uint32_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (fds->count < FDS_MAX) {
                fds->fd[fds->count++] = fd;
            } else {
                fds->lost = 1;
                close(fd);
            }
        }
    }
    if (message->msg_flags & MSG_CTRUNC)
        fds->lost = 1;
}

/* The VM says that the guest has acknowledged the line. */
static void acknowledged(struct server *server) {
    uint64_t count;
    if (read(server->lines.unmask_fd, &count, sizeof count) != sizeof count)
        return;
    struct device *device = system_slot_device(&server->machine->system, server->slot);
    if (device) {
        vfio_user_line_changed(server, device, 1);
        handle_release(device->handle);
    }
}

/* Sleeps until there are bytes; the server's end and acknowledged lines are looked after meanwhile. 0 = there are some. */
static int wait_for_bytes(struct server *server) {
    for (;;) {
        struct pollfd ready[3] = {{.fd = server->socket, .events = POLLIN}, {.fd = server->wake, .events = POLLIN},
                                  {.fd = server->lines.unmask_fd, .events = POLLIN}}; /* only this thread sets it */
        if (poll(ready, 3, -1) < 0) {
            if (errno != EINTR)
                return EIO;
            continue; /* and what is ready is not known */
        }
        if (ready[1].revents || atomic_load(&server->is_ending))
            return ECANCELED;
        if (ready[2].revents & POLLIN)
            acknowledged(server);
        if (ready[0].revents)
            return 0;
    }
}

/* A wake-up costs more than anything else on the way: while messages follow each other closely, the server looks for the
 * next one for a little while first; once one does not come, it sleeps at once until they do again. Where one comes only
 * once the thread sleeps, looking kept the VM from the CPU it needed (sched_yield does not mend that: it yields to no other
 * session's threads where these are grouped): the next ones are slept for, the more of them the more often that is. */
static int64_t look_ns(const struct server *server) {
    uint32_t poll_us = server->options.poll_us;
    int64_t quick = server->is_quick && !server->rest ? QUICK_NS : 0;
    int64_t wanted = poll_us == UINT32_MAX ? quick : (int64_t)poll_us * 1000;
    return server->lines.unmask_fd >= 0 && wanted > QUICK_NS ? QUICK_NS : wanted; /* which only a sleeper sees */
}

/* What a wait that began then teaches for the next. */
static void learn(struct server *server, int64_t began, int slept) {
    int was_quick = server->is_quick;
    server->is_quick = monotonic_ns() - began < 2 * QUICK_NS;
    if (!slept) {
        server->next_rest = server->next_rest > RESTS_LEAST ? server->next_rest - 1 : RESTS_LEAST;
    } else if (server->rest) {
        server->rest--;
    } else if (was_quick && server->is_quick && server->options.poll_us == UINT32_MAX) {
        server->rest = server->next_rest > RESTS_LEAST ? server->next_rest : RESTS_LEAST;
        server->next_rest = 2 * server->rest < RESTS_MOST ? 2 * server->rest : RESTS_MOST;
    }
}

int vfio_user_receive_some(struct server *server, void *to, size_t most, struct received_fds *fds, size_t *got) {
    union { char room[CMSG_SPACE(sizeof(int) * (FDS_MAX + 1))]; struct cmsghdr align; } control;
    int64_t began = 0, now, look = 0;
    int error = 0, slept = 0;
    while (!error) {
        struct iovec part = {to, most};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = fds ? &control : NULL,
                                 .msg_controllen = fds ? sizeof control : 0};
        ssize_t bytes = recvmsg(server->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (bytes > 0) {
            if (fds)
                take_fds(&message, fds);
            *got = (size_t)bytes;
            if (began)
                learn(server, began, slept);
            return 0;
        }
        if (!bytes)
            return ECONNRESET;
        if (errno != EAGAIN && errno != EINTR)
            return errno;
        now = monotonic_ns();
        if (!began) {
            began = now;
            look = look_ns(server);
        }
        if (atomic_load_explicit(&server->is_ending, memory_order_relaxed))
            error = ECANCELED;
        else if (now - began >= look)
            error = wait_for_bytes(server), slept = 1;
    }
    return error;
}
