/* Apertures: windows of a device on guest RAM. They die with the device, or with the memory behind them, but their
 * addresses stay good for a while: a thread that still reads one finds zeros, and what it writes goes nowhere. */
#include "aperture.h"

#include <stdlib.h>

#include "device.h"
#include "handle.h"
#include "memory_map.h"
#include "system.h"
#include "tap.h"

#define APERTURE_QUOTA 1024

struct aperture {
    struct aperture *next;
    void *address; /* what the device got */
    struct window window;
    uint64_t gpa;
    uint32_t bytes;
    uint64_t file_id[2], file_offset; /* what it shows; zeros: memory that does not move */
    _Atomic uint32_t references; /* the table's or the graveyard's, and one for each hold */
};

static void tap(const struct device *device, uint32_t kind, uint64_t gpa, uint32_t bytes, uint64_t value, HRESULT hr) {
    struct row r = device_row(device, kind, NO_BAR, gpa, bytes, value);
    trace_event(device->system->trace, &r, hr);
}

static void let_go(void *object) {
    struct aperture *aperture = object;
    if (atomic_fetch_sub(&aperture->references, 1) > 1)
        return;
    platform_window_unmap(&aperture->window);
    free(aperture);
}

/* ---- the dead ----------------------------------------------------------------------------------------------------- */

/* Cuts the address off from the guest's memory. E_OUTOFMEMORY: it could not be. */
static HRESULT deaden(struct aperture *aperture) {
    if (!aperture->window.address) /* the machine elsewhere has unmapped it */
        return S_OK;
    return platform_window_deaden(&aperture->window) ? E_OUTOFMEMORY : S_OK;
}

/* Takes over the table's reference. */
static void bury(struct system *system, struct aperture *aperture) {
    if (!aperture->window.address) {
        let_go(aperture);
        return;
    }
    struct graveyard *dead = &system->dead_apertures;
    struct aperture *oldest = NULL;
    aperture->next = NULL;
    pthread_mutex_lock(&dead->lock);
    *(dead->first ? &dead->last->next : &dead->first) = aperture;
    dead->last = aperture;
    if (++dead->count > DEAD_APERTURES_MAX) {
        oldest = dead->first;
        dead->first = oldest->next;
        dead->count--;
    }
    pthread_mutex_unlock(&dead->lock);
    if (oldest)
        let_go(oldest);
}

void graveyard_init(struct graveyard *dead) { pthread_mutex_init(&dead->lock, NULL); }

void graveyard_destroy(struct graveyard *dead) {
    while (dead->first) {
        struct aperture *aperture = dead->first;
        dead->first = aperture->next;
        let_go(aperture);
    }
    pthread_mutex_destroy(&dead->lock);
}

/* Buries a list that is in nobody's table any more. */
static void bury_all(struct device *device, struct aperture *list) {
    while (list) {
        struct aperture *next = list->next;
        tap(device, HDVLAB_APERTURE_UNMAP, list->gpa, list->bytes, 0, deaden(list));
        bury(device->system, list);
        list = next;
    }
}

void apertures_drop(struct device *device) {
    pthread_mutex_lock(&device->tables_lock);
    struct aperture *list = device->apertures;
    device->apertures = NULL;
    atomic_store(&device->aperture_count, 0);
    pthread_mutex_unlock(&device->tables_lock);
    bury_all(device, list);
}

static void end_in(struct device *device, uint64_t first, uint64_t last) {
    struct aperture *ended = NULL;
    pthread_mutex_lock(&device->tables_lock);
    for (struct aperture **a = &device->apertures; *a;) {
        struct aperture *aperture = *a;
        if (aperture->gpa > last || aperture->gpa + aperture->bytes - 1 < first) {
            a = &aperture->next;
            continue;
        }
        *a = aperture->next;
        aperture->next = ended;
        ended = aperture;
        atomic_fetch_sub(&device->aperture_count, 1);
    }
    pthread_mutex_unlock(&device->tables_lock);
    bury_all(device, ended);
}

