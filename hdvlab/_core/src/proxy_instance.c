/* A device whose machine is elsewhere: its callbacks as they are asked for, and its own calls of HDV on their way. */
#include "proxy_device.h"

#include <stdlib.h>
#include <string.h>

#include "handle.h"

/* ---- what this side knows of a device: the way to the machine, and its windows on guest memory ---------------------- */

struct view {
    struct view *next;
    void *address;   /* of an aperture of the device's table */
    uint64_t number; /* the machine's */
};

struct proxy_end {
    pthread_mutex_t lock;
    int connected;
    struct proxy_port port;
    struct view *views;
};

static HRESULT device_open(struct system *system, struct host *host, struct device *device) {
    (void)host;
    system_reap(system);
    struct proxy_end *end = calloc(1, sizeof *end);
    if (!end)
        return E_OUTOFMEMORY;
    pthread_mutex_init(&end->lock, NULL);
    device->elsewhere = end;
    return S_OK;
}

static void device_close(struct device *device) {
    struct proxy_end *end = device->elsewhere;
    if (!end)
        return;
    while (end->views) {
        struct view *view = end->views;
        end->views = view->next;
        free(view);
    }
    pthread_mutex_destroy(&end->lock);
    free(end);
}

static void disconnect(struct proxy_end *end) {
    pthread_mutex_lock(&end->lock);
    end->connected = 0;
    pthread_mutex_unlock(&end->lock);
}

void proxy_destroy_system(void *object) {
    system_destroy(object);
    free(object);
}

/* Asks the machine. ERROR_INVALID_STATE: it does not know the device, not yet or not any more. */
static HRESULT ask(struct device *device, struct proxy_call *call) {
    struct proxy_end *end = device->elsewhere;
    call->memory = NO_HANDLE;
    pthread_mutex_lock(&end->lock);
    struct proxy_port port = end->port;
    int connected = end->connected;
    pthread_mutex_unlock(&end->lock);
    HRESULT hr = connected ? port.request(port.context, port.target, call) : E_HANDLE;
    return hr == E_HANDLE ? HRESULT_FROM_WIN32(ERROR_INVALID_STATE) : hr;
}

static HRESULT deny(struct device *device, uint32_t kind, uint32_t bar, uint64_t address, uint64_t value,
                    uint64_t size) {
    struct proxy_call call = {.operation = PROXY_DENIED, .argument = {kind, bar, address, value, size}};
    HRESULT hr = ask(device, &call);
    return SUCCEEDED(hr) ? E_ACCESSDENIED : hr;
}

static HRESULT read_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes, void *buffer) {
    (void)system, (void)buffer;
    return deny(requestor, HDVLAB_DMA_READ, UINT32_MAX, gpa, 0, bytes);
}

static HRESULT write_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes,
                            const void *buffer) {
    uint64_t value = 0;
    (void)system;
    memcpy(&value, buffer, bytes < 8 ? (size_t)bytes : 8);
    return deny(requestor, HDVLAB_DMA_WRITE, UINT32_MAX, gpa, value, bytes);
}

static HRESULT deliver_interrupt(struct system *system, struct device *requestor, uint64_t address, uint32_t data) {
    (void)system;
    struct proxy_call call = {.operation = PROXY_INTERRUPT, .argument = {address, data}};
    return ask(requestor, &call);
}

static void interrupt_nowhere(struct device *device, uint32_t vector, HRESULT why) {
    deny(device, HDVLAB_INTERRUPT, (uint32_t)why, 0, vector, 4);
}

static HRESULT create_aperture(struct device *device, uint64_t gpa, uint32_t bytes, BOOL write_protected,
                               void **address) {
    struct proxy_end *end = device->elsewhere;
    struct proxy_call call = {.operation = PROXY_MAP, .argument = {gpa, bytes, write_protected != 0}};
    HRESULT hr = ask(device, &call);
    if (FAILED(hr))
        return hr;
    struct view *view = calloc(1, sizeof *view);
    struct window window = {0};
    if (!view || call.memory == NO_HANDLE ||
        platform_window_map(call.memory, call.answer[0], bytes, !write_protected, &window))
        hr = E_OUTOFMEMORY;
    platform_close(call.memory);
    void *mapped = window.address;
    if (hr == S_OK)
        hr = aperture_adopt(device, mapped, &window, gpa, bytes);
    if (FAILED(hr)) {
        struct proxy_call undo = {.operation = PROXY_UNMAP, .argument = {call.answer[1]}};
        ask(device, &undo);
        free(view);
        return hr;
    }
    *view = (struct view){.address = mapped, .number = call.answer[1]};
    pthread_mutex_lock(&end->lock);
    view->next = end->views;
    end->views = view;
    pthread_mutex_unlock(&end->lock);
    *address = mapped;
    return S_OK;
}

