/* Power on, power off, plug and unplug: the order of a device's life, the same for every kind of system. */
#include "system.h"

#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "proxy.h"

HRESULT system_init(struct system *system, const struct system_ops *ops, HDVLAB_TRACE trace) {
    system->ops = ops;
    pthread_mutex_init(&system->lock, NULL);
    pthread_cond_init(&system->settled, NULL);
    system_pause_init(system);
    gate_init(&system->gate);
    graveyard_init(&system->dead_apertures);
    if (trace) {
        if (!(system->trace = handle_acquire(trace, HANDLE_TRACE)))
            return handle_refusal(trace);
        system->trace_handle = trace; /* and its reference */
        if (!system->trace->writable)
            return E_ACCESSDENIED;
    }
    return S_OK;
}

void system_destroy(struct system *system) {
    for (int i = 0; i < HDVLAB_SLOT_COUNT; i++)
        free(system->slots[i].configuration);
    if (system->trace_handle)
        handle_release(system->trace_handle);
    system_pause_destroy(system);
    gate_destroy(&system->gate);
    graveyard_destroy(&system->dead_apertures);
    memory_map_release(system->memory);
    pthread_mutex_destroy(&system->lock);
    pthread_cond_destroy(&system->settled);
    compute_free(system->compute);
}

struct device *system_slot_device(struct system *system, uint32_t slot) {
    HDV_DEVICE handle = slot < HDVLAB_SLOT_COUNT ? atomic_load(&system->slots[slot].device) : NULL;
    return handle ? handle_acquire(handle, HANDLE_DEVICE) : NULL;
}

static HRESULT power_on(struct system *system, struct slot *slot) {
    struct device *device = system_find_device(system, &slot->class_id, &slot->instance_id, slot->hosting);
    if (!device)
        return E_UNEXPECTED; /* as Windows: a slot that nobody registered a device for fails the start */
    HRESULT hr = device_power_on(device, slot->configuration_count, slot->configuration);
    for (int i = 0; i < HDV_PCI_BAR_COUNT; i++)
        atomic_store(&slot->bar[i], 0);
    if (SUCCEEDED(hr))
        atomic_store(&slot->device, device->handle);
    handle_release(device->handle);
    return hr;
}

static void power_off(struct system *system, struct slot *slot) {
    struct device *device = system_slot_device(system, (uint32_t)(slot - system->slots));
    atomic_store(&slot->device, NULL);
    if (!device)
        return;
    device_tear_down(device);
    handle_release(device->handle);
}

/* A device whose host's process ended stays where the guest finds it, to say so, until its slot is emptied. */
static int is_on_show(struct system *system, const struct device *device) {
    for (int i = 0; i < HDVLAB_SLOT_COUNT && atomic_load(&device->gone); i++)
        if (atomic_load(&system->slots[i].device) == device->handle)
            return 1;
    return 0;
}

/* Hosts in other processes that are gone, or all of them when the machine goes. */
static void reap_hosts(struct system *system, int closing) {
    for (;;) {
        pthread_mutex_lock(&system->lock);
        struct host *host = proxy_take_idle(system, closing);
        pthread_mutex_unlock(&system->lock);
        if (!host)
            return;
        proxy_retire(host);
    }
}

void system_reap(struct system *system) {
    struct device *gone = NULL;
    pthread_mutex_lock(&system->lock);
    for (struct host *host = system->hosts; host; host = host->next)
        for (struct device **d = &host->devices; *d;) {
            struct device *device = *d;
            if (atomic_load(&device->state) != DEVICE_TORN_DOWN || is_on_show(system, device)) {
                d = &device->next;
                continue;
            }
            *d = device->next;
            device->next = gone;
            gone = device;
        }
    pthread_mutex_unlock(&system->lock);
    while (gone) {
        struct device *next = gone->next;
        handle_retire(gone->handle, HANDLE_DEVICE);
        gone = next;
    }
    reap_hosts(system, 0);
}

/* Empties a slot. */
static void clear_slot(struct system *system, struct slot *slot) {
    power_off(system, slot);
    system_reap(system);
    free(slot->configuration);
    pthread_mutex_lock(&system->lock);
    slot->used = slot->hosting = 0;
    slot->class_id = slot->instance_id = (GUID){0};
    slot->configuration_count = 0;
    slot->configuration = NULL;
    for (int i = 0; i < HDV_PCI_BAR_COUNT; i++)
        atomic_store(&slot->bar[i], 0);
    atomic_store(&slot->interrupt_line, 0);
    pthread_mutex_unlock(&system->lock);
    system->ops->remap(system);
}

/* Whether the device that was powered on in a slot lives no more: its host was torn down, or its process ended. */
static int slot_is_dead(struct system *system, uint32_t number) {
    struct device *device = system_slot_device(system, number);
    int dead = !device || atomic_load(&device->state) == DEVICE_TORN_DOWN;
    if (device)
        handle_release(device->handle);
    return dead;
}

