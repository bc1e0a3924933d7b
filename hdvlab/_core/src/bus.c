/* The embedded machine's bus: which BAR answers an address, and what happens when none does. */
#include <string.h>

#include "embedded.h"
#include "handle.h"

void embedded_remap(struct system *system) {
    struct embedded *machine = (struct embedded *)system;
    pthread_mutex_lock(&system->lock);
    atomic_fetch_add(&machine->decode_sequence, 1); /* odd: being changed */
    atomic_thread_fence(memory_order_release);
    uint32_t count = 0;
    for (uint32_t number = 0; number < HDVLAB_SLOT_COUNT; number++) {
        struct device *device = system_slot_device(system, number);
        if (!device)
            continue;
        const _Atomic uint32_t *bar = system->slots[number].bar;
        for (uint32_t i = 0; i < HDV_PCI_BAR_COUNT && atomic_load(&device->command) & COMMAND_MEMORY; i++) {
            uint64_t size = device->bar_size[i], base = bar[i] & ~0xFull;
            if (!size)
                continue;
            if ((device->probed_bars[i] & 0x6) == 0x4)
                base |= (uint64_t)bar[i + 1] << 32;
            if (!base || base + size - 1 < base) /* not placed yet, or being sized */
                continue;
            struct decode *d = &machine->decode[count++];
            atomic_store_explicit(&d->base, base, memory_order_relaxed);
            atomic_store_explicit(&d->size, size, memory_order_relaxed);
            atomic_store_explicit(&d->slot, number, memory_order_relaxed);
            atomic_store_explicit(&d->bar, i, memory_order_relaxed);
        }
        handle_release(device->handle);
    }
    atomic_store_explicit(&machine->decode_count, count, memory_order_relaxed);
    atomic_fetch_add_explicit(&machine->decode_sequence, 1, memory_order_release);
    pthread_mutex_unlock(&system->lock);
}

struct target {
    struct device *device; /* with a reference; NULL = nobody */
    uint32_t bar;
    uint64_t offset;
};

static struct target decode(struct embedded *machine, uint64_t address) {
    struct target target = {NULL, 0, 0};
    for (;;) {
        uint32_t sequence = atomic_load_explicit(&machine->decode_sequence, memory_order_acquire);
        uint32_t slot = HDVLAB_SLOT_COUNT;
        uint32_t count = atomic_load_explicit(&machine->decode_count, memory_order_relaxed);
        for (uint32_t i = 0; i < count && i < DECODE_MAX; i++) {
            const struct decode *d = &machine->decode[i];
            uint64_t base = atomic_load_explicit(&d->base, memory_order_relaxed);
            if (address >= base && address - base < atomic_load_explicit(&d->size, memory_order_relaxed)) {
                slot = atomic_load_explicit(&d->slot, memory_order_relaxed);
                target.bar = atomic_load_explicit(&d->bar, memory_order_relaxed);
                target.offset = address - base;
                break;
            }
        }
        atomic_thread_fence(memory_order_acquire);
        if (!(sequence & 1) && sequence == atomic_load_explicit(&machine->decode_sequence, memory_order_relaxed)) {
            if (slot < HDVLAB_SLOT_COUNT)
                target.device = system_slot_device(&machine->system, slot);
            return target;
        }
    }
}

/* One naturally aligned piece. */
static HRESULT access_piece(struct embedded *machine, const HDVLAB_ACCESS *access, int write, uint64_t address,
                            uint32_t size, uint64_t *value) {
    uint64_t offset;
    if (embedded_ram_offset(machine, address, size, &offset)) {
        if (write)
            memcpy(machine->ram + offset, value, size);
        else
            *value = 0, memcpy(value, machine->ram + offset, size);
        return S_OK;
    }
    struct target target = {NULL, 0, 0};
    HRESULT hr = HRESULT_FROM_WIN32(ERROR_NOACCESS);
    if (memory_map_has_more(machine->system.memory)) { /* RAM wins over a BAR, the machine's own and what was added */
        uint64_t whole = 0;
        hr = memory_map_copy(machine->system.memory, address, size, write ? NULL : &whole, write ? value : NULL);
        if (hr == S_OK && !write)
            *value = whole;
        if (hr == S_OK)
            return hr;
    }
    if (hr == HRESULT_FROM_WIN32(ERROR_NOACCESS))
        target = decode(machine, address);
    if (!target.device) {
        if (!write)
            *value = ones(size);
        tap_unclaimed(machine->system.trace, access, write ? HDVLAB_MMIO_WRITE : HDVLAB_MMIO_READ, address, size,
                      *value, hr);
        return hr;
    }
    hr = write ? device_mmio_write(target.device, access, target.bar, target.offset, size, *value)
                       : device_mmio_read(target.device, access, target.bar, target.offset, size, value);
    handle_release(target.device->handle);
    return hr;
}

