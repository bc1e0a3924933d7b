#include "trace_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "handle.h"

_Static_assert(sizeof(struct trace_header) <= HEADER_BYTES, "the header is one page");

void trace_close_files(struct trace *t) {
    pthread_mutex_lock(&t->grow_lock);
    pthread_mutex_lock(&t->file_lock);
    HANDLE *files[HDVLAB_COLUMN_COUNT + 3] = {&t->payload_file, &t->seal_file, &t->header_file};
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++)
        files[3 + i] = &t->file[i];
    for (int i = 0; i < HDVLAB_COLUMN_COUNT + 3; i++) {
        platform_close(*files[i]);
        *files[i] = NO_HANDLE;
    }
    pthread_mutex_unlock(&t->file_lock);
    pthread_mutex_unlock(&t->grow_lock);
}

void trace_destroy(void *object) {
    struct trace *t = object;
    trace_close_files(t);
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++)
        if (t->column[i])
            platform_file_unmap(t->column[i], t->max_rows * trace_columns[i].width);
    if (t->payload)
        platform_file_unmap(t->payload, t->payload_max);
    if (t->header)
        platform_file_unmap(t->header, HEADER_BYTES);
    pthread_mutex_destroy(&t->grow_lock);
    pthread_mutex_destroy(&t->file_lock);
    pthread_mutex_destroy(&t->helper_lock);
    pthread_cond_destroy(&t->helper_wake);
    free(t);
}

struct trace *trace_make(int writable) {
    struct trace *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++)
        t->file[i] = NO_HANDLE;
    t->payload_file = t->header_file = t->seal_file = NO_HANDLE;
    t->writable = writable;
    pthread_mutex_init(&t->grow_lock, NULL);
    pthread_mutex_init(&t->file_lock, NULL);
    pthread_mutex_init(&t->helper_lock, NULL);
    pthread_cond_init(&t->helper_wake, NULL);
    return t;
}

int trace_map_columns(struct trace *t, const char *directory) {
    int error = 0;
    for (int i = 0; i < HDVLAB_COLUMN_COUNT && !error; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.col", trace_columns[i].name);
        if (!(error = platform_file_open(directory, name, t->writable, &t->file[i])))
            t->column[i] = platform_file_map(t->file[i], t->max_rows * trace_columns[i].width, t->writable, &error);
    }
    t->payload_max = PAYLOAD_LEAST + t->max_rows * 64;
    if (!error && !(error = platform_file_open(directory, "payload.bin", t->writable, &t->payload_file)))
        t->payload = platform_file_map(t->payload_file, t->payload_max, t->writable, &error);
    return error ? error : platform_file_open(directory, "seals.bin", t->writable, &t->seal_file);
}

uint32_t trace_header_crc(const struct trace_header *header) {
    return crc32c(0, &header->schema, offsetof(struct trace_header, crc) - offsetof(struct trace_header, schema));
}

uint32_t trace_totals_crc(const struct trace_header *header) {
    return crc32c(0, &header->totals, offsetof(struct trace_totals, crc));
}

int trace_grow(struct trace *t, uint64_t rows) {
    uint64_t have = atomic_load(&t->header->capacity);
    have = have ? have + 1 : 0; /* with the spare row */
    if (rows + 1 > t->max_rows)
        return ENOBUFS;
    uint64_t want = (rows + 1 + t->chunk_rows - 1) / t->chunk_rows * t->chunk_rows;
    want = want < t->max_rows ? want : t->max_rows;
    if (want <= have)
        return 0;
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++) {
        uint64_t width = trace_columns[i].width;
        int error = platform_file_reserve(t->file[i], have * width, (want - have) * width);
        if (error)
            return error;
    }
    atomic_store_explicit(&t->header->capacity, want - 1, memory_order_release);
    return 0;
}

void trace_give_back_tail(struct trace *t) {
    uint64_t capacity = atomic_load(&t->header->capacity) + 1, rows = atomic_load(&t->header->reserved);
    rows += 1024; /* each thread that saw the recording go on may still write one */
    for (int i = 0; i < HDVLAB_COLUMN_COUNT && rows < capacity; i++) {
        uint64_t width = trace_columns[i].width, start = (rows * width + 4095) & ~4095ull;
        if (start < capacity * width) /* only frees disk space: where the file system cannot, nothing is wrong */
            platform_file_release(t->file[i], start, capacity * width - start);
    }
}

