/* The tap: the one place where a guest's access meets a device's callback, whatever the machine. It records, then calls;
 * the row is published when the access begins and completed before the guest gets its answer. */
#include <string.h>

#include "device.h"
#include "system.h"

__thread struct thread_context thread_context = {.cause = -1};

int64_t hdvlab_cause(void) { return thread_context.cause; }
void hdvlab_set_cause(int64_t row) { thread_context.cause = row; }

HRESULT device_enter(struct device *device, uint32_t wait_ms) {
    pthread_t self = pthread_self();
    if (atomic_load_explicit(&device->inside, memory_order_relaxed) == self ||
        (device->concurrent && device_is_shared_here(device)))
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    int64_t deadline = device->concurrent && wait_ms ? monotonic_ns() + (int64_t)wait_ms * 1000000 : 0;
    if (!wait_ms) {
        pthread_mutex_lock(&device->lock);
    } else if (pthread_mutex_trylock(&device->lock)) {
        if (platform_lock_until(&device->lock, deadline ? deadline : monotonic_ns() + (int64_t)wait_ms * 1000000))
            return HRESULT_FROM_WIN32(ERROR_BUSY);
    }
    if (device->concurrent && !device_becomes_alone(device, deadline)) {
        pthread_mutex_unlock(&device->lock);
        return HRESULT_FROM_WIN32(ERROR_BUSY);
    }
    atomic_store_explicit(&device->inside, self, memory_order_relaxed);
    return S_OK;
}

void device_leave(struct device *device) {
    atomic_store_explicit(&device->inside, 0, memory_order_relaxed);
    pthread_mutex_unlock(&device->lock);
}

void tap_unclaimed(struct trace *trace, const HDVLAB_ACCESS *access, uint32_t kind, uint64_t address, uint32_t size,
                   uint64_t value, HRESULT status) {
    struct row r = {.kind = (uint8_t)kind, .origin = access->origin, .device = HDVLAB_NO_DEVICE, .bar = -1,
                    .size = size, .address = address, .value = value, .pc = access->pc,
                    .cause = thread_context.cause};
    trace_event(trace, &r, status);
}

struct tapped {
    struct trace *trace;
    int64_t row, began_ns, outer_cause;
};

/* Opens a row; what the callback does from here on is caused by it. */
static struct tapped tap_open(struct device *device, const HDVLAB_ACCESS *access, uint32_t kind, int bar,
                              uint64_t address, uint32_t size, uint64_t value) {
    struct tapped tapped = {.trace = device->system->trace, .outer_cause = thread_context.cause};
    struct row r = {.kind = (uint8_t)kind, .origin = access->origin, .device = device->index, .bar = (int8_t)bar,
                    .size = size, .address = address, .value = value, .pc = access->pc,
                    .cause = thread_context.cause};
    tapped.row = trace_begin(tapped.trace, &r, &tapped.began_ns);
    thread_context.cause = tapped.row;
    thread_context.depth++;
    return tapped;
}

