#include "register_file.h"

#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "system.h"

static void destroy(void *object) {
    struct register_file *file = object;
    layout_destroy(atomic_load(&file->layout));
    free(file->config);
    free(file->config_reset);
    free(file->config_write_mask);
    free(file->config_write_one_to_clear);
    free(file->msix.table);
    free(file->msix.pba);
    pthread_mutex_destroy(&file->message_lock);
    free(file);
}

static void *copy_of(const void *from, size_t bytes) {
    void *copy = malloc(bytes ? bytes : 1);
    if (copy && bytes) /* nothing may come as NULL */
        memcpy(copy, from, bytes);
    return copy;
}

static void reset(struct register_file *file) {
    layout_reset(atomic_load(&file->layout));
    memcpy(file->config, file->config_reset, CONFIG_BYTES);
    message_reset(file);
}

static int is_sound(const HDVLAB_DEVICE_DESCRIPTION *d) {
    return layout_is_sound(d) && d->msi_offset <= CONFIG_BYTES - 24 && d->msix_offset <= CONFIG_BYTES - 12;
}

HRESULT hdvlab_register_file_create(const HDVLAB_DEVICE_DESCRIPTION *d, const HDVLAB_DEVICE_CALLBACKS *callbacks,
                                    void *context, HDVLAB_REGISTER_FILE *handle) {
    if (!d || !callbacks || !handle || !d->config || !d->config_write_mask || !d->config_write_one_to_clear ||
        (d->register_count && !d->registers))
        return E_POINTER;
    if (!is_sound(d))
        return E_INVALIDARG;
    struct register_file *file = calloc(1, sizeof *file);
    if (!file)
        return E_OUTOFMEMORY;
    pthread_mutex_init(&file->message_lock, NULL);
    file->context = context;
    file->call = *callbacks;
    file->pnp_id = d->pnp_id;
    memcpy(file->probed_bars, d->probed_bars, sizeof file->probed_bars);
    memcpy(file->bar_size, d->bar_size, sizeof file->bar_size);
    struct register_layout *layout = layout_create(d);
    atomic_store(&file->layout, layout);
    file->config = copy_of(d->config, CONFIG_BYTES);
    file->config_reset = copy_of(d->config, CONFIG_BYTES);
    file->config_write_mask = copy_of(d->config_write_mask, CONFIG_BYTES);
    file->config_write_one_to_clear = copy_of(d->config_write_one_to_clear, CONFIG_BYTES);
    file->msi_offset = d->msi_offset;
    file->msix_offset = d->msix_offset;
    HRESULT hr = layout && file->config && file->config_reset && file->config_write_mask &&
                         file->config_write_one_to_clear
                     ? S_OK
                     : E_OUTOFMEMORY;
    if (hr == S_OK)
        hr = message_learn(file);
    if (hr == S_OK && !(file->handle = handle_create(HANDLE_REGISTER_FILE, file, destroy)))
        hr = E_OUTOFMEMORY;
    if (FAILED(hr)) {
        destroy(file);
        return hr;
    }
    reset(file);
    *handle = file->handle;
    return S_OK;
}

HRESULT hdvlab_register_file_close(HDVLAB_REGISTER_FILE handle) {
    return handle_retire(handle, HANDLE_REGISTER_FILE) ? S_OK : handle_refusal(handle);
}

static struct register_file *acquire(HDVLAB_REGISTER_FILE handle) { return handle_acquire(handle, HANDLE_REGISTER_FILE); }

HRESULT hdvlab_register_file_reset(HDVLAB_REGISTER_FILE handle) {
    struct register_file *file = acquire(handle);
    if (!file)
        return handle_refusal(handle);
    reset(file);
    handle_release(handle);
    return S_OK;
}