static int is_where_it_was(struct memory_map *map, const struct aperture *aperture) {
    struct memory_place now;
    return map && memory_map_locate(map, aperture->gpa, aperture->bytes, &now) == S_OK &&
           now.file_id[0] == aperture->file_id[0] && now.file_id[1] == aperture->file_id[1] &&
           now.offset == aperture->file_offset;
}

void apertures_end_moved(struct device *device, struct memory_map *map) {
    struct aperture *ended = NULL;
    if (map)
        memory_map_hold(map);
    pthread_mutex_lock(&device->tables_lock);
    for (struct aperture **a = &device->apertures; *a;) {
        struct aperture *aperture = *a;
        if (!(aperture->file_id[0] | aperture->file_id[1]) || is_where_it_was(map, aperture)) {
            a = &aperture->next;
            continue;
        }
        *a = aperture->next;
        aperture->next = ended;
        ended = aperture;
        atomic_fetch_sub(&device->aperture_count, 1);
    }
    pthread_mutex_unlock(&device->tables_lock);
    if (map)
        memory_map_let_go(map);
    bury_all(device, ended);
}

void apertures_end_in(struct system *system, uint64_t first, uint64_t last) {
    pthread_mutex_lock(&system->lock);
    for (struct host *host = system->hosts; host; host = host->next)
        for (struct device *d = host->devices; d; d = d->next)
            end_in(d, first, last);
    pthread_mutex_unlock(&system->lock);
    for (uint32_t i = 0; i < HDVLAB_SLOT_COUNT; i++) { /* a host that is being torn down is listed no more */
        struct device *device = system_slot_device(system, i);
        if (!device)
            continue;
        end_in(device, first, last);
        handle_release(device->handle);
    }
}

/* ---- the living --------------------------------------------------------------------------------------------------- */

/* Into the device's table, or let go of. */
static HRESULT list(struct device *device, struct aperture *aperture) {
    HRESULT hr = S_OK;
    pthread_mutex_lock(&device->tables_lock);
    int state = atomic_load(&device->state);
    if (state != DEVICE_RUNNING && (state == DEVICE_TORN_DOWN || !is_elsewhere(device))) {
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE); /* meanwhile: nobody would end this one */
    } else if (atomic_load(&device->aperture_count) >= APERTURE_QUOTA && !is_elsewhere(device)) {
        hr = HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
    } else {
        aperture->next = device->apertures;
        device->apertures = aperture;
        atomic_fetch_add(&device->aperture_count, 1);
    }
    pthread_mutex_unlock(&device->tables_lock);
    if (FAILED(hr))
        let_go(aperture);
    return hr;
}

HRESULT aperture_adopt(struct device *device, void *address, struct window *window, uint64_t gpa, uint32_t bytes) {
    struct aperture *aperture = calloc(1, sizeof *aperture);
    if (!aperture) {
        if (window)
            platform_window_unmap(window);
        return E_OUTOFMEMORY;
    }
    *aperture = (struct aperture){.address = address, .gpa = gpa, .bytes = bytes};
    if (window)
        aperture->window = *window;
    atomic_init(&aperture->references, 1);
    return list(device, aperture);
}

/* With the memory map held until the aperture is in the table: there whoever takes the memory away finds it. */
static HRESULT create_held(struct device *device, const struct memory_place *place, uint64_t gpa, uint32_t bytes,
                           BOOL write_protected, void **address) {
    if (!place->stable || !(place->flags & HDVLAB_MEMORY_READ) ||
        (!write_protected && !(place->flags & HDVLAB_MEMORY_WRITE)))
        return E_ACCESSDENIED;
    struct aperture *aperture = calloc(1, sizeof *aperture);
    if (!aperture)
        return E_OUTOFMEMORY;
    aperture->gpa = gpa;
    aperture->bytes = bytes;
    aperture->file_id[0] = place->file_id[0];
    aperture->file_id[1] = place->file_id[1];
    aperture->file_offset = place->offset;
    atomic_init(&aperture->references, 1);
    if (platform_window_map(place->memory, place->offset, bytes, !write_protected, &aperture->window)) {
        free(aperture);
        return E_OUTOFMEMORY;
    }
    aperture->address = aperture->window.address;
    void *mapped = aperture->address;
    HRESULT hr = list(device, aperture);
    if (hr == S_OK)
        *address = mapped;
    return hr;
}

