/* The system whose guest runs in a VM: its ops, and who serves its slots. */
#include "vfio_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "handle.h"
#include "pci_header.h"
#include "tap.h"

/* ---- ops ------------------------------------------------------------------------------------------------------------ */

static void free_server(struct server *server) {
    memory_map_destroy(server->memory);
    vfio_user_lines_close(&server->lines);
    if (server->path) {
        if (server->listener >= 0)
            (void)unlink(server->path);
        free(server->path);
    }
    if (server->listener >= 0)
        close(server->listener);
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
        free_server(server);
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
        if (server && server->socket >= 0)
            return server;
        if (server)
            vfio_user_let_go(server);
    }
    return NULL;
}

static void end_server(struct vfio_user *machine, uint32_t slot) {
    struct server *server = vfio_user_acquire(machine, slot);
    if (!server)
        return;
    uint64_t one = 1;
    atomic_store(&server->is_ending, 1);
    (void)!write(server->wake, &one, sizeof one);
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
    if (was_there)
        vfio_user_let_go(server);
    vfio_user_let_go(server);
}

static void destroy(struct system *system) {
    struct vfio_user *machine = (struct vfio_user *)system;
    for (uint32_t i = 0; i < HDVLAB_SLOT_COUNT; i++)
        end_server(machine, i);
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
        end_server(machine, i);
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
    struct server *server = ((struct vfio_user *)system)->server[slot];
    if (!server || !(server->options.flags & HDVLAB_VFIO_USER_HIDE_CAPABILITIES) || atomic_load(&server->is_guests))
        return;
    if (dword == 0x04)
        *mask |= 0x00100000u;
    if (dword == 0x34)
        *mask |= 0xFF;
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

static HRESULT set_line(struct device *device) {
    struct server *server = vfio_user_server_of(device->system, device);
    if (server) {
        vfio_user_line_changed(server, device, 0);
        vfio_user_let_go(server);
    }
    return S_OK;
}

static const struct system_ops vfio_user_ops = {
    .destroy = destroy,
    .read_memory = vfio_user_read_memory,
    .write_memory = vfio_user_write_memory,
    .deliver_interrupt = vfio_user_deliver,
    .remap = remap,
    .cancel = cancel,
    .config_bits = config_bits,
    .config_keep = config_keep,
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

/* ---- servers ------------------------------------------------------------------------------------------------------- */

static struct vfio_user *acquire(HCS_SYSTEM handle, HRESULT *hr) {
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    *hr = system ? S_OK : handle_refusal(handle);
    if (system && system->ops != &vfio_user_ops) {
        handle_release(handle);
        *hr = E_NOTIMPL;
        return NULL;
    }
    return (struct vfio_user *)system;
}

static int has_device(struct vfio_user *machine, uint32_t slot) {
    struct device *device = system_slot_device(&machine->system, slot);
    int state = device ? atomic_load(&device->state) : DEVICE_TORN_DOWN;
    if (device)
        handle_release(device->handle);
    return state == DEVICE_RUNNING;
}

static HRESULT hresult_of(int error) {
    switch (error) {
    case EADDRINUSE: return HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
    case EACCES:
    case EPERM:
    case EROFS: return E_ACCESSDENIED;
    case ENOENT:
    case ENOTDIR: return HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    case EMFILE:
    case ENFILE: return HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
    case ENOSPC:
    case EDQUOT: return HRESULT_FROM_WIN32(ERROR_DISK_FULL);
    default: return E_OUTOFMEMORY;
    }
}

/* A socket at the path that answers nobody is left over from somebody who died. */
static int is_left_over(const struct sockaddr_un *address) {
    struct stat file;
    if (lstat(address->sun_path, &file) || !S_ISSOCK(file.st_mode))
        return 0;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int refused = probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof *address) &&
                  errno == ECONNREFUSED;
    if (probe >= 0)
        close(probe);
    return refused;
}

static HRESULT listen_at(const char *path, int *listener) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof address.sun_path)
        return E_INVALIDARG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = fd < 0 ? errno : 0;
    if (fd >= 0 && fchmod(fd, 0600)) /* what the name is made with */
        error = errno;
    if (!error && bind(fd, (struct sockaddr *)&address, sizeof address)) {
        error = errno;
        if (error == EADDRINUSE && is_left_over(&address) && !unlink(path))
            error = bind(fd, (struct sockaddr *)&address, sizeof address) ? errno : 0;
    }
    if (!error && listen(fd, 1))
        error = errno;
    if (error) {
        if (fd >= 0)
            close(fd);
        return hresult_of(error);
    }
    *listener = fd;
    return S_OK;
}