/* Whether a description differs in registers only: what the machine has seen of the device is the same. */
static int is_same_device(const struct register_file *file, const HDVLAB_DEVICE_DESCRIPTION *d) {
    return !memcmp(&file->pnp_id, &d->pnp_id, sizeof file->pnp_id) &&
           !memcmp(file->probed_bars, d->probed_bars, sizeof file->probed_bars) &&
           !memcmp(file->bar_size, d->bar_size, sizeof file->bar_size) &&
           !memcmp(file->config_reset, d->config, CONFIG_BYTES) &&
           !memcmp(file->config_write_mask, d->config_write_mask, CONFIG_BYTES) &&
           !memcmp(file->config_write_one_to_clear, d->config_write_one_to_clear, CONFIG_BYTES) &&
           file->msi_offset == d->msi_offset && file->msix_offset == d->msix_offset;
}

HRESULT hdvlab_register_file_redescribe(HDVLAB_REGISTER_FILE handle, const HDVLAB_DEVICE_DESCRIPTION *d,
                                        const HDVLAB_DEVICE_CALLBACKS *callbacks, const uint64_t *values) {
    if (!d || !callbacks || !values)
        return E_POINTER;
    struct register_file *file = acquire(handle);
    if (!file)
        return handle_refusal(handle);
    HDV_DEVICE device = atomic_load(&file->device);
    HRESULT hr = S_OK;
    struct register_layout *layout = NULL;
    if (!d->config || !d->config_write_mask || !d->config_write_one_to_clear || (d->register_count && !d->registers))
        hr = E_POINTER;
    else if (device && hdvlab_device_inside(device) != S_OK)
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    else if (!is_sound(d) || !is_same_device(file, d))
        hr = E_INVALIDARG;
    else if (!(layout = layout_create(d)))
        hr = E_OUTOFMEMORY;
    if (SUCCEEDED(hr)) {
        for (uint32_t i = 0; i < layout->count; i++)
            atomic_store(&layout->values[i], values[i]);
        layout->before = atomic_load(&file->layout);
        file->call = *callbacks; /* no callback runs: the caller has the device */
        atomic_store_explicit(&file->layout, layout, memory_order_release);
    }
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_register_file_values(HDVLAB_REGISTER_FILE handle, uint64_t **values) {
    if (!values)
        return E_POINTER;
    struct register_file *file = acquire(handle);
    if (!file)
        return handle_refusal(handle);
    *values = (uint64_t *)atomic_load(&file->layout)->values;
    handle_release(handle);
    return S_OK;
}

HRESULT hdvlab_register_file_config(HDVLAB_REGISTER_FILE handle, uint8_t **config) {
    if (!config)
        return E_POINTER;
    struct register_file *file = acquire(handle);
    if (!file)
        return handle_refusal(handle);
    *config = file->config;
    handle_release(handle);
    return S_OK;
}

HRESULT hdvlab_register_file_peek(HDVLAB_REGISTER_FILE handle, uint32_t bar, uint64_t offset, uint32_t size,
                                  uint64_t *value) {
    if (!value)
        return E_POINTER;
    struct register_file *file = acquire(handle);
    if (!file)
        return handle_refusal(handle);
    HRESULT hr = E_INVALIDARG;
    uint64_t peeked = UINT64_MAX;
    if (bar < HDV_PCI_BAR_COUNT && size && size <= 8 && file->bar_size[bar] >= size &&
        offset <= file->bar_size[bar] - size)
        hr = register_file_read(file, bar, offset, size, (uint8_t *)&peeked, 1);
    *value = size < 8 ? peeked & ((1ull << 8 * size) - 1) : peeked;
    handle_release(handle);
    return hr;
}

/* ---- the HDV side ------------------------------------------------------------------------------------------------- */

static HRESULT on_initialize(PVOID context) {
    struct register_file *file = context;
    return file->call.initialize ? file->call.initialize(file->context) : S_OK;
}

static void on_teardown(PVOID context) {
    struct register_file *file = context;
    if (file->call.teardown)
        file->call.teardown(file->context);
    atomic_store(&file->device, NULL);
    atomic_store(&file->bound, 0);
    handle_release(file->handle); /* the instance's reference: the last callback has come */
}

static HRESULT on_set_configuration(PVOID context, UINT32 count, const LPCWSTR *values) {
    struct register_file *file = context;
    return file->call.set_configuration ? file->call.set_configuration(file->context, count, values) : S_OK;
}

static HRESULT on_get_details(PVOID context, PHDV_PCI_PNP_ID pnp_id, UINT32 count, UINT32 *probed) {
    struct register_file *file = context;
    *pnp_id = file->pnp_id;
    memcpy(probed, file->probed_bars, (count < 6 ? count : 6) * sizeof *probed);
    return S_OK;
}

static HRESULT on_start(PVOID context) {
    struct register_file *file = context;
    return file->call.start ? file->call.start(file->context) : S_OK;
}

static void on_stop(PVOID context) {
    struct register_file *file = context;
    if (file->call.stop)
        file->call.stop(file->context);
}

static HRESULT on_reset(PVOID context) {
    struct register_file *file = context;
    if (file->call.reset)
        return file->call.reset(file->context);
    on_stop(context);
    reset(file);
    return on_start(context);
}

static HRESULT on_config_read(PVOID context, UINT32 offset, UINT32 *value) {
    struct register_file *file = context;
    *value = 0;
    if (offset <= CONFIG_BYTES - 4)
        memcpy(value, file->config + offset, 4);
    return S_OK;
}

static HRESULT on_config_write(PVOID context, UINT32 offset, UINT32 value) {
    struct register_file *file = context;
    if (offset > CONFIG_BYTES - 4)
        return S_OK;
    pthread_mutex_lock(&file->message_lock);
    for (uint32_t i = 0; i < 4; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i), *at = file->config + offset + i;
        uint8_t writable = file->config_write_mask[offset + i];
        *at = (uint8_t)((*at & ~writable) | (byte & writable));
        *at = (uint8_t)(*at & ~(byte & file->config_write_one_to_clear[offset + i]));
    }
    pthread_mutex_unlock(&file->message_lock);
    message_unmasked(file);
    return file->call.config_written ? file->call.config_written(file->context, offset, value) : S_OK;
}

