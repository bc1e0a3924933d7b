/* Copies, apertures and interrupts of a device against a model: which code, that a refused copy copies nothing, and that
 * an aperture is the guest's memory. RAM on both sides of the gap below 4 GiB. */
#include "recording.h"
#include "rig.h"

#include <fcntl.h>

#define LOW_END 0xC0000000ull
#define HIGH_START 0x100000000ull
#define LONGEST 65536u
#define APERTURES 24

struct aperture {
    uint8_t *address;
    uint64_t gpa;
    uint32_t bytes;
    int protected;
};

static struct cursor input;
static HCS_SYSTEM system_handle;
static HDV_HOST host;
static HDV_DEVICE device;
static uint64_t ram;
static int is_running, is_torn_down, is_master;
static struct aperture apertures[APERTURES];
static uint32_t pending[256];
static uint64_t expected[HDVLAB_KIND_COUNT];
static int zero_file = -1;

static HRESULT ok(PVOID context) { return (void)context, S_OK; }
static void nothing(PVOID context) { (void)context; }
static HRESULT configured(PVOID context, UINT32 count, const LPCWSTR *values) {
    return (void)context, (void)count, (void)values, S_OK;
}
static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed) {
    (void)context, (void)count;
    fill_identity(id);
    probed[0] = 0xFFFFF000;
    return S_OK;
}
static HRESULT config_read(PVOID context, UINT32 offset, UINT32 *value) {
    return (void)context, (void)offset, *value = 0, S_OK;
}
static HRESULT config_write(PVOID context, UINT32 offset, UINT32 value) {
    return (void)context, (void)offset, (void)value, S_OK;
}
static void copy_inside(int write);
static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    (void)context, (void)bar, (void)offset;
    memset(value, 0, length);
    copy_inside(1); /* DMA from a callback is the ordinary case */
    return S_OK;
}
static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    (void)context, (void)bar, (void)offset, (void)length, (void)value;
    copy_inside(0);
    return S_OK;
}
static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, ok, nothing, configured, details, ok, nothing, config_read, config_write, mmio_read,
    mmio_write};

/* How many of the bytes from gpa on are RAM without a gap. */
static uint64_t ram_from(uint64_t gpa) {
    uint64_t low = ram < LOW_END ? ram : LOW_END, high = ram - low;
    if (gpa < low)
        return low - gpa;
    return gpa >= HIGH_START && gpa - HIGH_START < high ? high - (gpa - HIGH_START) : 0;
}

static uint64_t take_place(void) {
    const uint64_t edges[] = {0, ram < LOW_END ? ram : LOW_END, HIGH_START, HIGH_START + (ram > LOW_END ? ram - LOW_END : 0)};
    uint8_t how = take8(&input);
    if (how >= 0xE0)
        return take_number(&input);
    return edges[how & 3] + (uint64_t)(int64_t)(int16_t)take16(&input);
}

static uint32_t take_count(void) {
    uint8_t how = take8(&input);
    return how < 0x80 ? how : how < 0xE0 ? take16(&input) : (uint32_t)take_number(&input);
}

/* What the rules say, in their order. */
static HRESULT allowed(uint64_t gpa, uint32_t bytes) {
    if (is_torn_down)
        return E_HANDLE;
    if (!is_running)
        return INVALID_STATE;
    if (bytes && gpa + bytes - 1 < gpa)
        return OVERFLOWS;
    if (!is_master)
        return E_ACCESSDENIED;
    return !bytes || ram_from(gpa) >= bytes ? S_OK : NOACCESS;
}

