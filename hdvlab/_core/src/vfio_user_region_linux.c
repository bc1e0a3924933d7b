/* A VM's accesses to BARs and config space, and what it is told of them. */
#include <errno.h>
#include <string.h>

#include "handle.h"
#include "vfio_user.h"

struct region_info {
    uint32_t argsz, flags, index, cap_offset;
    uint64_t size, offset;
};
struct region_access {
    uint64_t offset;
    uint32_t region, count;
};
enum { REGION_READABLE = 1, REGION_WRITABLE = 2, REGION_MAPPABLE = 4, REGION_CAPS = 8 };

static uint64_t region_bytes(struct server *server, const struct device *device, uint32_t index) {
    if (index < HDV_PCI_BAR_COUNT)
        return device ? device->bar_size[index] : 0;
    if (index != REGION_CONFIG)
        return 0;
    vfio_user_learn(server);
    return server->capabilities.is_express ? CONFIG_SPACE_BYTES : 256;
}

int vfio_user_region_info(struct server *server, struct message *m) {
    struct region_info r;
    if (m->header.bytes - HEADER_BYTES < sizeof r || m->fds.count)
        return EINVAL;
    memcpy(&r, m->payload, sizeof r);
    if (r.argsz < sizeof r || r.index >= REGION_COUNT)
        return EINVAL;
    uint32_t room = r.argsz - (uint32_t)sizeof r, shared = 0;
    struct device *device = system_slot_device(&server->machine->system, server->slot);
    r = (struct region_info){.argsz = sizeof r, .index = r.index, .size = region_bytes(server, device, r.index)};
    if (device && r.index < HDV_PCI_BAR_COUNT && atomic_load(&device->section_count)) {
        vfio_user_learn(server);
        if (!vfio_user_is_replaced())
            shared = vfio_user_share_sections(server, device, r.index, room, m, &r.offset);
    }
    if (device)
        handle_release(device->handle);
    if (vfio_user_is_replaced())
        return ESTALE;
    r.flags = (r.size ? REGION_READABLE | REGION_WRITABLE : 0) | (shared && shared <= room ? REGION_MAPPABLE | REGION_CAPS : 0);
    r.argsz += shared;
    r.cap_offset = shared && shared <= room ? sizeof r : 0;
    memcpy(m->reply, &r, sizeof r);
    m->reply_bytes = (uint32_t)sizeof r + (r.cap_offset ? shared : 0);
    return 0;
}

/* ---- accesses ------------------------------------------------------------------------------------------------------- */

/* The largest naturally aligned piece at the offset. */
static uint32_t piece_at(uint64_t offset, uint64_t left, uint32_t most) {
    uint32_t piece = most;
    while (piece > left || offset & (piece - 1))
        piece /= 2;
    return piece;
}

#define TURN_MS 200u /* how long who waits for a turn without end does not look whether the server ends */

static HDVLAB_ACCESS access_of(const struct server *server) {
    uint32_t budget = server->options.budget_ms;
    int is_guests = atomic_load_explicit(&server->is_guests, memory_order_relaxed);
    return (HDVLAB_ACCESS){.wait_ms = budget == UINT32_MAX ? TURN_MS : budget,
                           .origin = is_guests ? HDVLAB_GUEST : HDVLAB_MACHINE};
}

static int is_own_dword(uint64_t offset) {
    uint64_t dword = offset & ~3ull;
    return dword == 0x04 || (dword >= 0x10 && dword < 0x28) || dword == 0x30 || dword == 0x3C;
}

static HRESULT access_piece(struct server *server, struct device *device, int write, uint32_t region, uint64_t offset,
                            uint32_t size, uint64_t *value) {
    HDVLAB_ACCESS access = access_of(server);
    if (region < HDV_PCI_BAR_COUNT) {
        atomic_store_explicit(&device->touched, 1, memory_order_relaxed);
        return write ? device_mmio_write(device, &access, region, offset, size, *value)
                     : device_mmio_read(device, &access, region, offset, size, value);
    }
    uint32_t narrow = (uint32_t)*value;
    if (write) {
        if (!is_own_dword(offset))
            atomic_store_explicit(&device->touched, 1, memory_order_relaxed);
        vfio_user_learn(server);
        if (vfio_user_is_replaced())
            return E_ABORT;
        return device_config_write(device, &access, server->slot, (uint32_t)offset, size, narrow);
    }
    HRESULT hr = device_config_read(device, &access, server->slot, (uint32_t)offset, size, &narrow);
    *value = narrow;
    return hr;
}

