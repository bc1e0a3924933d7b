/* Seals: a CRC-32C per column and chunk, so that a reader can tell bytes a disk lost or flipped from bytes a guest wrote.
 * One 64-byte record per chunk in seals.bin: {crc of the rest, rows, 13 column crcs, payload crc}. */
#include <string.h>

#include "crc32c.h"
#include "handle.h"
#include "trace_files.h"

struct seal {
    uint32_t self, rows, column[HDVLAB_COLUMN_COUNT], payload;
};

_Static_assert(sizeof(struct seal) == SEAL_WORDS * 4, "a seal is 64 bytes");

static uint32_t self_crc(const struct seal *seal) { return crc32c(0, &seal->rows, sizeof *seal - 4); }

static int read_seal(struct trace *trace, uint64_t chunk, struct seal *seal) {
    pthread_mutex_lock(&trace->file_lock);
    uint64_t got = platform_file_read(trace->seal_file, chunk * sizeof *seal, seal, sizeof *seal);
    pthread_mutex_unlock(&trace->file_lock);
    return got == sizeof *seal && seal->rows && seal->self == self_crc(seal);
}

static uint64_t chunk_count(const struct trace *trace) {
    return (trace->max_rows + trace->chunk_rows - 1) / trace->chunk_rows;
}

/* payload_bytes: what of payload.bin may be touched. A row that points behind it spoils the payload's CRC. */
static void compute(struct trace *trace, uint64_t chunk, uint32_t rows, uint64_t payload_bytes, struct seal *seal) {
    uint64_t first = chunk * trace->chunk_rows;
    memset(seal, 0, sizeof *seal);
    seal->rows = rows;
    int is_whole = 1;
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++) {
        uint64_t width = trace_columns[i].width;
        seal->column[i] = crc32c(0, (uint8_t *)trace->column[i] + first * width, rows * width);
    }
    for (uint64_t row = first; row < first + rows; row++) {
        int64_t place = COLUMN(trace, int64_t, PAYLOAD)[row];
        uint32_t size = COLUMN(trace, uint32_t, SIZE)[row];
        if (place < 0)
            continue;
        if ((uint64_t)place > payload_bytes || size > payload_bytes - (uint64_t)place)
            is_whole = 0;
        else
            seal->payload = crc32c(seal->payload, trace->payload + place, size);
    }
    seal->self = is_whole ? self_crc(seal) : ~self_crc(seal);
}

static int is_settled(struct trace *trace, uint64_t first, uint64_t rows, int closing) {
    _Atomic uint8_t *kinds = COLUMN(trace, _Atomic uint8_t, KIND) + first;
    _Atomic int32_t *status = COLUMN(trace, _Atomic int32_t, STATUS) + first;
    /* In this order: the status of a row is E_PENDING only from the moment on that its kind is there. What is read of these
     * rows afterwards is what was written before. */
    for (uint64_t i = 0; i < rows; i++) {
        uint8_t kind = atomic_load_explicit(&kinds[i], memory_order_acquire);
        if (!kind || (kind == HDVLAB_LOST && !closing) || /* a lost row goes on counting */
            atomic_load_explicit(&status[i], memory_order_acquire) == E_PENDING)
            return 0;
    }
    return 1;
}

void trace_seal_ready(struct trace *trace, int closing) {
    uint64_t end = atomic_load(&trace->header->reserved), capacity = atomic_load(&trace->header->capacity);
    end = end < capacity ? end : capacity;
    if (closing && atomic_load(&trace->header->stopped) && atomic_load(&trace->lost_row) == end)
        end++; /* the lost row took the spare place */
    int gap = 0;
    for (uint64_t chunk = trace->next_seal; chunk * trace->chunk_rows < end; chunk++) {
        uint64_t first = chunk * trace->chunk_rows, rows = end - first;
        rows = rows < trace->chunk_rows ? rows : trace->chunk_rows;
        struct seal seal;
        if ((rows < trace->chunk_rows && !closing) || !is_settled(trace, first, rows, closing)) {
            gap = 1; /* looked at again later; the chunks behind it need not wait */
            continue;
        }
        if (!read_seal(trace, chunk, &seal)) {
            compute(trace, chunk, (uint32_t)rows, trace->payload_max, &seal);
            if (platform_file_write(trace->seal_file, chunk * sizeof seal, &seal, sizeof seal) != sizeof seal)
                return; /* no space: the chunk stays unsealed, which says less and harms nothing */
        }
        if (!gap)
            trace->next_seal = chunk + 1;
    }
}

static uint32_t check_chunk(struct trace *trace, uint64_t chunk, const struct seal *sealed) {
    uint64_t first = chunk * trace->chunk_rows;
    if (sealed->rows > trace->chunk_rows)
        return 2;
    if (first + sealed->rows > trace_rows_in_files(trace))
        return 4;
    struct seal now;
    compute(trace, chunk, sealed->rows, trace_payload_bytes(trace), &now);
    if (memcmp(now.column, sealed->column, sizeof now.column))
        return 2;
    return now.self == sealed->self ? 1 : 3;
}

HRESULT hdvlab_trace_verify(HDVLAB_TRACE handle, uint64_t chunk, uint32_t *state, uint32_t *rows) {
    if (!state || !rows)
        return E_POINTER;
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    struct seal sealed;
    int is_sealed = chunk < chunk_count(trace) && read_seal(trace, chunk, &sealed);
    *state = is_sealed ? check_chunk(trace, chunk, &sealed) : 0;
    *rows = is_sealed ? sealed.rows : 0;
    handle_release(handle);
    return S_OK;
}

HRESULT hdvlab_trace_settled(HDVLAB_TRACE handle, uint64_t from, uint64_t *rows) {
    if (!rows)
        return E_POINTER;
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    struct seal seal;
    *rows = from;
    for (uint64_t chunk = from / trace->chunk_rows; chunk < chunk_count(trace); chunk++) {
        if (!read_seal(trace, chunk, &seal) || seal.rows > trace->chunk_rows)
            break;
        uint64_t end = chunk * trace->chunk_rows + seal.rows;
        *rows = end > from ? end : from;
        if (seal.rows != trace->chunk_rows)
            break;
    }
    handle_release(handle);
    return S_OK;
}
