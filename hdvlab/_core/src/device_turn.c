/* Whose turn it is in a device: its callbacks come one at a time, and none from within itself. What a thread is doing on
 * behalf of whom. Devices that opted out: device_shared.c. */
#include "device.h"
#include "platform.h"
#include "system.h"

#define FREE_LOOK_MS 20u /* how often whoever does not wait for the gate looks at it */
#define LOOK_NS 100000000 /* how often whoever waits without end looks whether there is hope */

__thread struct thread_context thread_context = {.cause = -1};

int64_t hdvlab_cause(void) { return thread_context.cause; }
void hdvlab_set_cause(int64_t row) { thread_context.cause = row; }

HRESULT device_enter(struct device *device, uint32_t wait_ms) {
    pthread_t self = pthread_self();
    if (atomic_load_explicit(&device->inside, memory_order_relaxed) == self ||
        (device->concurrent && device_is_shared_here(device)))
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    int64_t deadline = device->concurrent && wait_ms ? monotonic_ns() + (int64_t)wait_ms * 1000000 : 0;
    if (!wait_ms) {
        while (pthread_mutex_trylock(&device->lock) && platform_lock_until(&device->lock, monotonic_ns() + LOOK_NS))
            if (atomic_load(&device->hung))
                return HRESULT_FROM_WIN32(ERROR_BUSY);
    } else if (pthread_mutex_trylock(&device->lock)) {
        if (platform_lock_until(&device->lock, deadline ? deadline : monotonic_ns() + (int64_t)wait_ms * 1000000))
            return HRESULT_FROM_WIN32(ERROR_BUSY);
    }
    if (device->concurrent && !device_becomes_alone(device, deadline)) {
        pthread_mutex_unlock(&device->lock);
        return HRESULT_FROM_WIN32(ERROR_BUSY);
    }
    atomic_store_explicit(&device->inside, self, memory_order_relaxed);
    return S_OK;
}

HRESULT device_enter_free(struct device *device, uint32_t wait_ms) {
    int64_t end = monotonic_ns() + (int64_t)wait_ms * 1000000;
    HRESULT hr;
    do {
        if (atomic_load(&device->held_inside) && atomic_load(&device->inside) != pthread_self() &&
            !(device->concurrent && device_is_shared_here(device)))
            return HRESULT_FROM_WIN32(ERROR_POSSIBLE_DEADLOCK);
        hr = device_enter(device, wait_ms < FREE_LOOK_MS ? wait_ms : FREE_LOOK_MS);
    } while (hr == HRESULT_FROM_WIN32(ERROR_BUSY) && monotonic_ns() < end);
    return hr;
}

void device_leave(struct device *device) {
    atomic_store_explicit(&device->inside, 0, memory_order_relaxed);
    pthread_mutex_unlock(&device->lock);
}
