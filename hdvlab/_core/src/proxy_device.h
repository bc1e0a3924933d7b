/* The device's side of a proxy, shared by proxy_device.c (the host) and proxy_instance.c (its devices). */
#ifndef HDVLAB_PROXY_DEVICE_H
#define HDVLAB_PROXY_DEVICE_H

#include <stdatomic.h>

#include "proxy.h"
#include "system.h"

/* A host, as the machine's process sees it: the object behind IVmDeviceHost. */
struct proxy_local {
    proxy_host self; /* first */
    _Atomic uint32_t references;
    GUID vm_id;
    HDV_HOST handle;
    IVmDeviceHostSupport *support;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int has_port, is_gone;
    struct proxy_port port; /* of the machine's host */
    struct proxy_local *next;
};

extern const struct system_ops proxy_device_ops;

/* Of the system that stands for the machine here: no memory, no bus, only the way to them. */
void proxy_destroy_system(void *object);
void proxy_host_close(struct system *system, struct host *host);
/* The object that GetDeviceInstance gives for a device. */
HRESULT proxy_make_instance(HDV_DEVICE device, IUnknown **instance);

static inline int64_t proxy_deadline(uint32_t timeout_ms) { return monotonic_ns() + (int64_t)timeout_ms * 1000000; }

#endif