/* Takes the descriptors, also when it fails. */
static HRESULT start_server(HCS_SYSTEM handle, uint32_t slot, int listener, int socket, const char *path,
                            const HDVLAB_VFIO_USER_OPTIONS *options) {
    HRESULT hr;
    struct vfio_user *machine = acquire(handle, &hr);
    struct server *server = machine ? calloc(1, sizeof *server) : NULL;
    if (!server) {
        if (listener >= 0)
            close(listener);
        if (socket >= 0)
            close(socket);
        if (machine)
            handle_release(handle);
        return machine ? E_OUTOFMEMORY : hr;
    }
    server->machine = machine;
    server->slot = slot;
    server->references = 1;
    server->listener = listener;
    server->socket = socket;
    server->is_attached = socket >= 0;
    server->options = (HDVLAB_VFIO_USER_OPTIONS){.size = sizeof server->options, .poll_us = UINT32_MAX};
    if (options)
        server->options = *options;
    if (!server->options.budget_ms)
        server->options.budget_ms = 2000;
    vfio_user_lines_init(&server->lines);
    pthread_mutex_init(&server->send_lock, NULL);
    pthread_mutex_init(&server->lock, NULL);
    platform_condition_init(&server->changed);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->path = path ? strdup(path) : NULL;
    uint8_t *reply = malloc(HEADER_BYTES + MESSAGE_MAX);
    server->message.reply = reply ? reply + HEADER_BYTES : NULL;
    server->message.payload = malloc(MESSAGE_MAX);
    if (server->wake < 0 || (path && !server->path) || !reply || !server->message.payload ||
        FAILED(memory_map_create(&server->memory)))
        hr = E_OUTOFMEMORY;
    server->state.state = listener >= 0 ? HDVLAB_VFIO_USER_LISTENING : HDVLAB_VFIO_USER_CONNECTED;
    if (hr == S_OK) {
        pthread_mutex_lock(&machine->servers_lock);
        if (machine->server[slot])
            hr = HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
        else
            machine->server[slot] = server;
        pthread_mutex_unlock(&machine->servers_lock);
    }
    if (hr == S_OK) {
        pthread_mutex_lock(&server->lock);
        int error = vfio_user_start_worker(server);
        pthread_mutex_unlock(&server->lock);
        if (error) {
            end_server(machine, slot);
            hr = E_OUTOFMEMORY;
        }
    } else {
        free_server(server);
    }
    handle_release(handle);
    return hr;
}

static void forget_finished(struct vfio_user *machine, uint32_t slot);

