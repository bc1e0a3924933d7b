/* The machine's side of a device host that lives elsewhere: HdvProxyDeviceHost, the callbacks that ask it, the requests
 * it makes. */
#include "proxy.h"

#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "system.h"
#include "tap.h"

const IID proxy_unknown_iid = {0, 0, 0, {0xC0, 0, 0, 0, 0, 0, 0, 0x46}};
const IID proxy_host_iid = {0x1f6b04c2, 0x3c4e, 0x4e53, {0x8f, 0x0e, 0x5a, 0x0b, 0x7a, 0x51, 0xc2, 0x01}};
const IID proxy_instance_iid = {0x1f6b04c2, 0x3c4e, 0x4e53, {0x8f, 0x0e, 0x5a, 0x0b, 0x7a, 0x51, 0xc2, 0x02}};

HRESULT WINAPI proxy_host_query(proxy_host *self, REFIID iid, void **object) {
    if (!object)
        return E_POINTER;
    *object = NULL;
    if (!proxy_same_id(iid, &proxy_unknown_iid) && !proxy_same_id(iid, &IID_IVmDeviceHost) &&
        !proxy_same_id(iid, &proxy_host_iid))
        return E_NOINTERFACE;
    self->table->AddRef(self);
    *object = self;
    return S_OK;
}

/* ---- the ten callbacks of a device that is elsewhere --------------------------------------------------------------- */

static HRESULT ask(void *context, uint32_t operation, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t *answer) {
    proxy_instance *instance = context;
    struct proxy_call call = {.operation = operation, .argument = {a, b, c, d}, .memory = NO_HANDLE};
    HRESULT hr = instance->table->call(instance, &call);
    if (answer)
        *answer = call.answer[0];
    return hr;
}

static HRESULT CALLBACK initialize(PVOID context) { return ask(context, PROXY_INITIALIZE, 0, 0, 0, 0, NULL); }
static HRESULT CALLBACK start(PVOID context) { return ask(context, PROXY_START, 0, 0, 0, 0, NULL); }
static void CALLBACK stop(PVOID context) { ask(context, PROXY_STOP, 0, 0, 0, 0, NULL); }

static void CALLBACK teardown(PVOID context) {
    proxy_instance *instance = context;
    ask(context, PROXY_TEARDOWN, 0, 0, 0, 0, NULL);
    instance->table->Release(instance);
}

static HRESULT CALLBACK set_configuration(PVOID context, UINT32 count, const LPCWSTR *values) {
    proxy_instance *instance = context;
    size_t units = 0;
    for (uint32_t i = 0; i < count; i++)
        for (const WCHAR *unit = values[i];; unit++) {
            if (++units > PROXY_DATA_MAX / sizeof(WCHAR))
                return E_INVALIDARG;
            if (!*unit)
                break;
        }
    WCHAR *all = malloc(units * sizeof *all + 1), *place = all;
    if (!all)
        return E_OUTOFMEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const WCHAR *unit = values[i];
        do
            *place++ = *unit;
        while (*unit++);
    }
    struct proxy_call call = {.operation = PROXY_SET_CONFIGURATION, .argument = {count}, .in = all,
                              .in_bytes = (uint32_t)(units * sizeof *all), .memory = NO_HANDLE};
    HRESULT hr = instance->table->call(instance, &call);
    free(all);
    return hr;
}

static HRESULT CALLBACK get_details(PVOID context, PHDV_PCI_PNP_ID pnp_id, UINT32 count, UINT32 *probed_bars) {
    proxy_instance *instance = context;
    struct proxy_details details = {0};
    struct proxy_call call = {.operation = PROXY_GET_DETAILS, .out = &details, .out_bytes = sizeof details,
                              .memory = NO_HANDLE};
    HRESULT hr = instance->table->call(instance, &call);
    if (SUCCEEDED(hr)) {
        *pnp_id = details.pnp_id;
        memcpy(probed_bars, details.probed_bars, sizeof *probed_bars * (count < HDV_PCI_BAR_COUNT ? count : HDV_PCI_BAR_COUNT));
    }
    return hr;
}

static HRESULT CALLBACK read_config(PVOID context, UINT32 offset, UINT32 *value) {
    uint64_t answer = 0;
    HRESULT hr = ask(context, PROXY_CONFIG_READ, offset, 0, 0, 0, &answer);
    *value = SUCCEEDED(hr) ? (uint32_t)answer : UINT32_MAX;
    return hr;
}

static HRESULT CALLBACK write_config(PVOID context, UINT32 offset, UINT32 value) {
    return ask(context, PROXY_CONFIG_WRITE, offset, value, 0, 0, NULL);
}

static HRESULT CALLBACK read_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    uint64_t answer = 0;
    HRESULT hr = ask(context, PROXY_READ, (uint64_t)bar, offset, length, 0, &answer);
    if (SUCCEEDED(hr))
        memcpy(value, &answer, length < 8 ? length : 8);
    return hr;
}

