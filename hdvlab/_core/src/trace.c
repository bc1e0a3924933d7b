#include "trace.h"

#include <errno.h>
#include <string.h>

#include "handle.h"
#include "trace_files.h"

/* The same names and types as COLUMNS in hdvlab/trace/schema.py. */
const struct column_format trace_columns[HDVLAB_COLUMN_COUNT] = {
    [COLUMN_T_NS] = {"t_ns", 8},       [COLUMN_DUR_NS] = {"dur_ns", 4},   [COLUMN_KIND] = {"kind", 1},
    [COLUMN_ORIGIN] = {"origin", 1},   [COLUMN_DEVICE] = {"device", 2},   [COLUMN_BAR] = {"bar", 1},
    [COLUMN_SIZE] = {"size", 4},       [COLUMN_ADDRESS] = {"address", 8}, [COLUMN_VALUE] = {"value", 8},
    [COLUMN_STATUS] = {"status", 4},   [COLUMN_CAUSE] = {"cause", 8},     [COLUMN_PAYLOAD] = {"payload", 8},
    [COLUMN_PC] = {"pc", 8},
};

uint32_t hdvlab_trace_column(uint32_t column, const char **name) {
    if (column >= HDVLAB_COLUMN_COUNT)
        return 0;
    if (name)
        *name = trace_columns[column].name;
    return trace_columns[column].width;
}

int64_t trace_lose(struct trace *trace) {
    pthread_mutex_lock(&trace->grow_lock); /* the close that seals the lost row waits for a count that has begun */
    uint32_t state = atomic_load(&trace->state);
    if (state == TRACE_SUSPENDED) {
        trace->unrecorded++;
    } else if (state == TRACE_STOPPED) {
        uint64_t row = atomic_load(&trace->lost_row);
        atomic_fetch_add(&trace->header->lost, 1);
        atomic_fetch_add(&COLUMN(trace, _Atomic uint64_t, VALUE)[row], 1);
    }
    pthread_mutex_unlock(&trace->grow_lock);
    return state == TRACE_RECORDING ? trace_reserve(trace) : -1; /* it has gone on in this moment */
}

/* Stops the recording for good, with a row that counts what is lost from here on. Caller holds grow_lock. */
static void stop_recording(struct trace *trace, int32_t why) {
    if (!trace_is_open(trace))
        return;
    uint64_t capacity = atomic_load(&trace->header->capacity);
    uint64_t row = atomic_fetch_add(&trace->header->reserved, 1);
    if (row >= capacity)
        row = capacity; /* the spare row */
    struct row r = {.kind = HDVLAB_LOST, .origin = HDVLAB_DEVICE, .device = HDVLAB_NO_DEVICE, .bar = -1, .cause = -1};
    trace_fill(trace, (int64_t)row, &r, clock_now(&trace->clock), why);
    COLUMN(trace, uint64_t, VALUE)[row] = trace->unrecorded; /* it is not going on: these are lost with the others */
    atomic_fetch_add(&trace->header->lost, trace->unrecorded);
    trace->unrecorded = 0;
    atomic_store(&trace->lost_row, row);
    atomic_store(&trace->header->stopped, why);
    atomic_store_explicit(&trace->state, TRACE_STOPPED, memory_order_release);
}

int64_t trace_reserve_slow(struct trace *trace, uint64_t row) {
    pthread_mutex_lock(&trace->grow_lock);
    int error = 0;
    while (!error && row >= atomic_load(&trace->header->capacity) && trace_is_open(trace))
        error = trace_grow(trace, row + 1);
    if (error)
        stop_recording(trace, trace_hresult_of(error));
    /* A row behind the space that there is was never written, also when another thread stopped the recording. */
    int there = row < atomic_load(&trace->header->capacity);
    pthread_mutex_unlock(&trace->grow_lock);
    if (there) {
        trace_ask_helper(trace);
        return (int64_t)row;
    }
    return trace_lose(trace);
}

int64_t trace_payload(struct trace *trace, const void *bytes, uint64_t size) {
    if (!trace || !trace_is_open(trace))
        return -1;
    uint64_t place = atomic_fetch_add(&trace->header->payload_reserved, (size + 7) & ~7ull);
    if (place + size > atomic_load_explicit(&trace->header->payload_capacity, memory_order_acquire)) {
        pthread_mutex_lock(&trace->grow_lock);
        uint64_t capacity = atomic_load(&trace->header->payload_capacity);
        uint64_t wanted = (place + size + PAYLOAD_CHUNK - 1) & ~(PAYLOAD_CHUNK - 1);
        int error = trace_is_open(trace) ? 0 : ECANCELED;
        if (!error && place + size > capacity)
            error = wanted > trace->payload_max ? ENOBUFS
                                                : platform_file_reserve(trace->payload_file, capacity, wanted - capacity);
        if (error)
            stop_recording(trace, trace_hresult_of(error));
        else if (place + size > capacity)
            atomic_store_explicit(&trace->header->payload_capacity, wanted, memory_order_release);
        pthread_mutex_unlock(&trace->grow_lock);
        if (error)
            return -1;
    }
    memcpy(trace->payload + place, bytes, size);
    return (int64_t)place;
}

