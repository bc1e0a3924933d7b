/* Message-signalled interrupts of a register file: MSI and MSI-X state as the guest programmed it, masks, pending bits.
 * Ref: PCI Local Bus 3.0, sections 6.8.1 (MSI) and 6.8.2 (MSI-X). */
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "handle.h"
#include "register_file.h"

#define MSI_ENABLE 0x1u
#define MSI_64_BIT 0x80u
#define MSI_MASKING 0x100u
#define MSIX_ENABLE 0x8000u
#define MSIX_FUNCTION_MASK 0x4000u
#define ENTRY_BYTES 16u
#define ENTRY_MASKED 0x1u

static uint32_t load(const uint8_t *from, uint32_t bytes) {
    uint32_t value = 0;
    memcpy(&value, from, bytes);
    return value;
}

HRESULT message_learn(struct register_file *file) {
    if (!file->msix_offset)
        return S_OK;
    const uint8_t *capability = file->config + file->msix_offset;
    struct msix *x = &file->msix;
    uint32_t table = load(capability + 4, 4), pba = load(capability + 8, 4);
    x->count = (load(capability + 2, 2) & 0x7FF) + 1;
    x->table_bar = table & 7;
    x->pba_bar = pba & 7;
    x->table_offset = table & ~7u;
    x->pba_offset = pba & ~7u;
    uint64_t table_bytes = (uint64_t)x->count * ENTRY_BYTES, pba_bytes = (x->count + 63) / 64 * 8;
    if (x->table_bar >= HDV_PCI_BAR_COUNT || x->pba_bar >= HDV_PCI_BAR_COUNT ||
        file->bar_size[x->table_bar] < x->table_offset + table_bytes ||
        file->bar_size[x->pba_bar] < x->pba_offset + pba_bytes)
        return E_INVALIDARG;
    if (x->table_bar == x->pba_bar && x->table_offset < x->pba_offset + pba_bytes &&
        x->pba_offset < x->table_offset + table_bytes)
        return E_INVALIDARG; /* the guest could not reach what lies under the other */
    x->table = calloc(1, table_bytes);
    x->pba = calloc(1, pba_bytes);
    return x->table && x->pba ? S_OK : E_OUTOFMEMORY;
}

void message_reset(struct register_file *file) {
    pthread_mutex_lock(&file->message_lock);
    file->msi_pending = 0;
    struct msix *x = &file->msix;
    if (x->count) {
        memset(x->table, 0, (size_t)x->count * ENTRY_BYTES);
        memset(x->pba, 0, (x->count + 63) / 64 * 8);
        for (uint32_t i = 0; i < x->count; i++)
            x->table[i * ENTRY_BYTES + 12] = ENTRY_MASKED;
    }
    pthread_mutex_unlock(&file->message_lock);
}

uint8_t *message_window(struct register_file *file, uint32_t bar, uint64_t offset, uint32_t size, int *writable) {
    struct msix *x = &file->msix;
    uint64_t table_bytes = (uint64_t)x->count * ENTRY_BYTES, pba_bytes = (x->count + 63) / 64 * 8;
    if (!x->count || (size != 4 && size != 8))
        return NULL;
    if (bar == x->table_bar && offset >= x->table_offset && offset - x->table_offset <= table_bytes - size) {
        *writable = 1;
        return x->table + (offset - x->table_offset);
    }
    if (bar == x->pba_bar && offset >= x->pba_offset && offset - x->pba_offset <= pba_bytes - size) {
        *writable = 0;
        return x->pba + (offset - x->pba_offset);
    }
    return NULL;
}

/* Under message_lock: 1 with address and data when the vector may fire now, 0 when it became pending, else HRESULT. */
static HRESULT raise_msix(struct register_file *file, uint32_t vector, uint64_t *address, uint32_t *data) {
    uint32_t control = load(file->config + file->msix_offset + 2, 2);
    if (vector >= file->msix.count)
        return E_INVALIDARG;
    const uint8_t *entry = file->msix.table + vector * ENTRY_BYTES;
    if (control & MSIX_FUNCTION_MASK || load(entry + 12, 4) & ENTRY_MASKED) {
        file->msix.pba[vector / 8] |= (uint8_t)(1u << vector % 8);
        return S_OK;
    }
    *address = (uint64_t)load(entry + 4, 4) << 32 | load(entry, 4);
    *data = load(entry + 8, 4);
    return 1;
}

