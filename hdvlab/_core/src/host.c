/* HdvInitializeDeviceHost, HdvCreateDeviceInstance, HdvTeardownDeviceHost. */
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "handle.h"
#include "proxy.h"
#include "system.h"

static void destroy_host(void *object) {
    struct host *host = object;
    if (host->remote)
        host->remote->table->Release(host->remote);
    handle_release(host->system->handle);
    free(host);
}

static void destroy_device(void *object) {
    struct device *device = object;
    doorbells_drop(device);
    sections_drop(device);
    apertures_drop(device);
    if (device->system->ops->device_close)
        device->system->ops->device_close(device);
    pthread_mutex_destroy(&device->lock);
    pthread_mutex_destroy(&device->tables_lock);
    device_shared_destroy(device);
    handle_release(device->system->handle);
    free(device);
}

HRESULT HdvInitializeDeviceHost(HCS_SYSTEM computeSystem, HDV_HOST *deviceHostHandle) {
    return HdvInitializeDeviceHostEx(computeSystem, HdvDeviceHostFlagNone, deviceHostHandle);
}

HRESULT HdvInitializeDeviceHostEx(HCS_SYSTEM computeSystem, HDV_DEVICE_HOST_FLAGS flags, HDV_HOST *deviceHostHandle) {
    if (!deviceHostHandle)
        return E_POINTER;
    if (flags & ~HdvDeviceHostFlagInitializeComSecurity)
        return E_INVALIDARG;
    struct system *system = handle_acquire(computeSystem, HANDLE_SYSTEM);
    if (!system)
        return handle_refusal(computeSystem);
    struct host *host = calloc(1, sizeof *host);
    if (!host || !(host->handle = handle_create(HANDLE_HOST, host, destroy_host))) {
        free(host);
        handle_release(computeSystem);
        return E_OUTOFMEMORY;
    }
    host->system = system;
    host->flags = flags;
    handle_retain(system->handle); /* a client's own handle may be closed before its host */
    handle_release(computeSystem);
    HRESULT hr = system->ops->host_open ? system->ops->host_open(system, host) : S_OK;
    if (FAILED(hr)) {
        handle_retire(host->handle, HANDLE_HOST);
        return hr;
    }
    pthread_mutex_lock(&system->lock);
    host->next = system->hosts;
    system->hosts = host;
    pthread_mutex_unlock(&system->lock);
    *deviceHostHandle = host->handle;
    return S_OK;
}

static int is_complete(const HDV_PCI_DEVICE_INTERFACE *i) {
    return i->Initialize && i->Teardown && i->SetConfiguration && i->GetDetails && i->Start && i->Stop &&
           i->ReadConfigSpace && i->WriteConfigSpace && i->ReadInterceptedMemory && i->WriteInterceptedMemory;
}

/* The end of a device that nobody was told of: no Teardown. */
static void forget_device(struct host *host, struct device *device) {
    pthread_mutex_lock(&host->system->lock);
    for (struct device **d = &host->devices; *d; d = &(*d)->next)
        if (*d == device) {
            *d = device->next;
            break;
        }
    pthread_mutex_unlock(&host->system->lock);
    handle_retire(device->handle, HANDLE_DEVICE);
}

HRESULT HdvCreateDeviceInstance(HDV_HOST deviceHostHandle, HDV_DEVICE_TYPE deviceType, const GUID *deviceClassId,
                                const GUID *deviceInstanceId, const VOID *deviceInterface, VOID *deviceContext,
                                HDV_DEVICE *deviceHandle) {
    if (!deviceClassId || !deviceInstanceId || !deviceInterface || !deviceHandle)
        return E_POINTER;
    const HDV_PCI_DEVICE_INTERFACE *interface = deviceInterface;
    if (deviceType != HdvDeviceTypePCI || interface->Version != HdvPciDeviceInterfaceVersion1 ||
        !is_complete(interface))
        return E_INVALIDARG;
    struct host *host = handle_acquire(deviceHostHandle, HANDLE_HOST);
    if (!host)
        return handle_refusal(deviceHostHandle);
    struct system *system = host->system;
    struct device *device = calloc(1, sizeof *device);
    HDV_DEVICE handle = NULL;
    HRESULT hr = device ? S_OK : E_OUTOFMEMORY;
    if (device) {
        device->system = system;
        device->class_id = *deviceClassId;
        device->instance_id = *deviceInstanceId;
        device->interface = *interface; /* the caller's table may be on its stack */
        device->context = deviceContext;
        device->index = HDVLAB_NO_DEVICE;
        pthread_mutex_init(&device->lock, NULL);
        pthread_mutex_init(&device->tables_lock, NULL);
        device_shared_init(device);
        handle_retain(system->handle);
        pthread_mutex_lock(&system->lock);
        if (host->torn_down) /* meanwhile: nobody would tear this one down */
            hr = E_HANDLE;
        for (struct host *h = system->hosts; h && hr == S_OK; h = h->next)
            for (struct device *d = h->devices; d; d = d->next)
                if (device_is(d, deviceClassId, deviceInstanceId))
                    hr = HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
        if (hr == S_OK && !(handle = device->handle = handle_create(HANDLE_DEVICE, device, destroy_device)))
            hr = E_OUTOFMEMORY;
        if (hr == S_OK) { /* its name is taken; a teardown of the host on another thread waits for what follows */
            handle_retain(handle);
            device->is_opening = 1;
            device->next = host->devices;
            host->devices = device;
            host->opening++;
        }
        pthread_mutex_unlock(&system->lock);
        if (FAILED(hr)) {
            destroy_device(device);
        } else {
            if (system->ops->device_open && FAILED(hr = system->ops->device_open(system, host, device)))
                forget_device(host, device);
            else
                *deviceHandle = handle;
            pthread_mutex_lock(&system->lock);
            device->is_opening = 0;
            host->opening--;
            pthread_cond_broadcast(&system->settled);
            pthread_mutex_unlock(&system->lock);
            handle_release(handle);
        }
    }
    handle_release(deviceHostHandle);
    return hr;
}

