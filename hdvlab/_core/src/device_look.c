/* Looking at an instance from outside: who it is, and what a peek of its own says. */
#include "device.h"
#include "handle.h"

HRESULT hdvlab_device_details(HDV_DEVICE handle, HDVLAB_DEVICE_DETAILS *details) {
    if (!details)
        return E_POINTER;
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    *details = (HDVLAB_DEVICE_DETAILS){device->class_id, device->instance_id, {0}, {0}};
    int state = atomic_load(&device->state); /* GetDetails has answered from here on, and is not asked again */
    if (state == DEVICE_INITIALIZED || state == DEVICE_STARTING || state == DEVICE_RUNNING) {
        details->pnp_id = device->pnp_id;
        for (int i = 0; i < HDV_PCI_BAR_COUNT; i++)
            details->probed_bars[i] = device->probed_bars[i];
    }
    handle_release(handle);
    return S_OK;
}

HRESULT hdvlab_device_peek(HDV_DEVICE handle, HDVLAB_DEVICE_PEEK peek, uint32_t bar, uint64_t offset, uint32_t size,
                           uint64_t *value) {
    if (!peek || !value)
        return E_POINTER;
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    *value = UINT64_MAX;
    HRESULT hr = device_enter_free(device, 1000);
    if (SUCCEEDED(hr)) {
        thread_context.depth++; /* a callback like any other, but for the row */
        uint64_t answer = UINT64_MAX;
        if (atomic_load(&device->state) != DEVICE_RUNNING)
            hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
        else if (bar >= HDV_PCI_BAR_COUNT || (size != 1 && size != 2 && size != 4 && size != 8) ||
                 device->bar_size[bar] < size || offset > device->bar_size[bar] - size)
            hr = E_INVALIDARG;
        else
            hr = peek(device->context, (HDV_PCI_BAR_SELECTOR)bar, offset, size, &answer);
        *value = FAILED(hr) ? ones(size) : answer & ones(size);
        thread_context.depth--;
        device_leave(device);
    }
    handle_release(handle);
    return hr;
}