static HRESULT raise_msi(struct register_file *file, uint32_t vector, uint64_t *address, uint32_t *data) {
    uint8_t *capability = file->config + file->msi_offset;
    uint32_t control = load(capability + 2, 2), granted = 1u << (control >> 4 & 7);
    uint32_t wide = control & MSI_64_BIT ? 4 : 0;
    if (vector >= granted || vector > 31)
        return E_INVALIDARG;
    if (control & MSI_MASKING) {
        uint8_t *mask = capability + 12 + wide, *pending = mask + 4;
        if (load(mask, 4) >> vector & 1) {
            file->msi_pending |= 1u << vector;
            memcpy(pending, &file->msi_pending, 4);
            return S_OK;
        }
    }
    *address = load(capability + 4, 4) | (wide ? (uint64_t)load(capability + 8, 4) << 32 : 0);
    *data = (load(capability + 8 + wide, 2) & ~(granted - 1)) | vector; /* the low bits tell the vectors apart */
    return 1;
}

static int msix_enabled(struct register_file *file) {
    return file->msix_offset && load(file->config + file->msix_offset + 2, 2) & MSIX_ENABLE;
}

static int msi_enabled(struct register_file *file) {
    return file->msi_offset && load(file->config + file->msi_offset + 2, 2) & MSI_ENABLE;
}

HRESULT message_raise(struct register_file *file, uint32_t vector, uint64_t *address, uint32_t *data) {
    return msix_enabled(file)  ? raise_msix(file, vector, address, data)
           : msi_enabled(file) ? raise_msi(file, vector, address, data)
                               : HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
}

HRESULT hdvlab_register_file_interrupt(HDVLAB_REGISTER_FILE handle, uint32_t vector) {
    struct register_file *file = handle_acquire(handle, HANDLE_REGISTER_FILE);
    if (!file)
        return handle_refusal(handle);
    uint64_t address = 0;
    uint32_t data = 0;
    HDV_DEVICE device = atomic_load(&file->device);
    pthread_mutex_lock(&file->message_lock);
    HRESULT hr = device ? message_raise(file, vector, &address, &data) : HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    pthread_mutex_unlock(&file->message_lock);
    if (hr == 1) /* outside the lock: delivery is the machine's */
        hr = HdvDeliverGuestInterrupt(device, address, data);
    else if (FAILED(hr) && device)
        interrupt_went_nowhere(device, vector, hr);
    handle_release(handle);
    return hr;
}

/* Vectors that the device has, whatever the guest enabled. */
static uint32_t vectors_of(struct register_file *file) {
    uint32_t msi = file->msi_offset ? 1u << (load(file->config + file->msi_offset + 2, 2) >> 1 & 7) : 0;
    msi = msi > 32 ? 32 : msi;
    return file->msix.count > msi ? file->msix.count : msi;
}

static void look_at_msix(struct register_file *file, uint32_t vector, HDVLAB_MESSAGE *message) {
    const uint8_t *entry = file->msix.table + vector * ENTRY_BYTES;
    uint32_t control = load(file->config + file->msix_offset + 2, 2);
    *message = (HDVLAB_MESSAGE){.capability = 0x11, .count = file->msix.count,
                                .masked = control & MSIX_FUNCTION_MASK || load(entry + 12, 4) & ENTRY_MASKED,
                                .pending = file->msix.pba[vector / 8] >> vector % 8 & 1,
                                .data = load(entry + 8, 4),
                                .address = (uint64_t)load(entry + 4, 4) << 32 | load(entry, 4)};
}

static void look_at_msi(struct register_file *file, uint32_t vector, HDVLAB_MESSAGE *message) {
    const uint8_t *capability = file->config + file->msi_offset;
    uint32_t control = load(capability + 2, 2), granted = 1u << (control >> 4 & 7), wide = control & MSI_64_BIT ? 4 : 0;
    uint32_t mask = control & MSI_MASKING ? load(capability + 12 + wide, 4) : 0;
    *message = (HDVLAB_MESSAGE){.capability = 0x05, .count = granted < 32 ? granted : 32,
                                .masked = vector < 32 ? mask >> vector & 1 : 0,
                                .pending = vector < 32 ? file->msi_pending >> vector & 1 : 0,
                                .data = (load(capability + 8 + wide, 2) & ~(granted - 1)) | vector,
                                .address = load(capability + 4, 4) |
                                           (wide ? (uint64_t)load(capability + 8, 4) << 32 : 0)};
}

