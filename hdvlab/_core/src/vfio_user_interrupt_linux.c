/* Interrupts of a VM: GET_IRQ_INFO, SET_IRQS, and the line. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "handle.h"
#include "vfio_user.h"

enum { DATA_NONE = 1, DATA_BOOL = 2, DATA_EVENTFD = 4, DATA = 7, MASK = 8, UNMASK = 0x10, TRIGGER = 0x20, ACTION = 0x38 };
enum { INFO_EVENTFD = 1, INFO_MASKABLE = 2, INFO_AUTOMASKED = 4, INFO_NORESIZE = 8 };
#define COMMAND_INTX_DISABLE 0x400u

struct irq_info { uint32_t argsz, flags, index, count; };
struct set_irqs { uint32_t argsz, flags, index, start, count; };

void vfio_user_lines_init(struct lines *lines) {
    pthread_mutex_init(&lines->lock, NULL);
    memset(lines->fd, 0xFF, sizeof lines->fd);
    lines->unmask_fd = -1;
}

static void drop(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void vfio_user_lines_close(struct lines *lines) {
    pthread_mutex_lock(&lines->lock);
    for (int index = 0; index < IRQ_COUNT; index++)
        for (uint32_t i = 0; i < MSIX_VECTORS; i++)
            drop(&lines->fd[index][i]);
    drop(&lines->unmask_fd);
    lines->enabled = 0;
    lines->is_masked = lines->is_raised = 0;
    memset(lines->pending, 0, sizeof lines->pending);
    memset(lines->msi, 0, sizeof lines->msi);
    pthread_mutex_unlock(&lines->lock);
}

/* The device is as after power-on, and what the guest wrote into its capabilities is gone. */
void vfio_user_lines_reset(struct lines *lines) {
    pthread_mutex_lock(&lines->lock);
    memset(lines->msi, 0, sizeof lines->msi);
    memset(lines->shown, 0, sizeof lines->shown);
    memset(lines->pending, 0, sizeof lines->pending);
    pthread_mutex_unlock(&lines->lock);
}

