/* Guest memory and interrupts: HdvReadGuestMemory, HdvWriteGuestMemory, HdvDeliverGuestInterrupt. */
#include <string.h>

#include "device.h"
#include "handle.h"
#include "system.h"
#include "tap.h"

HRESULT memory_may_access(struct device *device, uint64_t gpa, uint32_t bytes) {
    int state = atomic_load(&device->state);
    if (state == DEVICE_TORN_DOWN || (state != DEVICE_RUNNING && !is_elsewhere(device)))
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (is_elsewhere(device)) /* the machine's own rules hold there */
        return S_OK;
    if (bytes && gpa + bytes - 1 < gpa)
        return HRESULT_FROM_WIN32(ERROR_ARITHMETIC_OVERFLOW);
    if (!(atomic_load(&device->command) & COMMAND_BUS_MASTER))
        return E_ACCESSDENIED;
    return S_OK;
}

static HRESULT move(struct device *device, uint64_t gpa, uint32_t bytes, void *to, const void *from) {
    struct system *system = device->system;
    HRESULT hr = memory_may_access(device, gpa, bytes);
    if (hr == S_OK && (bytes || is_elsewhere(device)))
        hr = to ? system->ops->read_memory(system, device, gpa, bytes, to)
                : system->ops->write_memory(system, device, gpa, bytes, from);
    return hr;
}

static uint64_t first_bytes(const void *data, uint32_t bytes) {
    uint64_t value = 0;
    memcpy(&value, data, bytes < 8 ? bytes : 8);
    return value;
}

/* The same past the gate. *from becomes `instead` where that is written in its place. */
static HRESULT move_gated(struct device *device, uint64_t gpa, uint32_t bytes, void *to, const void **from, int64_t row,
                          uint64_t *instead) {
    struct gated g = gated_of(device, HDVLAB_DEVICE, to ? HDVLAB_DMA_READ : HDVLAB_DMA_WRITE, -1, gpa, bytes);
    g.hit.row = row;
    uint64_t value = to ? 0 : first_bytes(*from, bytes);
    struct verdict verdict = gate_look(&g, HDVLAB_BEFORE, value, S_OK);
    if (verdict.action == HDVLAB_SKIP) {
        if (to)
            memset(to, 0xFF, bytes);
        return 1;
    }
    if (verdict.action == HDVLAB_OVERRIDE && to) {
        memcpy(to, &verdict.value, bytes);
        return S_OK;
    }
    if (verdict.action == HDVLAB_OVERRIDE) {
        *instead = verdict.value;
        *from = instead;
    }
    HRESULT hr;
    do {
        hr = move(device, gpa, bytes, to, *from);
        value = !to ? first_bytes(*from, bytes) : hr == S_OK ? first_bytes(to, bytes) : ones(bytes);
        verdict = gate_look(&g, HDVLAB_AFTER, value, hr);
    } while (verdict.action == HDVLAB_RETRY);
    if (verdict.action != HDVLAB_OVERRIDE)
        return hr;
    memcpy(to, &verdict.value, bytes);
    return S_OK;
}

static HRESULT copy(HDV_DEVICE handle, uint64_t gpa, uint32_t bytes, void *to, const void *from) {
    if (!to && !from)
        return E_POINTER;
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    struct system *system = device->system;
    struct row r = device_row(device, to ? HDVLAB_DMA_READ : HDVLAB_DMA_WRITE, NO_BAR, gpa, bytes, 0);
    int64_t began = 0, payload = -1, row = trace_begin(system->trace, &r, &began);
    uint64_t instead;
    HRESULT hr = gate_is_armed(system) ? move_gated(device, gpa, bytes, to, &from, row, &instead)
                                       : move(device, gpa, bytes, to, from);
    if (SUCCEEDED(hr) && row >= 0) {
        const void *moved = to ? to : from;
        r.value = first_bytes(moved, bytes);
        if (bytes > 8)
            payload = trace_payload(system->trace, moved, bytes);
    }
    trace_complete(system->trace, row, began, r.value, payload, hr);
    handle_release(handle);
    return hr;
}

HRESULT HdvReadGuestMemory(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount, BYTE *buffer) {
    return copy(requestor, guestPhysicalAddress, byteCount, buffer, NULL);
}

HRESULT HdvWriteGuestMemory(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount, const BYTE *buffer) {
    return copy(requestor, guestPhysicalAddress, byteCount, NULL, buffer);
}

static HRESULT deliver(struct device *device, uint64_t address, uint32_t data) {
    HRESULT hr = memory_may_access(device, address, 4); /* a message is a memory write of the device */
    return hr == S_OK ? device->system->ops->deliver_interrupt(device->system, device, address, data) : hr;
}

static HRESULT deliver_gated(struct device *device, uint64_t address, uint32_t *data, int64_t row) {
    struct gated g = gated_of(device, HDVLAB_DEVICE, HDVLAB_INTERRUPT, -1, address, 4);
    g.hit.row = row;
    struct verdict verdict = gate_look(&g, HDVLAB_BEFORE, *data, S_OK);
    if (verdict.action == HDVLAB_SKIP)
        return 1;
    if (verdict.action == HDVLAB_OVERRIDE)
        *data = (uint32_t)verdict.value;
    HRESULT hr;
    do
        hr = deliver(device, address, *data);
    while (gate_look(&g, HDVLAB_AFTER, *data, hr).action == HDVLAB_RETRY);
    return hr;
}

HRESULT HdvDeliverGuestInterrupt(HDV_DEVICE requestor, UINT64 msiAddress, UINT32 msiData) {
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(requestor);
    struct system *system = device->system;
    struct row r = device_row(device, HDVLAB_INTERRUPT, NO_BAR, msiAddress, 4, msiData);
    int64_t began = 0, row = trace_begin(system->trace, &r, &began);
    HRESULT hr = gate_is_armed(system) ? deliver_gated(device, msiAddress, &msiData, row)
                                       : deliver(device, msiAddress, msiData);
    trace_complete(system->trace, row, began, msiData, -1, hr);
    handle_release(requestor);
    return hr;
}

void interrupt_went_nowhere(HDV_DEVICE handle, uint32_t vector, HRESULT why) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return;
    struct row r = device_row(device, HDVLAB_INTERRUPT, NO_BAR, 0, 4, vector);
    trace_event(device->system->trace, &r, why);
    if (device->system->ops->interrupt_nowhere)
        device->system->ops->interrupt_nowhere(device, vector, why);
    handle_release(handle);
}

HRESULT hdvlab_device_set_line(HDV_DEVICE handle, BOOL asserted) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    HRESULT hr = device->system->ops->set_line ? S_OK : E_NOTIMPL;
    if (hr == S_OK && atomic_load(&device->state) != DEVICE_RUNNING)
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (hr == S_OK && atomic_exchange(&device->line, asserted != 0) != (asserted != 0)) {
        if (asserted) { /* no message, so no address and no size; what lowers it is nearly always an access, with a row */
            struct row r = device_row(device, HDVLAB_INTERRUPT, NO_BAR, 0, 0, 1);
            trace_event(device->system->trace, &r, S_OK);
        }
        hr = device->system->ops->set_line(device);
    }
    handle_release(handle);
    return hr;
}
