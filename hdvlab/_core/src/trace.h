/* The trace: one shared mapping per column. A row is reserved, filled, and published by a release store of its kind;
 * it is completed by a release store of its status. Readers take the published prefix and repair nothing. */
#ifndef HDVLAB_TRACE_H
#define HDVLAB_TRACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "hdvlab.h"

#define TRACE_MAGIC "HDVTRACE"
#define TRACE_SCHEMA 1
#define SEAL_WORDS 16

enum column {
    COLUMN_T_NS,
    COLUMN_DUR_NS,
    COLUMN_KIND,
    COLUMN_ORIGIN,
    COLUMN_DEVICE,
    COLUMN_BAR,
    COLUMN_SIZE,
    COLUMN_ADDRESS,
    COLUMN_VALUE,
    COLUMN_STATUS,
    COLUMN_CAUSE,
    COLUMN_PAYLOAD,
    COLUMN_PC,
};

enum trace_state { TRACE_RECORDING = 1, TRACE_STOPPED = 2, TRACE_CLOSED = 3, TRACE_SUSPENDED = 4 };

/* The counters as they were when the recording was closed in good order, and a CRC-32C of them. */
struct trace_totals {
    uint64_t reserved, capacity, lost, backward, payload_reserved;
    int32_t stopped;
    uint32_t crc;
};

/* header.bin, one page, mapped by the writer and every reader. */
struct trace_header {
    char magic[8];
    uint32_t schema;
    uint32_t byte_order; /* 0x01020304 in the writer's order */
    uint64_t max_rows;
    uint64_t chunk_rows;
    int64_t wall_ns;
    struct clock clock;
    uint32_t crc; /* of everything above but the magic */
    _Alignas(64) _Atomic uint64_t reserved;
    _Alignas(64) _Atomic uint64_t capacity; /* rows below it have space; one more behind it is kept for the lost row */
    _Atomic uint64_t payload_reserved, payload_capacity;
    _Atomic uint64_t lost, backward;
    _Atomic int32_t stopped;
    _Atomic uint32_t closed;
    struct trace_totals totals; /* valid when closed */
    _Atomic uint32_t suspended; /* readers see it here; 0 in recordings of before there was it */
};

struct trace {
    struct trace_header *header;
    void *column[HDVLAB_COLUMN_COUNT];
    uint8_t *payload;
    uint64_t max_rows, payload_max; /* what is mapped, whatever the header says later */
    struct clock clock;
    _Atomic uint32_t state;
    uint32_t chunk_rows;
    int writable;
    int is_parents; /* in a child of the writer: its rows are none of this process's, nor those that it had begun */
    _Atomic uint64_t pins; /* references that hdvlab_trace_unpin gives back */
    int salvaged; /* reader: the header is not the file's */
    HANDLE file[HDVLAB_COLUMN_COUNT], payload_file, header_file, seal_file;
    pthread_mutex_t grow_lock;
    pthread_mutex_t file_lock; /* a descriptor that is looked at is not closed; taken after grow_lock */
    /* the helper that reserves and touches space ahead, and seals chunks behind */
    pthread_t helper;
    pthread_mutex_t helper_lock;
    pthread_cond_t helper_wake;
    int helper_running, helper_asked, helper_quit;
    uint64_t next_seal;
    _Atomic uint64_t lost_row; /* valid once stopped */
    uint64_t unrecorded; /* rows since it was suspended; under grow_lock */
};

struct row {
    uint8_t kind, origin;
    uint16_t device;
    int8_t bar;
    uint32_t size;
    uint64_t address, value, pc;
    int64_t cause;
};

#define COLUMN(trace, type, name) ((type *)(trace)->column[COLUMN_##name])

/* Rows that have begun are completed, whether or not others begin. */
static inline int trace_is_open(struct trace *trace) {
    uint32_t state = atomic_load_explicit(&trace->state, memory_order_acquire);
    return state == TRACE_RECORDING || state == TRACE_SUSPENDED;
}

void trace_go_on(struct trace *trace); /* trace_suspend.c: if it is suspended */
int64_t trace_reserve_slow(struct trace *trace, uint64_t row);
int64_t trace_lose(struct trace *trace);
/* Place of a copy of the bytes in payload.bin, -1 when there is no space for it: then the recording stops, and the row
 * says so by a size of more than 8 without a place. */
