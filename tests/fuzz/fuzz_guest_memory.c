/* Copies, apertures and interrupts of a device against a model: which code, that a refused copy copies nothing, and that
 * an aperture is the guest's memory until that ends. RAM on both sides of the gap below 4 GiB, and files that come and go,
 * some of which are cut short and grow again. */
#include "plain_device.h"
#include "recording.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define LOW_END 0xC0000000ull
#define HIGH_START 0x100000000ull
#define LONGEST 65536u
#define APERTURES 24
#define PAGE 4096ull
#define REGIONS 10 /* the first two are the machine's own */
#define FILES 4    /* sealed, unsealed, read-only, and no memory at all */
#define FILE_PAGES 4u
#define EVENTS 3

struct aperture {
    uint8_t *address;
    uint64_t gpa;
    uint32_t bytes;
    int protected, dead;
};
struct region {
    uint64_t gpa, bytes, file_offset;
    uint32_t flags;
    int used, own, file;
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
static int zero_file = -1, files[FILES], events[EVENTS];
static uint64_t file_bytes[FILES], rung[EVENTS];
static int bound[256]; /* an event's number + 1 */
static struct region regions[REGIONS];

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

static struct region *region_of(uint64_t gpa) {
    for (int i = 0; i < REGIONS; i++)
        if (regions[i].used && gpa >= regions[i].gpa && gpa - regions[i].gpa < regions[i].bytes)
            return &regions[i];
    return NULL;
}

/* How many of the bytes from gpa on can be had now without a gap, where all of `flags` is allowed. */
static uint64_t ram_from(uint64_t gpa, uint32_t flags) {
    uint64_t there = 0;
    for (struct region *r; (r = region_of(gpa + there)) && (r->flags & flags) == flags;) {
        uint64_t in = gpa + there - r->gpa, part = r->bytes - in;
        uint64_t backed = r->own ? r->bytes : file_bytes[r->file] > r->file_offset ? file_bytes[r->file] - r->file_offset : 0;
        backed = backed > in ? backed - in : 0;
        there += part < backed ? part : backed;
        if (backed < part || gpa + there < gpa)
            break;
    }
    return there;
}

static uint64_t take_place(void) {
    const uint64_t edges[] = {0, ram < LOW_END ? ram : LOW_END, HIGH_START, HIGH_START + (ram > LOW_END ? ram - LOW_END : 0)};
    uint8_t how = take8(&input);
    const struct region *r = &regions[how % REGIONS];
    if (how >= 0xE0)
        return take_number(&input);
    if (how >= 0xA0 && r->used)
        return r->gpa + (how & 8 ? r->bytes : 0) + (uint64_t)(int64_t)(int8_t)take8(&input) * (how & 16 ? 64 : 1);
    return edges[how & 3] + (uint64_t)(int64_t)(int16_t)take16(&input);
}

static uint32_t take_count(void) {
    uint8_t how = take8(&input);
    return how < 0x80 ? how : how < 0xE0 ? take16(&input) : (uint32_t)take_number(&input);
}

/* What the rules say, in their order. */
static HRESULT allowed(uint64_t gpa, uint32_t bytes, uint32_t flag) {
    if (is_torn_down)
        return E_HANDLE;
    if (!is_running)
        return INVALID_STATE;
    if (bytes && gpa + bytes - 1 < gpa)
        return OVERFLOWS;
    if (!is_master)
        return E_ACCESSDENIED;
    return !bytes || ram_from(gpa, flag) >= bytes ? S_OK : ram_from(gpa, 0) >= bytes ? E_ACCESSDENIED : NOACCESS;
}

static void copy_range(int write, uint64_t gpa, uint32_t bytes) {
    static uint8_t buffer[LONGEST], before[LONGEST], after[LONGEST];
    HRESULT want = allowed(gpa, bytes, write ? HDVLAB_MEMORY_WRITE : HDVLAB_MEMORY_READ);
    if (want == S_OK && bytes > LONGEST)
        return; /* the buffer would have to be as long */
    uint64_t there = ram_from(gpa, HDVLAB_MEMORY_READ);
    uint64_t seen = there < LONGEST ? there : LONGEST; /* as much of the range as can be looked at */
    seen = seen < bytes ? seen : bytes;
    uint8_t fill = take8(&input);
    memset(buffer, fill, sizeof buffer);
    HRESULT look = there || (!seen && region_of(gpa)) ? S_OK : NOACCESS;
    REQUIRE(hdvlab_guest_ram_read(system_handle, gpa, seen, before) == look);
    HRESULT hr = write ? HdvWriteGuestMemory(device, gpa, bytes, buffer) : HdvReadGuestMemory(device, gpa, bytes, buffer);
    REQUIRE(hr == want);
    expected[write ? HDVLAB_DMA_WRITE : HDVLAB_DMA_READ] += want != E_HANDLE;
    REQUIRE(hdvlab_guest_ram_read(system_handle, gpa, seen, after) == look);
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
    const struct region *r = region_of(gpa);
    HRESULT want = is_torn_down ? E_HANDLE : !bytes ? E_INVALIDARG : allowed(gpa, 0, 0);
    if (want == S_OK && gpa + bytes - 1 < gpa)
        want = OVERFLOWS;
    else if (want == S_OK && (!r || bytes > r->bytes - (gpa - r->gpa))) /* it may not lie across regions */
        want = NOACCESS;
    else if (want == S_OK && (r->file == 1 || !(r->flags & HDVLAB_MEMORY_READ) || (!protected && !(r->flags & HDVLAB_MEMORY_WRITE))))
        want = E_ACCESSDENIED;
    if (is_running && bytes && gpa + bytes - 1 < gpa) /* said before who may */
        want = OVERFLOWS;
    HRESULT hr = HdvCreateGuestMemoryAperture(device, gpa, bytes, protected, &address);
    REQUIRE(hr == want || (hr == E_OUTOFMEMORY && want == S_OK));
    expected[HDVLAB_APERTURE_MAP] += want != E_HANDLE;
    if (hr != S_OK) {
        REQUIRE(!address);
        return;
    }
    for (int i = 0; i < APERTURES; i++)
        REQUIRE(!apertures[i].address || apertures[i].address != address);
    *a = (struct aperture){address, gpa, bytes, protected, 0};
}

/* One byte through the aperture and through the guest; then what the pages allow, asked of the kernel. */
static void use_aperture(void) {
    struct aperture *a = take_aperture();
    uint64_t at = a->bytes ? take_number(&input) % a->bytes : 0;
    uint8_t byte = take8(&input), seen = 0;
    if (!a->address || is_torn_down)
        return;
    if (a->dead) { /* zeros of nobody's */
        REQUIRE(read(zero_file, a->address + at, 1) == 1 && !a->address[at]);
        return;
    }
    if (!(region_of(a->gpa)->flags & HDVLAB_MEMORY_WRITE)) {
        REQUIRE(read(zero_file, a->address + at, 1) < 0);
        return;
    }
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
        if (apertures[i].address && apertures[i].address == address && !apertures[i].dead)
            found = &apertures[i];
    HRESULT hr = HdvDestroyGuestMemoryAperture(device, address);
    REQUIRE(hr == (is_torn_down ? E_HANDLE : found ? S_OK : NOT_FOUND));
    expected[HDVLAB_APERTURE_UNMAP] += !is_torn_down;
    if (found)
        found->address = NULL;
}

static void forget_apertures(void) {
    for (int i = 0; i < APERTURES; i++) {
        expected[HDVLAB_APERTURE_UNMAP] += apertures[i].address != NULL && !apertures[i].dead;
        apertures[i].address = NULL;
    }
}

/* ---- memory that comes and goes -------------------------------------------------------------------------------------- */

static void map_memory(void) {
    uint8_t how = take8(&input);
    int file = take8(&input) & 3;
    uint64_t gpa = how < 0xE0 ? (how & 1 ? HIGH_START * 2 : ram & ~(PAGE - 1)) + (how >> 1 & 7) * PAGE : take_number(&input);
    uint64_t bytes = take8(&input) < 0xE0 ? (1 + take_below(&input, 4)) * PAGE : take_number(&input);
    uint64_t from = take8(&input) < 0xE0 ? take_below(&input, 4) * PAGE : take_number(&input);
    uint32_t flags = take8(&input) < 0xF0 ? 3u & ~(how >> 4 & 3u) : take_number(&input) & 7;
    HRESULT want = !bytes || bytes > 8ull << 40 || (gpa | bytes | from) % PAGE || !flags || flags & ~3u ? E_INVALIDARG
                   : gpa + bytes - 1 < gpa || from > INT64_MAX - bytes                                  ? OVERFLOWS
                   : file == 3 || file_bytes[file] < from + bytes                                       ? E_INVALIDARG
                   : file == 2 && flags & HDVLAB_MEMORY_WRITE                                           ? E_ACCESSDENIED
                                                                                                        : S_OK;
    struct region *new = NULL;
    for (int i = 0; i < REGIONS; i++) {
        const struct region *r = &regions[i];
        if (!r->used) {
            new = i < 2 ? new : &regions[i];
        } else if (want == S_OK && gpa <= r->gpa + r->bytes - 1 && r->gpa <= gpa + bytes - 1) {
            int same = !r->own && r->gpa == gpa && r->bytes == bytes && r->flags == flags && r->file_offset == from && r->file == file;
            want = same ? 1 : EXISTS; /* there is one such region at most */
        }
    }
    if (want == S_OK && !new)
        return;
    HRESULT hr = hdvlab_memory_map(system_handle, gpa, bytes, (HANDLE)(intptr_t)files[file], from, flags);
    REQUIRE(hr == (want == 1 ? S_OK : want));
    if (want == S_OK)
        *new = (struct region){gpa, bytes, from, flags, 1, 0, file};
}

static void unmap_memory(void) {
    uint8_t how = take8(&input);
    struct region *r = &regions[how % REGIONS];
    uint64_t gpa = how < 0xC0 && r->used ? r->gpa : take_number(&input), bytes = how < 0xA0 && r->used ? r->bytes : take_number(&input);
    r = region_of(gpa);
    int exact = r && r->gpa == gpa && r->bytes == bytes;
    REQUIRE(hdvlab_memory_unmap(system_handle, gpa, bytes) == (!exact ? NOT_FOUND : r->own ? E_ACCESSDENIED : S_OK));
    if (!exact || r->own)
        return;
    for (int i = 0; i < APERTURES; i++)
        if (apertures[i].address && !apertures[i].dead && region_of(apertures[i].gpa) == r) {
            apertures[i].dead = 1;
            apertures[i].protected = 0;
            expected[HDVLAB_APERTURE_UNMAP]++;
        }
    r->used = 0;
}

/* Whoever has an unsealed file may cut it: nobody dies of it. */
static void cut_file(void) {
    file_bytes[1] = take8(&input) % (FILE_PAGES + 1) * PAGE;
    REQUIRE(!ftruncate(files[1], (off_t)file_bytes[1]));
}

/* A guest's own access, which RAM answers before any BAR does. */
static void guest_access(int write) {
    static const HDVLAB_ACCESS guest = {.origin = HDVLAB_GUEST};
    uint64_t gpa = take_place() & ~7ull, value = 0x5A;
    HRESULT want = ram_from(gpa, write ? HDVLAB_MEMORY_WRITE : HDVLAB_MEMORY_READ) >= 8 ? S_OK : ram_from(gpa, 0) >= 8 ? E_ACCESSDENIED : NOACCESS;
    HRESULT hr = write ? hdvlab_guest_write(system_handle, &guest, gpa, 8, value) : hdvlab_guest_read(system_handle, &guest, gpa, 8, &value);
    REQUIRE(hr == want && (write || SUCCEEDED(hr) || value == UINT64_MAX));
}

static void make_files(void) {
    file_bytes[0] = file_bytes[1] = file_bytes[2] = FILE_PAGES * PAGE;
    if (zero_file >= 0) {
        REQUIRE(!ftruncate(files[1], FILE_PAGES * PAGE));
        return;
    }
    zero_file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 3; i++) {
        files[i] = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        REQUIRE(!ftruncate(files[i], FILE_PAGES * PAGE));
        REQUIRE(i == 1 || !fcntl(files[i], F_ADD_SEALS, F_SEAL_SHRINK));
    }
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", files[2]);
    int read_only = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE(read_only >= 0);
    close(files[2]);
    files[2] = read_only;
    files[3] = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < EVENTS; i++)
        events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* ---- interrupts ------------------------------------------------------------------------------------------------------ */

