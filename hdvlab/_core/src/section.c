/* Section-backed MMIO: pages of a BAR that are memory, shared with whoever holds the section. */
#include <errno.h>
#include <stdlib.h>

#include "device.h"
#include "handle.h"
#include "system.h"
#include "tap.h"

#define PAGE 4096ull

static void tap(struct device *device, uint32_t kind, uint32_t bar, uint64_t offset, uint64_t length, HRESULT hr) {
    struct row r = device_row(device, kind, bar, offset, 0, length);
    trace_event(device->system->trace, &r, hr);
}

static void drop(struct section *section) {
    platform_window_unmap(&section->window);
    platform_close(section->file);
    free(section);
}

/* The new section on S_OK. */
static HRESULT make(const struct device *device, uint32_t bar, uint64_t offset, uint64_t length, int flags,
                    HANDLE file, uint64_t file_offset, struct section **made) {
    if (bar >= HDV_PCI_BAR_COUNT || !length || flags & ~3 || device->bar_size[bar] < PAGE ||
        length > device->bar_size[bar] / PAGE || length > INT64_MAX / PAGE || offset > device->bar_size[bar] / PAGE - length ||
        file_offset > INT64_MAX / PAGE - length)
        return E_INVALIDARG;
    struct section *s = calloc(1, sizeof *s);
    if (!s)
        return E_OUTOFMEMORY;
    *s = (struct section){.bar = bar, .writable = flags & HdvMmioMappingFlagWriteable, .offset = offset * PAGE,
                          .length = length * PAGE, .file_offset = file_offset * PAGE, .file = NO_HANDLE};
    struct section_source source = {.section = NO_HANDLE};
    HRESULT hr = platform_section_copy(file, s->writable, (file_offset + length) * PAGE, &source);
    s->file = source.section;
    if (hr == S_OK && !source.may_shrink) {
        int error = platform_window_map(s->file, s->file_offset, s->length, s->writable, &s->window);
        if (error)
            hr = error == EACCES || error == EPERM ? E_ACCESSDENIED : E_OUTOFMEMORY; /* EPERM: sealed */
        s->map = s->window.address;
    }
    if (FAILED(hr)) {
        drop(s);
        return hr;
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
    HRESULT hr = make(device, bar, offset_pages, pages, flags, file, file_offset_pages, &section);
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
        return handle_refusal(requestor);
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
        return handle_refusal(requestor);
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
    uint64_t at = s->file_offset + place;
    if (write)
        return platform_file_write(s->file, at, value, size) == size ? S_OK : HRESULT_FROM_WIN32(ERROR_NOACCESS);
    uint64_t read = 0;
    if (platform_file_read(s->file, at, &read, size) != size)
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
