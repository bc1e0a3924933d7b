/* A VM's connection as memory: instead of vfio_user_socket_linux.c and vfio_user_watch_linux.c, which are not linked. One
 * thread does it all, so that a run is the same each time. Nobody loses patience here. */
#include "vfio_user_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sanitizer/asan_interface.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../hdvlab/_core/src/handle.h"
#include "../../hdvlab/_core/src/vfio_user.h"
#include "cursor.h"

#define WIRE_BYTES 65536u
#define PARTS_MAX 64u
#define PART_FDS_MAX 40u
#define ANSWER_BYTES (HEADER_BYTES + 16u + (1u << 20) + 64u)

struct part {
    size_t bytes; /* that are left of it */
    int fd[PART_FDS_MAX];
    uint32_t fd_count;
    int is_alone;
};
static struct {
    uint8_t bytes[WIRE_BYTES];
    size_t begin, end;
    struct part part[PARTS_MAX];
    uint32_t first, parts;
    uint32_t sends_left;
    int is_gone, has_all;
    struct worker *worker;
    struct server *server; /* that is served now */
} wire;

/* ---- the VM's end --------------------------------------------------------------------------------------------------- */

void wire_open(void) {
    REQUIRE(!wire.server && !wire.worker);
    wire.begin = wire.end = wire.first = wire.parts = 0;
    wire.sends_left = UINT32_MAX;
    wire.is_gone = wire.has_all = 0;
}

void wire_put(const uint8_t *bytes, size_t length, const int *fds, uint32_t fd_count, int is_alone) {
    REQUIRE(fd_count <= PART_FDS_MAX && wire.parts < PARTS_MAX && WIRE_BYTES - wire.end >= length);
    if (!length)
        return;
    struct part *part = &wire.part[wire.parts++];
    *part = (struct part){.bytes = length, .fd_count = fd_count, .is_alone = is_alone};
    if (fd_count)
        memcpy(part->fd, fds, sizeof *fds * fd_count);
    memcpy(wire.bytes + wire.end, bytes, length);
    wire.end += length;
}

void wire_break(uint32_t messages) { wire.sends_left = messages; }
int wire_is_served(void) { return wire.server != NULL; }

void wire_end(void) {
    if (wire.server)
        atomic_store(&wire.server->is_ending, 1);
}

int wire_serve(void) {
    struct worker *worker = wire.worker;
    REQUIRE(worker);
    wire.worker = NULL;
    wire.server = worker->server;
    (void)vfio_user_serve(worker);
    wire.server = NULL;
    return wire.has_all;
}

/* ---- instead of vfio_user_socket_linux.c ---------------------------------------------------------------------------- */

/* The VM's answer is there at once. One that is nobody's is as the end of the VM to who waits for it. */
static void answer(struct server *server, uint8_t *message) {
    struct message reply = {0};
    size_t bytes = vm_answers(message);
    memcpy(&reply.header, message, HEADER_BYTES);
    REQUIRE(reply.header.bytes == bytes && bytes >= HEADER_BYTES);
    reply.payload = malloc(bytes - HEADER_BYTES ? bytes - HEADER_BYTES : 1);
    REQUIRE(reply.payload);
    memcpy(reply.payload, message + HEADER_BYTES, bytes - HEADER_BYTES);
    vfio_user_answered(server, &reply);
    vfio_user_nobody_answers(server);
    free(reply.payload);
}

int vfio_user_send(struct server *server, struct iovec *part, int parts, const int *fds, uint32_t fd_count) {
    static uint8_t message[ANSWER_BYTES];
    struct header header;
    size_t bytes = 0;
    for (int i = 0; i < parts; bytes += part[i++].iov_len) {
        REQUIRE(part[i].iov_len <= sizeof message - bytes);
        memcpy(message + bytes, part[i].iov_base, part[i].iov_len);
    }
    REQUIRE(bytes >= sizeof header && fd_count <= FDS_MAX);
    for (uint32_t i = 0; i < fd_count; i++)
        REQUIRE(fcntl(fds[i], F_GETFD) >= 0);
    memcpy(&header, message, sizeof header);
    if (wire.is_gone || !wire.sends_left--) {
        wire.is_gone = 1;
        vfio_user_nobody_answers(server); /* who serves would say so, once it sees it */
        return EPIPE;
    }
    vm_hears(message, bytes, fds, fd_count);
    if ((header.flags & TYPE_MASK) == TYPE_COMMAND && !(header.flags & FLAG_NO_REPLY))
        answer(server, message);
    return 0;
}

