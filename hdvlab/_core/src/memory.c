/* Guest memory and interrupts: HdvReadGuestMemory, HdvWriteGuestMemory, apertures, HdvDeliverGuestInterrupt. */
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "handle.h"
#include "system.h"

#define APERTURE_QUOTA 1024

static struct row row_of(const struct device *device, uint32_t kind, uint64_t address, uint32_t size, uint64_t value) {
    return (struct row){.kind = (uint8_t)kind, .origin = HDVLAB_DEVICE, .device = device->index, .bar = -1,
                        .size = size, .address = address, .value = value, .cause = thread_context.cause};
}

/* The rules every access to guest memory keeps, whoever asks and on whatever thread. */
static HRESULT may_access(struct device *device, uint64_t gpa, uint32_t bytes) {
    int state = atomic_load(&device->state);
    if (state == DEVICE_TORN_DOWN || (state != DEVICE_RUNNING && !is_elsewhere(device)))
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (is_elsewhere(device)) /* the machine's own rules hold there */
        return S_OK;
    if (bytes && gpa + bytes - 1 < gpa)
        return HRESULT_FROM_WIN32(ERROR_ARITHMETIC_OVERFLOW);
    if (!(atomic_load(&device->command) & COMMAND_BUS_MASTER))
        return E_ACCESSDENIED;
    return S_OK;
}

static HRESULT copy(HDV_DEVICE handle, uint64_t gpa, uint32_t bytes, void *to, const void *from) {
    if (!to && !from)
        return E_POINTER;
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return E_HANDLE;
    struct system *system = device->system;
    struct row r = row_of(device, to ? HDVLAB_DMA_READ : HDVLAB_DMA_WRITE, gpa, bytes, 0);
    int64_t began = 0, payload = -1, row = trace_begin(system->trace, &r, &began);
    HRESULT hr = may_access(device, gpa, bytes);
    if (hr == S_OK && (bytes || is_elsewhere(device)))
        hr = to ? system->ops->read_memory(system, device, gpa, bytes, to)
                : system->ops->write_memory(system, device, gpa, bytes, from);
    if (hr == S_OK && row >= 0) {
        const void *moved = to ? to : from;
        memcpy(&r.value, moved, bytes < 8 ? bytes : 8);
        if (bytes > 8)
            payload = trace_payload(system->trace, moved, bytes);
    }
    trace_complete(system->trace, row, began, r.value, payload, hr);
    handle_release(handle);
    return hr;
}

HRESULT HdvReadGuestMemory(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount, BYTE *buffer) {
    return copy(requestor, guestPhysicalAddress, byteCount, buffer, NULL);
}

HRESULT HdvWriteGuestMemory(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount, const BYTE *buffer) {
    return copy(requestor, guestPhysicalAddress, byteCount, NULL, buffer);
}

HRESULT HdvDeliverGuestInterrupt(HDV_DEVICE requestor, UINT64 msiAddress, UINT32 msiData) {
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return E_HANDLE;
    struct system *system = device->system;
    struct row r = row_of(device, HDVLAB_INTERRUPT, msiAddress, 4, msiData);
    int64_t began = 0, row = trace_begin(system->trace, &r, &began);
    HRESULT hr = may_access(device, msiAddress, 4); /* a message is a memory write of the device */
    if (hr == S_OK)
        hr = system->ops->deliver_interrupt(system, device, msiAddress, msiData);
    trace_complete(system->trace, row, began, msiData, -1, hr);
    handle_release(requestor);
    return hr;
}

void interrupt_went_nowhere(HDV_DEVICE handle, uint32_t vector, HRESULT why) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return;
    struct row r = row_of(device, HDVLAB_INTERRUPT, 0, 4, vector);
    trace_event(device->system->trace, &r, why);
    handle_release(handle);
}

