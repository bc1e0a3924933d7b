/* Another HDV library behind our tap: what our devices call is called there, what is called there is in forward_device.c.
 * The rules are that library's. Nothing here judges, nothing is retried, and its HRESULTs come back as they are. */
#include "forward.h"

#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "platform.h"

#define SECTION_PAGE 4096ull

static const HDVLAB_HDV_FUNCTIONS *native_of(const struct device *device) {
    return &((const struct forward *)device->system)->native;
}

/* The device over there: before it has one, which only the library's own thread can see, nothing can be asked of it. */
static HRESULT reach(const struct device *device, HDV_DEVICE *there) {
    *there = forward_native_device(device);
    return *there ? S_OK : HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
}

/* Calls `function` of the other library, if it has it, with the device over there and the arguments. */
#define ASK(device, function, ...)                                                                                     \
    do {                                                                                                               \
        HDV_DEVICE there;                                                                                              \
        HRESULT reached = reach(device, &there);                                                                       \
        if (!native_of(device)->function)                                                                              \
            return E_NOTIMPL;                                                                                          \
        return FAILED(reached) ? reached : native_of(device)->function(there, __VA_ARGS__);                            \
    } while (0)

static HRESULT read_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes, void *buffer) {
    (void)system;
    ASK(requestor, HdvReadGuestMemory, gpa, (UINT32)bytes, buffer);
}

static HRESULT write_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes,
                            const void *buffer) {
    (void)system;
    ASK(requestor, HdvWriteGuestMemory, gpa, (UINT32)bytes, buffer);
}

static HRESULT deliver_interrupt(struct system *system, struct device *requestor, uint64_t address, uint32_t data) {
    (void)system;
    ASK(requestor, HdvDeliverGuestInterrupt, address, data);
}

static HRESULT map_aperture(struct device *device, uint64_t gpa, uint32_t bytes, BOOL write_protected, void **address) {
    ASK(device, HdvCreateGuestMemoryAperture, gpa, bytes, write_protected, address);
}

static HRESULT destroy_aperture(struct device *device, void *address) {
    ASK(device, HdvDestroyGuestMemoryAperture, address);
}

static HRESULT create_aperture(struct device *device, uint64_t gpa, uint32_t bytes, BOOL write_protected,
                               void **address) {
    void *mapped = NULL;
    HRESULT hr = map_aperture(device, gpa, bytes, write_protected, &mapped);
    if (FAILED(hr))
        return hr;
    hr = aperture_adopt(device, mapped, NULL, gpa, bytes);
    if (SUCCEEDED(hr))
        *address = mapped;
    else
        destroy_aperture(device, mapped);
    return hr;
}

static HRESULT register_doorbell(struct device *device, uint32_t bar, uint64_t offset, uint64_t value, uint64_t flags,
                                 HANDLE event) {
    ASK(device, HdvRegisterDoorbell, (HDV_PCI_BAR_SELECTOR)bar, offset, value, flags, event);
}

static HRESULT unregister_doorbell(struct device *device, uint32_t bar, uint64_t offset, uint64_t value,
                                   uint64_t flags) {
    ASK(device, HdvUnregisterDoorbell, (HDV_PCI_BAR_SELECTOR)bar, offset, value, flags);
}

static HRESULT register_doorbell_page(struct device *device, uint32_t bar, uint64_t page, HANDLE event) {
    ASK(device, HdvRegisterDoorbellPage, (HDV_PCI_BAR_SELECTOR)bar, page, event);
}

static HRESULT unregister_doorbell_page(struct device *device, uint32_t bar, uint64_t page) {
    ASK(device, HdvUnregisterDoorbellPage, (HDV_PCI_BAR_SELECTOR)bar, page);
}

static HRESULT map_section(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t pages, int flags,
                           HANDLE section, uint64_t section_offset_pages) {
    ASK(device, HdvCreateSectionBackedMmioRange, (HDV_PCI_BAR_SELECTOR)bar, offset_pages, pages,
        (HDV_MMIO_MAPPING_FLAGS)flags, section, section_offset_pages);
}

static HRESULT create_section(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t pages, int flags,
                              HANDLE handle, uint64_t section_offset_pages) {
    struct section *section = calloc(1, sizeof *section);
    HRESULT hr = section ? map_section(device, bar, offset_pages, pages, flags, handle, section_offset_pages)
                         : E_OUTOFMEMORY;
    if (FAILED(hr)) {
        free(section);
        return hr;
    }
    /* Remembered like an aperture. It is not counted, so accesses do not look for it: they do not come here. */
    *section = (struct section){.bar = bar, .offset = offset_pages * SECTION_PAGE, .length = pages * SECTION_PAGE,
                                .file = NO_HANDLE};
    pthread_mutex_lock(&device->tables_lock);
    section->next = device->sections;
    device->sections = section;
    pthread_mutex_unlock(&device->tables_lock);
    return hr;
}

