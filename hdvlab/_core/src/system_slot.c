/* Looking at a system's slots, and giving a system its recording. */
#include <string.h>

#include "handle.h"
#include "system.h"

HRESULT hdvlab_system_record(HCS_SYSTEM handle, HDVLAB_TRACE trace_handle) {
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    if (!system)
        return handle_refusal(handle);
    struct trace *trace = handle_acquire(trace_handle, HANDLE_TRACE);
    HRESULT hr = !trace ? handle_refusal(trace_handle) : trace->writable ? S_OK : E_ACCESSDENIED;
    if (hr == S_OK) {
        pthread_mutex_lock(&system->lock);
        if (system->trace)
            hr = HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
        else if (atomic_load(&system->state) != SYSTEM_OFF) /* its rows are written without a lock */
            hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
        if (hr == S_OK) {
            system->trace = trace;
            system->trace_handle = trace_handle; /* and its reference */
        }
        pthread_mutex_unlock(&system->lock);
    }
    if (FAILED(hr) && trace)
        handle_release(trace_handle);
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_system_slot(HCS_SYSTEM handle, const GUID *instance, uint32_t *slot) {
    if (!instance || !slot)
        return E_POINTER;
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    if (!system)
        return handle_refusal(handle);
    HRESULT hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    pthread_mutex_lock(&system->lock);
    for (uint32_t i = 0; i < HDVLAB_SLOT_COUNT; i++)
        if (system->slots[i].used && !memcmp(&system->slots[i].instance_id, instance, sizeof *instance)) {
            *slot = i;
            hr = S_OK;
            break;
        }
    pthread_mutex_unlock(&system->lock);
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_system_device(HCS_SYSTEM handle, uint32_t slot, HDV_DEVICE *device_handle) {
    if (!device_handle)
        return E_POINTER;
    if (slot >= HDVLAB_SLOT_COUNT)
        return E_INVALIDARG;
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    if (!system)
        return handle_refusal(handle);
    struct device *device = system_slot_device(system, slot);
    if (device) {
        *device_handle = device->handle;
        handle_release(device->handle);
    }
    handle_release(handle);
    return device ? S_OK : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
}
