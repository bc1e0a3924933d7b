/* What a VM says to the vfio-user server, and what the device behind it does, as the fuzzer's bytes have it: both targets
 * of that protocol have this script, and a vm_send of their own. */
#ifndef FUZZ_VFIO_USER_SCRIPT_H
#define FUZZ_VFIO_USER_SCRIPT_H

#include <dirent.h>
#include <stdatomic.h>

#include "recording.h"
#include "rig.h"

#define HEADER 16u
#define BAR_BYTES 0x4000u
#define RAM_BYTES 0x10000u
#define MSI 0x40u
#define MSIX 0x60u

enum { VERSION = 1, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS, READ, WRITE, DMA_READ,
       DMA_WRITE, RESET, WRITE_MULTI = 15 };

static struct cursor input;
static struct {
    int socket, memory, event, pipe[2];
    struct cursor script;
    uint16_t id;
    int is_gone;
    int is_spoilt; /* something of it was no message, so what is answered is not known */
} vm;

/* One message, or a part of one. */
static void vm_send(const uint8_t *bytes, size_t length, const int *fds, uint32_t fd_count);
static void vm_end(HCS_SYSTEM system); /* nobody serves the slot any more */
static void vm_inside(uint64_t offset); /* in a callback of the device */

/* ---- a device with MSI and MSI-X ------------------------------------------------------------------------------------ */

struct fuzzed {
    HDV_DEVICE handle;
    uint8_t config[4096], bar[BAR_BYTES];
    _Atomic int inside;
};
static struct fuzzed devices[2];

static void come(struct fuzzed *d) { REQUIRE(!atomic_exchange(&d->inside, 1)); }
static HRESULT go(struct fuzzed *d) { return atomic_store(&d->inside, 0), S_OK; }
static HRESULT step(PVOID context) { return come(context), go(context); }
static void last(PVOID context) { (void)step(context); }
static HRESULT configured(PVOID context, UINT32 count, const LPCWSTR *values) {
    return (void)count, (void)values, step(context);
}
static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed) {
    (void)count;
    fill_identity(id);
    probed[0] = ~(BAR_BYTES - 1);
    return step(context);
}
static HRESULT config_read(PVOID context, UINT32 offset, UINT32 *value) {
    struct fuzzed *d = context;
    REQUIRE(offset % 4 == 0 && offset < sizeof d->config);
    memcpy(value, d->config + offset, 4);
    return step(d);
}
static HRESULT config_write(PVOID context, UINT32 offset, UINT32 value) {
    struct fuzzed *d = context;
    come(d);
    REQUIRE(offset % 4 == 0 && offset < sizeof d->config);
    if (offset == MSI || offset == MSIX) /* control words only: the list stays a list */
        memcpy(d->config + offset + 2, (uint8_t *)&value + 2, 2);
    else if (offset > MSI && offset < MSIX)
        memcpy(d->config + offset, &value, 4);
    return go(d);
}
static struct fuzzed *reach(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length) {
    struct fuzzed *d = context;
    come(d);
    REQUIRE(bar == HDV_PCI_BAR0 && is_size((uint32_t)length) && offset % length == 0 && offset <= BAR_BYTES - length);
    return d;
}
static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    struct fuzzed *d = reach(context, bar, offset, length);
    memcpy(value, d->bar + offset, length);
    vm_inside(offset);
    return go(d);
}
static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    struct fuzzed *d = reach(context, bar, offset, length);
    memcpy(d->bar + offset, value, length);
    vm_inside(offset);
    return go(d);
}
static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, step, last, configured, details, step, last, config_read, config_write, mmio_read,
    mmio_write};

static void plug(HCS_SYSTEM system, HDV_HOST host, uint32_t slot, uint8_t how) {
    struct fuzzed *d = &devices[slot];
    GUID name = guid_of(slot);
    memset(d, 0, sizeof *d);
    static const uint8_t msi[] = {0x05, MSIX, 0x86, 0x01}, msix[] = {0x11, 0, 7, 0, 0, 0x10, 0, 0, 0, 0x20, 0, 0};
    if (how & 1) {
        d->config[0x06] = 0x10;
        d->config[0x34] = MSI;
        memcpy(d->config + MSI, msi, sizeof msi);
        memcpy(d->config + MSIX, msix, sizeof msix);
    }
    d->config[0x3D] = how >> 1 & 1;
    REQUIRE(HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &class_guid, &name, &interface, d, &d->handle) == S_OK);
    REQUIRE(hdvlab_system_add_slot(system, slot, &class_guid, &name, 0, NULL) == S_OK);
}

/* ---- what the VM says --------------------------------------------------------------------------------------------- */

static void put(uint8_t *to, uint64_t value, size_t bytes) { memcpy(to, &value, bytes); }

