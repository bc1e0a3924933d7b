/* Section-backed MMIO: pages of a BAR that are memory, shared with whoever holds the section. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device.h"
#include "handle.h"
#include "system.h"

#define PAGE 4096ull

static void tap(struct device *device, uint32_t kind, uint32_t bar, uint64_t offset, uint64_t length, HRESULT hr) {
    struct row r = {.kind = (uint8_t)kind, .origin = HDVLAB_DEVICE, .device = device->index,
                    .bar = (int8_t)(bar < HDV_PCI_BAR_COUNT ? (int)bar : -1), .address = offset, .value = length,
                    .cause = thread_context.cause};
    trace_event(device->system->trace, &r, hr);
}

static void drop(struct section *section) {
    if (section->map)
        munmap(section->map, section->length);
    if (section->fd >= 0)
        close(section->fd);
    free(section);
}

/* The new section on S_OK. */
static HRESULT make(const struct device *device, uint32_t bar, uint64_t offset, uint64_t length, int flags,
                    int section_fd, uint64_t file_offset, struct section **made) {
    if (bar >= HDV_PCI_BAR_COUNT || !length || flags & ~3 || device->bar_size[bar] < PAGE ||
        length > device->bar_size[bar] / PAGE || length > INT64_MAX / PAGE || offset > device->bar_size[bar] / PAGE - length ||
        file_offset > INT64_MAX / PAGE - length)
        return E_INVALIDARG;
    struct stat file;
    if (fstat(section_fd, &file))
        return E_HANDLE;
    if (!S_ISREG(file.st_mode) || (uint64_t)file.st_size < (file_offset + length) * PAGE)
        return E_INVALIDARG;
    int mode = fcntl(section_fd, F_GETFL) & O_ACCMODE;
    if (mode == O_WRONLY || (flags & HdvMmioMappingFlagWriteable && mode != O_RDWR))
        return E_ACCESSDENIED;
    struct section *s = calloc(1, sizeof *s);
    if (!s)
        return E_OUTOFMEMORY;
    *s = (struct section){.bar = bar, .writable = flags & HdvMmioMappingFlagWriteable, .offset = offset * PAGE,
                          .length = length * PAGE, .file_offset = file_offset * PAGE};
    if ((s->fd = fcntl(section_fd, F_DUPFD_CLOEXEC, 3)) < 0) {
        free(s);
        return HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
    }
    int seals = fcntl(s->fd, F_GET_SEALS);
    if (seals >= 0 && seals & F_SEAL_SHRINK) { /* only then can the pages not vanish under the mapping */
        void *map = mmap(NULL, s->length, s->writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, s->fd,
                         (off_t)s->file_offset);
        if (map == MAP_FAILED) {
            HRESULT hr = errno == EACCES || errno == EPERM ? E_ACCESSDENIED : E_OUTOFMEMORY; /* EPERM: sealed */
            drop(s);
            return hr;
        }
        s->map = map;
    }
    *made = s;
    return S_OK;
}

static HRESULT create_section(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t pages, int flags,
                              HANDLE file, uint64_t file_offset_pages) {
    struct section *section = NULL;
    int state = atomic_load(&device->state); /* from Start on: that is where a device lays out its BARs */
    if (state != DEVICE_STARTING && state != DEVICE_RUNNING)
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    HRESULT hr = make(device, bar, offset_pages, pages, flags, (int)(intptr_t)file, file_offset_pages, &section);
    if (FAILED(hr))
        return hr;
    pthread_mutex_lock(&device->tables_lock);
    for (struct section *s = device->sections; s; s = s->next)
        if (s->bar == bar && section->offset < s->offset + s->length && s->offset < section->offset + section->length)
            hr = HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
    if (hr == S_OK) {
        section->next = device->sections;
        device->sections = section;
        atomic_fetch_add_explicit(&device->section_count, 1, memory_order_release);
    }
    pthread_mutex_unlock(&device->tables_lock);
    if (FAILED(hr))
        drop(section);
    return hr;
}

