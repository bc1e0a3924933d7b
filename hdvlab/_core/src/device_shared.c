/* Devices that opted out of one callback at a time: accesses share the device, everything else waits until it is alone.
 *
 * device->lock is still every caller's turn. Who shares gives it back as soon as it is counted; who is to be alone keeps
 * it, so that nobody new comes in, and waits for those inside. */
#include "device.h"
#include "handle.h"

void device_shared_init(struct device *device) {
    pthread_mutex_init(&device->sharers_lock, NULL);
    platform_condition_init(&device->sharer_left);
}

void device_shared_destroy(struct device *device) {
    pthread_mutex_destroy(&device->sharers_lock);
    pthread_cond_destroy(&device->sharer_left);
}

int device_is_shared_here(const struct device *device) {
    for (const struct inside *i = thread_context.shared; i; i = i->outer)
        if (i->device == device)
            return 1;
    return 0;
}

HRESULT device_enter_shared(struct device *device, uint32_t wait_ms, struct inside *inside) {
    if (device_is_shared_here(device) ||
        atomic_load_explicit(&device->inside, memory_order_relaxed) == pthread_self())
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (!wait_ms)
        pthread_mutex_lock(&device->lock);
    else if (pthread_mutex_trylock(&device->lock) &&
             platform_lock_until(&device->lock, monotonic_ns() + (int64_t)wait_ms * 1000000))
        return HRESULT_FROM_WIN32(ERROR_BUSY);
    pthread_mutex_lock(&device->sharers_lock);
    device->sharers++;
    pthread_mutex_unlock(&device->sharers_lock);
    pthread_mutex_unlock(&device->lock);
    *inside = (struct inside){.device = device, .outer = thread_context.shared};
    thread_context.shared = inside;
    return S_OK;
}

void device_leave_shared(struct device *device, struct inside *inside) {
    thread_context.shared = inside->outer;
    pthread_mutex_lock(&device->sharers_lock);
    if (!--device->sharers)
        pthread_cond_signal(&device->sharer_left); /* who waits holds device->lock: there is one at most */
    pthread_mutex_unlock(&device->sharers_lock);
}

int device_becomes_alone(struct device *device, int64_t deadline_ns) {
    int late = 0;
    pthread_mutex_lock(&device->sharers_lock);
    while (device->sharers && !late) {
        if (deadline_ns)
            late = platform_wait_until(&device->sharer_left, &device->sharers_lock, deadline_ns) != 0 &&
                   monotonic_ns() >= deadline_ns;
        else
            pthread_cond_wait(&device->sharer_left, &device->sharers_lock);
    }
    int alone = !device->sharers;
    pthread_mutex_unlock(&device->sharers_lock);
    return alone;
}

HRESULT hdvlab_device_set_concurrent(HDV_DEVICE handle, BOOL concurrent) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    HRESULT hr = device_enter(device, 0); /* from its own Initialize: ERROR_INVALID_STATE */
    if (hr == S_OK) {
        if (atomic_load(&device->state) == DEVICE_CREATED)
            device->concurrent = concurrent != 0;
        else
            hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
        device_leave(device);
    }
    handle_release(handle);
    return hr;
}