/* The VM's events are written under a lock and read by the thread that serves it. */
static void never_block(int fd) {
    int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
    if (flags >= 0 && !(flags & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Under the lock. A full counter is a signal that is there already; whoever shares it may have it blocking. */
void vfio_user_signal(int fd) {
    uint64_t one = 1;
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    if (fd >= 0 && poll(&room, 1, 0) == 1 && room.revents & POLLOUT)
        (void)!write(fd, &one, sizeof one);
}

static uint32_t count_of(const struct server *server, uint32_t index) {
    const struct capabilities *c = &server->capabilities;
    switch (index) {
    case IRQ_INTX: return c->pin ? 1 : 0;
    case IRQ_MSI: return c->msi_vectors;
    case IRQ_MSIX: return c->msix_vectors;
    default: return 1;
    }
}

int vfio_user_irq_info(struct server *server, struct message *m) {
    struct irq_info r;
    if (m->header.bytes - HEADER_BYTES < sizeof r || m->fds.count)
        return EINVAL;
    memcpy(&r, m->payload, sizeof r);
    if (r.argsz < sizeof r || r.index >= IRQ_COUNT)
        return EINVAL;
    vfio_user_learn(server);
    if (vfio_user_is_replaced())
        return ESTALE;
    r.argsz = sizeof r;
    r.count = count_of(server, r.index);
    r.flags = INFO_EVENTFD | (r.index == IRQ_INTX ? INFO_MASKABLE | INFO_AUTOMASKED : 0);
    memcpy(m->reply, &r, sizeof r);
    m->reply_bytes = sizeof r;
    return 0;
}

/* ---- SET_IRQS ------------------------------------------------------------------------------------------------------- */

static int is_one_of(uint32_t flags, uint32_t group) { return __builtin_popcount(flags & group) == 1; }

static int check(const struct server *server, const struct message *m, const struct set_irqs *r) {
    uint32_t count = r->index < IRQ_COUNT ? count_of(server, r->index) : 0;
    uint32_t data_bytes = m->header.bytes - HEADER_BYTES - (uint32_t)sizeof *r;
    if (r->argsz < sizeof *r || r->index >= IRQ_COUNT || r->flags & ~(uint32_t)(DATA | ACTION) ||
        !is_one_of(r->flags, DATA) || !is_one_of(r->flags, ACTION))
        return EINVAL;
    if (r->index >= IRQ_ERR && !(r->flags & TRIGGER))
        return EINVAL;
    if (!r->count && (r->start || r->flags != (DATA_NONE | TRIGGER)))
        return EINVAL;
    if (r->count && (r->start >= count || r->count > count - r->start))
        return EINVAL;
    if (r->flags & DATA_EVENTFD ? m->fds.count && m->fds.count != r->count : m->fds.count)
        return EINVAL;
    if (r->flags & DATA_BOOL && data_bytes != r->count)
        return EINVAL;
    if (r->flags & DATA_EVENTFD && !(r->flags & TRIGGER) && (r->index != IRQ_INTX || m->fds.count > 1))
        return EINVAL;
    return 0;
}

/* The interrupt pin's event as it should be now. Under the lock. */
static void look_at_line(struct lines *lines, const struct device *device) {
    if (!device || !atomic_load(&device->line) || atomic_load(&device->command) & COMMAND_INTX_DISABLE)
        return;
    if (lines->is_masked || lines->fd[IRQ_INTX][0] < 0)
        return;
    lines->is_masked = 1; /* until the guest has acknowledged */
    vfio_user_signal(lines->fd[IRQ_INTX][0]);
}

void vfio_user_line_changed(struct server *server, struct device *device, int acknowledged) {
    struct lines *lines = &server->lines;
    pthread_mutex_lock(&lines->lock);
    if (acknowledged)
        lines->is_masked = 0;
    look_at_line(lines, device);
    pthread_mutex_unlock(&lines->lock);
}

/* Gives vector n its event, or takes it away (-1). Under the lock. */
static void assign(struct lines *lines, uint32_t index, uint32_t n, int fd) {
    never_block(fd);
    drop(&lines->fd[index][n]);
    lines->fd[index][n] = fd;
    if (index == IRQ_MSIX && fd >= 0 && lines->pending[n / 64] >> n % 64 & 1) {
        lines->pending[n / 64] &= ~(1ull << n % 64);
        vfio_user_signal(fd);
    }
}

static void disable(struct lines *lines, uint32_t index) {
    for (uint32_t i = 0; i < MSIX_VECTORS; i++)
        drop(&lines->fd[index][i]);
    lines->enabled &= ~(1u << index);
    if (index == IRQ_INTX) {
        drop(&lines->unmask_fd);
        lines->is_masked = 0;
    }
    if (index == IRQ_MSIX)
        memset(lines->pending, 0, sizeof lines->pending);
}

static void show_mode(struct server *server) {
    uint32_t enabled = server->lines.enabled;
    pthread_mutex_lock(&server->lock);
    server->state.interrupt_mode = enabled & 1u << IRQ_MSIX ? 17 : enabled & 1u << IRQ_MSI ? 5 : enabled & 1u << IRQ_INTX;
    pthread_mutex_unlock(&server->lock);
}

static int is_event(int fd) {
    char path[32], target[32] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, target, sizeof target - 1) < 0 || !strcmp(target, "anon_inode:[eventfd]");
}

int vfio_user_set_irqs(struct server *server, struct message *m) {
    struct set_irqs r;
    if (m->header.bytes - HEADER_BYTES < sizeof r)
        return EINVAL;
    memcpy(&r, m->payload, sizeof r);
    if (m->is_resumed && m->entry)
        return 0; /* what was left to do is the device's own table */
    vfio_user_learn(server);
    if (vfio_user_is_replaced())
        return ESTALE;
    int refusal = check(server, m, &r);
    for (uint32_t i = 0; i < m->fds.count && !refusal; i++)
        if (!is_event(m->fds.fd[i]))
            refusal = EINVAL;
    if (refusal)
        return refusal;
    struct lines *lines = &server->lines;
    struct device *device = system_slot_device(&server->machine->system, server->slot);
    const uint8_t *flag = m->payload + sizeof r;
    pthread_mutex_lock(&lines->lock);
    if (r.flags & TRIGGER && r.flags & DATA_EVENTFD) {
        for (uint32_t i = 0; i < r.count; i++) {
            assign(lines, r.index, r.start + i, m->fds.count ? m->fds.fd[i] : -1);
            if (m->fds.count)
                m->fds.fd[i] = -1;
        }
        lines->enabled |= 1u << r.index;
        if (r.index == IRQ_INTX)
            lines->is_masked = 0;
    } else if (r.flags & TRIGGER && !r.count) {
        disable(lines, r.index);
    } else if (r.flags & TRIGGER) {
        for (uint32_t i = 0; i < r.count; i++)
            if (r.flags & DATA_NONE || flag[i])
                vfio_user_signal(lines->fd[r.index][r.start + i]);
    } else if (r.index == IRQ_INTX && r.flags & DATA_EVENTFD) {
        if (r.flags & UNMASK) {
            drop(&lines->unmask_fd);
            lines->unmask_fd = m->fds.count ? m->fds.fd[0] : -1;
            never_block(lines->unmask_fd);
            if (m->fds.count)
                m->fds.fd[0] = -1;
        }
    } else if (r.index == IRQ_INTX && (r.flags & DATA_NONE || flag[0])) {
        lines->is_masked = r.flags & MASK ? 1 : 0;
    }
    if (r.index == IRQ_INTX)
        look_at_line(lines, device);
    pthread_mutex_unlock(&lines->lock);
    show_mode(server);
    m->entry = 1;
    if (r.index == IRQ_MSIX && r.flags & TRIGGER && (r.flags & DATA_EVENTFD || !r.count) && device)
        vfio_user_show_table(server, device, r.count ? r.start : 0, r.count ? r.count : count_of(server, IRQ_MSIX));
    if (device)
        handle_release(device->handle);
    return vfio_user_is_replaced() ? ESTALE : 0;
}
