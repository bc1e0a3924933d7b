/* What a PC's firmware does before any driver runs, for guests that are a C program: a slot's BARs sized, placed, mapped.
 * Ref: PCI Local Bus 3.0, section 6.2.5.1. Windows and order are those of hdvlab/systems/firmware.py. */
#include <string.h>

#include "embedded.h"
#include "handle.h"

#define PAGE 4096ull
#define CONFIG_COMMAND 0x04u
#define CONFIG_BAR0 0x10u

struct range {
    uint64_t low, high;
};
static const struct range low_range = {0xE0000000ull, 0xFEC00000ull};
static const struct range high_range = {0x8000000000ull, 0x10000000000ull};

static const HDVLAB_ACCESS guest = {.origin = HDVLAB_GUEST};

/* The end of a placed BAR of another slot, or of this one's before `bar`, that lies within [base, base + size); 0 = free. */
static uint64_t taken_until(struct system *system, uint32_t slot, uint32_t bar, uint64_t base, uint64_t size) {
    uint64_t end = 0;
    for (uint32_t s = 0; s < HDVLAB_SLOT_COUNT && !end; s++) {
        struct device *device = system_slot_device(system, s);
        for (uint32_t i = 0; device && i < (s == slot ? bar : HDV_PCI_BAR_COUNT) && !end; i++) {
            uint64_t step = device->bar_size[i] < PAGE ? PAGE : device->bar_size[i];
            uint64_t at = atomic_load(&system->slots[s].bar[i]) & ~0xFull;
            if ((device->probed_bars[i] & 0x6) == 0x4 && i + 1 < HDV_PCI_BAR_COUNT)
                at |= (uint64_t)atomic_load(&system->slots[s].bar[i + 1]) << 32;
            if (device->bar_size[i] && at && at < base + size && base < at + step)
                end = at + step;
        }
        if (device)
            handle_release(device->handle);
    }
    return end;
}

static HRESULT place(struct system *system, uint32_t slot, uint32_t bar, uint64_t size, int wide, uint64_t *base) {
    const struct range *range = wide ? &high_range : &low_range;
    uint64_t step = size < PAGE ? PAGE : size, end; /* pages of their own, so that one BAR can be mapped without another */
    *base = (range->low + step - 1) / step * step;
    while (*base < range->high && (end = taken_until(system, slot, bar, *base, step)))
        *base = (end + step - 1) / step * step;
    return *base < range->high && step <= range->high - *base ? S_OK : HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
}

/* One BAR: *width becomes 2 for a 64-bit one; *base stays 0 for one that is not implemented. */
static HRESULT place_bar(struct system *system, HCS_SYSTEM handle, uint32_t slot, uint32_t bar, uint64_t *base,
                         uint32_t *width) {
    uint32_t at = CONFIG_BAR0 + 4 * bar, probed[2] = {0, UINT32_MAX};
    HRESULT hr = hdvlab_guest_config_write(handle, &guest, slot, at, 4, UINT32_MAX);
    if (SUCCEEDED(hr))
        hr = hdvlab_guest_config_read(handle, &guest, slot, at, 4, &probed[0]);
    int wide = (probed[0] & 0x6) == 0x4 && bar + 1 < HDV_PCI_BAR_COUNT;
    *width = wide ? 2 : 1;
    if (SUCCEEDED(hr) && wide) {
        hr = hdvlab_guest_config_write(handle, &guest, slot, at + 4, 4, UINT32_MAX);
        if (SUCCEEDED(hr))
            hr = hdvlab_guest_config_read(handle, &guest, slot, at + 4, 4, &probed[1]);
    }
    uint64_t mask = (uint64_t)probed[1] << 32 | (probed[0] & ~0xFu);
    if (FAILED(hr) || !(probed[0] & ~0xFu || wide))
        return hr;
    hr = place(system, slot, bar, ~mask + 1, wide, base);
    if (SUCCEEDED(hr))
        hr = hdvlab_guest_config_write(handle, &guest, slot, at, 4, (uint32_t)*base);
    if (SUCCEEDED(hr) && wide)
        hr = hdvlab_guest_config_write(handle, &guest, slot, at + 4, 4, (uint32_t)(*base >> 32));
    return hr;
}

HRESULT hdvlab_guest_place_bars(HCS_SYSTEM handle, uint32_t slot, uint64_t *addresses) {
    HRESULT hr;
    uint64_t bases[HDV_PCI_BAR_COUNT] = {0};
    uint32_t command = 0, width;
    if (slot >= HDVLAB_SLOT_COUNT)
        return E_INVALIDARG;
    struct embedded *machine = embedded_acquire(handle, &hr);
    if (!machine)
        return hr;
    hr = hdvlab_guest_config_read(handle, &guest, slot, CONFIG_COMMAND, 2, &command);
    if (SUCCEEDED(hr)) /* nothing decodes while BARs hold what they are probed with */
        hr = hdvlab_guest_config_write(handle, &guest, slot, CONFIG_COMMAND, 2, command & ~COMMAND_MEMORY);
    for (uint32_t bar = 0; bar < HDV_PCI_BAR_COUNT && SUCCEEDED(hr); bar += width)
        hr = place_bar(&machine->system, handle, slot, bar, &bases[bar], &width);
    if (SUCCEEDED(hr))
        hr = hdvlab_guest_config_write(handle, &guest, slot, CONFIG_COMMAND, 2,
                                       command | COMMAND_MEMORY | COMMAND_BUS_MASTER);
    if (SUCCEEDED(hr) && addresses)
        memcpy(addresses, bases, sizeof bases);
    handle_release(handle);
    return hr;
}
