/* The embedded machine's config space accesses. The machine owns identity, command register and BAR placement; every
 * other dword is the device's, and every write reaches the device too. Ref: PCI Local Bus 3.0, section 6.1 and 6.2. */
#include <string.h>

#include "embedded.h"
#include "handle.h"

#define COMMAND_WRITABLE 0x0547u /* I/O, memory, bus master, parity, SERR#, interrupt disable */

/* The bits of a BAR that say what it is: hardwired (PCI 3.0, 6.2.5.1). An upper half is address only. */
static uint32_t type_bits(const struct device *device, uint32_t bar) {
    int upper = bar && (device->probed_bars[bar - 1] & 0x6) == 0x4 && device->bar_size[bar - 1];
    return upper ? 0 : device->probed_bars[bar] & 0xF;
}

void embedded_config_bits(struct system *system, uint32_t number, const struct device *device, uint32_t dword,
                          uint32_t *mask, uint32_t *bits) {
    const struct slot *slot = &system->slots[number];
    const HDV_PCI_PNP_ID *id = &device->pnp_id;
    *mask = UINT32_MAX;
    *bits = 0;
    switch (dword) {
    case 0x00: *bits = (uint32_t)id->DeviceID << 16 | id->VendorID; return;
    case 0x04:
        *mask = 0xFFFF;
        *bits = atomic_load(&device->command);
        return;
    case 0x08:
        *bits = (uint32_t)id->BaseClass << 24 | (uint32_t)id->SubClass << 16 | (uint32_t)id->ProgIf << 8 |
                id->RevisionID;
        return;
    case 0x0C: *mask = 0x00FF0000; return; /* header type 0, one function */
    case 0x10:
    case 0x14:
    case 0x18:
    case 0x1C:
    case 0x20:
    case 0x24: *bits = slot->bar[(dword - 0x10) / 4] | type_bits(device, (dword - 0x10) / 4); return;
    case 0x2C: *bits = (uint32_t)id->SubSystemID << 16 | id->SubVendorID; return;
    case 0x30: return; /* no expansion ROM */
    case 0x3C:
        *mask = 0xFFFF; /* no interrupt pin: messages only */
        *bits = slot->interrupt_line;
        return;
    default: *mask = 0; return;
    }
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
    struct slot *slot = &system->slots[number];
    if (dword == 0x04) {
        atomic_store(&device->command, value & COMMAND_WRITABLE);
    } else if (dword >= 0x10 && dword < 0x28) {
        uint32_t index = (dword - 0x10) / 4;
        atomic_store(&slot->bar[index], value & device->probed_bars[index] & ~type_bits(device, index));
    } else {
        if (dword == 0x3C)
            slot->interrupt_line = (uint8_t)value;
        return;
    }
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
    HRESULT hr;
    struct embedded *machine = embedded_acquire(handle, &hr);
    if (!machine)
        return hr;
    struct device *device = system_slot_device(&machine->system, slot);
    hr = device ? device_config_peek(device, slot, config) : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    if (device)
        handle_release(device->handle);
    handle_release(handle);
    return hr;
}
