/* The tap: the one place where a guest's access meets a device's callback, whatever the machine. It records, then calls;
 * the row is published when the access begins and completed before the guest gets its answer. */
#include "tap.h"

#include <string.h>

#define LOOK_MS 100u

void tap_unclaimed(struct trace *trace, const HDVLAB_ACCESS *access, uint32_t kind, uint64_t address, uint32_t size,
                   uint64_t value, HRESULT status) {
    struct row r = {.kind = (uint8_t)kind, .origin = access->origin, .device = HDVLAB_NO_DEVICE, .bar = -1,
                    .size = size, .address = address, .value = value, .pc = access->pc,
                    .cause = thread_context.cause};
    trace_event(trace, &r, status);
}

/* A machine that is elsewhere gates accesses itself: there a device answers from its GetDetails to its Teardown. */
static int is_answering(struct device *device) {
    int state = atomic_load_explicit(&device->state, memory_order_relaxed);
    return state == DEVICE_RUNNING ||
           (is_elsewhere(device) && state != DEVICE_CREATED && state != DEVICE_TORN_DOWN);
}

/* A paused guest's accesses wait. Not a person's, and not one that an access of before the pause makes: the pause waits
 * for that one. */
static int is_held(const struct device *device, const HDVLAB_ACCESS *access) {
    return __builtin_expect(atomic_load_explicit(&device->system->paused, memory_order_relaxed), 0) &&
           access->origin != HDVLAB_USER && !thread_context.depth;
}

/* Who would wait for a callback that is held at the gate: a person's access fails, for it may be that person's to let go. */
static HRESULT enter(struct device *device, const HDVLAB_ACCESS *access, int may_share, struct inside *inside) {
    inside->device = NULL;
    if (may_share && device->concurrent)
        return device_enter_shared(device, access->wait_ms, inside);
    if (access->origin != HDVLAB_USER)
        return device_enter(device, access->wait_ms);
    int64_t end = monotonic_ns() + (int64_t)access->wait_ms * 1000000;
    for (;;) {
        HRESULT hr = device_enter_free(device, access->wait_ms && access->wait_ms < LOOK_MS ? access->wait_ms : LOOK_MS);
        if (hr != HRESULT_FROM_WIN32(ERROR_BUSY) || (access->wait_ms && monotonic_ns() >= end) ||
            atomic_load(&device->hung))
            return hr;
    }
}

HRESULT enter_running(struct device *device, const HDVLAB_ACCESS *access, int may_share, struct inside *inside,
                             uint32_t kind, int bar, uint64_t address, uint32_t size, uint64_t value) {
    HRESULT hr;
    if (__builtin_expect(atomic_load_explicit(&device->hung, memory_order_relaxed), 0))
        return tap_served(device, access, kind, bar < 0 ? HDV_PCI_BAR_COUNT : (uint32_t)bar, address, size, value,
                          HRESULT_FROM_WIN32(ERROR_TIMEOUT));
    for (;;) {
        hr = enter(device, access, may_share, inside);
        if (hr != S_OK || !is_held(device, access)) /* the pause entered every device after it was set */
            break;
        leave(device, inside);
        hr = system_wait_resumed(device->system, access->wait_ms);
        if (hr != S_OK)
            break;
    }
    if (hr == S_OK && !is_answering(device)) {
        leave(device, inside);
        hr = wrong_moment(device);
    }
    if (FAILED(hr) && hr != HRESULT_FROM_WIN32(ERROR_BUSY)) {
        struct tapped tapped = tap_open(device, access, kind, bar, address, size, value);
        tap_close(&tapped, value, hr);
    }
    return hr;
}

/* Without a row: the visit has one. So ERROR_BUSY, which would say that nothing has happened, is none of the answers. A VM
 * waits no longer than its patience allows; every other guest as long as it takes. */
HRESULT visit_again(struct visit *visit) {
    struct device *device = visit->device;
    uint32_t wait_ms = thread_context.watch ? visit->access->wait_ms : 0;
    HRESULT hr = atomic_load(&device->hung) ? HRESULT_FROM_WIN32(ERROR_TIMEOUT) : S_OK;
    while (hr == S_OK) {
        visit->inside.device = NULL;
        hr = visit->may_share && device->concurrent ? device_enter_shared(device, wait_ms, &visit->inside)
                                                    : device_enter(device, wait_ms);
        if (hr != S_OK)
            break;
        int is_paused = atomic_load(&device->system->paused) && visit->access->origin != HDVLAB_USER &&
                        thread_context.depth == 1;
        if (!is_paused && is_answering(device)) {
            visit->is_out = 0;
            return S_OK;
        }
        leave(device, &visit->inside);
        hr = is_paused ? system_wait_resumed(device->system, wait_ms) : wrong_moment(device);
    }
    return hr == HRESULT_FROM_WIN32(ERROR_BUSY) ? HRESULT_FROM_WIN32(ERROR_TIMEOUT) : hr;
}