static HRESULT unmap_section(struct device *device, uint32_t bar, uint64_t offset_pages) {
    ASK(device, HdvDestroySectionBackedMmioRange, (HDV_PCI_BAR_SELECTOR)bar, offset_pages);
}

static HRESULT destroy_section(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t *pages) {
    HRESULT hr = unmap_section(device, bar, offset_pages);
    struct section *found = NULL;
    pthread_mutex_lock(&device->tables_lock);
    for (struct section **s = &device->sections; *s && SUCCEEDED(hr); s = &(*s)->next)
        if ((*s)->bar == bar && (*s)->offset / SECTION_PAGE == offset_pages) {
            found = *s;
            *s = found->next;
            *pages = found->length / SECTION_PAGE;
            break;
        }
    pthread_mutex_unlock(&device->tables_lock);
    free(found);
    return hr;
}

static HRESULT host_open(struct system *system, struct host *host) {
    const struct forward *forward = (const struct forward *)system;
    HDV_HOST there = NULL;
    HRESULT hr;
    if (host->flags == HdvDeviceHostFlagNone)
        hr = forward->native.HdvInitializeDeviceHost(forward->native_system, &there);
    else if (!forward->native.HdvInitializeDeviceHostEx)
        hr = E_NOTIMPL;
    else
        hr = forward->native.HdvInitializeDeviceHostEx(forward->native_system, host->flags, &there);
    host->elsewhere = there;
    return hr;
}

static void host_close(struct system *system, struct host *host) {
    const struct forward *forward = (const struct forward *)system;
    HRESULT hr = forward->native.HdvTeardownDeviceHost(host->elsewhere);
    if (FAILED(hr)) { /* our side ends all the same */
        struct row r = {.kind = HDVLAB_FAULT, .origin = HDVLAB_DEVICE, .device = HDVLAB_NO_DEVICE, .bar = -1,
                        .cause = thread_context.cause};
        trace_event(system->trace, &r, hr);
    }
}

static void nothing(struct system *system) { (void)system; } /* decoding, and who waits in the guest: over there */

static void destroy(struct system *system) {
    system_destroy(system);
    free(system);
}

static const struct system_ops forward_ops = {
    .destroy = destroy,
    .read_memory = read_memory,
    .write_memory = write_memory,
    .deliver_interrupt = deliver_interrupt,
    .remap = nothing,
    .cancel = nothing,
    .host_open = host_open,
    .host_close = host_close,
    .device_open = forward_device_open,
    .create_aperture = create_aperture,
    .destroy_aperture = destroy_aperture,
    .register_doorbell = register_doorbell,
    .unregister_doorbell = unregister_doorbell,
    .register_doorbell_page = register_doorbell_page,
    .unregister_doorbell_page = unregister_doorbell_page,
    .create_section = create_section,
    .destroy_section = destroy_section,
};

static void destroy_object(void *object) { destroy(object); }

HRESULT hdvlab_forward_create(const HDVLAB_HDV_FUNCTIONS *native, HCS_SYSTEM native_system, HDVLAB_TRACE trace,
                              HCS_SYSTEM *system) {
    if (!native || !system)
        return E_POINTER;
    struct forward *forward = calloc(1, sizeof *forward);
    if (!forward)
        return E_OUTOFMEMORY;
    size_t size = native->size < sizeof *native ? native->size : sizeof *native;
    memcpy(&forward->native, native, size & ~(sizeof(void *) - 1)); /* no half function */
    forward->native_system = native_system;
    HRESULT hr = system_init(&forward->system, &forward_ops, trace);
    if (hr == S_OK && !(forward->native.HdvInitializeDeviceHost && forward->native.HdvTeardownDeviceHost &&
                        forward->native.HdvCreateDeviceInstance))
        hr = E_INVALIDARG;
    if (hr == S_OK && !(forward->system.handle = handle_create(HANDLE_SYSTEM, forward, destroy_object)))
        hr = E_OUTOFMEMORY;
    if (hr == S_OK)
        *system = forward->system.handle;
    else
        destroy(&forward->system);
    return hr;
}
