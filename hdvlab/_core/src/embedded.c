#include "embedded.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"

int embedded_ram_offset(const struct embedded *machine, uint64_t gpa, uint64_t bytes, uint64_t *offset) {
    uint64_t low = machine->ram_bytes < LOW_MEMORY_END ? machine->ram_bytes : LOW_MEMORY_END;
    if (gpa < low && bytes <= low - gpa) {
        *offset = gpa;
        return 1;
    }
    uint64_t high = machine->ram_bytes - low;
    if (gpa >= HIGH_MEMORY_START && gpa - HIGH_MEMORY_START < high && bytes <= high - (gpa - HIGH_MEMORY_START)) {
        *offset = low + (gpa - HIGH_MEMORY_START);
        return 1;
    }
    return 0;
}

static HRESULT read_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes, void *buffer) {
    (void)requestor; /* every device may reach all of RAM */
    struct embedded *machine = (struct embedded *)system;
    uint64_t offset;
    if (!embedded_ram_offset(machine, gpa, bytes, &offset))
        return memory_map_copy(system->memory, gpa, bytes, buffer, NULL);
    memcpy(buffer, machine->ram + offset, bytes); /* its own RAM never goes away: no lock */
    return S_OK;
}

static HRESULT write_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes,
                            const void *buffer) {
    (void)requestor;
    struct embedded *machine = (struct embedded *)system;
    uint64_t offset;
    if (!embedded_ram_offset(machine, gpa, bytes, &offset))
        return memory_map_copy(system->memory, gpa, bytes, NULL, buffer);
    memcpy(machine->ram + offset, buffer, bytes);
    return S_OK;
}

static HRESULT deliver_interrupt(struct system *system, struct device *requestor, uint64_t address, uint32_t data) {
    (void)requestor;
    struct embedded *machine = (struct embedded *)system;
    if (address < INTERRUPT_WINDOW || address >= INTERRUPT_WINDOW_END || address & 3)
        return HRESULT_FROM_WIN32(ERROR_NOACCESS); /* never a plain write to RAM */
    pthread_mutex_lock(&machine->interrupt_lock);
    if (machine->pending[data & 0xFF] < UINT32_MAX)
        machine->pending[data & 0xFF]++;
    if (machine->event[data & 0xFF] != NO_HANDLE)
        platform_event_signal(machine->event[data & 0xFF]);
    pthread_cond_broadcast(&machine->interrupt_arrived);
    pthread_mutex_unlock(&machine->interrupt_lock);
    return S_OK;
}

static void destroy(struct system *system) {
    struct embedded *machine = (struct embedded *)system;
    system_destroy(system);
    interrupt_events_close(machine);
    platform_window_unmap(&machine->ram_window);
    platform_close(machine->ram_memory);
    pthread_mutex_destroy(&machine->interrupt_lock);
    pthread_cond_destroy(&machine->interrupt_arrived);
    free(machine);
}

static void cancel(struct system *system) {
    struct embedded *machine = (struct embedded *)system;
    pthread_mutex_lock(&machine->interrupt_lock);
    machine->cancelled++;
    pthread_cond_broadcast(&machine->interrupt_arrived);
    pthread_mutex_unlock(&machine->interrupt_lock);
}

static const struct system_ops embedded_ops = {
    .destroy = destroy,
    .read_memory = read_memory,
    .write_memory = write_memory,
    .deliver_interrupt = deliver_interrupt,
    .remap = embedded_remap,
    .cancel = cancel,
    .config_bits = embedded_config_bits,
    .config_keep = embedded_config_keep,
};

static void destroy_object(void *object) {
    struct system *system = object;
    system->ops->destroy(system);
}

static HRESULT make_ram(struct embedded *machine) {
    if (platform_memory_create(machine->ram_bytes, &machine->ram_memory) ||
        platform_window_map(machine->ram_memory, 0, machine->ram_bytes, 1, &machine->ram_window))
        return E_OUTOFMEMORY;
    machine->ram = machine->ram_window.address;
    struct memory_map *map;
    if (FAILED(memory_map_create(0, &map)))
        return E_OUTOFMEMORY;
    machine->system.memory = map;
    uint64_t low = machine->ram_bytes < LOW_MEMORY_END ? machine->ram_bytes : LOW_MEMORY_END;
    HRESULT hr = memory_map_add_own(map, 0, low, machine->ram_memory, 0, machine->ram);
    if (hr == S_OK && machine->ram_bytes > low)
        hr = memory_map_add_own(map, HIGH_MEMORY_START, machine->ram_bytes - low, machine->ram_memory, low,
                                machine->ram + low);
    return hr;
}

