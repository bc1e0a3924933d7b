/* The device that a slot asks for, by its class and instance: among those of the hosts in this process, and of others. */
#include "system.h"

#include <string.h>

#include "handle.h"
#include "proxy.h"

int device_is(const struct device *device, const GUID *class_id, const GUID *instance_id) {
    return !memcmp(&device->class_id, class_id, sizeof(GUID)) &&
           !memcmp(&device->instance_id, instance_id, sizeof(GUID)) &&
           atomic_load(&device->state) != DEVICE_TORN_DOWN;
}

/* The instance that a host in another process has, with a reference. Asked without the lock: the answer
 * takes a message there and back. Hosts that come and go meanwhile cannot make one be asked twice: each is asked by its
 * place in the list as it was. */
static struct device *find_elsewhere(struct system *system, const GUID *class_id, const GUID *instance_id) {
    enum { MOST = 64 };
    struct host *hosts[MOST];
    struct device *found = NULL;
    int count = 0;
    pthread_mutex_lock(&system->lock);
    for (struct host *host = system->hosts; host && count < MOST; host = host->next)
        if (host->remote && !host->lost && handle_acquire(host->handle, HANDLE_HOST))
            hosts[count++] = host;
    pthread_mutex_unlock(&system->lock);
    for (int i = 0; i < count; i++) {
        if (!found)
            found = proxy_find_device(hosts[i], class_id, instance_id);
        handle_release(hosts[i]->handle);
    }
    return found;
}

static struct device *find_known(struct system *system, const GUID *class_id, const GUID *instance_id, int hosting) {
    struct device *found = NULL;
    pthread_mutex_lock(&system->lock);
    for (struct host *host = system->hosts; host && !found; host = host->next) {
        if (hosting != HOSTING_ANY && (hosting == HOSTING_RESTRICTED) != (host->restricted != 0))
            continue;
        for (struct device *d = host->devices; d && !found; d = d->next)
            if (!d->is_opening && device_is(d, class_id, instance_id))
                found = handle_acquire(d->handle, HANDLE_DEVICE);
    }
    pthread_mutex_unlock(&system->lock);
    return found;
}

/* Waits for one that is being made, if there is one. */
static int is_being_opened(struct system *system, const GUID *class_id, const GUID *instance_id) {
    int opening = 0;
    pthread_mutex_lock(&system->lock);
    for (struct host *host = system->hosts; host && !opening; host = host->next)
        for (struct device *d = host->devices; d && !opening; d = d->next)
            opening = d->is_opening && device_is(d, class_id, instance_id);
    if (opening)
        pthread_cond_wait(&system->settled, &system->lock);
    pthread_mutex_unlock(&system->lock);
    return opening;
}

/* The instance that a host of the hosting model registered, with a reference. */
struct device *system_find_device(struct system *system, const GUID *class_id, const GUID *instance_id, int hosting) {
    struct device *found = find_known(system, class_id, instance_id, hosting);
    if (!found && hosting != HOSTING_EXTERNAL)
        found = find_elsewhere(system, class_id, instance_id);
    /* Another thread asked at the same time: it has made it known, or is about to. */
    for (int tries = 0; !found && hosting != HOSTING_EXTERNAL && tries < 100; tries++) {
        found = find_known(system, class_id, instance_id, hosting);
        if (!found && !is_being_opened(system, class_id, instance_id))
            break;
    }
    return found;
}

int system_has_device(struct system *system, const GUID *class_id, const GUID *instance_id, int hosting) {
    struct device *device = system_find_device(system, class_id, instance_id, hosting);
    if (device)
        handle_release(device->handle);
    return device != NULL;
}
