/* What every target needs of HDV: results that devices give, names, a table of callbacks, BAR masks. */
#ifndef FUZZ_RIG_H
#define FUZZ_RIG_H

#include "cursor.h"
#include "hdvlab.h"

#define INVALID_STATE HRESULT_FROM_WIN32(ERROR_INVALID_STATE)
#define NOACCESS HRESULT_FROM_WIN32(ERROR_NOACCESS)
#define NOT_FOUND HRESULT_FROM_WIN32(ERROR_NOT_FOUND)
#define OVERFLOWS HRESULT_FROM_WIN32(ERROR_ARITHMETIC_OVERFLOW)
#define EXISTS HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS)
#define QUOTA HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA)
#ifndef COMMAND_MEMORY /* a target that looks into the library has them from there */
#define COMMAND_MEMORY 2u
#define COMMAND_BUS_MASTER 4u
#endif

static inline uint64_t ones_of(uint32_t size) { return size >= 8 ? UINT64_MAX : (1ull << 8 * size) - 1; }
static inline int is_size(uint32_t size) { return size == 1 || size == 2 || size == 4 || size == 8; }

/* What a callback answers: mostly success. */
static inline HRESULT take_result(struct cursor *c) {
    static const HRESULT results[] = {E_FAIL, E_NOTIMPL, E_PENDING, HRESULT_FROM_WIN32(ERROR_BUSY), 1, E_HANDLE};
    uint32_t choice = take8(c);
    return choice < 0xF0 ? S_OK : results[choice % 6];
}

/* What the tap makes of it: two codes mean "no answer yet", which an answer cannot. */
static inline HRESULT as_answered(HRESULT hr) {
    return hr == E_PENDING || hr == HRESULT_FROM_WIN32(ERROR_BUSY) ? E_UNEXPECTED : hr;
}

static inline GUID guid_of(uint32_t number) { return (GUID){number, 1, 2, {3, 4, 5, 6, 7, 8, 9, 10}}; }
static const GUID class_guid = {0xC1A55, 1, 2, {0}};

/* Mostly BARs that can be; now and then anything. */
static inline void take_bars(struct cursor *c, uint32_t *probed) {
    static const uint32_t masks[] = {0, 0xFFFFF000, 0xFFFFC000, 0xFFFFF00C, 0xFFFFFFF0, 0xFFFFF008, 0xFFFFF004, 0xFFF00000};
    for (int i = 0; i < HDV_PCI_BAR_COUNT; i++) {
        uint8_t choice = take8(c);
        probed[i] = choice < 0xE0 ? masks[choice % 8] : take32(c);
        if ((probed[i] & 6) == 4 && i + 1 < HDV_PCI_BAR_COUNT && choice < 0xE0)
            probed[++i] = choice & 0x40 ? 0xFFFFFFFC : 0xFFFFFFFF;
    }
}

/* Sizes by the rules of PCI 3.0, section 6.2.5.1; false when the machine must refuse the device. */
static inline int bar_sizes(const uint32_t *probed, uint64_t *size) {
    int is_sound = 1;
    for (int i = 0; i < HDV_PCI_BAR_COUNT; i++) {
        size[i] = 0;
        if (!probed[i])
            continue;
        uint64_t mask = probed[i] & ~0xFu;
        int wide = (probed[i] & 6) == 4;
        if (wide && i == HDV_PCI_BAR_COUNT - 1) {
            is_sound = 0;
            wide = 0;
        }
        mask |= wide ? (uint64_t)probed[i + 1] << 32 : 0xFFFFFFFF00000000u;
        uint64_t bytes = 0 - mask;
        if (bytes && (bytes & (bytes - 1) || bytes < 16 || probed[i] & 1))
            is_sound = 0;
        size[i] = bytes;
        if (wide)
            size[++i] = 0;
    }
    return is_sound;
}

static inline void fill_identity(PHDV_PCI_PNP_ID id) {
    *id = (HDV_PCI_PNP_ID){.VendorID = 0x1234, .DeviceID = 0xF022, .BaseClass = 0xFF};
}

/* A guest's config write that must work. */
static inline void config_store(HCS_SYSTEM system, uint32_t slot, uint32_t offset, uint32_t value) {
    static const HDVLAB_ACCESS guest = {.origin = HDVLAB_GUEST};
    REQUIRE(hdvlab_guest_config_write(system, &guest, slot, offset, 4, value) == S_OK);
}

#endif
