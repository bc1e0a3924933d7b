/* The device: ten callbacks and a thread. */
#include "summer.h"

#include <string.h>

#include "check.h"

const GUID SUMMER_CLASS = {0x5c1d7a80, 0x3e43, 0x4f6c, {0x9a, 0x51, 0x0d, 0x9f, 0x2b, 0x8e, 0x6a, 0x01}};
const GUID COLD = {0x5c1d7a80, 0x3e43, 0x4f6c, {0x9a, 0x51, 0x0d, 0x9f, 0x2b, 0x8e, 0x6a, 0x11}};
const GUID HOT = {0x5c1d7a80, 0x3e43, 0x4f6c, {0x9a, 0x51, 0x0d, 0x9f, 0x2b, 0x8e, 0x6a, 0x12}};
const GUID EMPTY = {0x5c1d7a80, 0x3e43, 0x4f6c, {0x9a, 0x51, 0x0d, 0x9f, 0x2b, 0x8e, 0x6a, 0x13}};

enum { CONFIG_STATUS = 0x04, CONFIG_CAPABILITIES = 0x34, CONFIG_MSI = 0x50 };

static UINT32 peek32(summer *it, UINT32 offset) {
    UINT32 value;
    memcpy(&value, it->registers + offset, sizeof value);
    return value;
}

static UINT64 peek64(summer *it, UINT32 offset) {
    UINT64 value;
    memcpy(&value, it->registers + offset, sizeof value);
    return value;
}

static void poke32(summer *it, UINT32 offset, UINT32 value) { memcpy(it->registers + offset, &value, sizeof value); }

/* Copies in, sums, copies the sum out, counts, tells the guest. */
static void summer_work(summer *it) {
    BYTE bytes[LARGEST];
    UINT32 sum = 0, i;
    lock(&it->lock);
    UINT64 source = peek64(it, REG_SOURCE), target = peek64(it, REG_TARGET);
    UINT32 length = peek32(it, REG_LENGTH), scale = it->scale;
    UINT64 address = (UINT64)it->msi[2] << 32 | it->msi[1];
    UINT32 data = it->msi[3], enabled = it->msi[0] >> 16 & 1;
    unlock(&it->lock);
    if (length > LARGEST) length = LARGEST;
    OK(HdvReadGuestMemory(it->handle, source, length, bytes));
    for (i = 0; i < length; i++) sum += bytes[i] * scale;
    OK(HdvWriteGuestMemory(it->handle, target, sizeof sum, (const BYTE *)&sum));
    lock(&it->lock);
    poke32(it, REG_SUM, sum);
    poke32(it, REG_JOBS, peek32(it, REG_JOBS) + 1);
    it->shared[0] = peek32(it, REG_JOBS);
    unlock(&it->lock);
    if (enabled) OK(HdvDeliverGuestInterrupt(it->handle, address, data));
}

THREAD(summer_thread, context) {
    summer *it = (summer *)context;
    for (;;) {
        THAT(event_wait(it->bell, 6 * PATIENCE_MS));
        lock(&it->lock);
        int ending = it->ending;
        unlock(&it->lock);
        if (ending) return 0;
        summer_work(it);
    }
}

static void summer_goes(summer *it, enum step_of_life from, enum step_of_life to) {
    lock(&it->lock);
    THAT(it->step == from);
    it->step = to;
    unlock(&it->lock);
}

enum step_of_life summer_step(summer *it) {
    lock(&it->lock);
    enum step_of_life step_now = it->step;
    unlock(&it->lock);
    return step_now;
}