HRESULT trace_hresult_of(int error) {
    switch (error) {
    case ENOENT: return HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    case EEXIST: return HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
    case EACCES:
    case EROFS:
    case EPERM: return E_ACCESSDENIED;
    case ENOSPC:
    case EFBIG: return HRESULT_FROM_WIN32(ERROR_DISK_FULL);
    case ENOBUFS: return HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA); /* max_rows */
    case ENOMEM: return E_OUTOFMEMORY;
    case EMFILE:
    case ENFILE: return HRESULT_FROM_WIN32(ERROR_TOO_MANY_OPEN_FILES);
    default: return E_FAIL;
    }
}

/* Removes what a creation that failed has made, so that it can be tried again. Every file was new. */
static void remove_files(struct trace *t, const char *directory) {
    for (int i = 0; i < HDVLAB_COLUMN_COUNT + 3; i++) {
        static const char *const others[] = {"header.bin", "payload.bin", "seals.bin"};
        const HANDLE file[] = {t->header_file, t->payload_file, t->seal_file};
        int is_column = i < HDVLAB_COLUMN_COUNT, other = i - HDVLAB_COLUMN_COUNT;
        if ((is_column ? t->file[i] : file[other]) == NO_HANDLE)
            continue;
        char name[32];
        snprintf(name, sizeof name, "%s%s", is_column ? trace_columns[i].name : others[other], is_column ? ".col" : "");
        platform_file_remove(directory, name);
    }
}

/* A child has no part in the recording: it writes no row, and the lock that says that the writer lives is not kept by a
 * child that outlives it. */
static void leave_to_parent(void *object) {
    struct trace *t = object;
    if (!t->writable)
        return;
    atomic_store(&t->state, TRACE_CLOSED);
    t->is_parents = 1;
    platform_close(t->header_file);
    t->header_file = NO_HANDLE;
    int error = 0; /* the mapping keeps the file open, and so its lock */
    struct trace_header *copy = platform_file_map(NO_HANDLE, HEADER_BYTES, 1, &error);
    if (!copy)
        return;
    memcpy(copy, t->header, HEADER_BYTES);
    platform_file_unmap(t->header, HEADER_BYTES);
    t->header = copy;
}

HRESULT hdvlab_trace_create(const char *path, uint64_t max_rows, uint32_t chunk_rows, uint32_t clock,
                            HDVLAB_TRACE *trace) {
    if (!path || !trace)
        return E_POINTER;
    if (!chunk_rows || chunk_rows & (chunk_rows - 1) || chunk_rows < 64 || max_rows < chunk_rows ||
        max_rows > MAX_ROWS || clock > HDVLAB_CLOCK_MANUAL)
        return E_INVALIDARG;
    int error = platform_directory_create(path), made = !error;
    if (error && error != EEXIST)
        return trace_hresult_of(error);
    struct trace *t = trace_make(1);
    if (!t)
        return E_OUTOFMEMORY;
    if (!(error = platform_file_open(path, "header.bin", 1, &t->header_file)) &&
        !(error = platform_file_reserve(t->header_file, 0, HEADER_BYTES)))
        t->header = platform_file_map(t->header_file, HEADER_BYTES, 1, &error);
    if (!error) {
        struct trace_header *h = t->header;
        handle_on_fork(HANDLE_TRACE, leave_to_parent);
        platform_lock_take(t->header_file);
        h->schema = TRACE_SCHEMA;
        h->byte_order = 0x01020304;
        h->max_rows = t->max_rows = max_rows;
        h->chunk_rows = t->chunk_rows = chunk_rows;
        clock_start(&t->clock, clock);
        h->clock = t->clock;
        h->wall_ns = platform_wall_ns();
        h->crc = trace_header_crc(h);
        error = trace_map_columns(t, path);
    }
    if (!error)
        error = trace_grow(t, 1);
    if (!error) {
        atomic_store(&t->state, TRACE_RECORDING);
        memcpy(t->header->magic, TRACE_MAGIC, 8); /* last: an attacher that sees it sees the rest */
        error = trace_helper_start(t);
    }
    if (!error && !(*trace = handle_create(HANDLE_TRACE, t, trace_destroy)))
        error = ENOMEM;
    if (error) {
        trace_helper_stop(t);
        remove_files(t, path);
        if (made)
            platform_directory_remove(path);
        trace_destroy(t);
        return trace_hresult_of(error);
    }
    return S_OK;
}
