/* Commands to the VM: memory of which it gave no descriptor, and interrupts as DMA. Its answers come to the thread that serves
 * the connection, between the VM's own commands; who asks waits elsewhere. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "vfio_user.h"

#define ANSWER_PATIENCE_NS 5000000000ll
/* QEMU 11.1 does not finish a reply that the socket takes a part of. Linux takes a message of this size as a whole, or not. */
#define ASK_BYTES 32768u

struct dma { uint64_t address, count; };

/* One message and who waits for its reply. Under ask_lock, once it is listed. */
struct ask {
    struct ask *next;
    uint16_t id, command;
    struct dma dma;
    void *to; /* NULL: of DMA_WRITE */
    int is_answered;
    HRESULT hr;
};

static struct header header_of(uint16_t id, uint16_t command, uint64_t bytes, uint32_t flags) {
    return (struct header){.id = id, .command = command, .bytes = (uint32_t)(HEADER_BYTES + bytes), .flags = flags};
}

int vfio_user_tell(struct server *server, uint64_t address, uint32_t data) {
    struct dma dma = {address, sizeof data};
    int failed = ENOTCONN;
    pthread_mutex_lock(&server->send_lock);
    struct header header = header_of(server->next_id, COMMAND_DMA_WRITE, sizeof dma + sizeof data, FLAG_NO_REPLY);
    struct iovec part[] = {{&header, sizeof header}, {&dma, sizeof dma}, {&data, sizeof data}};
    if (server->may_ask) {
        server->next_id++;
        failed = vfio_user_send(server, part, 3, NULL, 0);
    }
    pthread_mutex_unlock(&server->send_lock);
    return failed;
}

static struct ask **place_of(struct server *server, uint16_t id, uint16_t command) {
    struct ask **place = &server->asks;
    while (*place && ((*place)->id != id || (*place)->command != command))
        place = &(*place)->next;
    return place;
}

/* An error's number is the VM's; QEMU: ENODEV for what is not memory, or for bus mastering off. */
static HRESULT refusal(uint32_t error) {
    return error == EPERM || error == EACCES ? E_ACCESSDENIED : HRESULT_FROM_WIN32(ERROR_NOACCESS);
}

/* QEMU 10.1 and 10.2 have another layout, in which neither length is right. */
static HRESULT check(const struct ask *ask, const struct message *reply) {
    struct dma dma;
    uint64_t bytes = reply->header.bytes - HEADER_BYTES;
    if (reply->header.flags & FLAG_ERROR)
        return refusal(reply->header.error);
    if (bytes != sizeof dma + (ask->to ? ask->dma.count : 0))
        return HCS_E_PROTOCOL_ERROR;
    memcpy(&dma, reply->payload, sizeof dma);
    return dma.address == ask->dma.address && dma.count == ask->dma.count ? S_OK : HCS_E_PROTOCOL_ERROR;
}

/* One that nobody waits for any more is thrown away: the row of who waited says that it was late. */
void vfio_user_answered(struct server *server, const struct message *reply) {
    pthread_mutex_lock(&server->ask_lock);
    struct ask **place = place_of(server, reply->header.id, reply->header.command), *ask = *place;
    if (ask) {
        *place = ask->next;
        ask->hr = check(ask, reply);
        if (ask->hr == S_OK && ask->to)
            memcpy(ask->to, reply->payload + sizeof ask->dma, ask->dma.count);
        ask->is_answered = 1;
        pthread_cond_broadcast(&server->answered);
    }
    pthread_mutex_unlock(&server->ask_lock);
}

void vfio_user_nobody_answers(struct server *server) {
    pthread_mutex_lock(&server->ask_lock);
    for (; server->asks; server->asks = server->asks->next) {
        server->asks->hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
        server->asks->is_answered = 1;
    }
    pthread_cond_broadcast(&server->answered);
    pthread_mutex_unlock(&server->ask_lock);
}

static HRESULT await_answer(struct server *server, struct ask *ask) {
    int64_t deadline = monotonic_ns() + ANSWER_PATIENCE_NS;
    int is_late = 0;
    pthread_mutex_lock(&server->ask_lock);
    while (!ask->is_answered && !is_late)
        is_late = platform_wait_until(&server->answered, &server->ask_lock, deadline) == ETIMEDOUT;
    if (!ask->is_answered) {
        *place_of(server, ask->id, ask->command) = ask->next;
        ask->hr = HRESULT_FROM_WIN32(ERROR_TIMEOUT);
    }
    pthread_mutex_unlock(&server->ask_lock);
    return ask->hr;
}

/* As much as one message holds. */
static HRESULT ask_once(struct server *server, uint64_t gpa, uint64_t bytes, void *to, const void *from) {
    struct ask ask = {.command = to ? COMMAND_DMA_READ : COMMAND_DMA_WRITE, .dma = {gpa, bytes}, .to = to,
                      .hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE)};
    pthread_mutex_lock(&server->send_lock);
    if (!server->may_ask) {
        pthread_mutex_unlock(&server->send_lock);
        return ask.hr;
    }
    ask.id = server->next_id++;
    pthread_mutex_lock(&server->ask_lock); /* before it is out: its reply may come before this thread goes on */
    ask.next = server->asks;
    server->asks = &ask;
    pthread_mutex_unlock(&server->ask_lock);
    struct header header = header_of(ask.id, ask.command, sizeof ask.dma + (to ? 0 : bytes), TYPE_COMMAND);
    struct iovec part[] = {{&header, sizeof header}, {&ask.dma, sizeof ask.dma}, {(void *)from, bytes}};
    (void)vfio_user_send(server, part, to ? 2 : 3, NULL, 0); /* when it fails the connection ends, and the wait with it */
    pthread_mutex_unlock(&server->send_lock);
    return await_answer(server, &ask);
}

/* QEMU does DMA under the lock that a CPU holds while it waits for its access, and the answer comes to this very thread. */
static int is_awaited(void) { return thread_context.watch && thread_context.depth; }

HRESULT vfio_user_ask(struct server *server, uint64_t gpa, uint64_t bytes, void *to, const void *from) {
    if (is_awaited())
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    HRESULT hr = S_OK;
    uint64_t most = atomic_load(&server->ask_most) < ASK_BYTES ? atomic_load(&server->ask_most) : ASK_BYTES;
    uint8_t *whole = to && bytes > most ? malloc(bytes) : to; /* a reader gets all or nothing */
    if (to && !whole)
        return E_OUTOFMEMORY;
    for (uint64_t done = 0, part; done < bytes && hr == S_OK; done += part) {
        part = bytes - done < most ? bytes - done : most;
        hr = ask_once(server, gpa + done, part, whole ? whole + done : NULL, from ? (const uint8_t *)from + done : NULL);
    }
    if (whole != to) {
        if (hr == S_OK)
            memcpy(to, whole, bytes);
        free(whole);
    }
    return hr;
}
