/* Guest RAM as a VM maps it: DMA_MAP and DMA_UNMAP, copies, apertures. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "vfio_user.h"

#define MAP_READ 1u
#define MAP_WRITE 2u
#define UNMAP_ALL 2u

struct map_request {
    uint32_t argsz, flags;
    uint64_t offset, address, size;
};

struct unmap_request {
    uint32_t argsz, flags;
    uint64_t address, size;
};

static int errno_of(HRESULT hr) {
    switch (hr) {
    case S_OK:
    case MEMORY_MAP_SAME: return 0;
    case HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS): return EEXIST;
    case HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA): return ENOSPC;
    case HRESULT_FROM_WIN32(ERROR_NOT_FOUND): return ENOENT;
    case E_OUTOFMEMORY: return ENOMEM;
    case E_ACCESSDENIED: return EACCES;
    default: return EINVAL;
    }
}

static void count(struct server *server, int64_t regions, int64_t bytes) {
    pthread_mutex_lock(&server->lock);
    server->state.dma_regions += (uint64_t)regions;
    server->state.dma_bytes += (uint64_t)bytes;
    pthread_mutex_unlock(&server->lock);
}

int vfio_user_dma_map(struct server *server, struct message *m) {
    struct map_request r;
    if (m->header.bytes - HEADER_BYTES != sizeof r || m->fds.count > 1)
        return EINVAL;
    memcpy(&r, m->payload, sizeof r);
    if (r.argsz < sizeof r || r.flags & ~(MAP_READ | MAP_WRITE) || (!m->fds.count && r.offset))
        return EINVAL;
    if (r.size > 8ull << 40)
        return ENOSPC;
    HANDLE file = m->fds.count ? (HANDLE)(intptr_t)m->fds.fd[0] : NO_HANDLE;
    uint32_t flags = (r.flags & MAP_READ ? HDVLAB_MEMORY_READ : 0) | (r.flags & MAP_WRITE ? HDVLAB_MEMORY_WRITE : 0);
    HRESULT hr = memory_map_add(server->memory, r.address, r.size, file, r.offset, flags);
    if (hr == S_OK)
        count(server, 1, m->fds.count ? (int64_t)r.size : 0);
    return errno_of(hr);
}

int vfio_user_dma_unmap(struct server *server, struct message *m) {
    struct unmap_request r;
    if (m->header.bytes - HEADER_BYTES != sizeof r || m->fds.count)
        return EINVAL;
    memcpy(&r, m->payload, sizeof r);
    if (r.argsz < sizeof r || r.flags & ~UNMAP_ALL)
        return EINVAL;
    if (r.flags & UNMAP_ALL && !r.address && !r.size) {
        vfio_user_memory_drop(server);
        count(server, -(int64_t)server->state.dma_regions, -(int64_t)server->state.dma_bytes);
    } else {
        uint64_t bytes;
        HRESULT hr = memory_map_remove(server->memory, r.address, r.size, NULL, &bytes);
        if (hr != S_OK)
            return errno_of(hr);
        count(server, -1, -(int64_t)bytes);
    }
    server->is_remapped = 1;
    memcpy(m->reply, &r, sizeof r);
    m->reply_bytes = sizeof r;
    return 0;
}

void vfio_user_memory_drop(struct server *server) {
    memory_map_remove_all(server->memory, NULL);
    vfio_user_memory_settled(server);
}

/* VMs unmap and map again what their guest sees in other pieces: apertures whose place came back go on. */
void vfio_user_memory_settled(struct server *server) {
    server->is_remapped = 0;
    struct device *device = system_slot_device(&server->machine->system, server->slot);
    if (!device)
        return;
    if (atomic_load(&device->aperture_count))
        apertures_end_moved(device, server->memory);
    handle_release(device->handle);
}

/* ---- what devices do with it ---------------------------------------------------------------------------------------- */

/* The server whose VM the device is in; without one, any that has a VM: they all map the same RAM. */
static struct server *server_for(struct system *system, struct device *requestor) {
    if (requestor)
        return vfio_user_server_of(system, requestor);
    return vfio_user_any_server((struct vfio_user *)system);
}

static HRESULT copy(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes, void *to,
                    const void *from) {
    struct server *server = server_for(system, requestor);
    if (!server)
        return HRESULT_FROM_WIN32(ERROR_NOACCESS);
    uint32_t flag = to ? HDVLAB_MEMORY_READ : HDVLAB_MEMORY_WRITE;
    HRESULT hr = memory_map_is_remote(server->memory, gpa, bytes, flag) ? vfio_user_ask(server, gpa, bytes, to, from)
                                                                        : memory_map_copy(server->memory, gpa, bytes, to, from);
    vfio_user_let_go(server);
    return hr;
}

HRESULT vfio_user_read_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes,
                              void *buffer) {
    return copy(system, requestor, gpa, bytes, buffer, NULL);
}

HRESULT vfio_user_write_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes,
                               const void *buffer) {
    return copy(system, requestor, gpa, bytes, NULL, buffer);
}

struct memory_map *vfio_user_memory_of(struct device *device) {
    struct server *server = vfio_user_server_of(device->system, device);
    if (!server)
        return NULL;
    struct memory_map *map = server->memory;
    memory_map_retain(map);
    vfio_user_let_go(server);
    return map;
}