static HRESULT start_slot(struct system *system, struct slot *slot) {
    struct device *device = system_slot_device(system, (uint32_t)(slot - system->slots));
    if (!device)
        return E_UNEXPECTED;
    HRESULT hr = device_start(device);
    handle_release(device->handle);
    return hr;
}

/* Claims the system for one lifecycle change: BUSY keeps a second one out while callbacks run without the lock. */
enum { ANY_STATE = -1, TO_CLOSE = -2 };
static HRESULT claim(struct system *system, int from, int is_patient, int *before) {
    HRESULT hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (system->ops->device_open && from != TO_CLOSE)
        return E_NOTIMPL; /* its power and its slots are where its machine is */
    pthread_mutex_lock(&system->lock);
    while (is_patient && atomic_load(&system->state) == SYSTEM_BUSY && !thread_context.depth)
        pthread_cond_wait(&system->settled, &system->lock);
    *before = atomic_load(&system->state);
    if (!thread_context.depth && (*before == from || (from < 0 && *before != SYSTEM_BUSY))) {
        atomic_store(&system->state, SYSTEM_BUSY);
        hr = S_OK;
    }
    pthread_mutex_unlock(&system->lock);
    return hr;
}

static void settle(struct system *system, int state) {
    pthread_mutex_lock(&system->lock);
    atomic_store(&system->state, state);
    pthread_cond_broadcast(&system->settled);
    pthread_mutex_unlock(&system->lock);
}

void system_await_settled(struct system *system) {
    pthread_mutex_lock(&system->lock);
    while (atomic_load(&system->state) == SYSTEM_BUSY)
        pthread_cond_wait(&system->settled, &system->lock);
    pthread_mutex_unlock(&system->lock);
}

/* The end of a claim that leaves the machine off for good. Guests that wait for an interrupt give up, also one that
 * began to wait while devices were being stopped: it finds the new state or this call finds it. */
static void come_to_rest(struct system *system) {
    settle(system, SYSTEM_STOPPED);
    gate_end(system);
    system->ops->cancel(system);
}

static void power_off_all(struct system *system) {
    gate_end(system);
    if (atomic_load(&system->paused))
        system_set_paused(system, PAUSE_ENDING);
    system->ops->cancel(system); /* early: a device may wait in Stop for what waits for an interrupt */
    for (uint32_t i = 0; i < HDVLAB_SLOT_COUNT; i++) {
        struct device *device = system_slot_device(system, i);
        if (device) {
            device_stop(device);
            handle_release(device->handle);
        }
    }
    for (int i = 0; i < HDVLAB_SLOT_COUNT; i++)
        power_off(system, &system->slots[i]);
    system->ops->remap(system);
}

HRESULT system_start(struct system *system, struct slot **failed) {
    int before;
    HRESULT hr = claim(system, SYSTEM_OFF, system->compute != NULL, &before);
    *failed = NULL;
    if (hr == S_OK) {
        for (int i = 0; i < HDVLAB_SLOT_COUNT && SUCCEEDED(hr); i++)
            if (system->slots[i].used)
                hr = power_on(system, *failed = &system->slots[i]);
        for (int i = 0; i < HDVLAB_SLOT_COUNT && SUCCEEDED(hr); i++)
            if (system->slots[i].used)
                hr = start_slot(system, *failed = &system->slots[i]);
        for (int i = 0; i < HDVLAB_SLOT_COUNT && FAILED(hr); i++)
            power_off(system, &system->slots[i]);
        if (SUCCEEDED(hr))
            settle(system, SYSTEM_RUNNING);
        else
            come_to_rest(system);
    }
    return FAILED(hr) ? hr : S_OK; /* a device's own success code is its row's */
}

HRESULT system_stop(struct system *system) {
    int before;
    HRESULT hr = claim(system, system->compute ? ANY_STATE : SYSTEM_RUNNING, system->compute != NULL, &before); /* that one also before its start */
    if (hr == S_OK) {
        if (before == SYSTEM_RUNNING)
            power_off_all(system);
        come_to_rest(system);
    }
    return hr;
}

/* The machine behind a handle, unless HCS calls are what moves it. */
static struct system *acquire_own(HCS_SYSTEM handle, HRESULT *hr) {
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    *hr = system ? S_OK : handle_refusal(handle);
    if (system && system->compute) {
        handle_release(handle);
        *hr = E_ACCESSDENIED;
        return NULL;
    }
    return system;
}

HRESULT hdvlab_system_start(HCS_SYSTEM handle) {
    HRESULT hr;
    struct slot *failed;
    struct system *system = acquire_own(handle, &hr);
    if (system) {
        hr = system_start(system, &failed);
        handle_release(handle);
    }
    return hr;
}

HRESULT hdvlab_system_stop(HCS_SYSTEM handle) {
    HRESULT hr;
    struct system *system = acquire_own(handle, &hr);
    if (system) {
        hr = system_stop(system);
        handle_release(handle);
    }
    return hr;
}

