/* A paused system: guests' accesses to devices wait. Rows, doorbells and sections of the tap look at one atomic. */
#include <errno.h>

#include "handle.h"
#include "platform.h"
#include "system.h"

void system_pause_init(struct system *system) {
    pthread_mutex_init(&system->pause_lock, NULL);
    platform_condition_init(&system->resumed);
}

void system_pause_destroy(struct system *system) {
    pthread_mutex_destroy(&system->pause_lock);
    pthread_cond_destroy(&system->resumed);
}

void system_set_paused(struct system *system, int paused) {
    pthread_mutex_lock(&system->pause_lock);
    atomic_store(&system->paused, paused);
    pthread_cond_broadcast(&system->resumed);
    pthread_mutex_unlock(&system->pause_lock);
    /* Who enters a device after this has seen the pause; who was in it has left. */
    for (uint32_t i = 0; i < HDVLAB_SLOT_COUNT && paused == PAUSED; i++) {
        struct device *device = system_slot_device(system, i);
        if (!device)
            continue;
        if (SUCCEEDED(device_enter(device, 0)))
            device_leave(device);
        handle_release(device->handle);
    }
}

HRESULT system_wait_resumed(struct system *system, uint32_t wait_ms) {
    int64_t end = monotonic_ns() + (int64_t)wait_ms * 1000000;
    int late = 0, paused;
    pthread_mutex_lock(&system->pause_lock);
    while ((paused = atomic_load(&system->paused)) == PAUSED && !late)
        if (wait_ms)
            late = platform_wait_until(&system->resumed, &system->pause_lock, end) == ETIMEDOUT;
        else
            pthread_cond_wait(&system->resumed, &system->pause_lock);
    pthread_mutex_unlock(&system->pause_lock);
    return paused == NOT_PAUSED ? S_OK : HRESULT_FROM_WIN32(paused == PAUSED ? ERROR_BUSY : ERROR_INVALID_STATE);
}