static HRESULT may_serve(HCS_SYSTEM handle, uint32_t slot, const HDVLAB_VFIO_USER_OPTIONS *options) {
    HRESULT hr;
    struct vfio_user *machine = acquire(handle, &hr);
    if (!machine)
        return hr;
    if (slot >= HDVLAB_SLOT_COUNT || (options && (options->size != sizeof *options ||
                                                  options->flags & ~HDVLAB_VFIO_USER_HIDE_CAPABILITIES)))
        hr = E_INVALIDARG;
    else
        forget_finished(machine, slot);
    if (FAILED(hr))
        ;
    else if (!has_device(machine, slot))
        hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    else if (machine->server[slot])
        hr = HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_vfio_user_listen(HCS_SYSTEM handle, uint32_t slot, const char *path,
                                const HDVLAB_VFIO_USER_OPTIONS *options) {
    if (!path)
        return E_POINTER;
    HRESULT hr = may_serve(handle, slot, options);
    int listener = -1;
    if (hr == S_OK)
        hr = listen_at(path, &listener);
    return hr == S_OK ? start_server(handle, slot, listener, -1, path, options) : hr;
}

static int is_stream(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM;
}

HRESULT hdvlab_vfio_user_attach(HCS_SYSTEM handle, uint32_t slot, int socket, const HDVLAB_VFIO_USER_OPTIONS *options) {
    HRESULT hr = may_serve(handle, slot, options);
    if (hr == S_OK && !is_stream(socket))
        hr = E_INVALIDARG;
    if (hr == S_OK)
        return start_server(handle, slot, -1, socket, NULL, options);
    if (socket >= 0)
        close(socket);
    return hr;
}

/* A server over a socket that was given is through with its one connection. */
static void forget_finished(struct vfio_user *machine, uint32_t slot) {
    struct server *server = vfio_user_acquire(machine, slot);
    if (!server)
        return;
    pthread_mutex_lock(&server->lock);
    int is_finished = !server->is_served;
    pthread_mutex_unlock(&server->lock);
    vfio_user_let_go(server);
    if (is_finished)
        end_server(machine, slot);
}

HRESULT hdvlab_vfio_user_end(HCS_SYSTEM handle, uint32_t slot) {
    HRESULT hr;
    struct vfio_user *machine = acquire(handle, &hr);
    if (!machine)
        return hr;
    if (slot >= HDVLAB_SLOT_COUNT || !machine->server[slot])
        hr = slot >= HDVLAB_SLOT_COUNT ? E_INVALIDARG : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    else
        end_server(machine, slot);
    handle_release(handle);
    return hr;
}

void vfio_user_changed(struct server *server) {
    server->state.changes++;
    pthread_cond_broadcast(&server->changed);
}

HRESULT hdvlab_vfio_user_wait(HCS_SYSTEM handle, uint32_t slot, uint64_t known_changes, uint32_t timeout_ms,
                              HDVLAB_VFIO_USER_STATE *state) {
    if (!state)
        return E_POINTER;
    HRESULT hr;
    struct vfio_user *machine = acquire(handle, &hr);
    if (!machine)
        return hr;
    *state = (HDVLAB_VFIO_USER_STATE){0};
    struct server *server = vfio_user_acquire(machine, slot);
    if (!server) {
        hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    } else {
        int64_t deadline = timeout_ms == UINT32_MAX ? INT64_MAX : monotonic_ns() + (int64_t)timeout_ms * 1000000;
        int late = 0;
        pthread_mutex_lock(&server->lock);
        while (server->state.changes == known_changes && !late && !atomic_load(&server->is_ending))
            late = platform_wait_until(&server->changed, &server->lock, deadline) == ETIMEDOUT;
        *state = server->state;
        pthread_mutex_unlock(&server->lock);
        state->messages = atomic_load(&server->messages);
        if (late)
            hr = HRESULT_FROM_WIN32(ERROR_TIMEOUT);
        vfio_user_let_go(server);
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_vfio_user_hung_thread(HCS_SYSTEM handle, uint32_t slot, uint64_t *thread) {
    if (!thread)
        return E_POINTER;
    HRESULT hr;
    struct vfio_user *machine = acquire(handle, &hr);
    if (!machine)
        return hr;
    *thread = 0;
    struct server *server = vfio_user_acquire(machine, slot);
    if (server) {
        pthread_mutex_lock(&server->lock);
        if (server->stuck)
            *thread = (uint64_t)server->stuck->thread;
        pthread_mutex_unlock(&server->lock);
        vfio_user_let_go(server);
    } else {
        hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_vfio_user_state(HCS_SYSTEM handle, uint32_t slot, HDVLAB_VFIO_USER_STATE *state) {
    if (!state)
        return E_POINTER;
    HRESULT hr = hdvlab_vfio_user_wait(handle, slot, UINT64_MAX, 0, state);
    return hr == HRESULT_FROM_WIN32(ERROR_NOT_FOUND) && slot < HDVLAB_SLOT_COUNT ? S_OK : hr;
}