/* The device was in somebody's hands for all of the budget: no callback was called, and the row says so. */
static void note_busy(struct server *server, struct device *device, const HDVLAB_ACCESS *access, uint32_t kind,
                      uint32_t region, uint64_t offset, uint32_t size, uint64_t value) {
    tap_served(device, access, kind, region, offset, size, value, HRESULT_FROM_WIN32(ERROR_TIMEOUT));
    pthread_mutex_lock(&server->lock);
    server->state.timeouts++;
    pthread_mutex_unlock(&server->lock);
}

static int is_inside(struct server *server, const struct device *device, const struct region_access *r) {
    uint64_t bytes = r->region == REGION_CONFIG ? CONFIG_SPACE_BYTES : region_bytes(server, device, r->region);
    return r->offset <= bytes && r->count <= bytes - r->offset;
}

static HRESULT access_in_turn(struct server *server, struct device *device, int write, uint32_t region, uint64_t offset,
                              uint32_t size, uint64_t *value) {
    HRESULT hr;
    uint64_t given = *value;
    do {
        *value = given;
        hr = access_piece(server, device, write, region, offset, size, value);
    } while (hr == HRESULT_FROM_WIN32(ERROR_BUSY) && server->options.budget_ms == UINT32_MAX &&
             !vfio_user_is_replaced() && !atomic_load(&server->is_ending));
    return hr;
}

/* Whether a VM has waited long enough for an access of many pieces, each of which has a time of its own. */
/* Time at the gate is no waiting. */
static int is_enough(struct server *server, int64_t began_ns, int64_t held_ns) {
    uint32_t budget = server->options.budget_ms;
    return atomic_load(&server->is_ending) ||
           (budget != UINT32_MAX && monotonic_ns() - began_ns - (thread_context.held_ns - held_ns) >= (int64_t)budget * 1000000);
}

/* Piece by piece. ESTALE: this thread was replaced, and `m` is another's. */
static int serve_pieces(struct server *server, struct device *device, struct message *m, const struct region_access *r,
                        int write, uint32_t kind, uint8_t *data) {
    HDVLAB_ACCESS access = access_of(server);
    int64_t began_ns = r->count > 8 ? monotonic_ns() : 0, held_ns = thread_context.held_ns;
    for (; m->done < r->count; m->done += m->piece) {
        if (began_ns && is_enough(server, began_ns, held_ns)) {
            uint32_t rest = r->count - (uint32_t)m->done;
            uint64_t value = ones(rest);
            if (write)
                memcpy(&value, data + m->done, rest < 8 ? rest : 8);
            note_busy(server, device, &access, kind, r->region, r->offset + m->done, rest, value);
            break;
        }
        uint64_t value = 0;
        uint32_t piece = piece_at(r->offset + m->done, r->count - m->done, r->region == REGION_CONFIG ? 4 : 8);
        m->piece = piece;
        if (write)
            memcpy(&value, data + m->done, piece);
        HRESULT hr = access_in_turn(server, device, write, r->region, r->offset + m->done, piece, &value);
        if (vfio_user_is_replaced())
            return ESTALE;
        if (hr == HRESULT_FROM_WIN32(ERROR_BUSY))
            note_busy(server, device, &access, kind, r->region, r->offset + m->done, piece, write ? value : ones(piece));
        if (!write)
            memcpy(data + m->done, &value, piece);
    }
    return 0;
}

