/* Doorbells: a guest write that matches, or falls into a page that has one, signals an event and goes no further. */
#include <stdlib.h>

#include "device.h"
#include "handle.h"
#include "system.h"
#include "tap.h"

#define DOORBELL_QUOTA 4096
#define SIZE_CODE 0x7FFFFFFFu
#define ANY_VALUE 0x80000000u
#define DOORBELL_PAGE 0x40000000u /* in `flags`: the 4 KiB from `offset` on. No caller can say it: it is no size */
#define PAGE 4096ull

static void tap(struct device *device, uint32_t kind, uint32_t bar, uint64_t offset, uint32_t size, uint64_t value,
                HRESULT hr) {
    struct row r = device_row(device, kind, bar, offset, size, value);
    trace_event(device->system->trace, &r, hr);
}

static int same(const struct doorbell *d, uint32_t bar, uint64_t offset, uint64_t value, uint32_t flags) {
    return d->bar == bar && d->offset == offset && d->value == value && d->flags == flags;
}

static HRESULT check_place(const struct device *device, uint32_t bar, uint64_t offset, uint32_t flags) {
    uint32_t code = flags == DOORBELL_PAGE ? 0 : flags & SIZE_CODE;
    if (bar >= HDV_PCI_BAR_COUNT || code > HDV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD)
        return E_INVALIDARG;
    uint32_t size = code ? 1u << (code - 1) : 1;
    int known = atomic_load(&device->state) >= DEVICE_INITIALIZED; /* before GetDetails nobody knows the BARs */
    if (known && (device->bar_size[bar] < size || offset > device->bar_size[bar] - size))
        return E_INVALIDARG;
    return S_OK;
}

static HRESULT add(struct device *device, uint32_t bar, uint64_t offset, uint64_t value, uint32_t flags,
                   HANDLE event_handle) {
    HRESULT hr = check_place(device, bar, offset, flags);
    if (hr == S_OK && atomic_load(&device->state) >= DEVICE_STOPPED)
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (FAILED(hr))
        return hr;
    HANDLE event = NO_HANDLE;
    struct doorbell *doorbell = calloc(1, sizeof *doorbell);
    hr = doorbell ? platform_event_copy(event_handle, &event) : E_OUTOFMEMORY;
    if (hr == S_OK) {
        *doorbell = (struct doorbell){.bar = bar, .flags = flags, .offset = offset, .value = value, .event = event,
                                       .row = -1};
        pthread_mutex_lock(&device->tables_lock);
        for (struct doorbell *d = device->doorbells; d && hr == S_OK; d = d->next)
            if (same(d, bar, offset, value, flags))
                hr = HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
        if (hr == S_OK && atomic_load(&device->doorbell_count) >= DOORBELL_QUOTA)
            hr = HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
        if (hr == S_OK) {
            doorbell->next = device->doorbells;
            device->doorbells = doorbell;
            atomic_fetch_add_explicit(&device->doorbell_count, 1, memory_order_release);
        }
        pthread_mutex_unlock(&device->tables_lock);
    }
    if (FAILED(hr)) {
        platform_close(event);
        free(doorbell);
    }
    return hr;
}

static HRESULT register_doorbell(struct device *device, uint32_t bar, uint64_t offset, uint64_t value, uint64_t flags,
                                 HANDLE event) {
    return (uint32_t)flags == DOORBELL_PAGE ? E_INVALIDARG : add(device, bar, offset, value, (uint32_t)flags, event);
}

HRESULT HdvRegisterDoorbell(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 BarOffset, UINT64 TriggerValue,
                            UINT64 Flags, HANDLE DoorbellEvent) {
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(requestor);
    uint64_t value = Flags & ANY_VALUE ? 0 : TriggerValue;
    const struct system_ops *ops = device->system->ops;
    HRESULT hr = (ops->register_doorbell ? ops->register_doorbell : register_doorbell)(
        device, (uint32_t)BarIndex, BarOffset, value, Flags, DoorbellEvent);
    tap(device, HDVLAB_DOORBELL_REGISTER, (uint32_t)BarIndex, BarOffset, 0, value, hr);
    handle_release(requestor);
    return hr;
}

