/* Rows of a device, the row around a callback, and the way into a device. Inline, because every access goes through them. */
#ifndef HDVLAB_TAP_H
#define HDVLAB_TAP_H

#include "device.h"
#include "system.h"
#include "watch.h"

#define NO_BAR HDV_PCI_BAR_COUNT

/* An access that its device is to answer. */
struct visit {
    struct device *device;
    const HDVLAB_ACCESS *access;
    uint32_t kind, size, offset; /* offset, slot: of config space */
    uint32_t slot;
    int bar, may_share;
    uint64_t address;
    uint8_t *data; /* more than a value's 8 bytes */
    struct inside inside;
    int is_out; /* it has left its device, to be held or for good */
};
/* Calls the device: *value is what it is to get, or what it answers. */
typedef HRESULT visit_ask(struct visit *visit, uint64_t *value);

/* A row of what a device does by itself. */
static inline struct row device_row(const struct device *device, uint32_t kind, uint64_t bar, uint64_t address,
                                    uint32_t size, uint64_t value) {
    return (struct row){.kind = (uint8_t)kind, .origin = HDVLAB_DEVICE, .device = device->index,
                        .bar = (int8_t)(bar < HDV_PCI_BAR_COUNT ? (int)bar : -1), .size = size, .address = address,
                        .value = value, .cause = thread_context.cause};
}

struct tapped {
    struct trace *trace;
    int64_t row, began_ns, outer_cause;
};

/* What a row says in the end when the device did not answer: a read gave ones, everything else what it began with. */
static inline uint64_t what_is_left(uint32_t kind, uint32_t size, uint64_t value) {
    return kind == HDVLAB_MMIO_READ || kind == HDVLAB_CONFIG_READ ? ones(size) : value;
}

/* Opens a row; what the callback does from here on is caused by it. */
static inline struct tapped tap_open(struct device *device, const HDVLAB_ACCESS *access, uint32_t kind, int bar,
                              uint64_t address, uint32_t size, uint64_t value) {
    struct tapped tapped = {.trace = device->system->trace, .outer_cause = thread_context.cause};
    struct row r = {.kind = (uint8_t)kind, .origin = access->origin, .device = device->index, .bar = (int8_t)bar,
                    .size = size, .address = address, .value = value, .pc = access->pc,
                    .cause = thread_context.cause};
    tapped.row = trace_begin(tapped.trace, &r, &tapped.began_ns);
    thread_context.cause = tapped.row;
    if (!thread_context.depth++ && thread_context.watch)
        watch_begin(thread_context.watch, device, tapped.trace, tapped.row, tapped.began_ns, what_is_left(kind, size, value));
    return tapped;
}

/* Returns the status; a device that answers E_PENDING has answered all the same, and rows say so. */
static inline HRESULT tap_close_with(const struct tapped *tapped, uint64_t value, int64_t payload, HRESULT status) {
    /* These two say that there is no answer yet; a device that returns one of them has given its answer. */
    if (status == E_PENDING || status == HRESULT_FROM_WIN32(ERROR_BUSY))
        status = E_UNEXPECTED;
    thread_context.cause = tapped->outer_cause;
    if (!--thread_context.depth && thread_context.watch && !watch_end(thread_context.watch))
        return status; /* too late: the guest has its answer, and the row */
    trace_complete(tapped->trace, tapped->row, tapped->began_ns, value, payload, status);
    return status;
}

static inline HRESULT tap_close(const struct tapped *tapped, uint64_t value, HRESULT status) {
    return tap_close_with(tapped, value, -1, status);
}

/* Why a device does not do now what it does at another moment. */
static inline HRESULT wrong_moment(const struct device *device) {
    HRESULT gone = atomic_load(&device->gone);
    return gone ? gone : HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
}

/* S_OK with the device entered, to `leave`, or the reason with a row that says so; ERROR_BUSY leaves no row. */
HRESULT enter_running(struct device *device, const HDVLAB_ACCESS *access, int may_share, struct inside *inside,
                             uint32_t kind, int bar, uint64_t address, uint32_t size, uint64_t value);

/* Into the device again, after it was left in the middle of a visit; or why not, and that is the access's status. */
HRESULT visit_again(struct visit *visit);

static inline int gate_is_armed(const struct system *system) {
    return __builtin_expect(atomic_load_explicit(&system->is_gated, memory_order_relaxed), 0) != 0;
}

static inline struct gated gated_of(struct device *device, uint32_t origin, uint32_t kind, int bar, uint64_t address,
                                    uint32_t size) {
    return (struct gated){.device = device, .hit = {.kind = (uint8_t)kind, .origin = (uint8_t)origin, .bar = bar,
                                                    .device = device->index, .address = address, .size = size}};
}

/* gate_look.c: as `ask_device`, past the gate. */
struct tapped;
HRESULT gate_visit(struct visit *visit, const struct tapped *tapped, visit_ask *ask_device, uint64_t *value);

static inline void leave(struct device *device, struct inside *inside) {
    if (inside->device)
        device_leave_shared(device, inside);
    else
        device_leave(device);
}

/* Into the device, past the gate, its answer, out again: a row, whose value is *value in the end. */
static inline HRESULT tap_visit(struct visit *visit, visit_ask *ask_device, uint64_t *value) {
    struct device *device = visit->device;
    HRESULT hr = enter_running(device, visit->access, visit->may_share, &visit->inside, visit->kind, visit->bar,
                               visit->address, visit->size, *value);
    if (FAILED(hr))
        return hr;
    int is_read = visit->kind == HDVLAB_MMIO_READ || visit->kind == HDVLAB_CONFIG_READ;
    struct tapped tapped = tap_open(device, visit->access, visit->kind, visit->bar, visit->address, visit->size,
                                    is_read ? 0 : *value);
    hr = gate_is_armed(device->system) ? gate_visit(visit, &tapped, ask_device, value) : ask_device(visit, value);
    hr = tap_close(&tapped, *value, hr);
    if (!visit->is_out)
        leave(device, &visit->inside);
    return hr;
}

#endif