int64_t trace_event(struct trace *trace, const struct row *r, int32_t status) {
    int64_t row = trace ? trace_reserve(trace) : -1;
    if (row >= 0)
        trace_fill(trace, row, r, clock_now(&trace->clock), status);
    return row;
}

int64_t trace_mark(struct trace *trace, uint32_t kind, uint32_t origin, uint16_t device, int64_t cause, int32_t status,
                   const void *text, uint32_t bytes) {
    struct row r = {.kind = (uint8_t)kind, .origin = (uint8_t)origin, .device = device, .bar = -1, .size = bytes,
                    .cause = cause};
    memcpy(&r.value, text, bytes < 8 ? bytes : 8);
    int64_t payload = bytes > 8 ? trace_payload(trace, text, bytes) : -1, began = 0;
    int64_t row = trace_begin(trace, &r, &began);
    trace_complete(trace, row, began, r.value, payload, status);
    return row;
}

HRESULT hdvlab_trace_mark(HDVLAB_TRACE handle, uint32_t kind, uint16_t device, int64_t cause, int32_t status,
                          const void *text, uint32_t bytes, int64_t *row) {
    if (!text || !row)
        return E_POINTER;
    if (kind == HDVLAB_NONE || kind >= HDVLAB_KIND_COUNT)
        return E_INVALIDARG;
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    HRESULT hr = S_OK;
    if (!trace->writable) {
        hr = E_ACCESSDENIED;
    } else {
        *row = trace_mark(trace, kind, kind == HDVLAB_FAULT ? HDVLAB_DEVICE : HDVLAB_USER, device, cause, status, text,
                          bytes);
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_trace_set_time(HDVLAB_TRACE handle, int64_t t_ns) {
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    HRESULT hr = !trace->writable                          ? E_ACCESSDENIED /* the counter of steps back is the writer's */
                 : trace->clock.kind == HDVLAB_CLOCK_MANUAL ? S_OK
                                                             : HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (hr == S_OK && atomic_exchange(&trace->clock.manual_ns, t_ns) > t_ns)
        atomic_fetch_add(&trace->header->backward, 1);
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_trace_finish(HDVLAB_TRACE handle) {
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    trace_go_on(trace);
    pthread_mutex_lock(&trace->grow_lock);
    uint32_t before = atomic_exchange(&trace->state, TRACE_CLOSED);
    pthread_mutex_unlock(&trace->grow_lock);
    if (trace->writable && before != TRACE_CLOSED) {
        trace_helper_stop(trace);
        trace_seal_ready(trace, 1);
        trace_give_back_tail(trace);
        struct trace_header *h = trace->header;
        h->totals = (struct trace_totals){.reserved = atomic_load(&h->reserved),
                                          .capacity = atomic_load(&h->capacity),
                                          .lost = atomic_load(&h->lost),
                                          .backward = atomic_load(&h->backward),
                                          .payload_reserved = atomic_load(&h->payload_reserved),
                                          .stopped = atomic_load(&h->stopped)};
        h->totals.crc = trace_totals_crc(h);
        atomic_store(&h->closed, 1);
        platform_lock_drop(trace->header_file);
    }
    handle_release(handle);
    return S_OK;
}

HRESULT hdvlab_trace_close(HDVLAB_TRACE handle) {
    HRESULT hr = hdvlab_trace_finish(handle);
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    if (!handle_retire(handle, HANDLE_TRACE))
        hr = E_HANDLE;
    else
        trace_close_files(trace); /* frames keep the mappings, not sixteen descriptors */
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_trace_pin(HDVLAB_TRACE handle, uint32_t column, void **base) {
    if (!base)
        return E_POINTER;
    if (column > HDVLAB_COLUMN_COUNT)
        return E_INVALIDARG;
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    *base = column < HDVLAB_COLUMN_COUNT ? trace->column[column] : trace->payload;
    atomic_fetch_add(&trace->pins, 1);
    return S_OK; /* the reference stays */
}

void hdvlab_trace_unpin(void *handle) {
    struct trace *trace = handle_acquire_retired(handle, HANDLE_TRACE); /* frames outlive the close */
    if (!trace)
        return;
    uint64_t pins = atomic_load(&trace->pins);
    while (pins && !atomic_compare_exchange_weak(&trace->pins, &pins, pins - 1))
        ;
    if (pins) /* one too many must not take the reference of a machine that records, or of the owner */
        handle_release(handle);
    handle_release(handle);
}

HRESULT hdvlab_bench_rows(HDVLAB_TRACE handle, uint64_t count, BOOL complete, uint64_t *ns) {
    if (!ns)
        return E_POINTER;
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    struct row r = {.kind = HDVLAB_MMIO_READ, .device = 0, .bar = 0, .size = 4, .cause = -1};
    int64_t start = monotonic_ns(), began = 0;
    for (uint64_t i = 0; i < count; i++) {
        r.address = i & 0xFFC;
        r.value = i;
        if (complete) {
            int64_t row = trace_begin(trace, &r, &began);
            trace_complete(trace, row, began, ~i, -1, S_OK);
        } else {
            trace_event(trace, &r, S_OK);
        }
    }
    *ns = (uint64_t)(monotonic_ns() - start);
    handle_release(handle);
    return S_OK;
}