static HRESULT take_away(struct device *device, uint32_t bar, uint64_t offset, uint64_t value, uint32_t flags) {
    struct doorbell *found = NULL;
    pthread_mutex_lock(&device->tables_lock);
    for (struct doorbell **d = &device->doorbells; *d; d = &(*d)->next)
        if (same(*d, bar, offset, value, flags)) {
            found = *d;
            *d = found->next;
            atomic_fetch_sub(&device->doorbell_count, 1);
            break;
        }
    pthread_mutex_unlock(&device->tables_lock);
    if (!found)
        return HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    platform_close(found->event);
    free(found);
    return S_OK;
}

static HRESULT unregister_doorbell(struct device *device, uint32_t bar, uint64_t offset, uint64_t value,
                                   uint64_t flags) {
    return (uint32_t)flags == DOORBELL_PAGE ? HRESULT_FROM_WIN32(ERROR_NOT_FOUND)
                                            : take_away(device, bar, offset, value, (uint32_t)flags);
}

HRESULT HdvUnregisterDoorbell(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 BarOffset,
                              UINT64 TriggerValue, UINT64 Flags) {
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(requestor);
    uint64_t value = Flags & ANY_VALUE ? 0 : TriggerValue;
    const struct system_ops *ops = device->system->ops;
    HRESULT hr = (ops->unregister_doorbell ? ops->unregister_doorbell : unregister_doorbell)(
        device, (uint32_t)BarIndex, BarOffset, value, Flags);
    tap(device, HDVLAB_DOORBELL_UNREGISTER, (uint32_t)BarIndex, BarOffset, 0, value, hr);
    handle_release(requestor);
    return hr;
}

HRESULT HdvRegisterDoorbellPage(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 PageIndex,
                                HANDLE DoorbellEvent) {
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(requestor);
    const struct system_ops *ops = device->system->ops;
    HRESULT hr = PageIndex > UINT64_MAX / PAGE      ? E_INVALIDARG
                 : ops->register_doorbell_page ? ops->register_doorbell_page(device, (uint32_t)BarIndex, PageIndex,
                                                                             DoorbellEvent)
                 : ops->register_doorbell      ? E_NOTIMPL /* the machine is elsewhere and knows no such doorbells */
                 : add(device, (uint32_t)BarIndex, PageIndex * PAGE, 0, DOORBELL_PAGE, DoorbellEvent);
    tap(device, HDVLAB_DOORBELL_REGISTER, (uint32_t)BarIndex, PageIndex * PAGE, PAGE, 0, hr);
    handle_release(requestor);
    return hr;
}

