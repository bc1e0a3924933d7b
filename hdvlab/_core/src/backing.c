/* The files behind regions of guest RAM: each mapped once for all regions of a VM that are in it. */
#include "backing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct backed_file {
    struct backed_file *next;
    uint32_t references; /* regions; with the last the file goes */
    HANDLE file;
    uint64_t id[2], bytes;
    int is_writable, may_shrink;
    struct window window; /* of the whole file, unless it may shrink */
};

void backed_files_init(struct backed_files *files, int is_sharing) {
    pthread_mutex_init(&files->lock, NULL);
    files->first = NULL;
    files->is_sharing = is_sharing;
}

void backed_files_destroy(struct backed_files *files) { pthread_mutex_destroy(&files->lock); }

static void let_go(struct backed_files *files, struct backed_file *file) {
    pthread_mutex_lock(&files->lock);
    int is_last = --file->references == 0;
    for (struct backed_file **place = &files->first; is_last; place = &(*place)->next) {
        if (*place != file)
            continue;
        *place = file->next;
        break;
    }
    pthread_mutex_unlock(&files->lock);
    if (!is_last)
        return;
    platform_window_unmap(&file->window);
    platform_close(file->file);
    free(file);
}

void backing_close(struct backed_files *files, struct backing *b) {
    if (b->borrowed)
        return;
    if (b->shared) {
        let_go(files, b->shared);
        return;
    }
    platform_window_unmap(&b->window);
    platform_close(b->file);
}

/* One that is open already. Under the lock. */
static struct backed_file *find(struct backed_files *files, const struct backing *b, int is_writable, int may_shrink) {
    struct backed_file *file = files->first;
    while (file && (file->id[0] != b->file_id[0] || file->id[1] != b->file_id[1] || file->is_writable != is_writable ||
                    file->may_shrink != may_shrink || (!may_shrink && file->bytes < b->offset + b->bytes)))
        file = file->next;
    return file;
}

/* Opens one; NULL when it cannot be mapped whole: it may be larger than there are addresses. Takes the file then only. */
static struct backed_file *map_whole(const struct backing *b, int is_writable, int may_shrink) {
    struct backed_file *file = calloc(1, sizeof *file);
    if (!file)
        return NULL;
    *file = (struct backed_file){.file = b->file, .id = {b->file_id[0], b->file_id[1]}, .is_writable = is_writable,
                                 .may_shrink = may_shrink, .bytes = platform_file_bytes(b->file)};
    if (may_shrink || (file->bytes >= b->offset + b->bytes &&
                       !platform_window_map(file->file, 0, file->bytes, is_writable, &file->window)))
        return file;
    free(file);
    return NULL;
}

/* False: the backing needs a mapping of its own. */
static int share(struct backed_files *files, struct backing *b, int is_writable, int may_shrink) {
    if (!files->is_sharing || !(b->file_id[0] | b->file_id[1]))
        return 0;
    pthread_mutex_lock(&files->lock);
    struct backed_file *file = find(files, b, is_writable, may_shrink);
    if (file) {
        platform_close(b->file);
    } else if ((file = map_whole(b, is_writable, may_shrink))) {
        file->next = files->first;
        files->first = file;
    }
    if (file) {
        file->references++;
        b->shared = file;
        b->file = file->file;
        b->base = file->window.address ? (uint8_t *)file->window.address + b->offset : NULL;
    }
    pthread_mutex_unlock(&files->lock);
    return file != NULL;
}

HRESULT backing_open(struct backed_files *files, HANDLE file, uint64_t offset, uint64_t bytes, uint32_t flags,
                     struct backing *b) {
    struct section_source source;
    int is_writable = flags & HDVLAB_MEMORY_WRITE ? 1 : 0;
    HRESULT hr = platform_section_copy(file, is_writable, offset + bytes, &source);
    if (FAILED(hr))
        return hr;
    *b = (struct backing){.file = source.section, .offset = offset, .bytes = bytes};
    platform_object_id(source.section, b->file_id);
    if (share(files, b, is_writable, source.may_shrink) || source.may_shrink)
        return S_OK;
    int error = platform_window_map(source.section, offset, bytes, is_writable, &b->window);
    if (error) {
        platform_close(source.section);
        return error == EACCES || error == EPERM ? E_ACCESSDENIED : E_OUTOFMEMORY; /* EPERM: sealed */
    }
    b->base = b->window.address;
    return S_OK;
}

int backing_has(const struct backing *b, uint64_t from, uint64_t bytes) {
    return b->base || platform_file_bytes(b->file) >= b->offset + from + bytes;
}

HRESULT backing_copy(const struct backing *b, uint64_t at, uint64_t bytes, void *to, const void *from) {
    if (!b->base) {
        for (uint64_t done = 0, moved; done < bytes; done += moved) { /* the system may move less at a time */
            uint64_t place = b->offset + at + done;
            moved = to ? platform_file_read(b->file, place, (char *)to + done, bytes - done)
                       : platform_file_write(b->file, place, (const char *)from + done, bytes - done);
            if (!moved) /* cut short, or no space, in this very moment */
                return HRESULT_FROM_WIN32(ERROR_NOACCESS);
        }
        return S_OK;
    }
    if (to)
        memcpy(to, b->base + at, bytes);
    else
        memcpy(b->base + at, from, bytes);
    return S_OK;
}
