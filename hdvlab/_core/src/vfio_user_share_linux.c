/* What a VM may reach without asking: sections as areas that it maps, doorbells as events that it signals. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "handle.h"
#include "vfio_user.h"

#define PAGE 4096ull
#define AREAS_MAX 64u
#define DOORBELL_SIZE_CODE 0x7FFFFFFFu
#define DOORBELL_ANY_VALUE 0x80000000u
#define DOORBELL_PAGE 0x40000000u

struct area { uint64_t offset, size; };
struct sparse { uint16_t id, version; uint32_t next, count, reserved; };
struct io_fds { uint32_t argsz, flags, index, count; };
struct io_fd { uint64_t offset, size; uint32_t fd_index, type, flags, padding; uint64_t datamatch; };

static int overlaps(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) { return a < b + b_bytes && b < a + a_bytes; }

/* Whether the server has to see what happens in these pages. Under tables_lock. */
static int must_be_seen(const struct server *server, const struct device *device, const struct section *s) {
    const struct capabilities *c = &server->capabilities;
    if (c->msix_vectors && ((c->table_bar == s->bar && overlaps(c->table_offset, 16ull * c->msix_vectors, s->offset, s->length)) ||
                            (c->pba_bar == s->bar && overlaps(c->pba_offset, (c->msix_vectors + 63) / 64 * 8ull, s->offset, s->length))))
        return 1;
    for (const struct doorbell *d = device->doorbells; d; d = d->next)
        if (d->bar == s->bar && overlaps(d->offset, d->flags == DOORBELL_PAGE ? PAGE : 8, s->offset, s->length))
            return 1;
    return 0;
}

static void note_shared(const struct server *server, const struct device *device, uint32_t bar, const struct area *area) {
    char text[128];
    int bytes = snprintf(text, sizeof text, "the VM may map BAR%u+0x%llx, 0x%llx bytes: accesses there leave no rows", bar,
                         (unsigned long long)area->offset, (unsigned long long)area->size);
    if (server->machine->system.trace_handle)
        (void)hdvlab_trace_mark(server->machine->system.trace_handle, HDVLAB_MARK, device->index, -1, S_OK, text,
                                (uint32_t)bytes, &(int64_t){0});
}

uint32_t vfio_user_share_sections(struct server *server, struct device *device, uint32_t bar, uint32_t room,
                                  struct message *m, uint64_t *file_offset) {
    struct area areas[AREAS_MAX];
    const struct section *first = NULL;
    uint32_t count = 0, bytes = 0;
    pthread_mutex_lock(&device->tables_lock);
    for (const struct section *s = device->sections; s && count < AREAS_MAX; s = s->next) {
        /* One file with one base for a BAR; and the flags of the region say what may be done to all of them. */
        if (s->bar != bar || !s->writable || s->file_offset < s->offset || must_be_seen(server, device, s) ||
            (first && (!platform_is_same_object(first->file, s->file) ||
                       first->file_offset - first->offset != s->file_offset - s->offset)))
            continue;
        first = first ? first : s;
        areas[count++] = (struct area){s->offset, s->length};
    }
    if (count)
        bytes = (uint32_t)(sizeof(struct sparse) + count * sizeof *areas);
    if (count && bytes <= room) {
        struct sparse sparse = {.id = 1, .version = 1, .count = count};
        memcpy(m->reply + 32, &sparse, sizeof sparse);
        memcpy(m->reply + 32 + sizeof sparse, areas, count * sizeof *areas);
        *file_offset = first->file_offset - first->offset;
        int fd = fcntl((int)(intptr_t)first->file, F_DUPFD_CLOEXEC, 3);
        if (fd >= 0)
            m->reply_fd[m->reply_fd_count++] = fd;
        else
            bytes = 0; /* emulated, then */
    }
    pthread_mutex_unlock(&device->tables_lock);
    for (uint32_t i = 0; i < count && m->reply_fd_count; i++)
        note_shared(server, device, bar, &areas[i]);
    return bytes;
}

int vfio_user_io_fds(struct server *server, struct message *m) {
    struct io_fds r;
    if (m->header.bytes - HEADER_BYTES < sizeof r || m->fds.count)
        return EINVAL;
    memcpy(&r, m->payload, sizeof r);
    if (r.argsz < sizeof r || r.argsz > DATA_MAX || r.flags || r.count || r.index >= REGION_COUNT)
        return EINVAL;
    struct device *device = system_slot_device(&server->machine->system, server->slot);
    uint32_t count = 0, room = (r.argsz - (uint32_t)sizeof r) / (uint32_t)sizeof(struct io_fd);
    struct io_fd entry[FDS_MAX];
    int fd[FDS_MAX];
    if (device) {
        pthread_mutex_lock(&device->tables_lock);
        for (const struct doorbell *d = device->doorbells; d && count < FDS_MAX; d = d->next) {
            uint32_t code = d->flags == DOORBELL_PAGE ? 0 : d->flags & DOORBELL_SIZE_CODE;
            int is_exact = d->flags != DOORBELL_PAGE && !(d->flags & DOORBELL_ANY_VALUE);
            if (d->bar != r.index || d->flags == DOORBELL_PAGE) /* no event stands for a page */
                continue;
            entry[count] = (struct io_fd){.offset = d->offset, .size = code ? 1u << (code - 1) : 0, .fd_index = count,
                                          .flags = is_exact ? 1 : 0, .datamatch = is_exact ? d->value : 0};
            fd[count++] = (int)(intptr_t)d->event;
        }
        for (uint32_t i = 0; i < count && count <= room; i++)
            if ((m->reply_fd[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, 3)) >= 0)
                m->reply_fd_count++;
            else
                count = i; /* those that there are descriptors for */
        pthread_mutex_unlock(&device->tables_lock);
        handle_release(device->handle);
    }
    r = (struct io_fds){.argsz = (uint32_t)(sizeof r + count * sizeof *entry), .index = r.index, .count = count};
    memcpy(m->reply, &r, sizeof r);
    m->reply_bytes = sizeof r;
    if (m->reply_fd_count) {
        memcpy(m->reply + sizeof r, entry, count * sizeof *entry);
        m->reply_bytes = r.argsz;
    }
    return 0;
}