HRESULT hdvlab_system_close(HCS_SYSTEM handle) {
    HRESULT hr;
    struct system *system = acquire_own(handle, &hr);
    if (!system)
        return hr;
    int before;
    hr = claim(system, TO_CLOSE, 0, &before); /* not from a callback, not while another thread starts or plugs */
    if (hr == S_OK) {
        if (before == SYSTEM_RUNNING)
            power_off_all(system);
        come_to_rest(system);
        reap_hosts(system, 1);
        hr = handle_retire(handle, HANDLE_SYSTEM) ? S_OK : E_HANDLE;
    }
    handle_release(handle);
    return hr;
}

static size_t length_of(LPCWSTR text) {
    size_t length = 0;
    while (text[length])
        length++;
    return length + 1;
}

/* The strings behind their pointers, in one allocation. */
static LPCWSTR *copy_strings(uint32_t count, const LPCWSTR *strings) {
    size_t units = 0;
    for (uint32_t i = 0; i < count; i++)
        units += length_of(strings[i]);
    LPCWSTR *copy = malloc(count * sizeof *copy + units * sizeof(WCHAR) + 1);
    WCHAR *place = copy ? (WCHAR *)(copy + count) : NULL;
    for (uint32_t i = 0; copy && i < count; i++) {
        size_t length = length_of(strings[i]);
        memcpy(place, strings[i], length * sizeof(WCHAR));
        copy[i] = place;
        place += length;
    }
    return copy;
}

HRESULT hdvlab_system_add_slot(HCS_SYSTEM handle, uint32_t number, const GUID *device_class, const GUID *instance,
                               uint32_t count, const LPCWSTR *configuration) {
    if (!device_class || !instance || (count && !configuration))
        return E_POINTER;
    for (uint32_t i = 0; i < count; i++)
        if (!configuration[i])
            return E_POINTER;
    if (number >= HDVLAB_SLOT_COUNT)
        return E_INVALIDARG;
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    if (!system)
        return handle_refusal(handle);
    HRESULT hr = system_add_slot(system, number, HOSTING_ANY, device_class, instance, count, configuration);
    handle_release(handle);
    return hr;
}

HRESULT system_add_slot(struct system *system, uint32_t number, int hosting, const GUID *device_class,
                        const GUID *instance, uint32_t count, const LPCWSTR *configuration) {
    int before;
    HRESULT hr = claim(system, ANY_STATE, hosting != HOSTING_ANY, &before);
    if (hr == S_OK) {
        uint32_t place = number;
        if (number == HDVLAB_SLOT_COUNT)
            for (place = 0; place + 1 < HDVLAB_SLOT_COUNT && system->slots[place].used;)
                place++;
        struct slot *slot = &system->slots[place];
        if (before == SYSTEM_RUNNING && slot->used && slot_is_dead(system, place))
            clear_slot(system, slot); /* a new host takes over */
        if (before == SYSTEM_STOPPED)
            hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
        else if (slot->used && number == HDVLAB_SLOT_COUNT)
            hr = HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
        else if (slot->used)
            hr = HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
        else if (!(slot->configuration = copy_strings(count, configuration)))
            hr = E_OUTOFMEMORY;
        if (hr == S_OK) {
            pthread_mutex_lock(&system->lock); /* others look at slots without a claim */
            slot->used = 1;
            slot->hosting = hosting;
            slot->class_id = *device_class;
            slot->instance_id = *instance;
            slot->configuration_count = count;
            pthread_mutex_unlock(&system->lock);
            if (before == SYSTEM_RUNNING) {
                hr = power_on(system, slot);
                if (SUCCEEDED(hr))
                    hr = start_slot(system, slot);
                if (FAILED(hr))
                    clear_slot(system, slot);
            }
        }
        settle(system, before);
    }
    return FAILED(hr) ? hr : S_OK;
}

HRESULT hdvlab_device_end(HDV_DEVICE handle) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    struct system *system = device->system;
    int before;
    HRESULT hr = claim(system, ANY_STATE, 0, &before);
    if (hr == S_OK) {
        for (int i = 0; i < HDVLAB_SLOT_COUNT; i++) {
            struct slot *slot = &system->slots[i];
            if (atomic_load(&slot->device) == handle)
                clear_slot(system, slot);
        }
        device_tear_down(device); /* where it was in no slot */
        system_reap(system);
        settle(system, before);
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_system_remove_slot(HCS_SYSTEM handle, uint32_t number) {
    if (number >= HDVLAB_SLOT_COUNT)
        return E_INVALIDARG;
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    if (!system)
        return handle_refusal(handle);
    int before;
    HRESULT hr = claim(system, ANY_STATE, 0, &before);
    if (hr == S_OK) {
        struct slot *slot = &system->slots[number];
        if (slot->used)
            clear_slot(system, slot);
        else
            hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
        settle(system, before);
    }
    handle_release(handle);
    return hr;
}