HRESULT HdvUnregisterDoorbellPage(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 PageIndex) {
    struct device *device = handle_acquire(requestor, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(requestor);
    const struct system_ops *ops = device->system->ops;
    HRESULT hr = PageIndex > UINT64_MAX / PAGE        ? HRESULT_FROM_WIN32(ERROR_NOT_FOUND)
                 : ops->unregister_doorbell_page ? ops->unregister_doorbell_page(device, (uint32_t)BarIndex, PageIndex)
                 : ops->unregister_doorbell      ? E_NOTIMPL
                 : take_away(device, (uint32_t)BarIndex, PageIndex * PAGE, 0, DOORBELL_PAGE);
    tap(device, HDVLAB_DOORBELL_UNREGISTER, (uint32_t)BarIndex, PageIndex * PAGE, PAGE, 0, hr);
    handle_release(requestor);
    return hr;
}

/* With tables_lock held: the doorbell that a write rings, NULL = none. */
static struct doorbell *find(struct device *device, uint32_t bar, uint64_t offset, uint32_t size, uint64_t value) {
    struct doorbell *best = NULL;
    int best_rank = -1;
    uint32_t code = (uint32_t)__builtin_ctz(size) + 1;
    for (struct doorbell *d = device->doorbells; d; d = d->next) {
        int page = d->flags == DOORBELL_PAGE;
        uint32_t wanted = page ? 0 : d->flags & SIZE_CODE;
        if (d->bar != bar || d->offset != (page ? offset & ~(PAGE - 1) : offset) || (wanted && wanted != code) ||
            (!page && !(d->flags & ANY_VALUE) && d->value != value))
            continue;
        /* An exact value beats an exact size, and a doorbell of that very place beats one of its page. */
        int rank = page ? 0 : 1 + (d->flags & ANY_VALUE ? 0 : 2) + (wanted ? 1 : 0);
        if (rank > best_rank) {
            best = d;
            best_rank = rank;
        }
    }
    return best;
}

/* The same past the gate: a row that is held, and so not under the lock. A doorbell that was taken away meanwhile leaves the
 * write to the device, as if it had never been there. */
static int ring_gated(struct device *device, const HDVLAB_ACCESS *access, uint32_t bar, uint64_t offset, uint32_t size,
                      uint64_t value, HRESULT *status) {
    struct tapped tapped = tap_open(device, access, HDVLAB_DOORBELL, (int)bar, offset, size, value);
    struct gated g = gated_of(device, access->origin, HDVLAB_DOORBELL, (int)bar, offset, size);
    g.hit.pc = access->pc;
    g.hit.row = tapped.row;
    struct verdict verdict = gate_look(&g, HDVLAB_BEFORE, value, S_OK);
    int is_there = 1;
    *status = verdict.action == HDVLAB_SKIP ? 1 : S_OK;
    while (verdict.action != HDVLAB_SKIP) {
        pthread_mutex_lock(&device->tables_lock);
        struct doorbell *best = find(device, bar, offset, size, value);
        is_there = best != NULL;
        if (best) {
            best->row = tapped.row;
            platform_event_signal(best->event);
        }
        pthread_mutex_unlock(&device->tables_lock);
        if (!is_there || gate_look(&g, HDVLAB_AFTER, value, S_OK).action != HDVLAB_RETRY)
            break;
    }
    tap_close(&tapped, value, is_there ? *status : HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    return is_there;
}

int doorbell_ring(struct device *device, const HDVLAB_ACCESS *access, uint32_t bar, uint64_t offset, uint32_t size,
                  uint64_t value, HRESULT *status) {
    int is_gated = gate_is_armed(device->system);
    pthread_mutex_lock(&device->tables_lock);
    struct doorbell *best = find(device, bar, offset, size, value);
    if (best && !is_gated) { /* the row first: what the signal leads to stands behind it */
        struct tapped tapped = tap_open(device, access, HDVLAB_DOORBELL, (int)bar, offset, size, value);
        tap_close(&tapped, value, S_OK);
        best->row = tapped.row;
        platform_event_signal(best->event);
    }
    pthread_mutex_unlock(&device->tables_lock);
    *status = S_OK;
    return best && is_gated ? ring_gated(device, access, bar, offset, size, value, status) : best != NULL;
}

HRESULT hdvlab_doorbell_row(HDV_DEVICE handle, uint32_t bar, uint64_t offset, uint64_t value, uint64_t flags,
                            int64_t *row) {
    if (!row)
        return E_POINTER;
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    HRESULT hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    uint64_t wanted = flags & ANY_VALUE ? 0 : value;
    pthread_mutex_lock(&device->tables_lock);
    for (struct doorbell *d = device->doorbells; d; d = d->next)
        if (same(d, bar, offset, wanted, (uint32_t)flags)) {
            *row = d->row;
            hr = S_OK;
        }
    pthread_mutex_unlock(&device->tables_lock);
    handle_release(handle);
    return hr;
}

void doorbells_drop(struct device *device) {
    pthread_mutex_lock(&device->tables_lock);
    struct doorbell *doorbell = device->doorbells;
    device->doorbells = NULL;
    atomic_store(&device->doorbell_count, 0);
    pthread_mutex_unlock(&device->tables_lock);
    while (doorbell) {
        struct doorbell *next = doorbell->next;
        platform_close(doorbell->event);
        free(doorbell);
        doorbell = next;
    }
}
