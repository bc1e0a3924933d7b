/* Guest RAM that comes and goes: hdvlab_memory_map, hdvlab_memory_unmap, and copies across regions. */
#include "memory_map.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "backing.h"
#include "handle.h"
#include "system.h"

#define PAGE 4096ull
#define REGION_QUOTA 1024u
#define REGION_BYTES_MAX (8ull << 40)

struct region {
    uint64_t gpa, last; /* last byte, for a region may end at 2^64 */
    uint32_t flags;
    struct backing backing;
};

struct memory_map {
    pthread_rwlock_t lock; /* read: who copies or maps; write: who changes the table */
    struct region *regions[REGION_QUOTA]; /* by address */
    uint32_t count;
    int may_span;
    struct backed_files files;
    _Atomic uint32_t more, references;
};

/* ---- the table ---------------------------------------------------------------------------------------------------- */

HRESULT memory_map_create(int may_span, struct memory_map **map) {
    if (!(*map = calloc(1, sizeof **map)))
        return E_OUTOFMEMORY;
    (*map)->may_span = may_span;
    backed_files_init(&(*map)->files, may_span);
    atomic_init(&(*map)->references, 1);
    pthread_rwlockattr_t how;
    pthread_rwlockattr_init(&how);
#ifdef __GLIBC__ /* else a guest that copies without end keeps a region from ever ending */
    pthread_rwlockattr_setkind_np(&how, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    pthread_rwlock_init(&(*map)->lock, &how);
    pthread_rwlockattr_destroy(&how);
    return S_OK;
}

void memory_map_retain(struct memory_map *map) { atomic_fetch_add(&map->references, 1); }

void memory_map_release(struct memory_map *map) {
    if (!map || atomic_fetch_sub(&map->references, 1) != 1)
        return;
    for (uint32_t i = 0; i < map->count; i++) {
        backing_close(&map->files, &map->regions[i]->backing);
        free(map->regions[i]);
    }
    backed_files_destroy(&map->files);
    pthread_rwlock_destroy(&map->lock);
    free(map);
}

int memory_map_has_more(const struct memory_map *map) {
    return atomic_load_explicit(&map->more, memory_order_acquire) != 0;
}

void memory_map_hold(struct memory_map *map) { pthread_rwlock_rdlock(&map->lock); }
void memory_map_let_go(struct memory_map *map) { pthread_rwlock_unlock(&map->lock); }

/* How many regions begin at or below the address. */
static uint32_t up_to(const struct memory_map *map, uint64_t gpa) {
    uint32_t low = 0, high = map->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->regions[middle]->gpa <= gpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct region *find(const struct memory_map *map, uint64_t gpa) {
    uint32_t index = up_to(map, gpa);
    return index && map->regions[index - 1]->last >= gpa ? map->regions[index - 1] : NULL;
}

static HRESULT insert(struct memory_map *map, const struct region *new) {
    uint32_t index = up_to(map, new->gpa);
    if (index) {
        const struct region *before = map->regions[index - 1];
        const struct backing *a = &before->backing, *b = &new->backing;
        if (!a->borrowed && before->gpa == new->gpa && before->last == new->last && before->flags == new->flags &&
            a->offset == b->offset &&
            ((a->file == NO_HANDLE && b->file == NO_HANDLE) || platform_is_same_object(a->file, b->file)))
            return MEMORY_MAP_SAME; /* the very same again */
        if (before->last >= new->gpa)
            return HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
    }
    if (index < map->count && map->regions[index]->gpa <= new->last)
        return HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
    if (map->count == REGION_QUOTA)
        return HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
    struct region *region = malloc(sizeof *region);
    if (!region)
        return E_OUTOFMEMORY;
    *region = *new;
    memmove(map->regions + index + 1, map->regions + index, (map->count - index) * sizeof *map->regions);
    map->regions[index] = region;
    map->count++;
    if (!new->backing.borrowed)
        atomic_fetch_add(&map->more, 1);
    return S_OK;
}

HRESULT memory_map_add_own(struct memory_map *map, uint64_t gpa, uint64_t bytes, HANDLE memory, uint64_t offset,
                           uint8_t *base) {
    struct region own = {.gpa = gpa, .last = gpa + bytes - 1, .flags = HDVLAB_MEMORY_READ | HDVLAB_MEMORY_WRITE,
                         .backing = {.file = memory, .offset = offset, .bytes = bytes, .base = base, .borrowed = 1}};
    return insert(map, &own);
}

HRESULT memory_map_add(struct memory_map *map, uint64_t gpa, uint64_t bytes, HANDLE file, uint64_t file_offset,
                       uint32_t flags) {
    struct region new = {.gpa = gpa, .last = gpa + bytes - 1, .flags = flags};
    if (!bytes || bytes > REGION_BYTES_MAX || (gpa | bytes | file_offset) % PAGE || !flags ||
        flags & ~(HDVLAB_MEMORY_READ | HDVLAB_MEMORY_WRITE))
        return E_INVALIDARG;
    if (new.last < gpa || file_offset > INT64_MAX - bytes)
        return HRESULT_FROM_WIN32(ERROR_ARITHMETIC_OVERFLOW);
    HRESULT hr = file == NO_HANDLE ? S_OK : backing_open(&map->files, file, file_offset, bytes, flags, &new.backing);
    if (file == NO_HANDLE)
        new.backing = (struct backing){.file = NO_HANDLE, .bytes = bytes};
    if (FAILED(hr))
        return hr;
    pthread_rwlock_wrlock(&map->lock);
    hr = insert(map, &new);
    pthread_rwlock_unlock(&map->lock);
    if (hr != S_OK)
        backing_close(&map->files, &new.backing);
    return hr;
}

HRESULT memory_map_remove(struct memory_map *map, uint64_t gpa, uint64_t bytes, struct system *apertures_of,
                          uint64_t *file_bytes) {
    HRESULT hr = S_OK;
    pthread_rwlock_wrlock(&map->lock); /* copies that run end first; none begins */
    uint32_t index = up_to(map, gpa);
    struct region *region = index ? map->regions[index - 1] : NULL;
    if (!region || region->gpa != gpa || !bytes || region->last - gpa != bytes - 1)
        hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    else if (region->backing.borrowed)
        hr = E_ACCESSDENIED;
    if (hr == S_OK) {
        memmove(map->regions + index - 1, map->regions + index, (map->count - index) * sizeof *map->regions);
        map->count--;
        atomic_fetch_sub(&map->more, 1);
        if (apertures_of)
            apertures_end_in(apertures_of, gpa, region->last);
    }
    pthread_rwlock_unlock(&map->lock);
    if (hr == S_OK) {
        if (file_bytes)
            *file_bytes = region->backing.file == NO_HANDLE ? 0 : bytes;
        backing_close(&map->files, &region->backing);
        free(region);
    }
    return hr;
}

void memory_map_remove_all(struct memory_map *map, struct system *apertures_of) {
    pthread_rwlock_wrlock(&map->lock);
    while (map->count) {
        struct region *region = map->regions[--map->count];
        if (apertures_of)
            apertures_end_in(apertures_of, region->gpa, region->last);
        backing_close(&map->files, &region->backing);
        free(region);
    }
    atomic_store(&map->more, 0);
    pthread_rwlock_unlock(&map->lock);
}

/* How much of the range from `done` on this region has. */
static uint64_t part_of(const struct region *region, uint64_t gpa, uint64_t done, uint64_t bytes) {
    uint64_t there = region->last - (gpa + done) + 1;
    return there < bytes - done ? there : bytes - done;
}

static HRESULT may_copy(const struct memory_map *map, uint64_t gpa, uint64_t bytes, uint32_t flag) {
    HRESULT hr = bytes || find(map, gpa) ? S_OK : HRESULT_FROM_WIN32(ERROR_NOACCESS);
    for (uint64_t done = 0, part; done < bytes; done += part) {
        const struct region *region = find(map, gpa + done);
        if (!region)
            return HRESULT_FROM_WIN32(ERROR_NOACCESS);
        part = part_of(region, gpa, done, bytes);
        if (!backing_has(&region->backing, gpa + done - region->gpa, part))
            return HRESULT_FROM_WIN32(ERROR_NOACCESS);
        if (!(region->flags & flag))
            hr = E_ACCESSDENIED;
    }
    return hr;
}

/* Held, and it may. */
static HRESULT copy_parts(const struct memory_map *map, uint64_t gpa, uint64_t bytes, void *to, const void *from) {
    HRESULT hr = S_OK;
    for (uint64_t done = 0, part; done < bytes && hr == S_OK; done += part) {
        const struct region *region = find(map, gpa + done);
        part = part_of(region, gpa, done, bytes);
        hr = backing_copy(&region->backing, gpa + done - region->gpa, part, to ? (char *)to + done : NULL,
                          from ? (const char *)from + done : NULL);
    }
    return hr;
}

/* Whether a file may be cut while it is being copied from. */
static int may_be_cut(const struct memory_map *map, uint64_t gpa, uint64_t bytes) {
    for (uint64_t done = 0; done < bytes;) {
        const struct region *region = find(map, gpa + done);
        if (!region->backing.base)
            return 1;
        done += part_of(region, gpa, done, bytes);
    }
    return 0;
}

HRESULT memory_map_copy(struct memory_map *map, uint64_t gpa, uint64_t bytes, void *to, const void *from) {
    if (bytes && gpa + bytes - 1 < gpa)
        return HRESULT_FROM_WIN32(ERROR_NOACCESS);
    void *first = NULL;
    memory_map_hold(map);
    HRESULT hr = may_copy(map, gpa, bytes, to ? HDVLAB_MEMORY_READ : HDVLAB_MEMORY_WRITE);
    if (hr == S_OK && to && may_be_cut(map, gpa, bytes)) { /* then all of it is had before the caller gets any */
        hr = (first = malloc(bytes)) ? copy_parts(map, gpa, bytes, first, NULL) : E_OUTOFMEMORY;
        if (hr == S_OK)
            memcpy(to, first, bytes);
        free(first);
    } else if (hr == S_OK) {
        hr = copy_parts(map, gpa, bytes, to, from);
    }
    memory_map_let_go(map);
    return hr;
}

int memory_map_is_remote(struct memory_map *map, uint64_t gpa, uint64_t bytes, uint32_t flag) {
    int is_remote = bytes != 0 && bytes - 1 <= UINT64_MAX - gpa;
    memory_map_hold(map);
    for (uint64_t done = 0; is_remote && done < bytes;) {
        const struct region *region = find(map, gpa + done);
        is_remote = region && region->backing.file == NO_HANDLE && region->flags & flag;
        if (is_remote)
            done += part_of(region, gpa, done, bytes);
    }
    memory_map_let_go(map);
    return is_remote;
}

HRESULT memory_map_locate(struct memory_map *map, uint64_t gpa, uint64_t bytes, struct memory_place *place) {
    const struct region *region = find(map, gpa);
    if (!region || !bytes || bytes - 1 > UINT64_MAX - gpa || (region->backing.file == NO_HANDLE && !region->backing.base))
        return HRESULT_FROM_WIN32(ERROR_NOACCESS);
    *place = (struct memory_place){.memory = region->backing.file,
                                   .offset = region->backing.offset + (gpa - region->gpa),
                                   .file_id = {region->backing.file_id[0], region->backing.file_id[1]},
                                   .flags = region->flags,
                                   .stable = region->backing.base != NULL};
    for (uint64_t done = part_of(region, gpa, 0, bytes); done < bytes; done += part_of(region, gpa, done, bytes)) {
        region = find(map, gpa + done); /* a VM maps one file in pieces, at borders that come and go */
        if (!map->may_span || !region || region->backing.borrowed || !(place->file_id[0] | place->file_id[1]) ||
            region->backing.file_id[0] != place->file_id[0] || region->backing.file_id[1] != place->file_id[1] ||
            region->backing.offset + (gpa + done - region->gpa) != place->offset + done)
            return HRESULT_FROM_WIN32(ERROR_NOACCESS);
        place->flags &= region->flags;
        place->stable = place->stable && region->backing.base;
    }
    return S_OK;
}

/* ---- from outside ------------------------------------------------------------------------------------------------- */

/* The system with a reference and a map to change, or why not. */
static struct system *acquire(HCS_SYSTEM handle, HRESULT *hr) {
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    *hr = system ? S_OK : handle_refusal(handle);
    if (system && !system->memory) { /* the machine is elsewhere */
        handle_release(handle);
        *hr = E_NOTIMPL;
        return NULL;
    }
    return system;
}

HRESULT hdvlab_memory_map(HCS_SYSTEM handle, uint64_t gpa, uint64_t bytes, HANDLE file, uint64_t file_offset,
                          uint32_t flags) {
    HRESULT hr;
    struct system *system = acquire(handle, &hr);
    if (!system)
        return hr;
    hr = file == NO_HANDLE ? E_HANDLE : memory_map_add(system->memory, gpa, bytes, file, file_offset, flags);
    handle_release(handle);
    return FAILED(hr) ? hr : S_OK;
}

HRESULT hdvlab_memory_unmap(HCS_SYSTEM handle, uint64_t gpa, uint64_t bytes) {
    HRESULT hr;
    struct system *system = acquire(handle, &hr);
    if (!system)
        return hr;
    hr = memory_map_remove(system->memory, gpa, bytes, system, NULL);
    handle_release(handle);
    return hr;
}