static HRESULT destroy_aperture(struct device *device, void *address) {
    struct proxy_end *end = device->elsewhere;
    struct view *found = NULL;
    pthread_mutex_lock(&end->lock);
    for (struct view **v = &end->views; *v; v = &(*v)->next)
        if ((*v)->address == address) {
            found = *v;
            *v = found->next;
            break;
        }
    pthread_mutex_unlock(&end->lock);
    struct proxy_call call = {.operation = PROXY_UNMAP, .argument = {found ? found->number : UINT64_MAX}};
    HRESULT hr = ask(device, &call); /* also of one that is none: the refusal is a row there */
    if (!found)
        return FAILED(hr) ? hr : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    free(found);
    return S_OK;
}

static HRESULT register_doorbell(struct device *device, uint32_t bar, uint64_t offset, uint64_t value, uint64_t flags,
                                 HANDLE event) {
    (void)flags, (void)event;
    return deny(device, HDVLAB_DOORBELL_REGISTER, bar, offset, value, 0);
}

static HRESULT unregister_doorbell(struct device *device, uint32_t bar, uint64_t offset, uint64_t value,
                                   uint64_t flags) {
    (void)flags;
    return deny(device, HDVLAB_DOORBELL_UNREGISTER, bar, offset, value, 0);
}

static HRESULT register_doorbell_page(struct device *device, uint32_t bar, uint64_t page, HANDLE event) {
    (void)event;
    return deny(device, HDVLAB_DOORBELL_REGISTER, bar, page * 4096, 0, 4096);
}

static HRESULT unregister_doorbell_page(struct device *device, uint32_t bar, uint64_t page) {
    return deny(device, HDVLAB_DOORBELL_UNREGISTER, bar, page * 4096, 0, 4096);
}

static HRESULT create_section(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t pages, int flags,
                              HANDLE section, uint64_t section_offset_pages) {
    (void)flags, (void)section, (void)section_offset_pages;
    return deny(device, HDVLAB_SECTION_MAP, bar, offset_pages * 4096, pages * 4096, 0);
}

static HRESULT destroy_section(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t *pages) {
    *pages = 0;
    return deny(device, HDVLAB_SECTION_UNMAP, bar, offset_pages * 4096, 0, 0);
}

static void nothing(struct system *system) { (void)system; }

const struct system_ops proxy_device_ops = {
    .destroy = NULL, /* its handle's, proxy_destroy_system */
    .read_memory = read_memory,
    .write_memory = write_memory,
    .deliver_interrupt = deliver_interrupt,
    .remap = nothing,
    .cancel = nothing,
    .interrupt_nowhere = interrupt_nowhere,
    .host_close = proxy_host_close,
    .device_open = device_open,
    .device_close = device_close,
    .create_aperture = create_aperture,
    .destroy_aperture = destroy_aperture,
    .register_doorbell = register_doorbell,
    .unregister_doorbell = unregister_doorbell,
    .register_doorbell_page = register_doorbell_page,
    .unregister_doorbell_page = unregister_doorbell_page,
    .create_section = create_section,
    .destroy_section = destroy_section,
};

/* ---- callbacks ------------------------------------------------------------------------------------------------------ */

static HRESULT set_configuration(struct device *device, const struct proxy_call *call) {
    const WCHAR *unit = call->in;
    size_t left = call->in_bytes / sizeof(WCHAR);
    uint64_t count = call->argument[0];
    if (count > left)
        return E_INVALIDARG;
    LPCWSTR *values = calloc((size_t)count + 1, sizeof *values);
    HRESULT hr = values ? S_OK : E_OUTOFMEMORY;
    for (uint64_t i = 0; i < count && hr == S_OK; i++) {
        values[i] = unit;
        while (left && *unit)
            unit++, left--;
        if (!left) /* the last one has no end */
            hr = E_INVALIDARG;
        else
            unit++, left--;
    }
    if (hr == S_OK)
        hr = device->interface.SetConfiguration(device->context, (UINT32)count, values);
    free(values);
    return hr;
}

static HRESULT get_details(struct device *device, struct proxy_call *call) {
    struct proxy_details details = {0};
    if (call->out_bytes < sizeof details)
        return E_INVALIDARG;
    HRESULT hr = device->interface.GetDetails(device->context, &details.pnp_id, HDV_PCI_BAR_COUNT, details.probed_bars);
    memcpy(call->out, &details, sizeof details);
    return hr;
}

static HRESULT step(struct device *device, int from, int on_the_way, int to, HDV_PCI_DEVICE_START callback) {
    if (atomic_load(&device->state) != from)
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    atomic_store(&device->state, on_the_way);
    HRESULT hr = callback(device->context);
    atomic_store(&device->state, SUCCEEDED(hr) ? to : DEVICE_STOPPED);
    return hr;
}

static void stop(struct device *device) {
    if (atomic_load(&device->state) == DEVICE_RUNNING) {
        atomic_store(&device->state, DEVICE_STOPPED);
        device->interface.Stop(device->context);
    }
}