static int fits_bar(const struct device *device, uint32_t bar, uint64_t offset, uint32_t size) {
    return bar < HDV_PCI_BAR_COUNT && (size == 1 || size == 2 || size == 4 || size == 8) &&
           device->bar_size[bar] >= size && offset <= device->bar_size[bar] - size;
}

HRESULT tap_served(struct device *device, const HDVLAB_ACCESS *access, uint32_t kind, uint32_t bar, uint64_t offset,
                   uint32_t size, uint64_t value, HRESULT status) {
    struct tapped tapped = tap_open(device, access, kind, bar < HDV_PCI_BAR_COUNT ? (int)bar : -1, offset, size, value);
    tap_close(&tapped, value, status);
    return status;
}

/* The same wait for an access that does not enter the device. */
static HRESULT wait_resumed(struct device *device, const HDVLAB_ACCESS *access, uint32_t kind, uint32_t bar,
                            uint64_t offset, uint32_t size, uint64_t value) {
    HRESULT hr = is_held(device, access) ? system_wait_resumed(device->system, access->wait_ms) : S_OK;
    if (FAILED(hr) && hr != HRESULT_FROM_WIN32(ERROR_BUSY))
        tap_served(device, access, kind, bar, offset, size, value, hr);
    return hr;
}

/* Memory-backed pages are no intercept: a row only on request, or when the access was refused. */
static int through_section(struct device *device, const HDVLAB_ACCESS *access, int write, uint32_t bar,
                           uint64_t offset, uint32_t size, uint64_t *value, HRESULT *status) {
    if (!atomic_load_explicit(&device->section_count, memory_order_acquire))
        return 0;
    *status = wait_resumed(device, access, write ? HDVLAB_MMIO_WRITE : HDVLAB_MMIO_READ, bar, offset, size, *value);
    if (FAILED(*status))
        return 1;
    if (!section_access(device, write, bar, offset, size, value, status))
        return 0;
    if (device->system->record_sections || FAILED(*status))
        tap_served(device, access, write ? HDVLAB_MMIO_WRITE : HDVLAB_MMIO_READ, bar, offset, size, *value, *status);
    return 1;
}

static HRESULT ask_read(struct visit *visit, uint64_t *value) {
    struct device *device = visit->device;
    uint64_t answer = UINT64_MAX;
    HRESULT hr = device->interface.ReadInterceptedMemory(device->context, (HDV_PCI_BAR_SELECTOR)visit->bar,
                                                         visit->address, visit->size, (BYTE *)&answer);
    *value = FAILED(hr) ? ones(visit->size) : answer & ones(visit->size);
    return hr;
}

HRESULT device_mmio_read(struct device *device, const HDVLAB_ACCESS *access, uint32_t bar, uint64_t offset,
                         uint32_t size, uint64_t *value) {
    HRESULT hr;
    *value = ones(size);
    if (!fits_bar(device, bar, offset, size))
        return tap_served(device, access, HDVLAB_MMIO_READ, bar, offset, size, *value, E_INVALIDARG);
    if (through_section(device, access, 0, bar, offset, size, value, &hr))
        return hr;
    struct visit visit = {.device = device, .access = access, .may_share = 1, .kind = HDVLAB_MMIO_READ, .bar = (int)bar,
                          .address = offset, .size = size};
    return tap_visit(&visit, ask_read, value);
}

static HRESULT ask_write(struct visit *visit, uint64_t *value) {
    struct device *device = visit->device;
    return device->interface.WriteInterceptedMemory(device->context, (HDV_PCI_BAR_SELECTOR)visit->bar, visit->address,
                                                    visit->size, (const BYTE *)value);
}

HRESULT device_mmio_write(struct device *device, const HDVLAB_ACCESS *access, uint32_t bar, uint64_t offset,
                          uint32_t size, uint64_t value) {
    HRESULT hr;
    value &= ones(size);
    if (!fits_bar(device, bar, offset, size))
        return tap_served(device, access, HDVLAB_MMIO_WRITE, bar, offset, size, value, E_INVALIDARG);
    if (atomic_load_explicit(&device->doorbell_count, memory_order_acquire) &&
        atomic_load_explicit(&device->state, memory_order_relaxed) == DEVICE_RUNNING) {
        hr = wait_resumed(device, access, HDVLAB_MMIO_WRITE, bar, offset, size, value);
        if (FAILED(hr))
            return hr;
        if (doorbell_ring(device, access, bar, offset, size, value, &hr))
            return hr;
    }
    if (through_section(device, access, 1, bar, offset, size, &value, &hr))
        return hr;
    struct visit visit = {.device = device, .access = access, .may_share = 1, .kind = HDVLAB_MMIO_WRITE, .bar = (int)bar,
                          .address = offset, .size = size};
    return tap_visit(&visit, ask_write, &value);
}
