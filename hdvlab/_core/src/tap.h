/* Rows of a device, the row around a callback, and the way into a device. Inline, because every access goes through them. */
#ifndef HDVLAB_TAP_H
#define HDVLAB_TAP_H

#include "device.h"
#include "system.h"
#include "watch.h"

#define NO_BAR HDV_PCI_BAR_COUNT

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

static inline void leave(struct device *device, struct inside *inside) {
    if (inside->device)
        device_leave_shared(device, inside);
    else
        device_leave(device);
}

#endif
