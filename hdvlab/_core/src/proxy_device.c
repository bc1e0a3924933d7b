/* The device's side of a host whose machine is elsewhere: HdvInitializeDeviceHostForProxy, and what stands for the host
 * and its devices where the machine is. */
#include "proxy_device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"

#define SECOND_HOST_FOR_VM ((HRESULT)0xC0370030)

/* ---- one host for one VM in a process ------------------------------------------------------------------------------ */

static pthread_mutex_t hosts_lock = PTHREAD_MUTEX_INITIALIZER;
static struct proxy_local *hosts; /* those that are not torn down */

/* In a forked child: it has none of its parent's. */
static void leave_to_parent(void *object) {
    (void)object;
    hosts = NULL;
    pthread_mutex_init(&hosts_lock, NULL);
}

static HRESULT enlist(struct proxy_local *local) {
    HRESULT hr = S_OK;
    handle_on_fork(HANDLE_HOST, leave_to_parent);
    pthread_mutex_lock(&hosts_lock);
    for (struct proxy_local *other = hosts; other; other = other->next)
        if (proxy_same_id(&other->vm_id, &local->vm_id))
            hr = SECOND_HOST_FOR_VM;
    if (hr == S_OK) {
        local->next = hosts;
        hosts = local;
    }
    pthread_mutex_unlock(&hosts_lock);
    return hr;
}

static void delist(struct proxy_local *local) {
    pthread_mutex_lock(&hosts_lock);
    for (struct proxy_local **at = &hosts; *at; at = &(*at)->next)
        if (*at == local) {
            *at = local->next;
            break;
        }
    pthread_mutex_unlock(&hosts_lock);
}

/* ---- the IVmDeviceHost --------------------------------------------------------------------------------------------- */

static ULONG WINAPI add_reference(proxy_host *self) {
    return atomic_fetch_add(&((struct proxy_local *)self)->references, 1) + 1;
}

static ULONG WINAPI release(proxy_host *self) {
    struct proxy_local *local = (struct proxy_local *)self;
    uint32_t left = atomic_fetch_sub(&local->references, 1) - 1;
    if (!left) {
        pthread_mutex_destroy(&local->lock);
        pthread_cond_destroy(&local->changed);
        free(local);
    }
    return left;
}

static HRESULT WINAPI get_device_instance(proxy_host *self, REFGUID class_id, REFGUID instance_id, IUnknown **device) {
    struct proxy_local *local = (struct proxy_local *)self;
    if (!class_id || !instance_id || !device)
        return E_POINTER;
    *device = NULL;
    struct host *host = handle_acquire(local->handle, HANDLE_HOST);
    if (!host)
        return handle_refusal(local->handle);
    HDV_DEVICE found = NULL;
    pthread_mutex_lock(&host->system->lock);
    for (struct device *d = host->devices; d && !found; d = d->next)
        if (!d->is_opening && device_is(d, class_id, instance_id))
            found = d->handle;
    pthread_mutex_unlock(&host->system->lock);
    HRESULT hr = found ? proxy_make_instance(found, device) : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    handle_release(local->handle);
    return hr;
}

static HRESULT registered(proxy_host *self, const struct proxy_port *port) {
    struct proxy_local *local = (struct proxy_local *)self;
    pthread_mutex_lock(&local->lock);
    HRESULT hr = local->has_port || local->is_gone ? HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS) : S_OK; /* one machine */
    if (hr == S_OK) {
        local->port = *port;
        local->has_port = 1;
    }
    pthread_mutex_unlock(&local->lock);
    return hr;
}

static void gone(proxy_host *self) {
    struct proxy_local *local = (struct proxy_local *)self;
    pthread_mutex_lock(&local->lock);
    local->has_port = 0;
    local->is_gone = 1;
    pthread_cond_broadcast(&local->changed);
    pthread_mutex_unlock(&local->lock);
}

static const struct proxy_host_table host_table = {proxy_host_query, add_reference, release, get_device_instance, registered, gone};

HRESULT hdvlab_proxy_wait_machine(HDV_HOST handle, uint32_t timeout_ms) {
    struct host *host = handle_acquire(handle, HANDLE_HOST);
    if (!host)
        return handle_refusal(handle);
    int is_proxied = host->system->ops == &proxy_device_ops;
    pthread_mutex_lock(&host->system->lock);
    struct proxy_local *local = is_proxied ? host->elsewhere : NULL;
    if (local)
        local->self.table->AddRef(&local->self);
    pthread_mutex_unlock(&host->system->lock);
    if (!local) { /* or torn down in this very moment */
        handle_release(handle);
        return is_proxied ? E_HANDLE : E_NOTIMPL;
    }
    handle_release(handle); /* it may be torn down meanwhile, which ends the wait too */
    int64_t deadline_ns = proxy_deadline(timeout_ms);
    int late = 0;
    pthread_mutex_lock(&local->lock);
    while (!local->is_gone && !late)
        late = timeout_ms == UINT32_MAX ? pthread_cond_wait(&local->changed, &local->lock)
                                        : platform_wait_until(&local->changed, &local->lock, deadline_ns) == ETIMEDOUT;
    HRESULT hr = local->is_gone ? S_OK : HRESULT_FROM_WIN32(ERROR_TIMEOUT);
    pthread_mutex_unlock(&local->lock);
    local->self.table->Release(&local->self);
    return hr;
}

