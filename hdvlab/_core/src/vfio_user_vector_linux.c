/* The way of a device's message to the VM: what its own MSI-X table says, vectors by address and data, events. */
#include <string.h>

#include "handle.h"
#include "vfio_user.h"

#define COOKIE_DATA 0x48440000u /* what a vector's entry in the device's own MSI-X table says, and its number */

/* The device's own table, as under a machine that lets it reach the device: an entry is unmasked when its vector has an
 * event. Writes of the machine's, each a row. */
void vfio_user_show_table(struct server *server, struct device *device, uint32_t start, uint32_t count) {
    const struct capabilities *c = &server->capabilities;
    const HDVLAB_ACCESS access = {.origin = HDVLAB_MACHINE, .wait_ms = server->options.budget_ms};
    for (uint32_t n = start; n < start + count && !atomic_load(&server->is_ending); n++) {
        uint64_t entry = c->table_offset + 16ull * n, bit = 1ull << n % 64;
        pthread_mutex_lock(&server->lines.lock);
        int is_open = server->lines.fd[IRQ_MSIX][n] >= 0, was_open = server->lines.shown[n / 64] & bit ? 1 : 0;
        pthread_mutex_unlock(&server->lines.lock);
        const uint32_t words[4] = {(uint32_t)INTERRUPT_WINDOW, 0, COOKIE_DATA | n, is_open ? 0 : 1};
        if (is_open == was_open)
            continue;
        HRESULT hr = S_OK;
        for (uint32_t i = is_open ? 0 : 3; i < 4 && hr == S_OK && !vfio_user_is_replaced(); i++)
            hr = device_mmio_write(device, &access, c->table_bar, entry + 4 * i, 4, words[i]);
        if (vfio_user_is_replaced())
            return;
        if (FAILED(hr))
            continue; /* it hangs: the next time that the VM sets this vector, it is shown again */
        pthread_mutex_lock(&server->lines.lock);
        server->lines.shown[n / 64] ^= bit;
        pthread_mutex_unlock(&server->lines.lock);
    }
}

/* ---- messages of the device ----------------------------------------------------------------------------------------- */

void vfio_user_msi_given(struct server *server, uint32_t dword, uint32_t value) {
    pthread_mutex_lock(&server->lines.lock);
    uint32_t msi = server->capabilities.msi;
    if (msi && dword >= msi && dword + sizeof value <= msi + sizeof server->lines.msi)
        memcpy(server->lines.msi + (dword - msi), &value, sizeof value);
    pthread_mutex_unlock(&server->lines.lock);
}

static uint32_t load(const uint8_t *from, uint32_t bytes) {
    uint32_t value = 0;
    memcpy(&value, from, bytes);
    return value;
}

/* The vector of a message that the guest has programmed into the MSI capability, or -1. Under the lock. */
static int msi_vector(const struct server *server, uint64_t address, uint32_t data) {
    const struct lines *lines = &server->lines;
    uint32_t control = load(lines->msi + 2, 2), granted = 1u << (control >> 4 & 7);
    int is_wide = server->capabilities.msi_is_wide;
    uint64_t wanted = load(lines->msi + 4, 4) | (is_wide ? (uint64_t)load(lines->msi + 8, 4) << 32 : 0);
    uint32_t first = load(lines->msi + (is_wide ? 12 : 8), 2) & ~(granted - 1);
    if (!(control & 1) || !(lines->enabled & 1u << IRQ_MSI) || granted > MSI_VECTORS || address != wanted ||
        (data & ~(granted - 1)) != first)
        return -1;
    return (int)(data & (granted - 1));
}

/* True when one of the VM's events stands for the message. Under the lock. */
static int deliver_by_event(struct server *server, uint64_t address, uint32_t data) {
    struct lines *lines = &server->lines;
    uint32_t n = data & 0xFFFF;
    if (lines->enabled & 1u << IRQ_MSIX && address == INTERRUPT_WINDOW && (data & 0xFFFF0000u) == COOKIE_DATA &&
        n < server->capabilities.msix_vectors) {
        if (lines->fd[IRQ_MSIX][n] >= 0)
            vfio_user_signal(lines->fd[IRQ_MSIX][n]);
        else
            lines->pending[n / 64] |= 1ull << n % 64; /* masked meanwhile */
        return 1;
    }
    int vector = msi_vector(server, address, data);
    if (vector < 0 || lines->fd[IRQ_MSI][vector] < 0)
        return 0;
    vfio_user_signal(lines->fd[IRQ_MSI][vector]);
    return 1;
}

HRESULT vfio_user_deliver(struct system *system, struct device *requestor, uint64_t address, uint32_t data) {
    struct server *server = vfio_user_server_of(system, requestor);
    if (!server)
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    int is_hidden = server->options.flags & HDVLAB_VFIO_USER_HIDE_CAPABILITIES;
    pthread_mutex_lock(&server->lines.lock);
    int is_done = !is_hidden && deliver_by_event(server, address, data);
    pthread_mutex_unlock(&server->lines.lock);
    HRESULT hr = S_OK;
    if (!is_done && !is_hidden && address == INTERRUPT_WINDOW && (data & 0xFFFF0000u) == COOKIE_DATA) {
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE); /* MSI-X is off: to the guest the cookie would be some interrupt */
    } else if (!is_done && (address < INTERRUPT_WINDOW || address >= INTERRUPT_WINDOW_END || address & 3)) {
        hr = HRESULT_FROM_WIN32(ERROR_NOACCESS); /* never a plain write to RAM */
    } else if (!is_done) {
        hr = vfio_user_tell(server, address, data) ? HRESULT_FROM_WIN32(ERROR_INVALID_STATE) : S_OK;
    }
    vfio_user_let_go(server);
    return hr;
}