static HRESULT create_aperture(struct device *device, uint64_t gpa, uint32_t bytes, BOOL write_protected,
                               void **address) {
    const struct system *system = device->system;
    int is_its_own = system->ops->memory_of != NULL;
    struct memory_map *memory = is_its_own ? system->ops->memory_of(device) : system->memory;
    struct memory_place place;
    if (!memory)
        return HRESULT_FROM_WIN32(ERROR_NOACCESS);
    memory_map_hold(memory);
    HRESULT hr = memory_map_locate(memory, gpa, bytes, &place);
    if (hr == S_OK)
        hr = create_held(device, &place, gpa, bytes, write_protected, address);
    memory_map_let_go(memory);
    if (is_its_own)
        memory_map_release(memory);
    return hr;
}

HRESULT HdvCreateGuestMemoryAperture(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount,
                                     BOOL writeProtected, PVOID *mappedAddress) {
    if (!mappedAddress)
        return E_POINTER;
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(requestor);
    const struct system *system = device->system;
    HRESULT hr = byteCount || is_elsewhere(device) ? memory_may_access(device, guestPhysicalAddress, byteCount)
                                                   : E_INVALIDARG;
    if (hr == S_OK)
        hr = system->ops->create_aperture ? system->ops->create_aperture(device, guestPhysicalAddress, byteCount,
                                                                         writeProtected, mappedAddress)
             : system->memory || system->ops->memory_of ? create_aperture(device, guestPhysicalAddress, byteCount, writeProtected, mappedAddress)
                              : E_NOTIMPL;
    tap(device, HDVLAB_APERTURE_MAP, guestPhysicalAddress, byteCount, writeProtected ? 1 : 0, hr);
    handle_release(requestor);
    return hr;
}

/* The place in the list that points at the aperture of that address. Under tables_lock. */
static struct aperture **find(struct device *device, const void *address) {
    struct aperture **a = &device->apertures;
    while (*a && (*a)->address != address)
        a = &(*a)->next;
    return a;
}

HRESULT HdvDestroyGuestMemoryAperture(HDV_DEVICE requestor, PVOID mappedAddress) {
    if (!mappedAddress)
        return E_POINTER;
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(requestor);
    HRESULT (*destroy)(struct device *, void *) = device->system->ops->destroy_aperture;
    HRESULT hr = destroy ? destroy(device, mappedAddress) : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    pthread_mutex_lock(&device->tables_lock);
    struct aperture **place = find(device, mappedAddress), *found = *place;
    if (destroy && FAILED(hr))
        found = NULL; /* it is there until it has been unmapped elsewhere */
    if (found) {
        *place = found->next;
        atomic_fetch_sub(&device->aperture_count, 1);
        hr = S_OK;
    }
    pthread_mutex_unlock(&device->tables_lock);
    if (found && atomic_load(&found->references) > 1)
        hr = deaden(found); /* somebody holds the address, but not the guest's memory */
    tap(device, HDVLAB_APERTURE_UNMAP, found ? found->gpa : 0, found ? found->bytes : 0, 0, hr);
    if (found)
        let_go(found);
    handle_release(requestor);
    return hr;
}

HRESULT hdvlab_aperture_hold(HDV_DEVICE handle, PVOID mappedAddress, HDVLAB_APERTURE *hold) {
    if (!mappedAddress || !hold)
        return E_POINTER;
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    HRESULT hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    pthread_mutex_lock(&device->tables_lock);
    struct aperture *found = *find(device, mappedAddress);
    if (found) {
        atomic_fetch_add(&found->references, 1);
        hr = S_OK;
    }
    pthread_mutex_unlock(&device->tables_lock);
    if (found && !(*hold = handle_create(HANDLE_APERTURE, found, let_go))) {
        let_go(found);
        hr = E_OUTOFMEMORY;
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_aperture_release(HDVLAB_APERTURE hold) { return handle_retire(hold, HANDLE_APERTURE) ? S_OK : handle_refusal(hold); }