int64_t trace_payload(struct trace *trace, const void *bytes, uint64_t size);
void trace_ask_helper(struct trace *trace);

static inline int64_t trace_reserve(struct trace *trace) {
    if (atomic_load_explicit(&trace->state, memory_order_acquire) != TRACE_RECORDING)
        return trace_lose(trace);
    uint64_t row = atomic_fetch_add_explicit(&trace->header->reserved, 1, memory_order_relaxed);
    if (__builtin_expect(row >= atomic_load_explicit(&trace->header->capacity, memory_order_acquire), 0))
        return trace_reserve_slow(trace, row);
    if (__builtin_expect(!(row & (trace->chunk_rows - 1)), 0))
        trace_ask_helper(trace);
    return (int64_t)row;
}

static inline void trace_fill(struct trace *trace, int64_t row, const struct row *r, int64_t t_ns, int32_t status) {
    COLUMN(trace, int64_t, T_NS)[row] = t_ns;
    COLUMN(trace, uint8_t, ORIGIN)[row] = r->origin;
    COLUMN(trace, uint16_t, DEVICE)[row] = r->device;
    COLUMN(trace, int8_t, BAR)[row] = r->bar;
    COLUMN(trace, uint32_t, SIZE)[row] = r->size;
    COLUMN(trace, uint64_t, ADDRESS)[row] = r->address;
    COLUMN(trace, uint64_t, VALUE)[row] = r->value;
    COLUMN(trace, int32_t, STATUS)[row] = status;
    COLUMN(trace, int64_t, CAUSE)[row] = r->cause;
    COLUMN(trace, int64_t, PAYLOAD)[row] = -1;
    COLUMN(trace, uint64_t, PC)[row] = r->pc;
    atomic_store_explicit(&COLUMN(trace, _Atomic uint8_t, KIND)[row], r->kind, memory_order_release);
}

/* Publishes a row whose access begins now. -1 when nothing is recorded. */
static inline int64_t trace_begin(struct trace *trace, const struct row *r, int64_t *t_ns) {
    int64_t row = trace ? trace_reserve(trace) : -1;
    if (row >= 0) {
        *t_ns = clock_now(&trace->clock);
        trace_fill(trace, row, r, *t_ns, E_PENDING);
    }
    return row;
}

/* Completes the row before the guest gets its answer. */
static inline void trace_complete(struct trace *trace, int64_t row, int64_t began_ns, uint64_t value, int64_t payload,
                                  int32_t status) {
    if (row < 0 || __builtin_expect(trace->is_parents, 0))
        return;
    int64_t spent = clock_now(&trace->clock) - began_ns;
    if (__builtin_expect(spent < 0, 0)) {
        if (trace->clock.kind != HDVLAB_CLOCK_MANUAL) /* whoever set that one back was counted then */
            atomic_fetch_add_explicit(&trace->header->backward, 1, memory_order_relaxed);
        spent = 0;
    }
    COLUMN(trace, uint32_t, DUR_NS)[row] = spent > UINT32_MAX ? UINT32_MAX : (uint32_t)spent;
    COLUMN(trace, uint64_t, VALUE)[row] = value;
    COLUMN(trace, int64_t, PAYLOAD)[row] = payload;
    atomic_store_explicit(&COLUMN(trace, _Atomic int32_t, STATUS)[row], status, memory_order_release);
}

/* A row of text. */
int64_t trace_mark(struct trace *trace, uint32_t kind, uint32_t origin, uint16_t device, int64_t cause, int32_t status,
                   const void *text, uint32_t bytes);
/* A row that begins and ends at once. */
int64_t trace_event(struct trace *trace, const struct row *r, int32_t status);
extern const struct column_format { const char *name; uint32_t width; } trace_columns[HDVLAB_COLUMN_COUNT];

/* trace_helper.c */
int trace_grow(struct trace *trace, uint64_t rows); /* with grow_lock held; 0 = done, else errno */
int trace_helper_start(struct trace *trace);
void trace_helper_stop(struct trace *trace);
/* trace_seal.c */
void trace_seal_ready(struct trace *trace, int closing);

#endif
