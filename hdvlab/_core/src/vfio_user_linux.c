/* The system whose guest runs in a VM: its ops, and who serves its slots. */
#include "vfio_user.h"

#include <stdlib.h>
#include <unistd.h>

#include "handle.h"
#include "pci_header.h"
#include "tap.h"

/* ---- ops ------------------------------------------------------------------------------------------------------------ */

/* Nobody connects any more. */
static void stop_listening(struct server *server) {
    if (server->listener < 0)
        return;
    if (server->path)
        (void)unlink(server->path);
    close(server->listener);
    server->listener = -1;
}

void vfio_user_free(struct server *server) {
    memory_map_release(server->memory);
    vfio_user_lines_close(&server->lines);
    stop_listening(server);
    free(server->path);
    if (server->socket >= 0)
        close(server->socket);
    if (server->wake >= 0)
        close(server->wake);
    free(server->message.payload);
    if (server->message.reply)
        free(server->message.reply - HEADER_BYTES);
    pthread_mutex_destroy(&server->send_lock);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->ask_lock);
    pthread_cond_destroy(&server->answered);
    pthread_mutex_destroy(&server->lines.lock);
    free(server);
}

struct server *vfio_user_acquire(struct vfio_user *machine, uint32_t slot) {
    pthread_mutex_lock(&machine->servers_lock);
    struct server *server = slot < HDVLAB_SLOT_COUNT ? machine->server[slot] : NULL;
    if (server)
        server->references++;
    pthread_mutex_unlock(&machine->servers_lock);
    return server;
}

void vfio_user_let_go(struct server *server) {
    struct vfio_user *machine = server->machine;
    pthread_mutex_lock(&machine->servers_lock);
    int is_last = --server->references == 0;
    pthread_mutex_unlock(&machine->servers_lock);
    if (is_last)
        vfio_user_free(server);
}

struct server *vfio_user_server_of(struct system *system, const struct device *device) {
    for (uint32_t i = 0; device && i < HDVLAB_SLOT_COUNT; i++)
        if (atomic_load_explicit(&system->slots[i].device, memory_order_relaxed) == device->handle)
            return vfio_user_acquire((struct vfio_user *)system, i);
    return NULL;
}

struct server *vfio_user_any_server(struct vfio_user *machine) {
    for (uint32_t i = 0; i < HDVLAB_SLOT_COUNT; i++) {
        struct server *server = vfio_user_acquire(machine, i);
        if (!server)
            continue;
        pthread_mutex_lock(&server->lock);
        int is_connected = server->state.state == HDVLAB_VFIO_USER_CONNECTED;
        pthread_mutex_unlock(&server->lock);
        if (is_connected)
            return server;
        vfio_user_let_go(server);
    }
    return NULL;
}

/* Takes the caller's reference. */
void vfio_user_end_server(struct server *server) {
    struct vfio_user *machine = server->machine;
    uint32_t slot = server->slot;
    uint64_t one = 1;
    atomic_store(&server->is_ending, 1);
    (void)!write(server->wake, &one, sizeof one);
    gate_wake(&machine->system);
    pthread_mutex_lock(&server->lock);
    vfio_user_changed(server);
    while (server->is_served) /* a callback that hangs is replaced in its time, by who finds the server in the table */
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
    pthread_mutex_lock(&machine->servers_lock);
    int was_there = machine->server[slot] == server; /* else another thread ended it too */
    if (was_there)
        machine->server[slot] = NULL;
    pthread_mutex_unlock(&machine->servers_lock);
    if (was_there) { /* a thread that is in a callback still keeps the server, but no VM out */
        stop_listening(server);
        vfio_user_let_go(server);
    }
    vfio_user_let_go(server);
}

void vfio_user_end(struct vfio_user *machine, uint32_t slot) {
    struct server *server = vfio_user_acquire(machine, slot);
    if (server)
        vfio_user_end_server(server);
}

