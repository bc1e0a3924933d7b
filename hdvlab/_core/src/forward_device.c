/* The callbacks that another HDV library gets for a device of ours: each goes through the tap. Its threads call them,
 * one after another or at once, as that library likes; the tap serialises. */
#include <string.h>

#include "forward.h"
#include "handle.h"

static const HDVLAB_ACCESS from_there = {.origin = HDVLAB_GUEST};

/* The context over there is our handle, so that a call that comes too late finds nobody and harms nobody. */
static struct device *device_of(PVOID context) { return handle_acquire(context, HANDLE_DEVICE); }

static HRESULT step(PVOID context, uint32_t kind, uint32_t count, const LPCWSTR *configuration) {
    struct device *device = device_of(context);
    if (!device)
        return E_HANDLE;
    HRESULT hr = device_step(device, kind, count, configuration);
    handle_release(context);
    return hr;
}

static HRESULT CALLBACK initialize(PVOID context) { return step(context, HDVLAB_INITIALIZE, 0, NULL); }

static HRESULT CALLBACK set_configuration(PVOID context, UINT32 count, const LPCWSTR *values) {
    if (count && !values)
        return E_POINTER;
    return step(context, HDVLAB_SET_CONFIGURATION, count, values);
}

static HRESULT CALLBACK get_details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed_bars) {
    if (!id || (count && !probed_bars))
        return E_POINTER;
    struct device *device = device_of(context);
    if (!device)
        return E_HANDLE;
    HRESULT hr = device_step(device, HDVLAB_GET_DETAILS, 0, NULL);
    if (SUCCEEDED(hr)) {
        *id = device->pnp_id;
        for (UINT32 i = 0; i < count; i++)
            probed_bars[i] = i < HDV_PCI_BAR_COUNT ? device->probed_bars[i] : 0;
    }
    handle_release(context);
    return hr;
}

static HRESULT CALLBACK start(PVOID context) { return step(context, HDVLAB_START, 0, NULL); }
static void CALLBACK stop(PVOID context) { step(context, HDVLAB_STOP, 0, NULL); }

static void CALLBACK tear_down(PVOID context) {
    struct device *device = device_of(context);
    if (!device)
        return;
    if (atomic_load(&device->inside) == pthread_self() || device_is_shared_here(device)) /* from within a callback: it comes with the host's end */
        tap_served(device, &from_there, HDVLAB_TEARDOWN, HDV_PCI_BAR_COUNT, 0, 0, 0,
                   HRESULT_FROM_WIN32(ERROR_INVALID_STATE));
    else
        device_tear_down(device);
    handle_release(context);
}

static HRESULT CALLBACK read_config(PVOID context, UINT32 offset, UINT32 *value) {
    if (!value)
        return E_POINTER;
    *value = UINT32_MAX;
    struct device *device = device_of(context);
    if (!device)
        return E_HANDLE;
    HRESULT hr = device_dword_read(device, &from_there, offset, value);
    handle_release(context);
    return hr;
}

static HRESULT CALLBACK write_config(PVOID context, UINT32 offset, UINT32 value) {
    struct device *device = device_of(context);
    if (!device)
        return E_HANDLE;
    HRESULT hr = device_dword_write(device, &from_there, offset, value);
    handle_release(context);
    return hr;
}

/* Lengths that are none get a row of their own from the tap; one that no row can hold, the longest it can. */
static uint32_t row_size(UINT64 length) { return length > UINT32_MAX ? UINT32_MAX : (uint32_t)length; }

static HRESULT CALLBACK read_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length,
                                    BYTE *value) {
    if (!value)
        return E_POINTER;
    struct device *device = device_of(context);
    uint64_t answer = UINT64_MAX;
    HRESULT hr = device ? device_mmio_read(device, &from_there, (uint32_t)bar, offset, row_size(length), &answer)
                        : E_HANDLE;
    if (device)
        handle_release(context);
    memset(value, 0xFF, length);
    memcpy(value, &answer, length < sizeof answer ? length : sizeof answer);
    return hr;
}

static HRESULT CALLBACK write_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length,
                                     const BYTE *value) {
    if (!value)
        return E_POINTER;
    struct device *device = device_of(context);
    if (!device)
        return E_HANDLE;
    uint64_t written = 0;
    memcpy(&written, value, length < sizeof written ? length : sizeof written);
    HRESULT hr = device_mmio_write(device, &from_there, (uint32_t)bar, offset, row_size(length), written);
    handle_release(context);
    return hr;
}

static const HDV_PCI_DEVICE_INTERFACE tapped = {
    .Version = HdvPciDeviceInterfaceVersion1,
    .Initialize = initialize,
    .Teardown = tear_down,
    .SetConfiguration = set_configuration,
    .GetDetails = get_details,
    .Start = start,
    .Stop = stop,
    .ReadConfigSpace = read_config,
    .WriteConfigSpace = write_config,
    .ReadInterceptedMemory = read_memory,
    .WriteInterceptedMemory = write_memory,
};

HDV_DEVICE forward_native_device(const struct device *device) {
    return __atomic_load_n(&device->elsewhere, __ATOMIC_ACQUIRE);
}

HRESULT forward_device_open(struct system *system, struct host *host, struct device *device) {
    const struct forward *forward = (const struct forward *)system;
    HDV_DEVICE native = NULL;
    system_reap(system);
    atomic_store(&device->command, UINT32_MAX); /* the machine over there decides what is decoded and who is master */
    /* No lock is held: that library may call back before it returns. */
    HRESULT hr = forward->native.HdvCreateDeviceInstance(host->elsewhere, HdvDeviceTypePCI, &device->class_id,
                                                         &device->instance_id, &tapped, device->handle, &native);
    if (SUCCEEDED(hr))
        __atomic_store_n(&device->elsewhere, native, __ATOMIC_RELEASE);
    return hr;
}
