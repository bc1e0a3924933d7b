/* The README's Blink in C; what tests break is switched on with -D. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <hdvlab_device.h>

static const HDVLAB_ENTRY entries[] = {
#ifdef MEANING_FIRST
    HDVLAB_MEANING(0, "slow"),
#endif
    HDVLAB_BAR(0),
    HDVLAB_REGISTER("CTRL", 0x00, 4, "rw", "switches it on"),
        HDVLAB_FIELD("EN", 0, 1),
        HDVLAB_FIELD("RATE", 1, 4),
        HDVLAB_FIELD("MODE", 8, 1),
            HDVLAB_MEANING(0, "slow"),
            HDVLAB_MEANING(1, "fast"),
    HDVLAB_REGISTER("COUNT", 0x04, 4, "ro"),
};

struct blink { uint32_t ctrl, count; };

static HRESULT initialize(PVOID context) {
    (void)context;
#ifdef FAILS_TO_INITIALIZE
    return E_FAIL;
#else
    return S_OK;
#endif
}
static HRESULT configure(PVOID context, UINT32 count, const LPCWSTR *values) {
    struct blink *b = context;
    b->count = count ? (uint32_t)(values[0][0] - 'a') : 0;
    return S_OK;
}
static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *bars) {
    (void)context;
    *id = (HDV_PCI_PNP_ID){.VendorID = 0x1234, .DeviceID = 0x0001, .BaseClass = 0xFF};
    memset(bars, 0, count * sizeof *bars);
#ifdef OTHER_BAR
    bars[0] = HDVLAB_MEMORY_BAR(8192);
#else
    bars[0] = HDVLAB_MEMORY_BAR(4096);
#endif
    return S_OK;
}
static HRESULT start(PVOID context) { (void)context; return S_OK; }
static void stop(PVOID context) { (void)context; }
static void teardown(PVOID context) { free(context); }
static HRESULT read_config(PVOID context, UINT32 offset, UINT32 *value) {
    (void)context;
    *value = offset == 0 ? 0x00011234 : offset == 8 ? 0xFF000000 : 0;
    return S_OK;
}
static HRESULT write_config(PVOID context, UINT32 offset, UINT32 value) {
    (void)context, (void)offset, (void)value;
    return S_OK;
}
static HRESULT read_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    struct blink *b = context;
    (void)bar;
    if (offset > 4 || offset % 4 || length != 4)
        return HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    memcpy(value, offset ? &b->count : &b->ctrl, 4);
    return S_OK;
}
static HRESULT write_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    struct blink *b = context;
    (void)bar;
    if (offset || length != 4)
        return E_ACCESSDENIED;
    memcpy(&b->ctrl, value, 4);
#ifdef CRASHES
    if (b->ctrl == 0xDEAD)
        raise(SIGSEGV);
#endif
    b->count += b->ctrl & 1;
    return S_OK;
}
#ifndef NO_PEEK
static HRESULT peek(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT32 size, UINT64 *value) {
    *value = 0;
    return read_memory(context, bar, offset, size, (BYTE *)value);
}
#else
#define peek NULL
#endif

#ifndef NO_INFO
const HDVLAB_DEVICE_INFO HdvlabDevice = {
#ifdef WRONG_VERSION
    sizeof(HDVLAB_DEVICE_INFO), 99,
#else
    HDVLAB_DEVICE_HEAD,
#endif
    "blink", {0x8a2b1d3c, 0x1111, 0x2222, {1, 2, 3, 4, 5, 6, 7, 8}},
    {.VendorID = 0x1234, .DeviceID = 0x0001, .BaseClass = 0xFF}, {HDVLAB_MEMORY_BAR(4096)},
    HDVLAB_ENTRIES(entries), peek,
};
#endif

#ifdef CRASHES_AT_LOAD
__attribute__((constructor)) static void crash(void) { raise(SIGSEGV); }
#endif
#ifdef EXITS_AT_LOAD
__attribute__((constructor)) static void leave(void) { exit(3); }
#endif
#ifdef UNDEFINED
extern int nobody_has_this(void);
#endif

HRESULT HdvlabPlugDevice(HDV_HOST host, const GUID *instanceId, HDV_DEVICE *device) {
    static const HDV_PCI_DEVICE_INTERFACE interface = {
        HdvPciDeviceInterfaceVersion1, initialize, teardown, configure, details, start, stop,
        read_config, write_config, read_memory, write_memory};
    const GUID class_id = {0x8a2b1d3c, 0x1111, 0x2222, {1, 2, 3, 4, 5, 6, 7, 8}};
    struct blink *mine = calloc(1, sizeof *mine);
    (void)entries, (void)peek;
#ifdef UNDEFINED
    nobody_has_this();
#endif
#ifdef MAKES_NOTHING
    free(mine), (void)host, (void)instanceId, (void)device, (void)interface, (void)class_id;
    return S_OK;
#endif
#ifdef REFUSES
    free(mine), (void)host, (void)instanceId, (void)device, (void)interface, (void)class_id;
    return E_ACCESSDENIED;
#endif
#ifdef OTHER_INSTANCE
    instanceId = &class_id;
#endif
    return HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &class_id, instanceId, &interface, mine, device);
}