static HRESULT on_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    return register_file_read(context, (uint32_t)bar, offset, (uint32_t)length, value, 0);
}

static HRESULT on_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    return register_file_write(context, (uint32_t)bar, offset, (uint32_t)length, value);
}

HRESULT hdvlab_register_file_instance(HDVLAB_REGISTER_FILE handle, HDV_HOST host, const GUID *device_class,
                                      const GUID *instance, HDV_DEVICE *device) {
    static const HDV_PCI_DEVICE_INTERFACE interface = {
        HdvPciDeviceInterfaceVersion1, on_initialize, on_teardown,     on_set_configuration, on_get_details, on_start,
        on_stop,                       on_config_read, on_config_write, on_read,              on_write};
    if (!device)
        return E_POINTER;
    struct register_file *file = acquire(handle);
    if (!file)
        return handle_refusal(handle);
    HRESULT hr = HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
    int bound = atomic_exchange(&file->bound, 1);
    if (!bound)
        hr = HdvCreateDeviceInstance(host, HdvDeviceTypePCI, device_class, instance, &interface, file, device);
    if (SUCCEEDED(hr))
        (void)hdvlab_device_on_reset(*device, on_reset);
    if (SUCCEEDED(hr))
        atomic_store(&file->device, *device); /* keeps the reference until on_teardown */
    if (FAILED(hr)) {
        if (!bound)
            atomic_store(&file->bound, 0);
        handle_release(handle);
    }
    return hr;
}

HRESULT hdvlab_register_file_end(HDVLAB_REGISTER_FILE handle) {
    struct register_file *file = acquire(handle);
    if (!file)
        return handle_refusal(handle);
    HDV_DEVICE device = atomic_load(&file->device);
    HRESULT hr = device ? hdvlab_device_end(device) : 1; /* S_FALSE */
    handle_release(handle);
    return hr == E_HANDLE ? 1 : hr; /* it ended meanwhile */
}