HRESULT HdvTeardownDeviceHost(HDV_HOST deviceHostHandle) {
    struct host *host = handle_acquire(deviceHostHandle, HANDLE_HOST);
    if (!host)
        return handle_refusal(deviceHostHandle);
    /* A callback that waited for the end of callbacks would wait for itself. */
    HRESULT hr = thread_context.depth ? HRESULT_FROM_WIN32(ERROR_INVALID_STATE) : host_end(deviceHostHandle);
    handle_release(deviceHostHandle);
    return hr;
}

HRESULT host_end(HDV_HOST deviceHostHandle) {
    struct host *host = handle_acquire(deviceHostHandle, HANDLE_HOST);
    if (!host)
        return handle_refusal(deviceHostHandle);
    HRESULT hr = handle_retire(deviceHostHandle, HANDLE_HOST) ? S_OK : E_HANDLE;
    if (hr == S_OK) {
        struct system *system = host->system;
        pthread_mutex_lock(&system->lock);
        host->torn_down = 1;
        while (host->opening) /* a device is either made and then torn down, or neither */
            pthread_cond_wait(&system->settled, &system->lock);
        for (struct host **h = &system->hosts; *h; h = &(*h)->next)
            if (*h == host) {
                *h = host->next;
                break;
            }
        struct device *devices = host->devices;
        host->devices = NULL;
        pthread_mutex_unlock(&system->lock);
        for (struct device *d = devices; d; d = d->next)
            device_is_leaving(d); /* the machine over there may wait for a callback that the gate holds */
        if (system->ops->host_close)
            system->ops->host_close(system, host);
        while (devices) {
            struct device *next = devices->next;
            device_tear_down(devices);
            handle_retire(devices->handle, HANDLE_DEVICE);
            devices = next;
        }
        if (host->remote)
            host->remote->table->gone(host->remote);
        system->ops->remap(system);
    }
    handle_release(deviceHostHandle);
    return hr;
}

HRESULT hdvlab_device_set_index(HDV_DEVICE handle, uint16_t index) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    device->index = index;
    handle_release(handle);
    return S_OK;
}

HRESULT hdvlab_device_enter(HDV_DEVICE handle, uint32_t wait_ms, int64_t cause) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    HRESULT hr = device_enter(device, wait_ms);
    if (hr == S_OK && atomic_load(&device->state) != DEVICE_RUNNING) {
        device_leave(device);
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    }
    if (hr == S_OK) {
        device->entered = 1;
        device->outer_cause = thread_context.cause;
        thread_context.cause = cause;
        thread_context.depth++;
        return S_OK; /* the reference stays until hdvlab_device_leave */
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_device_wait_idle(HDV_DEVICE handle, uint32_t wait_ms) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    HRESULT hr = device_enter(device, wait_ms);
    if (hr == S_OK)
        device_leave(device);
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_device_inside(HDV_DEVICE handle) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    int inside = atomic_load(&device->inside) == pthread_self() || device_is_shared_here(device);
    handle_release(handle);
    return inside ? S_OK : 1;
}

HRESULT hdvlab_device_leave(HDV_DEVICE handle) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    HRESULT hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    /* A callback may not end what the tap began, only what hdvlab_device_enter did. */
    if (atomic_load(&device->inside) == pthread_self() && device->entered) {
        device->entered = 0;
        thread_context.depth--;
        thread_context.cause = device->outer_cause;
        device_leave(device);
        handle_release(handle);
        hr = S_OK;
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_device_access(HDV_DEVICE handle, const HDVLAB_ACCESS *access, BOOL write, uint32_t bar, uint64_t offset,
                             uint32_t size, uint64_t *value) {
    if (!access || !value)
        return E_POINTER;
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    HRESULT hr = write ? device_mmio_write(device, access, bar, offset, size, *value)
                       : device_mmio_read(device, access, bar, offset, size, value);
    handle_release(handle);
    return hr;
}

uint64_t hdvlab_live_handles(void) { return handle_live(); }
