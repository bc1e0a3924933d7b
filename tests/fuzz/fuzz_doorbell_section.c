/* Doorbells, of a place and of a page, and section-backed pages against a model: who takes a guest's write, that a signal is one count of one event,
 * that a section is the file, and that no callback comes for what either took. */
#include "recording.h"
#include "rig.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define PAGE 4096u
#define FILE_PAGES 4u
#define EVENTS 4
#define FILES 4 /* sealed, unsealed, read-only, and no section at all */
#define BELLS 32
#define SECTIONS 16
#define ANY_VALUE 0x80000000u
#define PLACE 0xE0000000ull

struct bell {
    int used, event, is_page;
    uint32_t bar, flags;
    uint64_t offset, value;
};
struct section {
    int used, file, writable;
    uint32_t bar;
    uint64_t start, pages, file_start;
};

static struct cursor input;
static HCS_SYSTEM system_handle;
static HDV_DEVICE device;
static const uint64_t bar_bytes[6] = {4 * PAGE, 0, 16 * PAGE, 0, 256, 0};
static int events[EVENTS], files[FILES], is_running, called, may_call;
static uint64_t rung[EVENTS], expected[HDVLAB_KIND_COUNT];
static struct bell bells[BELLS];
static struct section sections[SECTIONS];
static int records;

static HRESULT ok(PVOID context) { return (void)context, S_OK; }
static void nothing(PVOID context) { (void)context; }
static HRESULT configured(PVOID context, UINT32 count, const LPCWSTR *values) {
    return (void)context, (void)count, (void)values, S_OK;
}
static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed) {
    (void)context, (void)count;
    fill_identity(id);
    probed[0] = 0xFFFFC000;
    probed[2] = 0xFFFF000C;
    probed[3] = 0xFFFFFFFF;
    probed[4] = 0xFFFFFF00;
    return S_OK;
}
static HRESULT config_read(PVOID context, UINT32 offset, UINT32 *value) {
    return (void)context, (void)offset, *value = 0, S_OK;
}
static HRESULT config_write(PVOID context, UINT32 offset, UINT32 value) {
    return (void)context, (void)offset, (void)value, S_OK;
}
static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    (void)context, (void)bar, (void)offset;
    REQUIRE(may_call && !called++);
    memset(value, 0xC5, length);
    return S_OK;
}
static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    (void)context, (void)bar, (void)offset, (void)length, (void)value;
    REQUIRE(may_call && !called++);
    return S_OK;
}
static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, ok, nothing, configured, details, ok, nothing, config_read, config_write, mmio_read,
    mmio_write};