static HRESULT serve_access(struct device *device, struct proxy_call *call) {
    const HDV_PCI_DEVICE_INTERFACE *interface = &device->interface;
    const uint64_t *a = call->argument;
    uint64_t value = call->operation == PROXY_READ ? UINT64_MAX : a[3];
    uint32_t dword = UINT32_MAX;
    HRESULT hr;
    if (atomic_load(&device->state) != DEVICE_RUNNING)
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    switch (call->operation) {
    case PROXY_CONFIG_READ:
        hr = interface->ReadConfigSpace(device->context, (UINT32)a[0], &dword);
        call->answer[0] = dword;
        return hr;
    case PROXY_CONFIG_WRITE: return interface->WriteConfigSpace(device->context, (UINT32)a[0], (UINT32)a[1]);
    default: break;
    }
    if (a[0] >= HDV_PCI_BAR_COUNT || !a[2] || a[2] > 8)
        return E_INVALIDARG;
    if (call->operation == PROXY_WRITE)
        return interface->WriteInterceptedMemory(device->context, (HDV_PCI_BAR_SELECTOR)a[0], a[1], a[2],
                                                 (const BYTE *)&value);
    hr = interface->ReadInterceptedMemory(device->context, (HDV_PCI_BAR_SELECTOR)a[0], a[1], a[2], (BYTE *)&value);
    call->answer[0] = value;
    return hr;
}

/* With the device entered. */
static HRESULT dispatch(struct device *device, struct proxy_call *call) {
    HRESULT hr;
    switch (call->operation) {
    case PROXY_INITIALIZE:
        return step(device, DEVICE_CREATED, DEVICE_CREATED, DEVICE_INITIALIZED, device->interface.Initialize);
    case PROXY_SET_CONFIGURATION:
    case PROXY_GET_DETAILS:
        if (atomic_load(&device->state) != DEVICE_INITIALIZED)
            return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
        hr = call->operation == PROXY_GET_DETAILS ? get_details(device, call) : set_configuration(device, call);
        return hr;
    case PROXY_START:
        return step(device, DEVICE_INITIALIZED, DEVICE_STARTING, DEVICE_RUNNING, device->interface.Start);
    case PROXY_STOP: stop(device); return S_OK;
    case PROXY_TEARDOWN:
        stop(device);
        if (atomic_exchange(&device->state, DEVICE_TORN_DOWN) != DEVICE_TORN_DOWN)
            device->interface.Teardown(device->context);
        disconnect(device->elsewhere);
        apertures_drop(device);
        return S_OK;
    case PROXY_CONFIG_READ:
    case PROXY_CONFIG_WRITE:
    case PROXY_READ:
    case PROXY_WRITE: return serve_access(device, call);
    default: return HCS_E_PROTOCOL_ERROR;
    }
}

struct instance {
    proxy_instance self; /* first */
    _Atomic uint32_t references;
    HDV_DEVICE device;
};

static HRESULT call_device(proxy_instance *self, struct proxy_call *call) {
    HDV_DEVICE handle = ((struct instance *)self)->device;
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    HRESULT hr = device_enter(device, 0);
    if (hr == S_OK) {
        thread_context.depth++;
        hr = dispatch(device, call);
        thread_context.depth--;
        device_leave(device);
    }
    handle_release(handle);
    return hr;
}

static HRESULT connect_device(proxy_instance *self, const struct proxy_port *port) {
    HDV_DEVICE handle = ((struct instance *)self)->device;
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    struct proxy_end *end = device->elsewhere;
    pthread_mutex_lock(&end->lock);
    end->port = *port;
    end->connected = 1;
    pthread_mutex_unlock(&end->lock);
    handle_release(handle);
    return S_OK;
}

static HRESULT WINAPI query(proxy_instance *self, REFIID iid, void **object) {
    if (!object)
        return E_POINTER;
    *object = NULL;
    if (!proxy_same_id(iid, &proxy_unknown_iid) && !proxy_same_id(iid, &proxy_instance_iid))
        return E_NOINTERFACE;
    self->table->AddRef(self);
    *object = self;
    return S_OK;
}

static ULONG WINAPI add_reference(proxy_instance *self) {
    return atomic_fetch_add(&((struct instance *)self)->references, 1) + 1;
}

static ULONG WINAPI release(proxy_instance *self) {
    uint32_t left = atomic_fetch_sub(&((struct instance *)self)->references, 1) - 1;
    if (!left)
        free(self);
    return left;
}

static const struct proxy_instance_table instance_table = {query, add_reference, release, connect_device, call_device};

HRESULT proxy_make_instance(HDV_DEVICE device, IUnknown **made) {
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance)
        return E_OUTOFMEMORY;
    *instance = (struct instance){.self = {&instance_table}, .references = 1, .device = device};
    *made = (IUnknown *)instance;
    return S_OK;
}
