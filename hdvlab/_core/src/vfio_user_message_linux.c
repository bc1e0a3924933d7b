/* Messages of a VM: what each asks for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "json.h"
#include "vfio_user.h"

struct version { uint16_t major, minor; };
struct device_info { uint32_t argsz, flags, regions, irqs; };
enum { DEVICE_HAS_RESET = 1, DEVICE_IS_PCI = 2 };

#define JSON_UNITS_MAX 4096u

/* What a client may propose, and what is answered to it: nothing that it does not know. */
static const struct { const char *name; uint64_t least, most, own; } numbers[] = {
    {"max_msg_fds", 0, 1024, FDS_MAX},
    {"max_data_xfer_size", 1, UINT32_MAX, DATA_MAX},
    {"pgsizes", 1, UINT64_MAX, 4096},
    {"max_dma_maps", 1, UINT32_MAX, 1024},
};
#define NUMBER_COUNT (sizeof numbers / sizeof *numbers)
enum { MAX_DATA_XFER_SIZE = 1 };

struct proposal {
    uint32_t named; /* a bit per number */
    uint64_t value[NUMBER_COUNT];
};

static int take_capability(struct json name, struct json value, struct proposal *p) {
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        if (!json_string_is(name, numbers[i].name))
            continue;
        p->named |= 1u << i;
        return json_kind(value) == JSON_NUMBER && json_unsigned(value, &p->value[i]) &&
               p->value[i] >= numbers[i].least && p->value[i] <= numbers[i].most;
    }
    if (json_string_is(name, "migration") || json_string_is(name, "twin_socket"))
        return json_kind(value) == JSON_OBJECT;
    if (json_string_is(name, "write_multiple"))
        return json_kind(value) == JSON_BOOL;
    return 1; /* from a later version of the protocol */
}

/* Whether what a client proposes is JSON of the right shape, in a text that ends with its NUL. */
static int take_proposal(const uint8_t *text, uint32_t bytes, struct proposal *p) {
    WCHAR units[JSON_UNITS_MAX];
    struct json root;
    struct json_problem problem;
    if (!bytes)
        return 1;
    if (bytes > JSON_UNITS_MAX || text[bytes - 1])
        return 0;
    for (uint32_t i = 0; i < bytes; i++) {
        if (text[i] >= 0x80)
            return 0;
        units[i] = text[i];
    }
    if (!json_check(units, &root, &problem) || json_kind(root) != JSON_OBJECT)
        return 0;
    for (struct json_walk walk = json_begin(root); json_next(&walk);) {
        if (!json_string_is(walk.name, "capabilities"))
            continue;
        if (json_kind(walk.value) != JSON_OBJECT)
            return 0;
        for (struct json_walk inner = json_begin(walk.value); json_next(&inner);)
            if (!take_capability(inner.name, inner.value, p))
                return 0;
    }
    return 1;
}

/* QEMU takes no reply that is longer than its proposal. */
static int negotiate(struct server *server, struct message *m) {
    struct version v;
    struct proposal p = {0};
    uint32_t bytes = m->header.bytes - HEADER_BYTES;
    if (server->is_negotiated || bytes < sizeof v || m->fds.count)
        return EINVAL;
    memcpy(&v, m->payload, sizeof v);
    if (v.major || !take_proposal(m->payload + sizeof v, bytes - (uint32_t)sizeof v, &p))
        return EINVAL;
    v.minor = 0;
    memcpy(m->reply, &v, sizeof v);
    char *text = (char *)m->reply + sizeof v, *end = text + sprintf(text, "{\"capabilities\":{");
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        if (p.named >> i & 1)
            end += sprintf(end, "%s\"%s\":%llu", end[-1] == '{' ? "" : ",", numbers[i].name,
                           (unsigned long long)numbers[i].own);
    end += sprintf(end, "}}") + 1;
    m->reply_bytes = (uint32_t)(end - (char *)m->reply);
    uint64_t theirs = p.named >> MAX_DATA_XFER_SIZE & 1 ? p.value[MAX_DATA_XFER_SIZE] : DATA_MAX;
    atomic_store(&server->ask_most, theirs < DATA_MAX ? theirs : DATA_MAX);
    server->is_negotiated = 1;
    return 0;
}

static int get_info(struct server *server, struct message *m) {
    (void)server;
    struct device_info r;
    if (m->header.bytes - HEADER_BYTES < sizeof r || m->fds.count)
        return EINVAL;
    memcpy(&r, m->payload, sizeof r);
    if (r.argsz < sizeof r)
        return EINVAL;
    r = (struct device_info){sizeof r, DEVICE_HAS_RESET | DEVICE_IS_PCI, REGION_COUNT, IRQ_COUNT};
    memcpy(m->reply, &r, sizeof r);
    m->reply_bytes = sizeof r;
    return 0;
}

static int reset(struct server *server, struct message *m) {
    if (m->header.bytes != HEADER_BYTES || m->fds.count)
        return EINVAL;
    struct system *system = &server->machine->system;
    struct device *device = system_slot_device(system, server->slot);
    uint32_t budget = server->options.budget_ms;
    HDVLAB_ACCESS access = {.wait_ms = budget == UINT32_MAX ? 0 : budget, .origin = atomic_load(&server->is_guests) ? HDVLAB_GUEST : HDVLAB_MACHINE};
    int is_skipped = 0; /* it has what the guest wrote into it, and so has what is kept of that */
    if (device) {
        if (!m->is_resumed)
            is_skipped = device_reset(device, &access);
        if (vfio_user_is_replaced()) {
            handle_release(device->handle);
            return ESTALE;
        }
        for (int i = 0; i < HDV_PCI_BAR_COUNT && !is_skipped; i++)
            atomic_store(&system->slots[server->slot].bar[i], 0);
        handle_release(device->handle);
    }
    atomic_store(&server->is_guests, 1);
    if (!is_skipped)
        vfio_user_lines_reset(&server->lines);
    pthread_mutex_lock(&server->lock);
    server->state.resets++;
    vfio_user_changed(server);
    pthread_mutex_unlock(&server->lock);
    return 0;
}

int vfio_user_dispatch(struct server *server, struct message *m) {
    if (!server->is_negotiated && m->header.command != COMMAND_VERSION)
        return EINVAL;
    if (server->is_remapped && m->header.command != COMMAND_DMA_MAP && m->header.command != COMMAND_DMA_UNMAP)
        vfio_user_memory_settled(server);
    switch (m->header.command) {
    case COMMAND_VERSION: return negotiate(server, m);
    case COMMAND_DMA_MAP: return vfio_user_dma_map(server, m);
    case COMMAND_DMA_UNMAP: return vfio_user_dma_unmap(server, m);
    case COMMAND_GET_INFO: return get_info(server, m);
    case COMMAND_GET_REGION_INFO: return vfio_user_region_info(server, m);
    case COMMAND_GET_REGION_IO_FDS: return vfio_user_io_fds(server, m);
    case COMMAND_GET_IRQ_INFO: return vfio_user_irq_info(server, m);
    case COMMAND_SET_IRQS: return vfio_user_set_irqs(server, m);
    case COMMAND_REGION_READ: return vfio_user_region_read(server, m);
    case COMMAND_REGION_WRITE: return vfio_user_region_write(server, m);
    case COMMAND_REGION_WRITE_MULTI: return vfio_user_region_write_multi(server, m);
    case COMMAND_RESET: return reset(server, m);
    default: return EINVAL;
    }
}
