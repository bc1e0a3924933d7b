/* How an access of 1, 2, 4 or 8 bytes meets registers: whole, in part, or several of them; one read and one write path. */
#include <string.h>

#include "register_file.h"

static uint64_t ones_of(uint32_t size) { return size >= 8 ? UINT64_MAX : (1ull << 8 * size) - 1; }

/* Index of the register that holds a BAR's byte, -1 = none. */
static int64_t find(const struct register_layout *layout, uint32_t bar, uint64_t offset) {
    uint32_t low = layout->first[bar], high = layout->first[bar + 1];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const HDVLAB_REGISTER *r = &layout->registers[middle];
        if (offset < r->offset)
            high = middle;
        else if (offset >= r->offset + r->size)
            low = middle + 1;
        else
            return middle;
    }
    return -1;
}

/* The bits of the register that `part` bytes from its byte `skip` on touch: all where a narrow access stands for it. */
static uint64_t touched(const HDVLAB_REGISTER *r, uint32_t skip, uint32_t part) {
    return r->flags & HDVLAB_REGISTER_NARROW_LOW ? ones_of(r->size) : ones_of(part) << 8 * skip;
}

/* Whether the register takes an access that begins at `offset` with `size` bytes in all. */
static int takes(const HDVLAB_REGISTER *r, uint64_t offset, uint32_t size) {
    return r->sizes & size && (!(r->flags & HDVLAB_REGISTER_NARROW_LOW) || offset == r->offset);
}

/* `bytes` marks the bits of the register that the access touches. */
static HRESULT read_register(struct register_file *file, const struct register_layout *layout, uint32_t index,
                             uint64_t bytes, int peek, uint64_t *value) {
    const HDVLAB_REGISTER *r = &layout->registers[index];
    uint64_t stored = atomic_load_explicit(&layout->values[index], memory_order_relaxed);
    if (peek) {
        *value = stored;
        return S_OK;
    }
    if (r->flags & HDVLAB_REGISTER_ON_READ) {
        uint64_t answer = stored;
        HRESULT hr = file->call.register_read(file->context, index, stored, &answer);
        if (FAILED(hr))
            return hr;
        *value = answer;
    } else {
        *value = stored | (~r->read_mask & ones_of(r->size)); /* bits that cannot be read are ones */
    }
    if (r->read_to_clear) /* what the guest has seen: not other bytes, not a bit that was set meanwhile */
        atomic_fetch_and(&layout->values[index], ~(r->read_to_clear & bytes & stored));
    return S_OK;
}

HRESULT register_file_read(struct register_file *file, uint32_t bar, uint64_t offset, uint32_t size, uint8_t *value,
                           int peek) {
    const struct register_layout *layout = atomic_load_explicit(&file->layout, memory_order_acquire);
    int64_t index = find(layout, bar, offset);
    if (index >= 0) { /* the common case: one whole register */
        const HDVLAB_REGISTER *r = &layout->registers[index];
        if (r->offset == offset && r->size == size && r->sizes & size) {
            uint64_t whole;
            HRESULT hr = read_register(file, layout, (uint32_t)index, ones_of(size), peek, &whole);
            if (SUCCEEDED(hr))
                memcpy(value, &whole, size);
            return hr;
        }
    }
    int writable;
    uint8_t *window = message_window(file, bar, offset, size, &writable);
    if (window) {
        memcpy(value, window, size);
        return S_OK;
    }
    memset(value, 0xFF, size);
    int claimed = 0;
    for (uint32_t done = 0; done < size;) {
        index = find(layout, bar, offset + done);
        const HDVLAB_REGISTER *r = index >= 0 ? &layout->registers[index] : NULL;
        if (!r || !(peek || takes(r, offset + done, size))) {
            done++;
            continue;
        }
        uint64_t whole;
        uint32_t skip = (uint32_t)(offset + done - r->offset), part = r->size - skip;
        part = part < size - done ? part : size - done;
        HRESULT hr = read_register(file, layout, (uint32_t)index, touched(r, skip, part), peek, &whole);
        if (FAILED(hr))
            return hr;
        memcpy(value + done, (uint8_t *)&whole + skip, part);
        done += part;
        claimed = 1;
    }
    if (claimed)
        return S_OK;
    if (!peek && layout->bar_flags[bar] & HDVLAB_BAR_ON_READ) {
        uint64_t answer = UINT64_MAX;
        HRESULT hr = file->call.bar_read(file->context, bar, offset, size, &answer);
        if (SUCCEEDED(hr))
            memcpy(value, &answer, size);
        return hr;
    }
    return find(layout, bar, offset) >= 0 ? E_INVALIDARG : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
}