void vfio_user_close_fds(struct received_fds *fds) {
    for (uint32_t i = 0; i < fds->count; i++)
        if (fds->fd[i] >= 0)
            close(fds->fd[i]);
    fds->count = 0;
    fds->lost = 0;
}

static void take_fds(struct part *part, struct received_fds *fds) {
    for (uint32_t i = 0; fds && i < part->fd_count; i++) {
        if (fds->count == FDS_MAX) {
            fds->lost = 1;
            break;
        }
        int fd = fcntl(part->fd[i], F_DUPFD_CLOEXEC, 3);
        REQUIRE(fd >= 0);
        fds->fd[fds->count++] = fd;
    }
    part->fd_count = 0;
}

static void see_acknowledged(struct server *server) {
    struct pollfd ready = {.fd = server->lines.unmask_fd, .events = POLLIN};
    uint64_t count;
    if (ready.fd < 0 || poll(&ready, 1, 0) != 1 || read(ready.fd, &count, sizeof count) != sizeof count)
        return;
    struct device *device = system_slot_device(&server->machine->system, server->slot);
    if (device) {
        vfio_user_line_changed(server, device, 1);
        handle_release(device->handle);
    }
}

int vfio_user_receive_some(struct server *server, void *to, size_t most, struct received_fds *fds, size_t *got) {
    while (wire.first == wire.parts) {
        wire.begin = wire.end = wire.first = wire.parts = 0;
        if (!wire.is_gone && !vm_speaks())
            wire.is_gone = wire.has_all = 1;
        if (atomic_load(&server->is_ending))
            return ECANCELED;
        if (wire.is_gone && wire.first == wire.parts)
            return ECONNRESET;
        see_acknowledged(server);
    }
    REQUIRE(most);
    *got = 0;
    for (int is_last = 0; *got < most && wire.first < wire.parts && !is_last;) {
        struct part *part = &wire.part[wire.first];
        size_t bytes = part->bytes < most - *got ? part->bytes : most - *got;
        is_last = part->fd_count || part->is_alone; /* Linux ends a read where descriptors came */
        take_fds(part, fds);
        memcpy((uint8_t *)to + *got, wire.bytes + wire.begin, bytes);
        wire.begin += bytes;
        *got += bytes;
        part->bytes -= bytes;
        wire.first += !part->bytes;
    }
    return 0;
}

/* ---- instead of vfio_user_watch_linux.c ----------------------------------------------------------------------------- */

int vfio_user_watch_start(struct vfio_user *machine) {
    pthread_mutex_init(&machine->watch_lock, NULL);
    platform_condition_init(&machine->watch_wake);
    return 0;
}

void vfio_user_watch_stop(struct vfio_user *machine) {
    pthread_mutex_destroy(&machine->watch_lock);
    pthread_cond_destroy(&machine->watch_wake);
}

int vfio_user_start_worker(struct server *server) {
    struct worker *worker = calloc(1, sizeof *worker);
    REQUIRE(worker && !wire.worker);
    worker->server = server;
    worker->thread = pthread_self();
    worker->watch.is_asleep = &server->machine->is_watch_asleep;
    server->worker = wire.worker = worker;
    server->is_served = 1;
    pthread_mutex_lock(&server->machine->servers_lock);
    server->references++;
    pthread_mutex_unlock(&server->machine->servers_lock);
    return 0;
}

void vfio_user_retire_stuck(struct worker *worker) { REQUIRE(!worker); }

/* ---- between the two ------------------------------------------------------------------------------------------------ */

/* The payload's place is as large as the largest message: what is behind this one's is not to be read. Not all of it is
 * guarded, for that takes longer than most messages. */
#define GUARD_BYTES 32768u
int __real_vfio_user_dispatch(struct server *server, struct message *message);
int __wrap_vfio_user_dispatch(struct server *server, struct message *message);
int __wrap_vfio_user_dispatch(struct server *server, struct message *message) {
    size_t bytes = message->header.bytes - HEADER_BYTES;
    size_t guard = MESSAGE_MAX - bytes < GUARD_BYTES ? MESSAGE_MAX - bytes : GUARD_BYTES;
    ASAN_POISON_MEMORY_REGION(message->payload + bytes, guard);
    int refusal = __real_vfio_user_dispatch(server, message);
    ASAN_UNPOISON_MEMORY_REGION(message->payload + bytes, guard);
    return refusal;
}