/* Splits what is not naturally aligned, as a host bridge does; the first failure is the answer's HRESULT. */
static HRESULT access_bus(HCS_SYSTEM handle, const HDVLAB_ACCESS *access, int write, uint64_t address, uint32_t size,
                          uint64_t *value) {
    if (!access || !value)
        return E_POINTER;
    int sized = size == 1 || size == 2 || size == 4 || size == 8;
    if (!write)
        *value = ones(size);
    HRESULT hr;
    struct embedded *machine = embedded_acquire(handle, &hr);
    if (!machine)
        return hr;
    if (!sized || address + size - 1 < address) {
        hr = sized ? HRESULT_FROM_WIN32(ERROR_ARITHMETIC_OVERFLOW) : E_INVALIDARG;
        tap_unclaimed(machine->system.trace, access, write ? HDVLAB_MMIO_WRITE : HDVLAB_MMIO_READ, address, size,
                      *value, hr);
    } else if (address % size == 0) {
        hr = access_piece(machine, access, write, address, size, value);
    } else {
        uint64_t whole = 0;
        HDVLAB_ACCESS patient = *access;
        for (uint32_t done = 0; done < size;) {
            uint32_t piece = 1;
            while ((address + done) % (piece * 2) == 0 && done + piece * 2 <= size)
                piece *= 2;
            uint64_t part = write ? *value >> 8 * done & ones(piece) : 0;
            HRESULT piece_hr = access_piece(machine, &patient, write, address + done, piece, &part);
            if (!done && piece_hr == HRESULT_FROM_WIN32(ERROR_BUSY)) {
                hr = piece_hr;
                break; /* nothing has happened yet, so all of it may be tried again */
            }
            patient.wait_ms = 0; /* the other pieces belong to this one */
            hr = FAILED(hr) ? hr : piece_hr;
            whole |= (part & ones(piece)) << 8 * done;
            done += piece;
        }
        if (!write)
            *value = whole;
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_guest_read(HCS_SYSTEM system, const HDVLAB_ACCESS *access, uint64_t address, uint32_t size,
                          uint64_t *value) {
    return access_bus(system, access, 0, address, size, value);
}

HRESULT hdvlab_guest_write(HCS_SYSTEM system, const HDVLAB_ACCESS *access, uint64_t address, uint32_t size,
                           uint64_t value) {
    return access_bus(system, access, 1, address, size, &value);
}

#define PATIENCE_MS 50

HRESULT hdvlab_guest_load(HCS_SYSTEM system, uint64_t address, uint32_t size, uint32_t origin, uint64_t pc,
                          uint64_t *value) {
    HDVLAB_ACCESS access = {.pc = pc, .origin = (uint8_t)origin, .wait_ms = PATIENCE_MS};
    return access_bus(system, &access, 0, address, size, value);
}

HRESULT hdvlab_guest_store(HCS_SYSTEM system, uint64_t address, uint32_t size, uint32_t origin, uint64_t pc,
                           uint64_t value) {
    HDVLAB_ACCESS access = {.pc = pc, .origin = (uint8_t)origin, .wait_ms = PATIENCE_MS};
    return access_bus(system, &access, 1, address, size, &value);
}

HRESULT hdvlab_bench_guest_reads(HCS_SYSTEM system, uint64_t address, uint32_t size, uint64_t count, uint64_t *ns) {
    if (!ns)
        return E_POINTER;
    static const HDVLAB_ACCESS guest = {.origin = HDVLAB_GUEST};
    uint64_t value;
    HRESULT hr;
    if (!embedded_acquire(system, &hr))
        return hr;
    int64_t start = monotonic_ns();
    for (uint64_t i = 0; i < count && SUCCEEDED(hr); i++)
        hr = access_bus(system, &guest, 0, address, size, &value);
    *ns = (uint64_t)(monotonic_ns() - start);
    handle_release(system);
    return hr;
}