static void bind_interrupts(void) {
    HANDLE handles[8];
    int numbers[8];
    uint32_t start = take8(&input) < 0xF0 ? take8(&input) : (uint32_t)take_number(&input);
    uint32_t count = take8(&input) < 0xF0 ? take_below(&input, 9) : (uint32_t)take_number(&input);
    int none = take8(&input) >= 0xE0;
    HRESULT want = !count || start > 255 || count > 256 - start ? E_INVALIDARG : S_OK;
    if (!none && count > 8)
        count = 8;
    want = !count || start > 255 || count > 256 - start ? E_INVALIDARG : want == E_INVALIDARG && start <= 255 ? S_OK : want;
    for (uint32_t i = 0; i < count && !none; i++) {
        uint8_t which = take8(&input);
        numbers[i] = which < 0xE0 ? which % (EVENTS + 1) : 0;
        handles[i] = (HANDLE)(intptr_t)(which == 0xFF ? files[0] : numbers[i] ? events[numbers[i] - 1] : which & 1 ? 0 : -1);
        if (which == 0xFF && want == S_OK)
            want = E_HANDLE;
    }
    REQUIRE(hdvlab_guest_bind_interrupts(system_handle, start, count, none ? NULL : handles) == want);
    for (uint32_t i = 0; i < count && want == S_OK; i++)
        bound[start + i] = none ? 0 : numbers[i];
}