static HRESULT create_aperture(struct device *device, uint64_t gpa, uint32_t bytes, BOOL writeProtected,
                               void **mappedAddress) {
    struct system *system = device->system;
    HANDLE memory = NO_HANDLE;
    uint64_t offset = 0;
    HRESULT hr = system->ops->locate_memory(system, gpa, bytes, &memory, &offset);
    struct aperture *aperture = hr == S_OK ? calloc(1, sizeof *aperture) : NULL;
    if (hr == S_OK && !aperture)
        hr = E_OUTOFMEMORY;
    if (hr == S_OK) {
        aperture->gpa = gpa;
        aperture->bytes = bytes;
        if (platform_window_map(memory, offset, bytes, !writeProtected, &aperture->window))
            hr = E_OUTOFMEMORY;
        aperture->address = aperture->window.address;
    }
    if (hr == S_OK) {
        pthread_mutex_lock(&device->tables_lock);
        if (atomic_load(&device->aperture_count) >= APERTURE_QUOTA) {
            hr = HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
        } else {
            aperture->next = device->apertures;
            device->apertures = aperture;
            atomic_fetch_add(&device->aperture_count, 1);
            *mappedAddress = aperture->address;
        }
        pthread_mutex_unlock(&device->tables_lock);
        if (FAILED(hr))
            platform_window_unmap(&aperture->window);
    }
    if (FAILED(hr))
        free(aperture);
    return hr;
}

HRESULT HdvCreateGuestMemoryAperture(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount,
                                     BOOL writeProtected, PVOID *mappedAddress) {
    if (!mappedAddress)
        return E_POINTER;
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return E_HANDLE;
    struct system *system = device->system;
    HRESULT hr = byteCount ? may_access(device, guestPhysicalAddress, byteCount) : E_INVALIDARG;
    if (hr == S_OK)
        hr = (system->ops->create_aperture ? system->ops->create_aperture : create_aperture)(
            device, guestPhysicalAddress, byteCount, writeProtected, mappedAddress);
    struct row r = row_of(device, HDVLAB_APERTURE_MAP, guestPhysicalAddress, byteCount, writeProtected ? 1 : 0);
    trace_event(system->trace, &r, hr);
    handle_release(requestor);
    return hr;
}

HRESULT HdvDestroyGuestMemoryAperture(HDV_DEVICE requestor, PVOID mappedAddress) {
    if (!mappedAddress)
        return E_POINTER;
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return E_HANDLE;
    struct aperture *found = NULL;
    HRESULT (*destroy)(struct device *, void *) = device->system->ops->destroy_aperture;
    HRESULT hr = destroy ? destroy(device, mappedAddress) : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    pthread_mutex_lock(&device->tables_lock);
    /* One that is mapped elsewhere is in the list for its row's sake, until it is unmapped there. */
    for (struct aperture **a = &device->apertures; *a && (!destroy || hr == S_OK); a = &(*a)->next)
        if ((*a)->address == mappedAddress) {
            found = *a;
            *a = found->next;
            atomic_fetch_sub(&device->aperture_count, 1);
            break;
        }
    pthread_mutex_unlock(&device->tables_lock);
    if (found)
        hr = S_OK;
    struct row r = row_of(device, HDVLAB_APERTURE_UNMAP, found ? found->gpa : 0, found ? found->bytes : 0, 0);
    trace_event(device->system->trace, &r, hr);
    if (found) {
        platform_window_unmap(&found->window);
        free(found);
    }
    handle_release(requestor);
    return hr;
}

void apertures_drop(struct device *device) {
    pthread_mutex_lock(&device->tables_lock);
    struct aperture *aperture = device->apertures;
    device->apertures = NULL;
    atomic_store(&device->aperture_count, 0);
    pthread_mutex_unlock(&device->tables_lock);
    while (aperture) {
        struct aperture *next = aperture->next;
        struct row r = row_of(device, HDVLAB_APERTURE_UNMAP, aperture->gpa, aperture->bytes, 0);
        trace_event(device->system->trace, &r, S_OK);
        platform_window_unmap(&aperture->window);
        free(aperture);
        aperture = next;
    }
}
