/* Rows from somewhere else into a recording: how a slice, an import or a damaged trace becomes a whole one. */
#include <string.h>

#include "handle.h"
#include "trace_files.h"

static HRESULT make_space(struct trace *trace, uint64_t rows) {
    pthread_mutex_lock(&trace->grow_lock);
    int error = 0;
    uint64_t reserved = atomic_load(&trace->header->reserved);
    if (reserved + rows > atomic_load(&trace->header->capacity))
        error = trace_grow(trace, reserved + rows);
    pthread_mutex_unlock(&trace->grow_lock);
    return error ? trace_hresult_of(error) : S_OK;
}

static HRESULT append(struct trace *trace, uint64_t rows, const void *const *columns, uint64_t done,
                      const uint8_t *payload, uint64_t payload_bytes) {
    HRESULT hr = make_space(trace, rows);
    if (FAILED(hr))
        return hr;
    uint64_t first = atomic_fetch_add(&trace->header->reserved, rows);
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++) {
        uint64_t width = trace_columns[i].width;
        if (i != COLUMN_KIND)
            memcpy((uint8_t *)trace->column[i] + first * width, (const uint8_t *)columns[i] + done * width,
                   rows * width);
    }
    const uint8_t *kinds = (const uint8_t *)columns[COLUMN_KIND] + done;
    for (uint64_t row = first; row < first + rows; row++) {
        int64_t place = COLUMN(trace, int64_t, PAYLOAD)[row];
        uint32_t size = COLUMN(trace, uint32_t, SIZE)[row];
        int there = place >= 0 && (uint64_t)place <= payload_bytes && size <= payload_bytes - (uint64_t)place;
        if (place >= 0)
            COLUMN(trace, int64_t, PAYLOAD)[row] = there ? trace_payload(trace, payload + place, size) : -1;
        if (kinds[row - first] == HDVLAB_LOST)
            atomic_fetch_add(&trace->header->lost, COLUMN(trace, uint64_t, VALUE)[row]);
    }
    atomic_thread_fence(memory_order_release);
    memcpy((uint8_t *)trace->column[COLUMN_KIND] + first, kinds, rows);
    trace_ask_helper(trace);
    return atomic_load(&trace->header->stopped);
}

HRESULT hdvlab_trace_append(HDVLAB_TRACE handle, uint64_t rows, const void *const *columns, const void *payload,
                            uint64_t payload_bytes) {
    if (!columns || (!payload && payload_bytes))
        return E_POINTER;
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++)
        if (!columns[i])
            return E_POINTER;
    const uint8_t *kinds = columns[COLUMN_KIND];
    for (uint64_t i = 0; i < rows; i++)
        if (kinds[i] == HDVLAB_NONE || kinds[i] >= HDVLAB_KIND_COUNT)
            return E_INVALIDARG;
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    HRESULT hr = S_OK;
    if (!trace->writable)
        hr = E_ACCESSDENIED;
    else if (atomic_load(&trace->state) != TRACE_RECORDING)
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    for (uint64_t done = 0; done < rows && SUCCEEDED(hr);) {
        uint64_t some = rows - done < trace->chunk_rows ? rows - done : trace->chunk_rows;
        hr = append(trace, some, columns, done, payload, payload_bytes);
        done += some;
    }
    handle_release(handle);
    return hr;
}
