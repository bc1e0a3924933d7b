/* The part of config space that a machine answers and keeps itself, whatever the machine: identity, command register and
 * BAR placement. Every other dword is the device's. Ref: PCI Local Bus 3.0, section 6.1 and 6.2. */
#include "pci_header.h"

#define COMMAND_WRITABLE 0x0547u /* I/O, memory, bus master, parity, SERR#, interrupt disable */

/* The bits of a BAR that say what it is: hardwired (PCI 3.0, 6.2.5.1). An upper half is address only. */
static uint32_t type_bits(const struct device *device, uint32_t bar) {
    int upper = bar && (device->probed_bars[bar - 1] & 0x6) == 0x4 && device->bar_size[bar - 1];
    return upper ? 0 : device->probed_bars[bar] & 0xF;
}

void pci_header_bits(struct system *system, uint32_t number, const struct device *device, uint32_t dword, uint32_t *mask,
                     uint32_t *bits) {
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

int pci_header_keep(struct system *system, uint32_t number, struct device *device, uint32_t dword, uint32_t value) {
    struct slot *slot = &system->slots[number];
    if (dword == 0x04) {
        atomic_store(&device->command, value & COMMAND_WRITABLE);
        return 1;
    }
    if (dword >= 0x10 && dword < 0x28) {
        uint32_t index = (dword - 0x10) / 4;
        atomic_store(&slot->bar[index], value & device->probed_bars[index] & ~type_bits(device, index));
        return 1;
    }
    if (dword == 0x3C)
        slot->interrupt_line = (uint8_t)value;
    return 0;
}