static size_t frame(uint8_t *message, uint16_t command, uint32_t flags, size_t payload) {
    put(message, ++vm.id, 2);
    put(message + 2, command, 2);
    put(message + 4, HEADER + payload, 4);
    put(message + 8, flags, 4);
    put(message + 12, 0, 4);
    return HEADER + payload;
}

/* A message that is good, after the script had its way with it. */
static void spoil_and_send(uint8_t *message, size_t length, uint32_t fd_count) {
    struct cursor *script = &vm.script;
    int fds[40];
    uint8_t how = take8(script), which = how >= 0x80 && how < 0xF0 ? take8(script) : 0;
    if (how >= 0xF0) {
        vm.is_spoilt |= how != 0xF3 && how != 0xF9 && how != 0xFA; /* those still are messages */
        switch (how & 0xF) {
        case 0: length = take16(script) % (length + 1); break;
        case 1: message[take8(script) % HEADER] ^= (uint8_t)(1 + take8(script)); break;
        case 2: put(message + 4, take32(script), 4); break;
        case 3: fd_count = take8(script) % 40; break;
        case 4: memset(message + length, 0x5A, 64), length += 1 + take8(script) % 64u; break;
        case 5: put(message + 8, take8(script), 4); break;
        case 6: length = HEADER, put(message + 4, HEADER, 4); break;
        case 7: { /* two writes */
            size_t first = take8(script) % length;
            vm_send(message, first, NULL, 0);
            message += first, length -= first;
            break;
        }
        case 8: message[HEADER + take8(script) % 64] ^= take8(script); break;
        case 9: length -= take8(script) % (length - HEADER + 1), put(message + 4, length, 4); break;
        case 10: length += take8(script) % 64u, put(message + 4, length, 4); break;
        default: break;
        }
    }
    for (uint32_t i = 0; i < fd_count; i++)
        fds[i] = which & 1 ? vm.pipe[i & 1] : which & 2 ? vm.socket : message[2] == DMA_MAP ? vm.memory : vm.event;
    if (length)
        vm_send(message, length, fds, fd_count);
}

static uint64_t page_number(struct cursor *c) {
    uint8_t how = take8(c);
    return how < 0xF0 ? (how & 0x1Full) * 0x1000 : take_number(c);
}

static void say(void) {
    static const uint8_t commands[] = {DMA_MAP, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS,
                                       SET_IRQS, READ, READ, WRITE, WRITE, WRITE, RESET, WRITE_MULTI};
    static uint8_t message[HEADER + 4096 + 128];
    struct cursor *c = &vm.script;
    uint8_t how = take8(c), *p = message + HEADER;
    uint16_t command = how < 0xF8 ? commands[how & 15] : take16(c);
    uint32_t flags = how & 0x40 ? 0x10 : 0, fd_count = 0;
    size_t payload = 16;
    memset(message, 0, sizeof message);
    switch (command) {
    case VERSION: payload = 4; break;
    case DMA_MAP:
        put(p, 32, 4), put(p + 4, take8(c) & 3, 4), put(p + 8, page_number(c), 8), put(p + 16, page_number(c), 8);
        put(p + 24, page_number(c), 8);
        fd_count = how >> 4 & 1;
        payload = 32;
        break;
    case DMA_UNMAP:
        put(p, 24, 4), put(p + 4, take8(c) / 0xF0 * 2, 4), put(p + 8, page_number(c), 8), put(p + 16, page_number(c), 8);
        payload = 24;
        break;
    case REGION_INFO: put(p, 16 + take8(c), 4), put(p + 8, take8(c) % 11, 4), payload = 32; break;
    case GET_INFO: put(p, 8 + take8(c) % 32, 4); break;
    case IO_FDS:
    case IRQ_INFO: put(p, 8 + take8(c), 4), put(p + 8, take8(c) % 11, 4); break;
    case SET_IRQS: {
        uint8_t kind = take8(c), index = take8(c) % 6, count = take8(c) % 20;
        static const uint8_t kinds[] = {0x24, 0x21, 0x22, 0x09, 0x11, 0x14, 0x0C, 0x24};
        put(p, 20, 4), put(p + 4, kind < 0xF0 ? kinds[kind & 7] : kind, 4), put(p + 8, index, 4);
        put(p + 12, take8(c) % 10, 4), put(p + 16, count, 4);
        payload = 20 + (p[4] & 2 ? count : 0u);
        memset(p + 20, 1, 20);
        fd_count = p[4] & 4 && !(kind & 8) ? count : 0;
        break;
    }
    case READ:
    case WRITE: {
        uint8_t region = take8(c), size = take8(c);
        uint32_t count = size < 0xE0 ? 1u << (size & 3) : size < 0xF8 ? size & 0x1F : take16(c) & 0xFFF;
        put(p, region & 0x80 ? take_number(c) : take16(c) & 0x3FFF, 8);
        put(p + 8, region < 0xF0 ? (region & 1 ? 7 : 0) : region & 0xF, 4), put(p + 12, count, 4);
        payload = 16 + (command == WRITE ? count : 0);
        put(p + 16, take8(c) * 0x01010101ull, 8);
        break;
    }
    case RESET: payload = 0; break;
    case WRITE_MULTI: {
        uint8_t count = take8(c) % 5;
        put(p, count, 8);
        for (int i = 0; i < count; i++)
            put(p + 8 + 24 * i, take16(c), 8), put(p + 16 + 24 * i, take8(c) / 0x60, 4), put(p + 20 + 24 * i, take8(c) % 10, 4);
        payload = 8 + 24u * count;
        break;
    }
    default: payload = take8(c);
    }
    spoil_and_send(message, frame(message, command, flags, payload), fd_count);
}