/* One access as a client asks for it; what cannot be served reads as ones. `data` goes the way of the access. */
static int serve_access(struct server *server, struct message *m, const struct region_access *r, int write,
                        uint8_t *data) {
    int stale = 0;
    if (m->is_resumed) { /* the piece that was being served has its answer: ones */
        m->is_resumed = 0;
        m->done += m->piece;
    } else {
        m->done = m->piece = 0;
        if (!write)
            memset(data, 0xFF, r->count);
    }
    struct device *device = system_slot_device(&server->machine->system, server->slot);
    HDVLAB_ACCESS access = access_of(server);
    uint32_t kind = r->region == REGION_CONFIG ? (write ? HDVLAB_CONFIG_WRITE : HDVLAB_CONFIG_READ)
                                               : (write ? HDVLAB_MMIO_WRITE : HDVLAB_MMIO_READ);
    if (m->done >= r->count) {
        /* nothing, or nothing any more */
    } else if (!device) {
        tap_unclaimed(server->machine->system.trace, &access, kind, r->offset, r->count, UINT64_MAX,
                      HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    } else if (!is_inside(server, device, r)) {
        uint64_t value = ones(r->count);
        if (write)
            memcpy(&value, data, r->count < 8 ? r->count : 8);
        tap_served(device, &access, kind, r->region < HDV_PCI_BAR_COUNT ? r->region : HDV_PCI_BAR_COUNT, r->offset,
                   r->count, value, E_INVALIDARG);
    } else if (r->region == REGION_CONFIG && !write && r->count > 4) {
        m->piece = r->count;
        HRESULT hr = device_config_dump(device, &access, server->slot, (uint32_t)r->offset, r->count, data);
        stale = vfio_user_is_replaced() ? ESTALE : 0;
        if (!stale && hr == HRESULT_FROM_WIN32(ERROR_BUSY))
            note_busy(server, device, &access, kind, HDV_PCI_BAR_COUNT, r->offset, r->count, UINT64_MAX);
    } else {
        stale = serve_pieces(server, device, m, r, write, kind, data);
    }
    if (device)
        handle_release(device->handle);
    return stale;
}

int vfio_user_region_read(struct server *server, struct message *m) {
    struct region_access r;
    if (m->header.bytes - HEADER_BYTES != sizeof r || m->fds.count)
        return EINVAL;
    memcpy(&r, m->payload, sizeof r);
    if (r.count > DATA_MAX || r.region >= REGION_COUNT)
        return EINVAL;
    if (serve_access(server, m, &r, 0, m->reply + sizeof r))
        return ESTALE;
    memcpy(m->reply, &r, sizeof r);
    m->reply_bytes = (uint32_t)sizeof r + r.count;
    return 0;
}

int vfio_user_region_write(struct server *server, struct message *m) {
    struct region_access r;
    if (m->header.bytes - HEADER_BYTES < sizeof r || m->fds.count)
        return EINVAL;
    memcpy(&r, m->payload, sizeof r);
    if (r.count != m->header.bytes - HEADER_BYTES - sizeof r || r.region >= REGION_COUNT)
        return EINVAL;
    if (serve_access(server, m, &r, 1, m->payload + sizeof r))
        return ESTALE;
    memcpy(m->reply, &r, sizeof r);
    m->reply_bytes = sizeof r;
    return 0;
}

int vfio_user_region_write_multi(struct server *server, struct message *m) {
    uint64_t count, bytes = m->header.bytes - HEADER_BYTES;
    struct { struct region_access access; uint8_t data[8]; } one;
    if (bytes < sizeof count || m->fds.count)
        return EINVAL;
    memcpy(&count, m->payload, sizeof count);
    if (count > (bytes - sizeof count) / sizeof one || count * sizeof one != bytes - sizeof count)
        return EINVAL;
    for (; m->entry < count && !atomic_load(&server->is_ending); m->entry++) {
        memcpy(&one, m->payload + sizeof count + m->entry * sizeof one, sizeof one);
        if (one.access.count > sizeof one.data || one.access.region >= REGION_COUNT)
            return EINVAL;
        if (serve_access(server, m, &one.access, 1, one.data))
            return ESTALE;
    }
    memcpy(m->reply, &count, sizeof count);
    m->reply_bytes = sizeof count;
    return 0;
}
