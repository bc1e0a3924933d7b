#include "trace_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "handle.h"

_Static_assert(sizeof(struct trace_header) <= HEADER_BYTES, "the header is one page");

void trace_close_files(struct trace *t) {
    pthread_mutex_lock(&t->grow_lock);
    pthread_mutex_lock(&t->file_lock);
    int *files[HDVLAB_COLUMN_COUNT + 3] = {&t->payload_fd, &t->seal_fd, &t->header_fd};
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++)
        files[3 + i] = &t->fd[i];
    for (int i = 0; i < HDVLAB_COLUMN_COUNT + 3; i++) {
        if (*files[i] >= 0)
            close(*files[i]);
        *files[i] = -1;
    }
    pthread_mutex_unlock(&t->file_lock);
    pthread_mutex_unlock(&t->grow_lock);
}

void trace_destroy(void *object) {
    struct trace *t = object;
    trace_close_files(t);
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++)
        if (t->column[i])
            munmap(t->column[i], t->max_rows * trace_columns[i].width);
    if (t->payload)
        munmap(t->payload, t->payload_max);
    if (t->header)
        munmap(t->header, HEADER_BYTES);
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
        t->fd[i] = -1;
    t->payload_fd = t->header_fd = t->seal_fd = -1;
    t->writable = writable;
    pthread_mutex_init(&t->grow_lock, NULL);
    pthread_mutex_init(&t->file_lock, NULL);
    pthread_mutex_init(&t->helper_lock, NULL);
    pthread_cond_init(&t->helper_wake, NULL);
    return t;
}

int trace_open_in(const char *directory, const char *name, int flags) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC, 0600);
}

/* Maps more than the file holds: pages behind its end become usable as the file grows, without mapping again. */
void *trace_map_file(int fd, uint64_t bytes, int writable) {
    void *base = mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                      fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
    return base == MAP_FAILED ? NULL : base;
}

int trace_map_columns(struct trace *t, const char *directory) {
    int flags = t->writable ? O_RDWR | O_CREAT | O_EXCL : O_RDONLY;
    for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.col", trace_columns[i].name);
        if ((t->fd[i] = trace_open_in(directory, name, flags)) < 0 ||
            !(t->column[i] = trace_map_file(t->fd[i], t->max_rows * trace_columns[i].width, t->writable)))
            return errno;
    }
    t->payload_max = PAYLOAD_LEAST + t->max_rows * 64;
    if ((t->payload_fd = trace_open_in(directory, "payload.bin", flags)) < 0 ||
        !(t->payload = trace_map_file(t->payload_fd, t->payload_max, t->writable)) ||
        (t->seal_fd = trace_open_in(directory, "seals.bin", flags)) < 0)
        return errno;
    return 0;
}

int trace_allocate(int fd, uint64_t offset, uint64_t bytes) {
    int error;
    do
        error = posix_fallocate(fd, (off_t)offset, (off_t)bytes);
    while (error == EINTR); /* some file systems give up for any signal, such as Ctrl-C */
    return error;
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
        int error = trace_allocate(t->fd[i], have * width, (want - have) * width);
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
            (void)fallocate(t->fd[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
                            (off_t)(capacity * width - start));
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
    case EFBIG:
    case EDQUOT: return HRESULT_FROM_WIN32(ERROR_DISK_FULL);
    case ENOBUFS: return HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA); /* max_rows */
    case ENOMEM: return E_OUTOFMEMORY;
    case EMFILE:
    case ENFILE: return HRESULT_FROM_WIN32(ERROR_TOO_MANY_OPEN_FILES);
    default: return E_FAIL;
    }
}

/* Removes what a creation that failed has made, so that it can be tried again. Every file was new. */
static void remove_files(struct trace *t, const char *directory) {
    char path[4096];
    for (int i = 0; i < HDVLAB_COLUMN_COUNT + 3; i++) {
        static const char *const others[] = {"header.bin", "payload.bin", "seals.bin"};
        const int fd[] = {t->header_fd, t->payload_fd, t->seal_fd};
        int is_column = i < HDVLAB_COLUMN_COUNT, other = i - HDVLAB_COLUMN_COUNT;
        if ((is_column ? t->fd[i] : fd[other]) < 0)
            continue;
        snprintf(path, sizeof path, "%s/%s%s", directory, is_column ? trace_columns[i].name : others[other],
                 is_column ? ".col" : "");
        (void)unlink(path);
    }
}

HRESULT hdvlab_trace_create(const char *path, uint64_t max_rows, uint32_t chunk_rows, uint32_t clock,
                            HDVLAB_TRACE *trace) {
    if (!path || !trace)
        return E_POINTER;
    if (!chunk_rows || chunk_rows & (chunk_rows - 1) || chunk_rows < 64 || max_rows < chunk_rows ||
        max_rows > MAX_ROWS || clock > HDVLAB_CLOCK_MANUAL)
        return E_INVALIDARG;
    int made = !mkdir(path, 0700);
    if (!made && errno != EEXIST)
        return trace_hresult_of(errno);
    struct trace *t = trace_make(1);
    if (!t)
        return E_OUTOFMEMORY;
    int error = 0;
    if ((t->header_fd = trace_open_in(path, "header.bin", O_RDWR | O_CREAT | O_EXCL)) < 0)
        error = errno;
    else if (!(error = trace_allocate(t->header_fd, 0, HEADER_BYTES)) &&
             !(t->header = trace_map_file(t->header_fd, HEADER_BYTES, 1)))
        error = errno;
    if (!error) {
        struct trace_header *h = t->header;
        flock(t->header_fd, LOCK_EX | LOCK_NB); /* held while the writer lives: the kernel drops it when it dies */
        h->schema = TRACE_SCHEMA;
        h->byte_order = 0x01020304;
        h->max_rows = t->max_rows = max_rows;
        h->chunk_rows = t->chunk_rows = chunk_rows;
        clock_start(&t->clock, clock);
        h->clock = t->clock;
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        h->wall_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
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
            (void)rmdir(path);
        trace_destroy(t);
        return trace_hresult_of(error);
    }
    return S_OK;
}
