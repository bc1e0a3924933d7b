/* Who serves a slot: listening, a connected socket, the end of it, and how it stands. */
#include "vfio_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handle.h"

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
    pthread_mutex_init(&server->ask_lock, NULL);
    platform_condition_init(&server->answered);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->path = path ? strdup(path) : NULL;
    uint8_t *reply = malloc(HEADER_BYTES + MESSAGE_MAX);
    server->message.reply = reply ? reply + HEADER_BYTES : NULL;
    server->message.payload = malloc(MESSAGE_MAX);
    if (server->wake < 0 || (path && !server->path) || !reply || !server->message.payload ||
        FAILED(memory_map_create(1, &server->memory)))
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
            vfio_user_end(machine, slot);
            hr = E_OUTOFMEMORY;
        }
    } else {
        vfio_user_free(server);
    }
    handle_release(handle);
    return hr;
}

static void forget_finished(struct vfio_user *machine, uint32_t slot);
static int is_served(struct vfio_user *machine, uint32_t slot);

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
    else if (is_served(machine, slot))
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
        hr = vfio_user_listen_at(path, &listener);
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
    int is_finished = server->state.state == HDVLAB_VFIO_USER_NONE;
    pthread_mutex_unlock(&server->lock);
    if (is_finished) /* this one: another thread may have put its own in the place */
        vfio_user_end_server(server);
    else
        vfio_user_let_go(server);
}

static int is_served(struct vfio_user *machine, uint32_t slot) {
    struct server *server = vfio_user_acquire(machine, slot);
    if (server)
        vfio_user_let_go(server);
    return server != NULL;
}

HRESULT hdvlab_vfio_user_end(HCS_SYSTEM handle, uint32_t slot) {
    HRESULT hr;
    struct vfio_user *machine = acquire(handle, &hr);
    if (!machine)
        return hr;
    if (slot >= HDVLAB_SLOT_COUNT || !is_served(machine, slot))
        hr = slot >= HDVLAB_SLOT_COUNT ? E_INVALIDARG : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    else if (thread_context.depth) /* of one of its devices, perhaps: it would wait for itself */
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    else
        vfio_user_end(machine, slot);
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
