/* What the server must know of a device's capabilities: read from its config space, once per connection. */
#include <string.h>

#include "handle.h"
#include "vfio_user.h"

static uint32_t word(const uint8_t *config, uint32_t at, uint32_t bytes) {
    uint32_t value = 0;
    memcpy(&value, config + at, bytes);
    return value;
}

static void learn_msix(struct capabilities *c, const uint8_t *config, uint32_t at) {
    uint32_t table = word(config, at + 4, 4), pba = word(config, at + 8, 4);
    if ((table & 7) >= HDV_PCI_BAR_COUNT || (pba & 7) >= HDV_PCI_BAR_COUNT)
        return;
    c->msix = at;
    c->msix_vectors = (word(config, at + 2, 2) & 0x7FF) + 1;
    c->table_bar = table & 7;
    c->table_offset = table & ~7u;
    c->pba_bar = pba & 7;
    c->pba_offset = pba & ~7u;
}

/* Interrupts are delivered on other threads. `config`: what the guest had written before it was learnt is there. */
static void know(struct server *server, const struct capabilities *c, const uint8_t *config) {
    pthread_mutex_lock(&server->lines.lock);
    server->capabilities = *c;
    if (c->msi && c->msi <= CONFIG_SPACE_BYTES - sizeof server->lines.msi)
        memcpy(server->lines.msi, config + c->msi, sizeof server->lines.msi);
    pthread_mutex_unlock(&server->lines.lock);
}

void vfio_user_forget(struct server *server) { know(server, &(struct capabilities){0}, NULL); }

/* Once per connection, from config space as the device has it, without a row. */
void vfio_user_learn(struct server *server) {
    struct capabilities learnt = {0}, *c = &learnt;
    uint8_t config[CONFIG_SPACE_BYTES];
    if (server->capabilities.is_known)
        return;
    struct device *device = system_slot_device(&server->machine->system, server->slot);
    HRESULT hr = device && !atomic_load(&device->hung) ? device_config_peek(device, server->slot, config) : E_FAIL;
    if (device)
        handle_release(device->handle);
    if (FAILED(hr) || vfio_user_is_replaced())
        return;
    c->is_known = 1;
    c->pin = config[0x3D];
    uint32_t at = config[0x06] & 0x10 ? config[0x34] & 0xFC : 0;
    for (int i = 0; i < 48 && at >= 0x40 && at <= 0xF0; i++, at = config[at + 1] & 0xFC) {
        if (config[at] == 0x05 && !c->msi) {
            c->msi = at;
            c->msi_vectors = 1u << (config[at + 2] >> 1 & 7);
            c->msi_vectors = c->msi_vectors > MSI_VECTORS ? MSI_VECTORS : c->msi_vectors;
            c->msi_is_wide = config[at + 2] >> 7;
        } else if (config[at] == 0x11 && !c->msix) {
            learn_msix(c, config, at);
        } else if (config[at] == 0x10) {
            c->is_express = 1;
        }
    }
    know(server, c, config);
}
