/* The embedded machine's config space accesses. What pci_header.c says is the machine's it answers and keeps; every other
 * dword is the device's, and every write reaches the device too. */
#include <string.h>

#include "embedded.h"
#include "handle.h"
#include "pci_header.h"

void embedded_config_bits(struct system *system, uint32_t number, const struct device *device, uint32_t dword,
                          uint32_t *mask, uint32_t *bits) {
    pci_header_bits(system, number, device, dword, mask, bits);
}

static int is_config_access(uint32_t offset, uint32_t size) {
    return (size == 1 || size == 2 || size == 4) && offset < CONFIG_SPACE_BYTES && (offset & 3) + size <= 4;
}

/* The slot's device with a reference, or a row that says nobody is there. Its address is the ECAM offset. */
static struct device *config_target(struct embedded *machine, const HDVLAB_ACCESS *access, uint32_t kind,
                                    uint32_t slot, uint32_t offset, uint32_t size, uint32_t value, HRESULT *hr) {
    struct device *device = system_slot_device(&machine->system, slot);
    *hr = !is_config_access(offset, size) ? E_INVALIDARG : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    if (device && *hr != E_INVALIDARG) {
        *hr = S_OK;
        return device;
    }
    if (device)
        handle_release(device->handle);
    tap_unclaimed(machine->system.trace, access, kind, (uint64_t)slot << 15 | offset, size, value, *hr);
    return NULL;
}

HRESULT hdvlab_guest_config_read(HCS_SYSTEM handle, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                                 uint32_t size, uint32_t *value) {
    if (!access || !value)
        return E_POINTER;
    *value = (uint32_t)ones(size > 4 ? 4 : size);
    HRESULT hr;
    struct embedded *machine = embedded_acquire(handle, &hr);
    if (!machine)
        return hr;
    struct device *device = config_target(machine, access, HDVLAB_CONFIG_READ, slot, offset, size, *value, &hr);
    if (device) {
        hr = device_config_read(device, access, slot, offset, size, value);
        handle_release(device->handle);
    }
    handle_release(handle);
    return hr;
}

void embedded_config_keep(struct system *system, uint32_t number, struct device *device, uint32_t dword,
                          uint32_t value) {
    if (pci_header_keep(system, number, device, dword, value))
        embedded_remap(system);
}

HRESULT hdvlab_guest_config_write(HCS_SYSTEM handle, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                                  uint32_t size, uint32_t value) {
    if (!access)
        return E_POINTER;
    HRESULT hr;
    struct embedded *machine = embedded_acquire(handle, &hr);
    if (!machine)
        return hr;
    struct device *device = config_target(machine, access, HDVLAB_CONFIG_WRITE, slot, offset, size, value, &hr);
    if (device) {
        hr = device_config_write(device, access, slot, offset, size, value & (uint32_t)ones(size));
        handle_release(device->handle);
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_guest_config_peek(HCS_SYSTEM handle, uint32_t slot, uint8_t *config) {
    if (!config)
        return E_POINTER;
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    if (!system)
        return handle_refusal(handle);
    HRESULT hr = E_NOTIMPL;
    if (!system->ops->device_open) { /* else its machine, with its slots, is elsewhere */
        struct device *device = system_slot_device(system, slot);
        hr = device ? device_config_peek(device, slot, config) : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
        if (device)
            handle_release(device->handle);
    }
    handle_release(handle);
    return hr;
}