HRESULT hdvlab_register_file_message(HDVLAB_REGISTER_FILE handle, uint32_t vector, HDVLAB_MESSAGE *message) {
    if (!message)
        return E_POINTER;
    struct register_file *file = handle_acquire(handle, HANDLE_REGISTER_FILE);
    if (!file)
        return handle_refusal(handle);
    *message = (HDVLAB_MESSAGE){0};
    pthread_mutex_lock(&file->message_lock);
    HRESULT hr = vector < vectors_of(file) ? S_OK : E_INVALIDARG;
    if (hr == S_OK && msix_enabled(file) && vector < file->msix.count)
        look_at_msix(file, vector, message);
    else if (hr == S_OK && !msix_enabled(file) && msi_enabled(file))
        look_at_msi(file, vector, message);
    pthread_mutex_unlock(&file->message_lock);
    handle_release(handle);
    return hr;
}

/* The pending bits where the guest reads them, if there is such a place. Under message_lock. */
static void show_msi_pending(struct register_file *file) {
    uint32_t control = load(file->config + file->msi_offset + 2, 2);
    if (control & MSI_MASKING)
        memcpy(file->config + file->msi_offset + (control & MSI_64_BIT ? 20 : 16), &file->msi_pending, 4);
}

void message_unmasked(struct register_file *file) {
    HDV_DEVICE device = atomic_load(&file->device);
    if (!device)
        return;
    uint32_t vectors = msix_enabled(file) ? file->msix.count : msi_enabled(file) ? 32 : 0;
    int is_msix = msix_enabled(file);
    for (uint32_t vector = 0; vector < vectors; vector++) {
        uint64_t address;
        uint32_t data;
        HRESULT hr = S_OK;
        pthread_mutex_lock(&file->message_lock);
        if (is_msix && file->msix.pba[vector / 8] >> vector % 8 & 1) {
            if ((hr = raise_msix(file, vector, &address, &data)) == 1)
                file->msix.pba[vector / 8] &= (uint8_t) ~(1u << vector % 8);
        } else if (!is_msix && file->msi_pending >> vector & 1) {
            if ((hr = raise_msi(file, vector, &address, &data)) == 1) {
                file->msi_pending &= ~(1u << vector);
                show_msi_pending(file);
            }
        }
        pthread_mutex_unlock(&file->message_lock);
        if (hr != 1 || SUCCEEDED(HdvDeliverGuestInterrupt(device, address, data)))
            continue;
        pthread_mutex_lock(&file->message_lock); /* bus mastering is off: it stays pending until that changes, too */
        if (is_msix) {
            file->msix.pba[vector / 8] |= (uint8_t)(1u << vector % 8);
        } else {
            file->msi_pending |= 1u << vector;
            show_msi_pending(file);
        }
        pthread_mutex_unlock(&file->message_lock);
    }
}

HRESULT hdvlab_register_file_withdraw(HDVLAB_REGISTER_FILE handle, uint32_t vector) {
    struct register_file *file = handle_acquire(handle, HANDLE_REGISTER_FILE);
    if (!file)
        return handle_refusal(handle);
    HRESULT hr = 1; /* S_FALSE */
    pthread_mutex_lock(&file->message_lock);
    if (vector >= vectors_of(file)) {
        hr = E_INVALIDARG;
    } else {
        if (vector < file->msix.count && file->msix.pba[vector / 8] >> vector % 8 & 1) {
            file->msix.pba[vector / 8] &= (uint8_t) ~(1u << vector % 8);
            hr = S_OK;
        }
        if (vector < 32 && file->msi_pending >> vector & 1) {
            file->msi_pending &= ~(1u << vector);
            show_msi_pending(file);
            hr = S_OK;
        }
    }
    pthread_mutex_unlock(&file->message_lock);
    handle_release(handle);
    return hr;
}
