/* Reading a recording, also while another process writes it. Readers take what is published and repair nothing. */
#include <string.h>

#include "handle.h"
#include "trace_files.h"

static int is_sane(const struct trace_header *h) {
    return !memcmp(h->magic, TRACE_MAGIC, 8) && h->byte_order == 0x01020304 && h->schema == TRACE_SCHEMA &&
           h->crc == trace_header_crc(h) && (!atomic_load(&h->closed) || h->totals.crc == trace_totals_crc(h));
}

static int is_layout(uint64_t max_rows, uint64_t chunk_rows) {
    return max_rows <= MAX_ROWS && chunk_rows >= 64 && chunk_rows <= 1u << 31 && chunk_rows <= max_rows &&
           !(chunk_rows & (chunk_rows - 1));
}

static HRESULT use_header(struct trace *t, const char *path) {
    int error = platform_file_open(path, "header.bin", 0, &t->header_file);
    if (!error && platform_file_bytes(t->header_file) < HEADER_BYTES)
        return E_INVALIDARG; /* cut short: not even the header is there */
    if (!error)
        t->header = platform_file_map(t->header_file, HEADER_BYTES, 0, &error);
    if (error)
        return trace_hresult_of(error);
    return is_sane(t->header) && is_layout(t->header->max_rows, t->header->chunk_rows) ? S_OK : E_INVALIDARG;
}

static HRESULT make_header(struct trace *t, uint64_t max_rows, uint32_t chunk_rows) {
    if (!is_layout(max_rows, chunk_rows))
        return E_INVALIDARG;
    int error = 0;
    if (!(t->header = platform_file_map(NO_HANDLE, HEADER_BYTES, 1, &error)))
        return trace_hresult_of(error);
    t->header->max_rows = max_rows;
    t->header->chunk_rows = chunk_rows;
    t->salvaged = 1;
    return S_OK;
}

static HRESULT attach(const char *path, uint64_t max_rows, uint32_t chunk_rows, HDVLAB_TRACE *trace) {
    if (!path || !trace)
        return E_POINTER;
    struct trace *t = trace_make(0);
    if (!t)
        return E_OUTOFMEMORY;
    HRESULT hr = max_rows ? make_header(t, max_rows, chunk_rows) : use_header(t, path);
    if (SUCCEEDED(hr)) {
        t->max_rows = t->header->max_rows;
        t->chunk_rows = (uint32_t)t->header->chunk_rows;
        t->clock = t->header->clock;
        int error = trace_map_columns(t, path);
        hr = error ? trace_hresult_of(error) : S_OK;
    }
    if (SUCCEEDED(hr) && !(*trace = handle_create(HANDLE_TRACE, t, trace_destroy)))
        hr = E_OUTOFMEMORY;
    if (FAILED(hr))
        trace_destroy(t);
    return hr;
}

HRESULT hdvlab_trace_attach(const char *path, HDVLAB_TRACE *trace) { return attach(path, 0, 0, trace); }

HRESULT hdvlab_trace_salvage(const char *path, uint64_t max_rows, uint32_t chunk_rows, HDVLAB_TRACE *trace) {
    return max_rows ? attach(path, max_rows, chunk_rows, trace) : E_INVALIDARG;
}

uint64_t trace_rows_in_files(struct trace *t) {
    uint64_t rows = t->max_rows;
    pthread_mutex_lock(&t->file_lock);
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++) {
        uint64_t here = platform_file_bytes(t->file[i]) / trace_columns[i].width;
        rows = here < rows ? here : rows;
    }
    pthread_mutex_unlock(&t->file_lock);
    return rows;
}

uint64_t trace_payload_bytes(struct trace *t) {
    pthread_mutex_lock(&t->file_lock);
    uint64_t bytes = platform_file_bytes(t->payload_file);
    pthread_mutex_unlock(&t->file_lock);
    return bytes < t->payload_max ? bytes : t->payload_max;
}

static int writer_lives(struct trace *t) {
    if (t->writable)
        return atomic_load(&t->state) != TRACE_CLOSED;
    if (t->salvaged || atomic_load(&t->header->closed))
        return 0;
    pthread_mutex_lock(&t->file_lock);
    int is_held = platform_lock_is_held(t->header_file);
    pthread_mutex_unlock(&t->file_lock);
    return is_held;
}

HRESULT hdvlab_trace_committed(HDVLAB_TRACE handle, uint64_t from, uint64_t *rows) {
    if (!rows)
        return E_POINTER;
    struct trace *t = handle_acquire(handle, HANDLE_TRACE);
    if (!t)
        return handle_refusal(handle);
    const uint8_t *kinds = t->column[COLUMN_KIND];
    int alive = writer_lives(t);
    uint64_t end = atomic_load_explicit(&t->header->capacity, memory_order_acquire) + 1;
    uint64_t reserved = atomic_load(&t->header->reserved) + 1;
    if (!t->writable) {
        uint64_t there = trace_rows_in_files(t);
        /* What a dead writer's header says may be damaged; what its files hold is what there is. */
        end = there < end || !alive ? there : end;
    }
    if (alive) {
        end = reserved < end ? reserved : end;
        const uint8_t *gap = end > from ? memchr(kinds + from, 0, end - from) : NULL;
        end = gap ? (uint64_t)(gap - kinds) : end;
    } else if (end > from) {
        while (end > from && !kinds[end - 1])
            end--;
    }
    *rows = end > from ? end : from;
    atomic_thread_fence(memory_order_acquire);
    handle_release(handle);
    return S_OK;
}

HRESULT hdvlab_trace_state(HDVLAB_TRACE handle, HDVLAB_TRACE_STATE *state) {
    if (!state)
        return E_POINTER;
    struct trace *t = handle_acquire(handle, HANDLE_TRACE);
    if (!t)
        return handle_refusal(handle);
    struct trace_header *h = t->header;
    int closed = atomic_load(&h->closed) != 0;
    *state = (HDVLAB_TRACE_STATE){
        .reserved = closed ? h->totals.reserved : atomic_load(&h->reserved),
        .capacity = closed ? h->totals.capacity : atomic_load(&h->capacity),
        .lost = closed ? h->totals.lost : atomic_load(&h->lost),
        .backward = closed ? h->totals.backward : atomic_load(&h->backward),
        .payload_reserved = closed ? h->totals.payload_reserved : atomic_load(&h->payload_reserved),
        .payload_bytes = t->writable ? atomic_load(&h->payload_capacity) : trace_payload_bytes(t),
        .payload_max = t->payload_max,
        .max_rows = t->max_rows,
        .chunk_rows = t->chunk_rows,
        .wall_ns = h->wall_ns,
        .stopped = closed ? h->totals.stopped : atomic_load(&h->stopped),
        .clock = h->clock.kind,
        .closed = (uint32_t)closed,
        .suspended = closed ? 0 : atomic_load(&h->suspended),
        .live = (uint32_t)writer_lives(t),
    };
    handle_release(handle);
    return S_OK;
}