static void destroy(struct system *system) {
    struct vfio_user *machine = (struct vfio_user *)system;
    for (uint32_t i = 0; i < HDVLAB_SLOT_COUNT; i++)
        vfio_user_end(machine, i);
    vfio_user_watch_stop(machine);
    system_destroy(system);
    pthread_mutex_destroy(&machine->servers_lock);
    free(machine);
}

static void remap(struct system *system) { (void)system; /* the VM's decoding is its own */ }

/* Nobody waits in the guest here. When the machine stops, its VM finds its devices dead. */
static void cancel(struct system *system) {
    struct vfio_user *machine = (struct vfio_user *)system;
    for (uint32_t i = 0; i < HDVLAB_SLOT_COUNT; i++)
        vfio_user_end(machine, i);
}

static void config_bits(struct system *system, uint32_t slot, const struct device *device, uint32_t dword,
                        uint32_t *mask, uint32_t *bits) {
    pci_header_bits(system, slot, device, dword, mask, bits);
    if (dword == 0x3C)
        *mask = 0xFF; /* a VM has lines: the pin is the device's to name */
    if (dword == 0x04) {
        *mask |= 0x00080000u;
        *bits |= atomic_load(&device->line) ? 0x00080000u : 0;
    }
    if (dword != 0x04 && dword != 0x34)
        return;
    struct server *server = vfio_user_acquire((struct vfio_user *)system, slot);
    if (server && server->options.flags & HDVLAB_VFIO_USER_HIDE_CAPABILITIES && !atomic_load(&server->is_guests))
        *mask |= dword == 0x04 ? 0x00100000u : 0xFF;
    if (server)
        vfio_user_let_go(server);
}

static void config_keep(struct system *system, uint32_t slot, struct device *device, uint32_t dword, uint32_t value) {
    if (pci_header_keep(system, slot, device, dword, value) && dword == 0x04) {
        struct server *server = vfio_user_server_of(system, device);
        if (server) {
            vfio_user_line_changed(server, device, 0);
            vfio_user_let_go(server);
        }
    }
}

static void config_given(struct system *system, struct device *device, uint32_t dword, uint32_t value) {
    struct server *server = vfio_user_server_of(system, device);
    if (server) {
        vfio_user_msi_given(server, dword, value);
        vfio_user_let_go(server);
    }
}

static HRESULT set_line(struct device *device) {
    struct server *server = vfio_user_server_of(device->system, device);
    if (server) {
        vfio_user_line_changed(server, device, 0);
        vfio_user_let_go(server);
    }
    return S_OK;
}

const struct system_ops vfio_user_ops = {
    .destroy = destroy,
    .read_memory = vfio_user_read_memory,
    .write_memory = vfio_user_write_memory,
    .deliver_interrupt = vfio_user_deliver,
    .remap = remap,
    .cancel = cancel,
    .config_bits = config_bits,
    .config_keep = config_keep,
    .config_given = config_given,
    .memory_of = vfio_user_memory_of,
    .set_line = set_line,
};

static void destroy_object(void *object) {
    struct system *system = object;
    system->ops->destroy(system);
}

HRESULT hdvlab_vfio_user_create(BOOL record_sections, HDVLAB_TRACE trace, HCS_SYSTEM *system) {
    if (!system)
        return E_POINTER;
    struct vfio_user *machine = calloc(1, sizeof *machine);
    if (!machine)
        return E_OUTOFMEMORY;
    pthread_mutex_init(&machine->servers_lock, NULL);
    machine->system.record_sections = record_sections != 0;
    int failed = vfio_user_watch_start(machine);
    HRESULT hr = system_init(&machine->system, &vfio_user_ops, trace);
    if (hr == S_OK && failed)
        hr = E_OUTOFMEMORY;
    if (hr == S_OK && !(machine->system.handle = handle_create(HANDLE_SYSTEM, machine, destroy_object)))
        hr = E_OUTOFMEMORY;
    if (hr == S_OK)
        *system = machine->system.handle;
    else
        destroy(&machine->system);
    return hr;
}