static HRESULT CALLBACK summer_initialize(PVOID context) {
    summer *it = (summer *)context;
    summer_goes(it, MADE, INITIALIZED);
    poke32(it, REG_IDENTITY, IDENTITY);
    it->scale = 1;
    it->msi[0] = 0x00800005u; /* MSI, the last capability, 64-bit address */
    it->bell = event_create();
    it->section = section_create(2 * PAGE);
    if (it->section == NULL) return E_OUTOFMEMORY;
    it->pages = section_view(it->section, 2 * PAGE);
    if (it->pages == NULL) return E_OUTOFMEMORY;
    it->shared = (UINT32 *)it->pages + PAGE / sizeof *it->shared;
    GIVES(WIN32_CODE(INVALID_STATE), HdvDeliverGuestInterrupt(it->handle, 0xFEE00000u, 0x41));
    return S_OK;
}

/* "scale=<digit>" */
static HRESULT CALLBACK summer_set_configuration(PVOID context, UINT32 count, const LPCWSTR *values) {
    static const char scale[] = "scale=";
    summer *it = (summer *)context;
    UINT32 i, at;
    summer_goes(it, INITIALIZED, CONFIGURED);
    for (i = 0; i < count; i++) {
        for (at = 0; scale[at] != 0 && values[i][at] == (WCHAR)scale[at]; at++) {
        }
        if (scale[at] != 0 || values[i][at] < '1' || values[i][at] > '9') return E_INVALIDARG;
        it->scale = (UINT32)(values[i][at] - '0');
    }
    return S_OK;
}

static HRESULT CALLBACK summer_get_details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *bars) {
    static const UINT32 probed[HDV_PCI_BAR_COUNT] = {0xFFFFF000u, 0, 0xFFFFE00Cu, 0xFFFFFFFFu, 0, 0};
    summer *it = (summer *)context;
    UINT32 i;
    if (summer_step(it) == CONFIGURED) summer_goes(it, CONFIGURED, DESCRIBED);
    memset(id, 0, sizeof *id);
    id->VendorID = 0x5C1D;
    id->DeviceID = 0x0001;
    id->RevisionID = 1;
    id->BaseClass = 0xFF;
    for (i = 0; i < count && i < HDV_PCI_BAR_COUNT; i++) bars[i] = probed[i];
    return S_OK;
}

static HRESULT CALLBACK summer_start(PVOID context) {
    summer *it = (summer *)context;
    summer_goes(it, DESCRIBED, STARTED);
    OK(HdvRegisterDoorbell(it->handle, HDV_PCI_BAR0, REG_BELL, RING, HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD, it->bell));
    GIVES(WIN32_CODE(ALREADY_EXISTS), HdvRegisterDoorbell(it->handle, HDV_PCI_BAR0, REG_BELL, RING,
                                                          HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD, it->bell));
    /* the second page of the section is the second page of the BAR */
    OK(HdvCreateSectionBackedMmioRange(it->handle, HDV_PCI_BAR2, 1, 1, HdvMmioMappingFlagWriteable, it->section, 1));
    thread_start(&it->worker, summer_thread, it);
    return S_OK;
}

static void CALLBACK summer_stop(PVOID context) {
    summer *it = (summer *)context;
    BYTE byte;
    summer_goes(it, STARTED, STOPPED);
    lock(&it->lock);
    it->ending = 1;
    unlock(&it->lock);
    event_set(it->bell);
    thread_join(it->worker);
    GIVES(WIN32_CODE(INVALID_STATE), HdvReadGuestMemory(it->handle, 0, 1, &byte));
}

static void CALLBACK summer_teardown(PVOID context) {
    summer *it = (summer *)context;
    if (it->step == STOPPED) {
        OK(HdvUnregisterDoorbell(it->handle, HDV_PCI_BAR0, REG_BELL, RING, HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD));
        OK(HdvDestroySectionBackedMmioRange(it->handle, HDV_PCI_BAR2, 1));
    }
    if (it->section != NULL) {
        section_close(it->section, it->pages, 2 * PAGE);
        event_close(it->bell);
    }
    lock(&it->lock);
    it->last = it->step;
    it->step = GONE;
    unlock(&it->lock);
}