/* Returns the status; a device that answers E_PENDING has answered all the same, and rows say so. */
static HRESULT tap_close(const struct tapped *tapped, uint64_t value, HRESULT status) {
    /* These two say that there is no answer yet; a device that returns one of them has given its answer. */
    if (status == E_PENDING || status == HRESULT_FROM_WIN32(ERROR_BUSY))
        status = E_UNEXPECTED;
    thread_context.depth--;
    thread_context.cause = tapped->outer_cause;
    trace_complete(tapped->trace, tapped->row, tapped->began_ns, value, -1, status);
    return status;
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

static inline void leave(struct device *device, struct inside *inside) {
    if (inside->device)
        device_leave_shared(device, inside);
    else
        device_leave(device);
}

/* Why a device does not do now what it does at another moment. */
static HRESULT wrong_moment(const struct device *device) {
    HRESULT gone = atomic_load(&device->gone);
    return gone ? gone : HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
}

/* S_OK with the device entered, to `leave`, or the reason with a row that says so; ERROR_BUSY leaves no row. */
static HRESULT enter_running(struct device *device, const HDVLAB_ACCESS *access, int may_share, struct inside *inside,
                             uint32_t kind, int bar, uint64_t address, uint32_t size, uint64_t value) {
    HRESULT hr;
    for (;;) {
        inside->device = NULL;
        hr = may_share && device->concurrent ? device_enter_shared(device, access->wait_ms, inside)
                                             : device_enter(device, access->wait_ms);
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

HRESULT device_mmio_read(struct device *device, const HDVLAB_ACCESS *access, uint32_t bar, uint64_t offset,
                         uint32_t size, uint64_t *value) {
    HRESULT hr;
    *value = ones(size);
    if (!fits_bar(device, bar, offset, size))
        return tap_served(device, access, HDVLAB_MMIO_READ, bar, offset, size, *value, E_INVALIDARG);
    if (through_section(device, access, 0, bar, offset, size, value, &hr))
        return hr;
    struct inside inside;
    hr = enter_running(device, access, 1, &inside, HDVLAB_MMIO_READ, (int)bar, offset, size, *value);
    if (FAILED(hr))
        return hr;
    struct tapped tapped = tap_open(device, access, HDVLAB_MMIO_READ, (int)bar, offset, size, 0);
    uint64_t answer = UINT64_MAX;
    hr = device->interface.ReadInterceptedMemory(device->context, (HDV_PCI_BAR_SELECTOR)bar, offset, size,
                                                 (BYTE *)&answer);
    *value = FAILED(hr) ? ones(size) : answer & ones(size);
    hr = tap_close(&tapped, *value, hr);
    leave(device, &inside);
    return hr;
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
        if (doorbell_ring(device, access, bar, offset, size, value))
            return S_OK;
    }
    if (through_section(device, access, 1, bar, offset, size, &value, &hr))
        return hr;
    struct inside inside;
    hr = enter_running(device, access, 1, &inside, HDVLAB_MMIO_WRITE, (int)bar, offset, size, value);
    if (FAILED(hr))
        return hr;
    struct tapped tapped = tap_open(device, access, HDVLAB_MMIO_WRITE, (int)bar, offset, size, value);
    hr = device->interface.WriteInterceptedMemory(device->context, (HDV_PCI_BAR_SELECTOR)bar, offset, size,
                                                  (const BYTE *)&value);
    hr = tap_close(&tapped, value, hr);
    leave(device, &inside);
    return hr;
}

/* ---- config space: HDV's callbacks take dwords, guests access bytes, words and dwords --------------------------- */

static HRESULT read_dword(struct device *device, uint32_t offset, uint32_t *dword) {
    *dword = UINT32_MAX;
    return device->interface.ReadConfigSpace(device->context, offset, dword);
}

/* The dword as a guest sees it: the machine's bits where it answers, the device's elsewhere. */
static HRESULT merged_dword(struct device *device, uint32_t slot, uint32_t offset, uint32_t *dword, uint32_t *host_mask) {
    HRESULT hr = S_OK;
    uint32_t host_bits, device_bits = 0;
    device->system->ops->config_bits(device->system, slot, device, offset, host_mask, &host_bits);
    if (*host_mask != UINT32_MAX)
        hr = read_dword(device, offset, &device_bits);
    *dword = (device_bits & ~*host_mask) | (host_bits & *host_mask);
    return hr;
}

HRESULT device_config_read(struct device *device, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                           uint32_t size, uint32_t *value) {
    *value = (uint32_t)ones(size);
    struct inside inside;
    HRESULT hr = enter_running(device, access, 1, &inside, HDVLAB_CONFIG_READ, -1, offset, size, *value);
    if (FAILED(hr))
        return hr;
    struct tapped tapped = tap_open(device, access, HDVLAB_CONFIG_READ, -1, offset, size, 0);
    uint32_t dword, host_mask;
    hr = merged_dword(device, slot, offset & ~3u, &dword, &host_mask);
    if (SUCCEEDED(hr))
        *value = (dword >> 8 * (offset & 3)) & (uint32_t)ones(size);
    hr = tap_close(&tapped, *value, hr);
    leave(device, &inside);
    return hr;
}

/* Bits of a dword that a 1 clears and that a narrower write must therefore not write back: Status (PCI 3.0, 6.2.3),
 * PMCSR's PME_Status (PCI PM 1.2, 3.2.4), PCI Express Device and Link Status (PCIe 5.0, 7.5.3). */
static uint32_t write_one_to_clear_bits(struct device *device, uint32_t dword_offset) {
    if (dword_offset == 0x04)
        return 0xFFFF0000u;
    uint32_t pointer, header;
    if (FAILED(read_dword(device, 0x34, &pointer)))
        return 0;
    pointer &= 0xFC;
    for (int i = 0; i < 48 && pointer >= 0x40; i++) {
        if (FAILED(read_dword(device, pointer, &header)))
            return 0;
        uint32_t inside = dword_offset - pointer;
        if ((header & 0xFF) == 0x01 && inside == 4)
            return 0x00008000u;
        if ((header & 0xFF) == 0x10 && (inside == 0x08 || inside == 0x10))
            return 0xFFFF0000u;
        pointer = header >> 8 & 0xFC;
    }
    return 0;
}

HRESULT device_config_write(struct device *device, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                            uint32_t size, uint32_t value) {
    struct inside inside; /* a part of a dword is read, merged and written: not two at once */
    HRESULT hr = enter_running(device, access, size == 4, &inside, HDVLAB_CONFIG_WRITE, -1, offset, size, value);
    if (FAILED(hr))
        return hr;
    struct tapped tapped = tap_open(device, access, HDVLAB_CONFIG_WRITE, -1, offset, size, value);
    uint32_t aligned = offset & ~3u, dword = value;
    if (size < 4) {
        uint32_t mask = (uint32_t)ones(size) << 8 * (offset & 3), host_mask;
        hr = merged_dword(device, slot, aligned, &dword, &host_mask);
        uint32_t kept = ~mask & ~(host_mask == UINT32_MAX ? 0 : write_one_to_clear_bits(device, aligned));
        dword = (dword & kept) | (value << 8 * (offset & 3) & mask);
    }
    /* The machine's part first, so that the device finds decoding and bus mastering as it is told of them. */
    device->system->ops->config_keep(device->system, slot, device, aligned, dword);
    if (SUCCEEDED(hr))
        hr = device->interface.WriteConfigSpace(device->context, aligned, dword);
    hr = tap_close(&tapped, value, hr);
    leave(device, &inside);
    return hr;
}

HRESULT device_dword_read(struct device *device, const HDVLAB_ACCESS *access, uint32_t offset, uint32_t *value) {
    *value = UINT32_MAX;
    struct inside inside;
    HRESULT hr = enter_running(device, access, 1, &inside, HDVLAB_CONFIG_READ, -1, offset, 4, *value);
    if (FAILED(hr))
        return hr;
    struct tapped tapped = tap_open(device, access, HDVLAB_CONFIG_READ, -1, offset, 4, 0);
    hr = read_dword(device, offset, value);
    if (FAILED(hr))
        *value = UINT32_MAX;
    hr = tap_close(&tapped, *value, hr);
    leave(device, &inside);
    return hr;
}

HRESULT device_dword_write(struct device *device, const HDVLAB_ACCESS *access, uint32_t offset, uint32_t value) {
    struct inside inside;
    HRESULT hr = enter_running(device, access, 1, &inside, HDVLAB_CONFIG_WRITE, -1, offset, 4, value);
    if (FAILED(hr))
        return hr;
    struct tapped tapped = tap_open(device, access, HDVLAB_CONFIG_WRITE, -1, offset, 4, value);
    hr = tap_close(&tapped, value, device->interface.WriteConfigSpace(device->context, offset, value));
    leave(device, &inside);
    return hr;
}

HRESULT device_config_peek(struct device *device, uint32_t slot, uint8_t *config) {
    HRESULT hr = device_enter(device, 1000);
    if (FAILED(hr))
        return hr;
    thread_context.depth++; /* a callback like any other, but for the row */
    if (atomic_load(&device->state) != DEVICE_RUNNING)
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE); /* after Teardown there is nobody to ask */
    for (uint32_t offset = 0; offset < CONFIG_SPACE_BYTES && SUCCEEDED(hr); offset += 4) {
        uint32_t dword, host_mask;
        hr = merged_dword(device, slot, offset, &dword, &host_mask);
        memcpy(config + offset, &dword, 4);
    }
    thread_context.depth--;
    device_leave(device);
    return hr;
}

/* ---- lifecycle ---------------------------------------------------------------------------------------------------- */

static const HDVLAB_ACCESS by_the_machine = {.origin = HDVLAB_GUEST};

static struct tapped step_open(struct device *device, uint32_t kind, uint64_t value) {
    return tap_open(device, &by_the_machine, kind, -1, 0, 0, value);
}

static void learn_bars(struct device *device) {
    for (int i = 0; i < HDV_PCI_BAR_COUNT; i++) {
        uint32_t low = device->probed_bars[i];
        int wide = (low & 0x6) == 0x4 && i + 1 < HDV_PCI_BAR_COUNT;
        uint64_t mask = wide ? (uint64_t)device->probed_bars[i + 1] << 32 | (low & ~0xFu)
                             : 0xFFFFFFFF00000000u | (low & ~0xFu);
        device->bar_size[i] = low ? ~mask + 1 : 0;
        if (wide && low)
            device->bar_size[++i] = 0; /* the upper half is addressed through the lower one */
    }
}

/* A mask is usable when it is a run of ones above zeros, for memory, 16 bytes or more; a 64-bit BAR has a next one. */
static int bars_are_sound(const struct device *device) {
    for (int i = 0; i < HDV_PCI_BAR_COUNT; i++) {
        uint64_t size = device->bar_size[i];
        if (size && (size & (size - 1) || size < 16 || device->probed_bars[i] & 1))
            return 0;
    }
    return !device->bar_size[5] || (device->probed_bars[5] & 0x6) != 0x4;
}

/* The steps of a power-on, each a row, with the device entered. */
static HRESULT initialize(struct device *device) {
    struct tapped tapped = step_open(device, HDVLAB_INITIALIZE, 0);
    return tap_close(&tapped, 0, device->interface.Initialize(device->context));
}

static HRESULT set_configuration(struct device *device, uint32_t count, const LPCWSTR *configuration) {
    static const LPCWSTR nothing[1] = {NULL};
    struct tapped tapped = step_open(device, HDVLAB_SET_CONFIGURATION, count);
    HRESULT hr = device->interface.SetConfiguration(device->context, count, count ? configuration : nothing);
    return tap_close(&tapped, count, hr);
}

static HRESULT get_details(struct device *device) {
    HDV_PCI_PNP_ID id = {0};
    uint32_t probed_bars[HDV_PCI_BAR_COUNT] = {0};
    struct tapped tapped = step_open(device, HDVLAB_GET_DETAILS, 0);
    HRESULT hr = device->interface.GetDetails(device->context, &id, HDV_PCI_BAR_COUNT, probed_bars);
    device->pnp_id = id;
    /* Asked again, a device says the same; then nothing is written under accesses that look at it. */
    if (memcmp(device->probed_bars, probed_bars, sizeof probed_bars)) {
        memcpy(device->probed_bars, probed_bars, sizeof probed_bars);
        learn_bars(device);
    }
    if (SUCCEEDED(hr) && !bars_are_sound(device))
        hr = E_INVALIDARG;
    return tap_close(&tapped, (uint64_t)id.DeviceID << 16 | id.VendorID, hr);
}

static HRESULT start(struct device *device) {
    struct tapped tapped = step_open(device, HDVLAB_START, 0);
    atomic_store(&device->state, DEVICE_STARTING);
    HRESULT hr = tap_close(&tapped, 0, device->interface.Start(device->context));
    atomic_store(&device->state, SUCCEEDED(hr) ? DEVICE_RUNNING : DEVICE_STOPPED);
    return hr;
}

static void stop(struct device *device) {
    atomic_store(&device->state, DEVICE_STOPPED);
    if (!is_elsewhere(device))
        atomic_store(&device->command, 0);
    struct tapped tapped = step_open(device, HDVLAB_STOP, 0);
    device->interface.Stop(device->context);
    tap_close(&tapped, 0, S_OK);
}

HRESULT device_power_on(struct device *device, uint32_t count, const LPCWSTR *configuration) {
    HRESULT hr = device_enter(device, 0);
    if (FAILED(hr))
        return hr;
    if (atomic_load(&device->state) != DEVICE_CREATED) {
        hr = wrong_moment(device);
        device_leave(device);
        return hr;
    }
    hr = initialize(device);
    if (SUCCEEDED(hr))
        hr = set_configuration(device, count, configuration);
    if (SUCCEEDED(hr))
        hr = get_details(device);
    atomic_store(&device->state, SUCCEEDED(hr) ? DEVICE_INITIALIZED : DEVICE_STOPPED);
    device_leave(device);
    if (FAILED(hr))
        device_tear_down(device);
    return hr;
}

HRESULT device_start(struct device *device) {
    HRESULT hr = device_enter(device, 0);
    if (FAILED(hr))
        return hr;
    hr = atomic_load(&device->state) == DEVICE_INITIALIZED ? start(device) : wrong_moment(device);
    device_leave(device);
    return hr;
}

HRESULT device_step(struct device *device, uint32_t kind, uint32_t count, const LPCWSTR *configuration) {
    HRESULT hr = device_enter(device, 0);
    int entered = SUCCEEDED(hr), state = atomic_load(&device->state);
    if (entered && (state == DEVICE_TORN_DOWN || (kind == HDVLAB_STOP && state != DEVICE_RUNNING)))
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (FAILED(hr)) { /* the device is not asked, and the row says so */
        struct tapped tapped = step_open(device, kind, 0);
        tap_close(&tapped, 0, hr);
    } else if (kind == HDVLAB_INITIALIZE) {
        hr = initialize(device);
    } else if (kind == HDVLAB_SET_CONFIGURATION) {
        hr = set_configuration(device, count, configuration);
    } else if (kind == HDVLAB_GET_DETAILS) {
        hr = get_details(device);
        if (SUCCEEDED(hr) && state == DEVICE_CREATED)
            atomic_store(&device->state, DEVICE_INITIALIZED);
    } else if (kind == HDVLAB_START) {
        hr = start(device);
    } else {
        stop(device);
    }
    if (entered)
        device_leave(device);
    return hr;
}

void device_stop(struct device *device) {
    if (FAILED(device_enter(device, 0)))
        return;
    if (atomic_load(&device->state) == DEVICE_RUNNING)
        stop(device);
    device_leave(device);
}

void device_tear_down(struct device *device) {
    device_stop(device);
    if (FAILED(device_enter(device, 0)))
        return;
    if (atomic_exchange(&device->state, DEVICE_TORN_DOWN) != DEVICE_TORN_DOWN) {
        struct tapped tapped = step_open(device, HDVLAB_TEARDOWN, 0);
        device->interface.Teardown(device->context);
        tap_close(&tapped, 0, S_OK);
        doorbells_drop(device);
        sections_drop(device);
        apertures_drop(device);
    }
    device_leave(device);
}