/* `bytes` marks the bits of the register that the access touches. */
static HRESULT write_register(struct register_file *file, const struct register_layout *layout, uint32_t index,
                              uint64_t value, uint64_t bytes) {
    const HDVLAB_REGISTER *r = &layout->registers[index];
    uint64_t old = atomic_load_explicit(&layout->values[index], memory_order_relaxed), stored;
    uint64_t set = r->write_mask & bytes;
    do { /* a status bit that a thread of the device sets meanwhile must survive the guest's clearing others */
        stored = (old & ~set) | (value & set);
        stored &= ~(value & r->write_one_to_clear & bytes);
        stored |= value & r->write_one_to_set & bytes;
    } while (!atomic_compare_exchange_weak_explicit(&layout->values[index], &old, stored, memory_order_relaxed,
                                                    memory_order_relaxed));
    if (r->flags & HDVLAB_REGISTER_ON_WRITE) {
        uint64_t kept = old & ~bytes & ~(r->write_one_to_clear | r->write_one_to_set);
        HRESULT hr = file->call.register_write(file->context, index, (value & bytes) | kept, old);
        if (FAILED(hr)) /* dropped, and with it what the handler did to this register before it failed */
            atomic_store_explicit(&layout->values[index], old, memory_order_relaxed);
        return hr;
    }
    return r->write_mask | r->write_one_to_clear | r->write_one_to_set ? S_OK : E_ACCESSDENIED;
}

HRESULT register_file_write(struct register_file *file, uint32_t bar, uint64_t offset, uint32_t size,
                            const uint8_t *value) {
    const struct register_layout *layout = atomic_load_explicit(&file->layout, memory_order_acquire);
    uint64_t whole = 0;
    memcpy(&whole, value, size);
    int64_t index = find(layout, bar, offset);
    if (index >= 0) {
        const HDVLAB_REGISTER *r = &layout->registers[index];
        if (r->offset == offset && r->size == size && r->sizes & size)
            return write_register(file, layout, (uint32_t)index, whole, ones_of(size));
    }
    int writable;
    uint8_t *window = message_window(file, bar, offset, size, &writable);
    if (window) {
        if (!writable)
            return E_ACCESSDENIED;
        pthread_mutex_lock(&file->message_lock);
        memcpy(window, value, size);
        pthread_mutex_unlock(&file->message_lock);
        message_unmasked(file);
        return S_OK;
    }
    int claimed = 0;
    HRESULT first_failure = S_OK;
    for (uint32_t done = 0; done < size;) {
        index = find(layout, bar, offset + done);
        const HDVLAB_REGISTER *r = index >= 0 ? &layout->registers[index] : NULL;
        if (!r || !takes(r, offset + done, size)) {
            done++;
            continue;
        }
        uint32_t skip = (uint32_t)(offset + done - r->offset), part = r->size - skip;
        part = part < size - done ? part : size - done;
        uint64_t bits = (whole >> 8 * done & ones_of(part)) << 8 * skip;
        HRESULT hr = write_register(file, layout, (uint32_t)index, bits, touched(r, skip, part));
        first_failure = FAILED(first_failure) ? first_failure : hr;
        done += part;
        claimed = 1;
    }
    if (claimed)
        return first_failure;
    if (layout->bar_flags[bar] & HDVLAB_BAR_ON_WRITE)
        return file->call.bar_write(file->context, bar, offset, size, whole);
    return find(layout, bar, offset) >= 0 ? E_INVALIDARG : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
}