static void make_files(void) {
    if (events[0])
        return;
    for (int i = 0; i < EVENTS; i++)
        events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (int i = 0; i < 3; i++) {
        files[i] = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        REQUIRE(!ftruncate(files[i], FILE_PAGES * PAGE));
    }
    REQUIRE(!fcntl(files[0], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", files[2]);
    int read_only = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE(read_only >= 0);
    close(files[2]);
    files[2] = read_only;
    files[3] = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static uint32_t take_bar(void) {
    uint8_t how = take8(&input);
    return how < 0xF0 ? (how & 3) * 2 % 6 : how; /* 0, 2, 4, 0 or none */
}

static uint64_t take_offset(uint32_t bar) {
    uint8_t how = take8(&input);
    uint64_t size = bar < 6 ? bar_bytes[bar] : 0;
    return how < 0xA0 ? (how & 15) : how < 0xD0 ? (how & 15) * (uint64_t)PAGE + take8(&input) : how < 0xE8 ? size - (how & 15) : take_number(&input);
}

static uint32_t take_flags(void) {
    uint8_t how = take8(&input);
    return how < 0xF0 ? (how % 5) | (how & 0x80 ? ANY_VALUE : 0) : take32(&input);
}

static struct bell *find_bell(uint32_t bar, uint64_t offset, uint64_t value, uint32_t flags) {
    for (int i = 0; i < BELLS; i++)
        if (bells[i].used && !bells[i].is_page && bells[i].bar == bar && bells[i].offset == offset && bells[i].flags == flags &&
            (flags & ANY_VALUE || bells[i].value == value))
            return &bells[i];
    return NULL;
}

static void register_bell(void) {
    uint32_t bar = take_bar(), flags;
    uint64_t offset = take_offset(bar), value = take8(&input) & 3;
    flags = take_flags();
    uint8_t which = take8(&input);
    int good = which < 0xE0, event = which % EVENTS;
    uint64_t wide = which & 16 && flags & ANY_VALUE ? 0xFFFFFFFF00000000u | flags : flags; /* as some compilers extend it */
    intptr_t handle = good ? events[event] : which & 1 ? files[which % FILES] : (intptr_t)(int32_t)take_number(&input);
    if (!good && handle >= 0 && handle < 1024 && !(which & 1))
        return; /* might be somebody's eventfd */
    uint32_t code = flags & 0x7FFFFFFF, bytes = code ? 1u << ((code - 1) & 3) : 1;
    HRESULT want = bar >= 6 || code > 4 || bar_bytes[bar] < bytes || offset > bar_bytes[bar] - bytes ? E_INVALIDARG
                   : !is_running                                                                      ? INVALID_STATE
                   : !good                                                                            ? E_HANDLE
                   : find_bell(bar, offset, value, flags)                                             ? EXISTS
                                                                                                      : S_OK;
    struct bell *free_bell = NULL;
    for (int i = 0; i < BELLS; i++)
        free_bell = bells[i].used ? free_bell : &bells[i];
    if (want == S_OK && !free_bell)
        return;
    HRESULT hr = HdvRegisterDoorbell(device, (HDV_PCI_BAR_SELECTOR)bar, offset, value, wide, (HANDLE)handle);
    REQUIRE(hr == want);
    expected[HDVLAB_DOORBELL_REGISTER]++;
    if (hr == S_OK)
        *free_bell = (struct bell){1, event, 0, bar, flags, offset, flags & ANY_VALUE ? 0 : value};
}

static void unregister_bell(void) {
    uint32_t bar = take_bar(), flags;
    uint64_t offset = take_offset(bar), value = take8(&input) & 3;
    flags = take_flags();
    const struct bell *known = &bells[take_below(&input, BELLS)];
    if (known->used && take8(&input) & 1)
        bar = known->bar, offset = known->offset, value = known->value, flags = known->flags;
    struct bell *bell = find_bell(bar, offset, value, flags);
    REQUIRE(HdvUnregisterDoorbell(device, (HDV_PCI_BAR_SELECTOR)bar, offset, value, flags) == (bell ? S_OK : NOT_FOUND));
    expected[HDVLAB_DOORBELL_UNREGISTER]++;
    if (bell)
        bell->used = 0;
}

static struct bell *find_page(uint32_t bar, uint64_t page) {
    for (int i = 0; i < BELLS; i++)
        if (bells[i].used && bells[i].is_page && bells[i].bar == bar && bells[i].offset == page * PAGE)
            return &bells[i];
    return NULL;
}

static void register_page(void) {
    uint32_t bar = take_bar();
    uint64_t page = take8(&input) < 0xE0 ? take_below(&input, 5) : take_number(&input);
    uint8_t which = take8(&input);
    int event = which % EVENTS, good = which < 0xF0;
    HRESULT want = bar >= 6 || page > UINT64_MAX / PAGE || page * PAGE >= bar_bytes[bar] ? E_INVALIDARG
                   : !is_running                                                        ? INVALID_STATE
                   : !good                                                              ? E_HANDLE
                   : find_page(bar, page)                                               ? EXISTS
                                                                                        : S_OK;
    struct bell *free_bell = NULL;
    for (int i = 0; i < BELLS; i++)
        free_bell = bells[i].used ? free_bell : &bells[i];
    if (want == S_OK && !free_bell)
        return;
    REQUIRE(HdvRegisterDoorbellPage(device, (HDV_PCI_BAR_SELECTOR)bar, page, (HANDLE)(intptr_t)(good ? events[event] : files[0])) == want);
    expected[HDVLAB_DOORBELL_REGISTER]++;
    if (want == S_OK)
        *free_bell = (struct bell){1, event, 1, bar, 0, page * PAGE, 0};
}

static void unregister_page(void) {
    uint32_t bar = take_bar();
    uint64_t page = take8(&input) < 0xE0 ? take_below(&input, 5) : take_number(&input);
    struct bell *bell = page > UINT64_MAX / PAGE ? NULL : find_page(bar, page);
    REQUIRE(HdvUnregisterDoorbellPage(device, (HDV_PCI_BAR_SELECTOR)bar, page) == (bell ? S_OK : NOT_FOUND));
    expected[HDVLAB_DOORBELL_UNREGISTER]++;
    if (bell)
        bell->used = 0;
}

static void create_section(void) {
    uint32_t bar = take_bar();
    uint64_t start = take8(&input) < 0xE0 ? take_below(&input, 8) : take_number(&input);
    uint64_t pages = take8(&input) < 0xE0 ? take_below(&input, 5) : take_number(&input);
    uint64_t file_start = take8(&input) < 0xE0 ? take_below(&input, 5) : take_number(&input);
    uint8_t how = take8(&input);
    int file = how & 3, flags = how < 0xE0 ? how >> 2 & 3 : (int)take32(&input);
    uint64_t bar_pages = bar < 6 ? bar_bytes[bar] / PAGE : 0;
    HRESULT want = S_OK;
    if (!is_running)
        want = INVALID_STATE;
    else if (bar >= 6 || !pages || flags & ~3 || pages > bar_pages || start > bar_pages - pages)
        want = E_INVALIDARG;
    else if (file == 3 || file_start > FILE_PAGES || pages > FILE_PAGES - file_start)
        want = E_INVALIDARG;
    else if (file == 2 && flags & 1)
        want = E_ACCESSDENIED;
    struct section *free_section = NULL;
    for (int i = 0; i < SECTIONS; i++) {
        struct section *s = &sections[i];
        free_section = s->used ? free_section : s;
        if (want == S_OK && s->used && s->bar == bar && start < s->start + s->pages && s->start < start + pages)
            want = EXISTS;
    }
    if (want == S_OK && !free_section)
        return;
    HRESULT hr = HdvCreateSectionBackedMmioRange(device, (HDV_PCI_BAR_SELECTOR)bar, start, pages, (HDV_MMIO_MAPPING_FLAGS)flags,
                                                 (HANDLE)(intptr_t)files[file], file_start);
    REQUIRE(hr == want);
    expected[HDVLAB_SECTION_MAP]++;
    if (hr == S_OK)
        *free_section = (struct section){1, file, flags & 1, bar, start, pages, file_start};
}

static void destroy_section(void) {
    uint32_t bar = take_bar();
    uint64_t start = take8(&input) < 0xE0 ? take_below(&input, 8) : take_number(&input);
    struct section *found = NULL;
    for (int i = 0; i < SECTIONS; i++)
        if (sections[i].used && sections[i].bar == bar && sections[i].start == start)
            found = &sections[i];
    REQUIRE(HdvDestroySectionBackedMmioRange(device, (HDV_PCI_BAR_SELECTOR)bar, start) == (found ? S_OK : NOT_FOUND));
    expected[HDVLAB_SECTION_UNMAP]++;
    if (found)
        found->used = 0;
}

static void check_events(void) {
    for (int i = 0; i < EVENTS; i++) {
        uint64_t count = 0;
        REQUIRE(read(events[i], &count, sizeof count) == (rung[i] ? 8 : -1) && count == rung[i]);
        rung[i] = 0;
    }
}

/* An exact value beats an exact size, which beats the page; of two alike any may be meant: there are none, for duplicates
 * are refused. */
static struct bell *matching(uint32_t bar, uint64_t offset, uint32_t size, uint64_t value) {
    struct bell *best = NULL;
    int best_rank = -1;
    for (int i = 0; i < BELLS; i++) {
        struct bell *b = &bells[i];
        uint32_t code = b->flags & 7;
        if (b->used && b->is_page && b->bar == bar && b->offset == offset / PAGE * PAGE && best_rank < 0)
            best = b;
        if (!b->used || b->is_page || b->bar != bar || b->offset != offset || (code && 1u << (code - 1) != size) ||
            (!(b->flags & ANY_VALUE) && b->value != value))
            continue;
        int rank = (b->flags & ANY_VALUE ? 0 : 2) + (code != 0);
        if (rank > best_rank) {
            best = b;
            best_rank = rank;
        }
    }
    return best;
}

static void access_bar(int write, int past_the_bus) {
    uint32_t bar = (take8(&input) & 3) * 2 % 6, size = 1u << (take8(&input) & 3);
    uint64_t offset = take_offset(bar), value = write ? take8(&input) & 3 : 0;
    HDVLAB_ACCESS access = {.origin = past_the_bus ? HDVLAB_USER : HDVLAB_GUEST};
    if (!past_the_bus)
        offset &= ~(uint64_t)(size - 1);
    if (offset > bar_bytes[bar] - size || !is_running)
        return;
    struct bell *bell = write ? matching(bar, offset, size, value) : NULL;
    struct section *section = NULL;
    for (int i = 0; i < SECTIONS; i++) {
        struct section *s = &sections[i];
        if (s->used && s->bar == bar && offset >= s->start * PAGE && offset + size <= (s->start + s->pages) * PAGE)
            section = s;
    }
    HRESULT want = bell || !section ? S_OK : offset % size ? E_INVALIDARG : write && !section->writable ? E_ACCESSDENIED : S_OK;
    uint64_t before = 0, after = 0;
    off_t at = section ? (off_t)(section->file_start * PAGE + offset - section->start * PAGE) : 0;
    if (section)
        REQUIRE(pread(files[section->file], &before, size, at) == (ssize_t)size);
    may_call = !bell && !section;
    called = 0;
    uint64_t answer = value;
    HRESULT hr = past_the_bus ? hdvlab_device_access(device, &access, write, bar, offset, size, &answer)
                 : write      ? hdvlab_guest_write(system_handle, &access, PLACE + bar * 0x100000 + offset, size, value)
                              : hdvlab_guest_read(system_handle, &access, PLACE + bar * 0x100000 + offset, size, &answer);
    REQUIRE(hr == want && called == may_call);
    if (section) {
        REQUIRE(pread(files[section->file], &after, size, at) == (ssize_t)size);
        REQUIRE(after == (write && !bell && hr == S_OK ? value : before));
        REQUIRE(write || answer == (FAILED(hr) ? ones_of(size) : before));
    }
    if (bell) {
        rung[bell->event]++;
        expected[HDVLAB_DOORBELL]++;
    } else if (!section || records || FAILED(hr)) {
        expected[write ? HDVLAB_MMIO_WRITE : HDVLAB_MMIO_READ]++;
    }
    check_events();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    make_files();
    input = (struct cursor){data, data + size};
    HDVLAB_TRACE trace = recording_begin();
    uint64_t handles = hdvlab_live_handles(), rows = recording_rows();
    HDV_HOST host;
    GUID instance = guid_of(1);
    memset(bells, 0, sizeof bells);
    memset(sections, 0, sizeof sections);
    memset(expected, 0, sizeof expected);
    records = take8(&input) & 1;
    REQUIRE(hdvlab_embedded_create(1 << 20, records, trace, &system_handle) == S_OK);
    REQUIRE(HdvInitializeDeviceHost(system_handle, &host) == S_OK);
    REQUIRE(HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &class_guid, &instance, &interface, NULL, &device) == S_OK);
    REQUIRE(hdvlab_system_add_slot(system_handle, 0, &class_guid, &instance, 0, NULL) == S_OK);
    is_running = 0;
    create_section();
    REQUIRE(hdvlab_system_start(system_handle) == S_OK);
    is_running = 1;
    for (uint32_t bar = 0; bar < 6; bar++)
        config_store(system_handle, 0, 0x10 + 4 * bar, bar == 3 ? 0 : (uint32_t)PLACE + bar * 0x100000);
    config_store(system_handle, 0, 4, COMMAND_MEMORY);
    while (cursor_more(&input)) {
        uint8_t what = take8(&input);
        switch (what % 10) {
        case 8: register_page(); break;
        case 9:
            if (what & 32)
                unregister_page();
            else
                register_page();
            break;
        case 0: register_bell(); break;
        case 1: unregister_bell(); break;
        case 2: create_section(); break;
        case 3: destroy_section(); break;
        case 4: access_bar(0, what & 16); break;
        case 7:
            if (what >= 0xF0 && is_running) { /* doorbells and sections end with the device */
                REQUIRE(hdvlab_system_stop(system_handle) == S_OK);
                is_running = 0;
                for (int i = 0; i < SECTIONS; i++)
                    expected[HDVLAB_SECTION_UNMAP] += (uint64_t)sections[i].used;
                memset(sections, 0, sizeof sections);
                memset(bells, 0, sizeof bells);
                break;
            } /* fall through */
        default: access_bar(1, what & 16);
        }
    }
    for (int i = 0; i < SECTIONS; i++)
        expected[HDVLAB_SECTION_UNMAP] += (uint64_t)sections[i].used;
    REQUIRE(hdvlab_system_close(system_handle) == S_OK);
    REQUIRE(HdvTeardownDeviceHost(host) == S_OK);
    for (uint32_t kind = HDVLAB_MMIO_READ; kind <= HDVLAB_SECTION_UNMAP; kind++)
        REQUIRE(recording_count(rows, KIND(kind)) == expected[kind]);
    REQUIRE(hdvlab_live_handles() == handles);
    return 0;
}