static void copy_range(int write, uint64_t gpa, uint32_t bytes) {
    static uint8_t buffer[LONGEST], before[LONGEST], after[LONGEST];
    HRESULT want = allowed(gpa, bytes);
    if (want == S_OK && bytes > LONGEST)
        return; /* the buffer would have to be as long */
    uint64_t there = ram_from(gpa);
    uint64_t seen = there < LONGEST ? there : LONGEST; /* as much of the range as can be looked at */
    seen = seen < bytes ? seen : bytes;
    uint8_t fill = take8(&input);
    memset(buffer, fill, sizeof buffer);
    REQUIRE(hdvlab_guest_ram_read(system_handle, gpa, seen, before) == (there ? S_OK : NOACCESS));
    HRESULT hr = write ? HdvWriteGuestMemory(device, gpa, bytes, buffer) : HdvReadGuestMemory(device, gpa, bytes, buffer);
    REQUIRE(hr == want);
    expected[write ? HDVLAB_DMA_WRITE : HDVLAB_DMA_READ] += want != E_HANDLE;
    REQUIRE(hdvlab_guest_ram_read(system_handle, gpa, seen, after) == (there ? S_OK : NOACCESS));
    if (hr == S_OK)
        REQUIRE(!memcmp(buffer, after, seen));
    if (hr != S_OK || !write)
        REQUIRE(!memcmp(before, after, seen));
    for (uint32_t i = hr == S_OK && !write ? bytes : 0; i < LONGEST; i += hr == S_OK ? 1 : 977)
        REQUIRE(buffer[i] == fill); /* a refused copy copies nothing, and none copies too much */
}

static void copy_inside(int write) {
    uint64_t gpa = take_place();
    copy_range(write, gpa, take_count() & 0xFFF);
}

static struct aperture *take_aperture(void) { return &apertures[take_below(&input, APERTURES)]; }

static void create_aperture(void) {
    struct aperture *a = take_aperture();
    uint64_t gpa = take_place();
    uint32_t bytes = take_count();
    int protected = take8(&input) & 1;
    void *address = NULL;
    if (a->address)
        return;
    HRESULT want = is_torn_down ? E_HANDLE : !bytes ? E_INVALIDARG : allowed(gpa, bytes);
    HRESULT hr = HdvCreateGuestMemoryAperture(device, gpa, bytes, protected, &address);
    REQUIRE(hr == want || (hr == E_OUTOFMEMORY && want == S_OK));
    expected[HDVLAB_APERTURE_MAP] += want != E_HANDLE;
    if (hr != S_OK) {
        REQUIRE(!address);
        return;
    }
    for (int i = 0; i < APERTURES; i++)
        REQUIRE(!apertures[i].address || apertures[i].address != address);
    *a = (struct aperture){address, gpa, bytes, protected};
}

/* One byte through the aperture and through the guest; then what the pages allow, asked of the kernel. */
static void use_aperture(void) {
    struct aperture *a = take_aperture();
    uint64_t at = a->bytes ? take_number(&input) % a->bytes : 0;
    uint8_t byte = take8(&input), seen = 0;
    if (!a->address || is_torn_down)
        return;
    REQUIRE(hdvlab_guest_ram_write(system_handle, a->gpa + at, 1, &byte) == S_OK);
    REQUIRE(a->address[at] == byte);
    REQUIRE((read(zero_file, a->address + at, 1) == 1) == !a->protected);
    REQUIRE(hdvlab_guest_ram_read(system_handle, a->gpa + at, 1, &seen) == S_OK);
    REQUIRE(seen == (a->protected ? byte : 0));
}

static void destroy_aperture(void) {
    struct aperture *a = take_aperture();
    uint64_t off = take8(&input);
    void *address = a->address ? a->address + (off < 0xC0 ? 0 : off) : (void *)(uintptr_t)(take_number(&input) | 1);
    struct aperture *found = NULL;
    for (int i = 0; i < APERTURES; i++)
        if (apertures[i].address && apertures[i].address == address)
            found = &apertures[i];
    HRESULT hr = HdvDestroyGuestMemoryAperture(device, address);
    REQUIRE(hr == (is_torn_down ? E_HANDLE : found ? S_OK : NOT_FOUND));
    expected[HDVLAB_APERTURE_UNMAP] += !is_torn_down;
    if (found)
        found->address = NULL;
}

static void forget_apertures(void) {
    for (int i = 0; i < APERTURES; i++) {
        expected[HDVLAB_APERTURE_UNMAP] += apertures[i].address != NULL;
        apertures[i].address = NULL;
    }
}

static void interrupt(void) {
    uint64_t address = take8(&input) < 0xC0 ? 0xFEE00000 + (take16(&input) & 0xFFFFu) * 16 : take_number(&input);
    uint32_t data = take16(&input);
    HRESULT want = is_torn_down                          ? E_HANDLE
                   : !is_running                         ? INVALID_STATE
                   : address + 3 < address               ? OVERFLOWS
                   : !is_master                          ? E_ACCESSDENIED
                   : address >> 20 != 0xFEE || address & 3 ? NOACCESS
                                                         : S_OK;
    REQUIRE(HdvDeliverGuestInterrupt(device, address, data) == want);
    expected[HDVLAB_INTERRUPT] += want != E_HANDLE;
    pending[data & 0xFF] += want == S_OK;
}

