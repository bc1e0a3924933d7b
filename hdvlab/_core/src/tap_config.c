/* The tap of config space: HDV's callbacks take dwords, guests access bytes, words and dwords. */
#include <string.h>

#include "tap.h"

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

static HRESULT ask_read(struct visit *visit, uint64_t *value) {
    uint32_t dword, host_mask;
    HRESULT hr = merged_dword(visit->device, visit->slot, visit->offset & ~3u, &dword, &host_mask);
    *value = SUCCEEDED(hr) ? (dword >> 8 * (visit->offset & 3)) & ones(visit->size) : ones(visit->size);
    return hr;
}

static struct visit visit_of(struct device *device, const HDVLAB_ACCESS *access, uint32_t kind, uint32_t slot,
                             uint32_t offset, uint32_t size) {
    return (struct visit){.device = device, .access = access, .may_share = 1, .kind = kind, .bar = -1, .slot = slot,
                          .offset = offset, .address = offset, .size = size};
}

HRESULT device_config_read(struct device *device, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                           uint32_t size, uint32_t *value) {
    struct visit visit = visit_of(device, access, HDVLAB_CONFIG_READ, slot, offset, size);
    uint64_t answer = ones(size);
    HRESULT hr = tap_visit(&visit, ask_read, &answer);
    *value = (uint32_t)answer;
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

static HRESULT ask_write(struct visit *visit, uint64_t *value) {
    struct device *device = visit->device;
    uint32_t offset = visit->offset, size = visit->size;
    uint32_t aligned = offset & ~3u, dword = (uint32_t)*value;
    HRESULT hr = S_OK;
    if (size < 4) {
        uint32_t mask = (uint32_t)ones(size) << 8 * (offset & 3), host_mask;
        hr = merged_dword(device, visit->slot, aligned, &dword, &host_mask);
        uint32_t kept = ~mask & ~(host_mask == UINT32_MAX ? 0 : write_one_to_clear_bits(device, aligned));
        dword = (dword & kept) | ((uint32_t)*value << 8 * (offset & 3) & mask);
    }
    /* The machine's part first, so that the device finds decoding and bus mastering as it is told of them. */
    device->system->ops->config_keep(device->system, visit->slot, device, aligned, dword);
    if (FAILED(hr))
        return hr;
    if (device->system->ops->config_given)
        device->system->ops->config_given(device->system, device, aligned, dword);
    return device->interface.WriteConfigSpace(device->context, aligned, dword);
}

HRESULT device_config_write(struct device *device, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                            uint32_t size, uint32_t value) {
    struct visit visit = visit_of(device, access, HDVLAB_CONFIG_WRITE, slot, offset, size);
    visit.may_share = size == 4; /* a part of a dword is read, merged and written: not two at once */
    uint64_t given = value;
    return tap_visit(&visit, ask_write, &given);
}

/* The first 8 bytes are the value of the row. */
static HRESULT ask_dump(struct visit *visit, uint64_t *value) {
    HRESULT hr = S_OK;
    uint32_t offset = visit->offset, bytes = visit->size;
    memset(visit->data, 0xFF, bytes);
    for (uint32_t at = offset & ~3u; at < offset + bytes && SUCCEEDED(hr); at += 4) {
        uint32_t dword, host_mask;
        hr = merged_dword(visit->device, visit->slot, at, &dword, &host_mask);
        for (uint32_t i = 0; i < 4 && SUCCEEDED(hr); i++)
            if (at + i >= offset && at + i < offset + bytes)
                visit->data[at + i - offset] = (uint8_t)(dword >> 8 * i);
    }
    *value = 0;
    memcpy(value, visit->data, bytes < 8 ? bytes : 8);
    return hr;
}

HRESULT device_config_dump(struct device *device, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                           uint32_t bytes, uint8_t *copy) {
    struct visit visit = visit_of(device, access, HDVLAB_CONFIG_READ, slot, offset, bytes);
    HRESULT hr = enter_running(device, access, 1, &visit.inside, HDVLAB_CONFIG_READ, -1, offset, bytes, UINT64_MAX);
    if (FAILED(hr))
        return hr;
    struct tapped tapped = tap_open(device, access, HDVLAB_CONFIG_READ, -1, offset, bytes, 0);
    uint64_t value = UINT64_MAX;
    uint8_t data[CONFIG_SPACE_BYTES]; /* the caller's may be another thread's when a callback returns late */
    memset(data, 0xFF, sizeof data);
    visit.data = data;
    if (gate_is_armed(device->system)) {
        hr = gate_visit(&visit, &tapped, ask_dump, &value);
        if (bytes <= 8) /* it may be an override */
            memcpy(data, &value, bytes);
    } else {
        hr = ask_dump(&visit, &value);
    }
    int64_t payload = bytes > 8 && tapped.row >= 0 ? trace_payload(tapped.trace, data, bytes) : -1;
    hr = tap_close_with(&tapped, value, payload, hr);
    if (SUCCEEDED(hr) && !(thread_context.watch && watch_is_taken(thread_context.watch)))
        memcpy(copy, data, bytes);
    if (!visit.is_out)
        leave(device, &visit.inside);
    return hr;
}

static HRESULT ask_dword(struct visit *visit, uint64_t *value) {
    uint32_t dword;
    HRESULT hr = read_dword(visit->device, visit->offset, &dword);
    *value = FAILED(hr) ? UINT32_MAX : dword;
    return hr;
}

HRESULT device_dword_read(struct device *device, const HDVLAB_ACCESS *access, uint32_t offset, uint32_t *value) {
    struct visit visit = visit_of(device, access, HDVLAB_CONFIG_READ, 0, offset, 4);
    uint64_t answer = UINT32_MAX;
    HRESULT hr = tap_visit(&visit, ask_dword, &answer);
    *value = (uint32_t)answer;
    return hr;
}

static HRESULT ask_dword_write(struct visit *visit, uint64_t *value) {
    return visit->device->interface.WriteConfigSpace(visit->device->context, visit->offset, (UINT32)*value);
}

HRESULT device_dword_write(struct device *device, const HDVLAB_ACCESS *access, uint32_t offset, uint32_t value) {
    struct visit visit = visit_of(device, access, HDVLAB_CONFIG_WRITE, 0, offset, 4);
    uint64_t given = value;
    return tap_visit(&visit, ask_dword_write, &given);
}

HRESULT device_config_peek(struct device *device, uint32_t slot, uint8_t *config) {
    HRESULT hr = device_enter_free(device, 1000);
    if (FAILED(hr))
        return hr;
    if (!thread_context.depth++ && thread_context.watch) /* a callback like any other, but for the row */
        watch_begin(thread_context.watch, device, NULL, -1, 0, 0);
    if (atomic_load(&device->state) != DEVICE_RUNNING)
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE); /* after Teardown there is nobody to ask */
    for (uint32_t offset = 0; offset < CONFIG_SPACE_BYTES && SUCCEEDED(hr); offset += 4) {
        uint32_t dword, host_mask;
        hr = merged_dword(device, slot, offset, &dword, &host_mask);
        memcpy(config + offset, &dword, 4);
    }
    if (!--thread_context.depth && thread_context.watch)
        (void)watch_end(thread_context.watch);
    device_leave(device);
    return hr;
}