static void check_events(void) {
    for (int i = 0; i < EVENTS; i++) {
        uint64_t count = 0;
        REQUIRE(read(events[i], &count, sizeof count) == (rung[i] ? 8 : -1) && count == rung[i]);
        rung[i] = 0;
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
    if (want == S_OK && bound[data & 0xFF])
        rung[bound[data & 0xFF] - 1]++;
    check_events();
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
    make_files();
    input = (struct cursor){data, data + size};
    HDVLAB_TRACE trace = recording_begin();
    uint64_t handles = hdvlab_live_handles(), rows = recording_rows();
    GUID instance = guid_of(1);
    memset(apertures, 0, sizeof apertures);
    memset(pending, 0, sizeof pending);
    memset(expected, 0, sizeof expected);
    memset(regions, 0, sizeof regions);
    memset(bound, 0, sizeof bound);
    ram = sizes[take_below(&input, 6)];
    uint64_t low = ram < LOW_END ? ram : LOW_END;
    regions[0] = (struct region){0, low, 0, 3, 1, 1, 0};
    regions[1] = (struct region){HIGH_START, ram - low, low, 3, ram > low, 1, 0};
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
        switch (what % 16) {
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
        case 9: bind_interrupts(); break;
        case 10:
        case 11: map_memory(); break;
        case 12: unmap_memory(); break;
        case 13:
            if (what & 16)
                cut_file();
            else
                guest_access(what & 32);
            break;
        case 14: guest_access(what & 16); break;
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