static HRESULT CALLBACK write_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length,
                                     const BYTE *value) {
    uint64_t number = 0;
    memcpy(&number, value, length < 8 ? length : 8);
    return ask(context, PROXY_WRITE, (uint64_t)bar, offset, length, number, NULL);
}

static const HDV_PCI_DEVICE_INTERFACE callbacks = {
    HdvPciDeviceInterfaceVersion1, initialize, teardown,     set_configuration, get_details, start, stop, read_config,
    write_config,                  read_memory, write_memory,
};

/* ---- hosts and their devices --------------------------------------------------------------------------------------- */

HRESULT HdvProxyDeviceHost(HCS_SYSTEM ComputeSystem, PVOID DeviceHost_IUnknown, DWORD TargetProcessId,
                           UINT64 *IpcSectionHandle) {
    (void)TargetProcessId; /* what carries the calls knows its peer */
    if (!DeviceHost_IUnknown || !IpcSectionHandle)
        return E_POINTER;
    HDV_HOST handle = NULL;
    HRESULT hr = HdvInitializeDeviceHost(ComputeSystem, &handle);
    if (FAILED(hr))
        return hr;
    IUnknown *unknown = DeviceHost_IUnknown;
    proxy_host *remote = NULL;
    if (FAILED(unknown->lpVtbl->QueryInterface(unknown, &proxy_host_iid, (void **)&remote)) || !remote) {
        host_end(handle); /* also in a callback: it has no devices */
        return E_NOINTERFACE;
    }
    struct host *host = handle_acquire(handle, HANDLE_HOST);
    if (!host) { /* the machine was closed meanwhile */
        remote->table->Release(remote);
        return E_HANDLE;
    }
    pthread_mutex_lock(&host->system->lock);
    host->restricted = 1;
    host->remote = remote; /* and its reference */
    pthread_mutex_unlock(&host->system->lock);
    const struct proxy_port port = {proxy_serve, NULL, (uint64_t)(uintptr_t)handle};
    *IpcSectionHandle = port.target;
    if (FAILED(hr = remote->table->registered(remote, &port)))
        host_end(handle);
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_system_find(HCS_SYSTEM handle, const GUID *device_class, const GUID *instance, HDV_DEVICE *device) {
    if (!device_class || !instance || !device)
        return E_POINTER;
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    if (!system)
        return handle_refusal(handle);
    struct device *found = system_find_device(system, device_class, instance, HOSTING_ANY);
    if (found) {
        *device = found->handle;
        handle_release(found->handle);
    }
    handle_release(handle);
    return found ? S_OK : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
}

struct device *proxy_find_device(struct host *host, const GUID *class_id, const GUID *instance_id) {
    IUnknown *unknown = NULL;
    proxy_instance *instance = NULL;
    HDV_DEVICE handle = NULL;
    struct device *device = NULL;
    if (FAILED(host->remote->table->GetDeviceInstance(host->remote, class_id, instance_id, &unknown)) || !unknown)
        return NULL;
    HRESULT hr = unknown->lpVtbl->QueryInterface(unknown, &proxy_instance_iid, (void **)&instance);
    unknown->lpVtbl->Release(unknown);
    if (FAILED(hr) || !instance)
        return NULL;
    instance->table->AddRef(instance); /* ours: its host may be lost before we are done */
    hr = HdvCreateDeviceInstance(host->handle, HdvDeviceTypePCI, class_id, instance_id, &callbacks, instance, &handle);
    if (SUCCEEDED(hr)) {
        const struct proxy_port port = {proxy_serve, NULL, (uint64_t)(uintptr_t)handle};
        instance->table->connect(instance, &port); /* it ends with its host, and the device with its Teardown */
        device = handle_acquire(handle, HANDLE_DEVICE);
    } else {
        instance->table->Release(instance);
    }
    instance->table->Release(instance);
    return device;
}

void proxy_fault(uint64_t target, HRESULT status, const char *text) {
    int64_t row;
    struct device *device = handle_acquire((void *)(uintptr_t)target, HANDLE_DEVICE);
    if (!device)
        return;
    if (device->system->trace_handle)
        hdvlab_trace_mark(device->system->trace_handle, HDVLAB_FAULT, device->index, thread_context.cause, status, text,
                          (uint32_t)strlen(text), &row);
    handle_release(device->handle);
}

int64_t proxy_sound_cause(uint64_t target, int64_t cause) {
    struct device *device = handle_acquire((void *)(uintptr_t)target, HANDLE_DEVICE);
    if (!device)
        return -1;
    const struct trace *trace = device->system->trace;
    if (cause < 0 || !trace || (uint64_t)cause >= atomic_load(&trace->header->reserved))
        cause = -1;
    handle_release(device->handle);
    return cause;
}

/* What the guest had of it is dropped, except that it is there: its rows say why it does not answer. */
static void lose(struct device *device, HRESULT why, const char *text) {
    atomic_store(&device->gone, why); /* before its turn comes: whoever waits for it need not */
    if (FAILED(device_enter(device, 0)))
        return;
    if (atomic_exchange(&device->state, DEVICE_TORN_DOWN) != DEVICE_TORN_DOWN) {
        proxy_instance *instance = device->context;
        proxy_fault((uint64_t)(uintptr_t)device->handle, why, text);
        doorbells_drop(device);
        sections_drop(device);
        apertures_drop(device);
        instance->table->Release(instance);
    }
    device_leave(device);
}

void proxy_host_lost(uint64_t target, HRESULT why, const char *text) {
    struct host *host = handle_acquire((void *)(uintptr_t)target, HANDLE_HOST);
    if (!host)
        return;
    struct system *system = host->system;
    pthread_mutex_lock(&system->lock);
    host->torn_down = host->lost = 1;
    pthread_mutex_unlock(&system->lock);
    for (;;) { /* one at a time, for the list may change while none of its locks is held */
        struct device *next = NULL;
        pthread_mutex_lock(&system->lock);
        for (struct device *d = host->devices; d && !next; d = d->next)
            if (atomic_load(&d->state) != DEVICE_TORN_DOWN)
                next = handle_acquire(d->handle, HANDLE_DEVICE);
        pthread_mutex_unlock(&system->lock);
        if (!next)
            break;
        lose(next, why, text);
        handle_release(next->handle);
    }
    handle_release(host->handle);
}

struct host *proxy_take_idle(struct system *system, int closing) {
    for (struct host **h = &system->hosts; *h; h = &(*h)->next) {
        struct host *host = *h;
        if (host->remote && (closing || (host->lost && !host->devices)) && handle_acquire(host->handle, HANDLE_HOST))
            return host;
    }
    return NULL;
}

void proxy_retire(struct host *host) {
    HDV_HOST handle = host->handle;
    HdvTeardownDeviceHost(handle);
    handle_release(handle);
}

/* ---- what a device asks the machine -------------------------------------------------------------------------------- */

/* The memory object behind a range, and where in it the range is. */

static HRESULT map(HDV_DEVICE handle, struct device *device, struct proxy_call *call) {
    void *address = NULL;
    if (call->argument[1] > UINT32_MAX)
        return E_INVALIDARG;
    uint32_t bytes = (uint32_t)call->argument[1];
    /* The machine's own view of it keeps the rules, the quota and the rows, and its address is the number. */
    HRESULT hr = HdvCreateGuestMemoryAperture(handle, call->argument[0], bytes, call->argument[2] != 0, &address);
    if (hr == S_OK) {
        struct memory_map *map = device->system->memory;
        struct memory_place place;
        struct section_source copy;
        memory_map_hold(map); /* the copy outlives it: the region may go while the message is on its way */
        hr = memory_map_locate(map, call->argument[0], bytes, &place);
        if (hr == S_OK)
            hr = platform_section_copy(place.memory, !call->argument[2], place.offset + bytes, &copy);
        memory_map_let_go(map);
        if (hr == S_OK) {
            call->memory = copy.section;
            call->answer[0] = place.offset;
            call->answer[1] = (uint64_t)(uintptr_t)address;
        } else {
            HdvDestroyGuestMemoryAperture(handle, address);
        }
    }
    return hr;
}

static HRESULT denied(struct device *device, const struct proxy_call *call) {
    HRESULT status = E_ACCESSDENIED;
    switch (call->argument[0]) {
    case HDVLAB_INTERRUPT:
        status = (HRESULT)(uint32_t)call->argument[1];
        if (SUCCEEDED(status))
            return HCS_E_PROTOCOL_ERROR;
        break;
    case HDVLAB_DMA_READ:
    case HDVLAB_DMA_WRITE:
    case HDVLAB_DOORBELL_REGISTER:
    case HDVLAB_DOORBELL_UNREGISTER:
    case HDVLAB_SECTION_MAP:
    case HDVLAB_SECTION_UNMAP: break;
    default: return HCS_E_PROTOCOL_ERROR;
    }
    struct row r = device_row(device, (uint32_t)call->argument[0], call->argument[1], call->argument[2],
                              (uint32_t)call->argument[4], call->argument[3]);
    trace_event(device->system->trace, &r, status);
    return E_ACCESSDENIED;
}

HRESULT proxy_serve(void *context, uint64_t target, struct proxy_call *call) {
    (void)context;
    void *handle = (void *)(uintptr_t)target;
    if (call->operation == PROXY_HOST_END)
        return HdvTeardownDeviceHost(handle);
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    HRESULT hr = HCS_E_PROTOCOL_ERROR;
    switch (call->operation) {
    case PROXY_MAP: hr = map(handle, device, call); break;
    case PROXY_UNMAP:
        hr = call->argument[0] ? HdvDestroyGuestMemoryAperture(handle, (void *)(uintptr_t)call->argument[0])
                               : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
        break;
    case PROXY_INTERRUPT: hr = HdvDeliverGuestInterrupt(handle, call->argument[0], (uint32_t)call->argument[1]); break;
    case PROXY_DENIED: hr = denied(device, call); break;
    default: break;
    }
    handle_release(handle);
    return hr;
}