static void wait_interrupt(void) {
    uint8_t vector = take8(&input);
    uint32_t left = 77;
    HRESULT hr = hdvlab_guest_wait_interrupt(system_handle, vector, 0, &left);
    if (pending[vector])
        REQUIRE(hr == S_OK && left == --pending[vector]);
    else
        REQUIRE(hr == (is_running ? HRESULT_FROM_WIN32(ERROR_TIMEOUT) : E_ABORT) && left == 77);
}

static void touch_bar(int write) {
    if (!is_running)
        return;
    HDVLAB_ACCESS access = {.origin = HDVLAB_USER};
    uint64_t value = 0;
    REQUIRE(hdvlab_device_access(device, &access, write, 0, 0, 4, &value) == S_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint64_t sizes[] = {1 << 20, LOW_END - 4096, LOW_END, LOW_END + 4096, 5ull << 30, 3 << 20};
    static const uint32_t kinds[] = {HDVLAB_DMA_READ, HDVLAB_DMA_WRITE, HDVLAB_APERTURE_MAP, HDVLAB_APERTURE_UNMAP, HDVLAB_INTERRUPT};
    if (zero_file < 0)
        zero_file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    input = (struct cursor){data, data + size};
    HDVLAB_TRACE trace = recording_begin();
    uint64_t handles = hdvlab_live_handles(), rows = recording_rows();
    GUID instance = guid_of(1);
    memset(apertures, 0, sizeof apertures);
    memset(pending, 0, sizeof pending);
    memset(expected, 0, sizeof expected);
    ram = sizes[take_below(&input, 6)];
    is_torn_down = is_master = 0;
    REQUIRE(hdvlab_embedded_create(ram, 0, trace, &system_handle) == S_OK);
    REQUIRE(HdvInitializeDeviceHost(system_handle, &host) == S_OK);
    REQUIRE(HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &class_guid, &instance, &interface, NULL, &device) == S_OK);
    REQUIRE(hdvlab_system_add_slot(system_handle, 0, &class_guid, &instance, 0, NULL) == S_OK);
    is_running = 0;
    copy_range(1, 0, 16); /* before the start */
    create_aperture();
    REQUIRE(hdvlab_system_start(system_handle) == S_OK);
    is_running = 1;
    int stopped = 0;
    while (cursor_more(&input)) {
        uint8_t what = take8(&input);
        if (what == 0xFF && is_running) {
            REQUIRE(hdvlab_system_stop(system_handle) == S_OK);
            is_running = is_master = 0;
            stopped = 1;
            forget_apertures();
        } else if (what == 0xFE && !is_torn_down) {
            REQUIRE(HdvTeardownDeviceHost(host) == S_OK);
            is_torn_down = 1;
            forget_apertures();
            is_running = 0;
        }
        if (stopped && !is_torn_down)
            is_running = 0;
        switch (what % 10) {
        case 0:
        case 1: {
            uint64_t gpa = take_place();
            copy_range(what & 1, gpa, take_count());
            break;
        }
        case 2: create_aperture(); break;
        case 3:
        case 4: use_aperture(); break;
        case 5: destroy_aperture(); break;
        case 6: interrupt(); break;
        case 7:
            if (!is_torn_down || stopped)
                wait_interrupt();
            break;
        case 8: touch_bar(what & 16); break;
        default:
            if (is_running) {
                is_master = what & 16;
                config_store(system_handle, 0, 4, is_master ? 6 : 2);
            }
        }
    }
    if (!is_torn_down)
        forget_apertures();
    REQUIRE(hdvlab_system_close(system_handle) == S_OK);
    REQUIRE(HdvTeardownDeviceHost(host) == (is_torn_down ? E_HANDLE : S_OK));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        REQUIRE(recording_count(rows, KIND(kinds[i])) == expected[kinds[i]]);
    REQUIRE(hdvlab_live_handles() == handles);
    return 0;
}