HRESULT HdvCreateSectionBackedMmioRange(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR barIndex, UINT64 offsetInPages,
                                        UINT64 lengthInPages, HDV_MMIO_MAPPING_FLAGS MappingFlags,
                                        HANDLE sectionHandle, UINT64 sectionOffsetInPages) {
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return E_HANDLE;
    const struct system_ops *ops = device->system->ops;
    HRESULT hr = (ops->create_section ? ops->create_section : create_section)(
        device, (uint32_t)barIndex, offsetInPages, lengthInPages, MappingFlags, sectionHandle, sectionOffsetInPages);
    tap(device, HDVLAB_SECTION_MAP, (uint32_t)barIndex, offsetInPages * PAGE, lengthInPages * PAGE, hr);
    handle_release(requestor);
    return hr;
}

static HRESULT destroy_section(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t *pages) {
    struct section *found = NULL;
    pthread_mutex_lock(&device->tables_lock);
    for (struct section **s = &device->sections; *s; s = &(*s)->next)
        if ((*s)->bar == bar && (*s)->offset / PAGE == offset_pages) {
            found = *s;
            *s = found->next;
            atomic_fetch_sub(&device->section_count, 1);
            break;
        }
    pthread_mutex_unlock(&device->tables_lock);
    if (!found)
        return HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    *pages = found->length / PAGE;
    drop(found);
    return S_OK;
}

HRESULT HdvDestroySectionBackedMmioRange(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR barIndex, UINT64 offsetInPages) {
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return E_HANDLE;
    const struct system_ops *ops = device->system->ops;
    uint64_t pages = 0;
    HRESULT hr = (ops->destroy_section ? ops->destroy_section : destroy_section)(device, (uint32_t)barIndex,
                                                                                 offsetInPages, &pages);
    tap(device, HDVLAB_SECTION_UNMAP, (uint32_t)barIndex, offsetInPages * PAGE, pages * PAGE, hr);
    handle_release(requestor);
    return hr;
}

static HRESULT transfer(const struct section *s, int write, uint64_t place, uint32_t size, uint64_t *value) {
    if (write && !s->writable)
        return E_ACCESSDENIED;
    if (s->map) {
        volatile uint8_t *at = s->map + place;
        switch (size) { /* one load or store each, as a guest's own would be */
        case 1: write ? (void)(*at = (uint8_t)*value) : (void)(*value = *at); break;
        case 2: write ? (void)(*(volatile uint16_t *)at = (uint16_t)*value) : (void)(*value = *(volatile uint16_t *)at); break;
        case 4: write ? (void)(*(volatile uint32_t *)at = (uint32_t)*value) : (void)(*value = *(volatile uint32_t *)at); break;
        default: write ? (void)(*(volatile uint64_t *)at = *value) : (void)(*value = *(volatile uint64_t *)at); break;
        }
        return S_OK;
    }
    off_t at = (off_t)(s->file_offset + place);
    if (write)
        return pwrite(s->fd, value, size, at) == (ssize_t)size ? S_OK : HRESULT_FROM_WIN32(ERROR_NOACCESS);
    uint64_t read = 0;
    if (pread(s->fd, &read, size, at) != (ssize_t)size)
        return HRESULT_FROM_WIN32(ERROR_NOACCESS);
    *value = read;
    return S_OK;
}

int section_access(struct device *device, int write, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value,
                   HRESULT *status) {
    int found = 0;
    pthread_mutex_lock(&device->tables_lock);
    for (struct section *s = device->sections; s && !found; s = s->next)
        if (s->bar == bar && offset >= s->offset && offset - s->offset <= s->length - size) {
            found = 1;
            *status = offset % size ? E_INVALIDARG : transfer(s, write, offset - s->offset, size, value);
        }
    pthread_mutex_unlock(&device->tables_lock);
    return found;
}

void sections_drop(struct device *device) {
    pthread_mutex_lock(&device->tables_lock);
    struct section *section = device->sections;
    device->sections = NULL;
    atomic_store(&device->section_count, 0);
    pthread_mutex_unlock(&device->tables_lock);
    while (section) {
        struct section *next = section->next;
        tap(device, HDVLAB_SECTION_UNMAP, section->bar, section->offset, section->length, S_OK);
        drop(section);
        section = next;
    }
}