static HRESULT CALLBACK summer_read_config(PVOID context, UINT32 offset, UINT32 *value) {
    summer *it = (summer *)context;
    lock(&it->lock);
    if (offset == CONFIG_STATUS) *value = 0x00100000u; /* there are capabilities */
    else if (offset == CONFIG_CAPABILITIES) *value = CONFIG_MSI;
    else if (offset >= CONFIG_MSI && offset < CONFIG_MSI + sizeof it->msi) *value = it->msi[(offset - CONFIG_MSI) / 4];
    else *value = 0;
    unlock(&it->lock);
    return S_OK;
}

static HRESULT CALLBACK summer_write_config(PVOID context, UINT32 offset, UINT32 value) {
    static const UINT32 writable[4] = {0x00010000u, 0xFFFFFFFCu, 0xFFFFFFFFu, 0x0000FFFFu};
    summer *it = (summer *)context;
    UINT32 i = (offset - CONFIG_MSI) / 4;
    if (offset < CONFIG_MSI || i >= 4) return S_OK;
    lock(&it->lock);
    it->msi[i] = (it->msi[i] & ~writable[i]) | (value & writable[i]);
    unlock(&it->lock);
    return S_OK;
}

static HRESULT CALLBACK summer_read_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length,
                                           BYTE *value) {
    summer *it = (summer *)context;
    HRESULT result = S_OK;
    lock(&it->lock);
    if (bar == HDV_PCI_BAR2) {
        it->page_reads++;
        memcpy(value, &offset, (size_t)length);
    } else if (offset + length <= REG_END) memcpy(value, it->registers + offset, (size_t)length);
    else result = E_INVALIDARG;
    unlock(&it->lock);
    return result;
}

/* One aperture, held open between accesses. */
static HRESULT summer_window(summer *it, UINT32 what) {
    UINT32 first;
    HRESULT result = S_OK;
    if (what == 1)
        return HdvCreateGuestMemoryAperture(it->handle, peek64(it, REG_SOURCE), PAGE, TRUE, &it->window);
    if (it->window == NULL) return E_INVALIDARG;
    if (what == 2) {
        memcpy(&first, it->window, sizeof first);
        poke32(it, REG_SUM, first);
    } else {
        result = HdvDestroyGuestMemoryAperture(it->handle, it->window);
        GIVES(WIN32_CODE(NOT_FOUND), HdvDestroyGuestMemoryAperture(it->handle, it->window));
        it->window = NULL;
    }
    return result;
}

static HRESULT CALLBACK summer_write_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length,
                                            const BYTE *value) {
    summer *it = (summer *)context;
    UINT32 word = 0;
    HRESULT result = S_OK;
    memcpy(&word, value, length < 4 ? (size_t)length : 4);
    lock(&it->lock);
    if (bar != HDV_PCI_BAR0) result = E_INVALIDARG;
    else if (offset == REG_BELL) poke32(it, REG_STRAY, peek32(it, REG_STRAY) + 1);
    else if (offset == REG_WINDOW) result = summer_window(it, word);
    else if (offset >= REG_LENGTH && offset + length <= REG_SUM) memcpy(it->registers + offset, value, (size_t)length);
    else result = E_INVALIDARG;
    unlock(&it->lock);
    return result;
}

const HDV_PCI_DEVICE_INTERFACE summer_interface = {HdvPciDeviceInterfaceVersion1,
                                                          summer_initialize,
                                                          summer_teardown,
                                                          summer_set_configuration,
                                                          summer_get_details,
                                                          summer_start,
                                                          summer_stop,
                                                          summer_read_config,
                                                          summer_write_config,
                                                          summer_read_memory,
                                                          summer_write_memory};

void summer_make(summer *it, HDV_HOST host, const GUID *instance) {
    static const lock_t fresh = LOCK_INITIALIZER;
    memset(it, 0, sizeof *it);
    it->lock = fresh;
    OK(HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &SUMMER_CLASS, instance, &summer_interface, it, &it->handle));
    THAT(summer_step(it) == MADE);
}
