/* A register file that stands for another one's state: what an access would do is tried on it, and nobody notices.
 * It is bound to no instance, so nothing that it does reaches a machine or a trace. */
#include <string.h>

#include "handle.h"
#include "register_file.h"

/* Whether all that the one has fits into the other. */
static int is_alike(const struct register_file *a, const struct register_file *b) {
    const struct register_layout *x = atomic_load(&a->layout), *y = atomic_load(&b->layout);
    if (x->count != y->count || a->msi_offset != b->msi_offset || a->msix_offset != b->msix_offset ||
        a->msix.count != b->msix.count || memcmp(x->bar_flags, y->bar_flags, sizeof x->bar_flags))
        return 0;
    for (uint32_t i = 0; i < x->count; i++)
        if (x->registers[i].bar != y->registers[i].bar || x->registers[i].offset != y->registers[i].offset ||
            x->registers[i].size != y->registers[i].size)
            return 0;
    return 1;
}

static void copy_state(struct register_file *to, struct register_file *from) {
    const struct register_layout *values = atomic_load(&from->layout), *copies = atomic_load(&to->layout);
    for (uint32_t i = 0; i < values->count; i++)
        atomic_store(&copies->values[i], atomic_load(&values->values[i]));
    pthread_mutex_lock(&from->message_lock);
    memcpy(to->config, from->config, CONFIG_BYTES);
    to->msi_pending = from->msi_pending;
    if (from->msix.count) {
        memcpy(to->msix.table, from->msix.table, (size_t)from->msix.count * 16);
        memcpy(to->msix.pba, from->msix.pba, (from->msix.count + 63) / 64 * 8);
    }
    pthread_mutex_unlock(&from->message_lock);
}

HRESULT hdvlab_register_file_copy(HDVLAB_REGISTER_FILE from_handle, HDVLAB_REGISTER_FILE to_handle) {
    struct register_file *from = handle_acquire(from_handle, HANDLE_REGISTER_FILE);
    if (!from)
        return handle_refusal(from_handle);
    struct register_file *to = handle_acquire(to_handle, HANDLE_REGISTER_FILE);
    HRESULT hr = to ? S_OK : handle_refusal(to_handle);
    if (to && atomic_load(&to->bound))
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    else if (to && !is_alike(from, to))
        hr = E_INVALIDARG;
    if (hr == S_OK && from != to)
        copy_state(to, from);
    if (to)
        handle_release(to_handle);
    handle_release(from_handle);
    return hr;
}

HRESULT hdvlab_register_file_rehearse(HDVLAB_REGISTER_FILE handle, BOOL write, uint32_t bar, uint64_t offset,
                                      uint32_t size, uint64_t *value) {
    if (!value)
        return E_POINTER;
    struct register_file *file = handle_acquire(handle, HANDLE_REGISTER_FILE);
    if (!file)
        return handle_refusal(handle);
    HRESULT hr = E_INVALIDARG;
    uint64_t bytes = *value;
    if (atomic_load(&file->bound))
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    else if (bar < HDV_PCI_BAR_COUNT && (size == 1 || size == 2 || size == 4 || size == 8) &&
             file->bar_size[bar] >= size && offset <= file->bar_size[bar] - size)
        hr = write ? register_file_write(file, bar, offset, size, (const uint8_t *)&bytes)
                   : register_file_read(file, bar, offset, size, (uint8_t *)&bytes, 0);
    if (!write) /* what cannot be served reads as all ones */
        *value = (FAILED(hr) ? UINT64_MAX : bytes) & (size < 8 ? (1ull << 8 * (size & 7)) - 1 : UINT64_MAX);
    handle_release(handle);
    return hr;
}

HRESULT hdvlab_register_file_rehearse_interrupt(HDVLAB_REGISTER_FILE handle, uint32_t vector, uint64_t *address,
                                                uint32_t *data) {
    if (!address || !data)
        return E_POINTER;
    struct register_file *file = handle_acquire(handle, HANDLE_REGISTER_FILE);
    if (!file)
        return handle_refusal(handle);
    HRESULT hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (!atomic_load(&file->bound)) {
        pthread_mutex_lock(&file->message_lock);
        hr = message_raise(file, vector, address, data);
        pthread_mutex_unlock(&file->message_lock);
    }
    handle_release(handle);
    return hr;
}