/* ---- the host ------------------------------------------------------------------------------------------------------ */

static HRESULT open_system(HCS_SYSTEM *handle) {
    struct system *system = calloc(1, sizeof *system);
    if (!system)
        return E_OUTOFMEMORY;
    HRESULT hr = system_init(system, &proxy_device_ops, NULL);
    if (hr == S_OK && !(system->handle = handle_create(HANDLE_SYSTEM, system, proxy_destroy_system)))
        hr = E_OUTOFMEMORY;
    if (FAILED(hr))
        proxy_destroy_system(system);
    else
        *handle = system->handle;
    return hr;
}

void proxy_host_close(struct system *system, struct host *host) {
    pthread_mutex_lock(&system->lock);
    struct proxy_local *local = host->elsewhere;
    host->elsewhere = NULL;
    pthread_mutex_unlock(&system->lock);
    if (!local)
        return;
    pthread_mutex_lock(&local->lock);
    struct proxy_port port = local->port;
    int has_port = local->has_port;
    pthread_mutex_unlock(&local->lock);
    if (has_port) {
        struct proxy_call end = {.operation = PROXY_HOST_END, .memory = NO_HANDLE};
        port.request(port.context, port.target, &end);
    }
    gone(&local->self);
    delist(local);
    local->support->lpVtbl->Release(local->support);
    local->self.table->Release(&local->self);
}

HRESULT HdvInitializeDeviceHostForProxy(const GUID *VmId, PVOID ProxyInterface_IUnknown, HDV_HOST *DeviceHostHandle) {
    return HdvInitializeDeviceHostForProxyEx(VmId, ProxyInterface_IUnknown, HdvDeviceHostFlagNone, DeviceHostHandle);
}

HRESULT HdvInitializeDeviceHostForProxyEx(const GUID *VmId, PVOID ProxyInterface_IUnknown, HDV_DEVICE_HOST_FLAGS flags,
                                          HDV_HOST *DeviceHostHandle) {
    if (!VmId || !ProxyInterface_IUnknown || !DeviceHostHandle)
        return E_POINTER;
    if (flags & ~HdvDeviceHostFlagInitializeComSecurity)
        return E_INVALIDARG;
    IUnknown *unknown = ProxyInterface_IUnknown;
    IVmDeviceHostSupport *support = NULL;
    if (FAILED(unknown->lpVtbl->QueryInterface(unknown, &IID_IVmDeviceHostSupport, (void **)&support)) || !support)
        return E_NOINTERFACE;
    struct proxy_local *local = calloc(1, sizeof *local);
    if (!local) {
        support->lpVtbl->Release(support);
        return E_OUTOFMEMORY;
    }
    *local = (struct proxy_local){.self = {&host_table}, .references = 1, .vm_id = *VmId, .support = support};
    pthread_mutex_init(&local->lock, NULL);
    platform_condition_init(&local->changed);
    HCS_SYSTEM system = NULL;
    HRESULT hr = enlist(local);
    int enlisted = hr == S_OK;
    if (hr == S_OK)
        hr = open_system(&system);
    if (hr == S_OK) {
        hr = HdvInitializeDeviceHostEx(system, flags, &local->handle);
        handle_retire(system, HANDLE_SYSTEM); /* from here on it is its host's */
    }
    if (FAILED(hr)) {
        if (enlisted)
            delist(local);
        support->lpVtbl->Release(support);
        release(&local->self);
        return hr;
    }
    HDV_HOST handle = local->handle;
    struct host *host = handle_acquire(handle, HANDLE_HOST); /* nobody else knows it yet */
    host->restricted = 1;
    host->elsewhere = local;
    handle_release(handle);
    uint64_t ipc_section = 0;
    hr = support->lpVtbl->RegisterDeviceHost(support, (IVmDeviceHost *)local, platform_process_id(), &ipc_section);
    if (FAILED(hr))
        HdvTeardownDeviceHost(handle);
    else
        *DeviceHostHandle = handle;
    return FAILED(hr) ? hr : S_OK;
}