/* Mostly as QEMU begins; 0: not at all. */
static int greet(void) {
    static const char proposal[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":65536,\"pgsizes\":4096}}";
    uint8_t message[HEADER + 256] = {0}, first = take8(&vm.script);
    if (first >= 0xF0)
        return 0;
    memcpy(message + HEADER + 4, proposal, sizeof proposal);
    if (first >= 0xE0)
        message[HEADER + take8(&vm.script) % 100] ^= take8(&vm.script);
    vm_send(message, frame(message, VERSION, 0, 4 + sizeof proposal), NULL, 0);
    return 1;
}

/* The VM's reply to a command of the server, in its place: mostly the right one. Returns its bytes. */
static size_t make_answer(uint8_t *message) {
    uint64_t count;
    memcpy(&count, message + HEADER + 8, 8);
    REQUIRE((message[2] == DMA_READ || message[2] == DMA_WRITE) && count <= 1 << 20);
    uint8_t how = take8(&vm.script);
    size_t length = HEADER + 16 + (message[2] == DMA_READ ? count : 0);
    length = how >= 0xF8 ? HEADER + how - 0xF8u : how >= 0xF0 ? length + how - 0xF0u : length;
    put(message + 4, length, 4);
    put(message + 8, how >= 0xE0 && how < 0xF0 ? 0x21 : 1, 4);
    if (how >= 0xE0 && how < 0xF0)
        length = HEADER, put(message + 4, length, 4), put(message + 12, 14, 4);
    message[0] ^= how == 0xDF;
    return length;
}

/* ---- the device's side ---------------------------------------------------------------------------------------------- */

static void act(HCS_SYSTEM system) {
    HDV_DEVICE device = devices[0].handle;
    static BYTE buffer[70000];
    PVOID mapped = NULL;
    HDVLAB_VFIO_USER_STATE state;
    uint8_t what = take8(&input);
    switch (what & 15) {
    case 0:
    case 1: (void)HdvDeliverGuestInterrupt(device, 0xFEE00000u + (what & 0x10 ? take16(&input) : 0), take8(&input)); break;
    case 2: (void)HdvReadGuestMemory(device, page_number(&input) + (what >> 4), take16(&input), buffer); break;
    case 3: (void)HdvWriteGuestMemory(device, page_number(&input) + (what >> 4), take16(&input), buffer); break;
    case 4: (void)hdvlab_device_set_line(device, what >> 4 & 1); break;
    case 5: (void)HdvCreateSectionBackedMmioRange(device, HDV_PCI_BAR0, take8(&input) & 3, 1, 1, (HANDLE)(intptr_t)vm.memory, 0); break;
    case 6: (void)HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR0, take8(&input) & 3); break;
    case 7: (void)HdvRegisterDoorbell(device, HDV_PCI_BAR0, take8(&input) & 0xF8, take8(&input), take8(&input) & 7, (HANDLE)(intptr_t)vm.event); break;
    case 8: (void)HdvUnregisterDoorbell(device, HDV_PCI_BAR0, take8(&input) & 0xF8, take8(&input), take8(&input) & 7); break;
    case 9:
    case 10:
        if (HdvCreateGuestMemoryAperture(device, page_number(&input), 1 + take16(&input), what >> 4 & 1, &mapped) == S_OK) {
            REQUIRE(mapped);
            buffer[0] += *(volatile BYTE *)mapped;
            REQUIRE(what & 0x20 || HdvDestroyGuestMemoryAperture(device, mapped) == S_OK);
        }
        break;
    case 11: (void)hdvlab_guest_config_peek(system, 0, buffer); break;
    case 12: (void)hdvlab_guest_ram_read(system, page_number(&input), take16(&input), buffer); break;
    case 13: REQUIRE(hdvlab_vfio_user_state(system, 0, &state) == S_OK && state.state <= HDVLAB_VFIO_USER_CONNECTED); break;
    case 14: (void)hdvlab_vfio_user_wait(system, 0, UINT64_MAX, 1, &state); break;
    default:
        if (what == 0xFF)
            vm_end(system);
        else if (what == 0xEF && !atomic_load(&devices[0].inside))
            (void)hdvlab_system_remove_slot(system, 0);
    }
}

static int descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        count++;
    return closedir(folder), count;
}

#endif