HRESULT hdvlab_embedded_create(uint64_t ram_bytes, BOOL record_sections, HDVLAB_TRACE trace, HCS_SYSTEM *system) {
    if (!system)
        return E_POINTER;
    if (ram_bytes < 1 << 20 || ram_bytes > 1ull << 40 || ram_bytes % 4096)
        return E_INVALIDARG;
    struct embedded *machine = calloc(1, sizeof *machine);
    if (!machine)
        return E_OUTOFMEMORY;
    machine->ram_memory = NO_HANDLE;
    interrupt_events_init(machine);
    machine->ram_bytes = ram_bytes;
    machine->system.record_sections = record_sections != 0;
    pthread_mutex_init(&machine->interrupt_lock, NULL);
    platform_condition_init(&machine->interrupt_arrived);
    HRESULT hr = system_init(&machine->system, &embedded_ops, trace);
    if (hr == S_OK)
        hr = make_ram(machine);
    if (hr == S_OK && !(machine->system.handle = handle_create(HANDLE_SYSTEM, machine, destroy_object)))
        hr = E_OUTOFMEMORY;
    if (hr == S_OK)
        *system = machine->system.handle;
    else
        destroy(&machine->system);
    return hr;
}

struct embedded *embedded_acquire(HCS_SYSTEM handle, HRESULT *hr) {
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    *hr = system ? S_OK : handle_refusal(handle);
    if (system && system->ops != &embedded_ops) {
        handle_release(handle);
        *hr = E_NOTIMPL;
        return NULL;
    }
    return (struct embedded *)system;
}

/* Of any system whose RAM is reached from here. */
static struct system *with_ram(HCS_SYSTEM handle, HRESULT *hr) {
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    *hr = system ? S_OK : handle_refusal(handle);
    if (system && system->ops->device_open) {
        handle_release(handle);
        *hr = E_NOTIMPL;
        return NULL;
    }
    return system;
}

HRESULT hdvlab_guest_ram_read(HCS_SYSTEM handle, uint64_t address, uint64_t size, void *buffer) {
    HRESULT hr;
    struct system *system = buffer ? with_ram(handle, &hr) : (hr = E_POINTER, NULL);
    if (system) {
        hr = system->ops->read_memory(system, NULL, address, size, buffer);
        handle_release(handle);
    }
    return hr;
}

HRESULT hdvlab_guest_ram_write(HCS_SYSTEM handle, uint64_t address, uint64_t size, const void *buffer) {
    HRESULT hr;
    struct system *system = buffer ? with_ram(handle, &hr) : (hr = E_POINTER, NULL);
    if (system) {
        hr = system->ops->write_memory(system, NULL, address, size, buffer);
        handle_release(handle);
    }
    return hr;
}

HRESULT hdvlab_guest_wait_interrupt(HCS_SYSTEM handle, uint8_t vector, int64_t timeout_ns, uint32_t *pending) {
    if (!pending)
        return E_POINTER;
    HRESULT hr;
    struct embedded *machine = embedded_acquire(handle, &hr);
    if (!machine)
        return hr;
    int64_t now = monotonic_ns(), longest = INT64_MAX - now;
    int64_t deadline = now + (timeout_ns < 0 ? 0 : timeout_ns < longest ? timeout_ns : longest);
    pthread_mutex_lock(&machine->interrupt_lock);
    uint64_t cancelled = machine->cancelled;
    int late = 0;
    while (!machine->pending[vector] && machine->cancelled == cancelled && !late &&
           atomic_load(&machine->system.state) != SYSTEM_STOPPED)
        late = platform_wait_until(&machine->interrupt_arrived, &machine->interrupt_lock, deadline) == ETIMEDOUT;
    if (machine->pending[vector])
        *pending = --machine->pending[vector];
    else
        hr = late ? HRESULT_FROM_WIN32(ERROR_TIMEOUT) : E_ABORT;
    pthread_mutex_unlock(&machine->interrupt_lock);
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_guest_cancel(HCS_SYSTEM handle) {
    HRESULT hr;
    struct embedded *machine = embedded_acquire(handle, &hr);
    if (!machine)
        return hr;
    cancel(&machine->system);
    handle_release(handle);
    return hr;
}
