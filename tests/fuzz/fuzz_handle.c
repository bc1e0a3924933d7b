/* Every exported function with handles that are live, stale, of another kind, nearly right or just numbers: what is not
 * live gives E_HANDLE and changes nothing, what is live never crashes. test_regressions.py holds the list of functions
 * against the headers. */
#include "recording.h"
#include "rig.h"

enum kind { SYSTEM, HOST, DEVICE, TRACE, FILE_KIND, KINDS };
#define STALE 16

static struct cursor input;
static void *live[KINDS], *stale[STALE];
static uint32_t stale_count;
static char folder[256];
static HDVLAB_TRACE reader;
static uint32_t instances;
static uint8_t zeros[4096], scratch[8192];
static uint32_t entered, pins;

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
static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    return (void)context, (void)bar, (void)offset, memset(value, 0, length), S_OK;
}
static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    return (void)context, (void)bar, (void)offset, (void)length, (void)value, S_OK;
}
static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, ok, nothing, configured, details, ok, nothing, config_read, config_write, mmio_read,
    mmio_write};

static void forget(enum kind kind) {
    if (live[kind])
        stale[stale_count++ % STALE] = live[kind];
    live[kind] = NULL;
}

static void *make_file(void) {
    HDVLAB_REGISTER_FILE file;
    HDVLAB_REGISTER one = {.size = 4, .sizes = 15, .write_mask = 0xFF};
    HDVLAB_DEVICE_DESCRIPTION d = {.config = zeros, .config_write_mask = zeros, .config_write_one_to_clear = zeros,
                                   .probed_bars = {0xFFFFF000}, .bar_size = {4096}, .register_count = 1, .registers = &one};
    HDVLAB_DEVICE_CALLBACKS call = {.initialize = NULL};
    REQUIRE(hdvlab_register_file_create(&d, &call, NULL, &file) == S_OK);
    return file;
}

/* One of each kind there is; the device is in slot 0 and runs. */
static void make_all(void) {
    if (!live[TRACE]) {
        if (*folder)
            remove_folder(folder);
        scratch_folder(folder, sizeof folder);
        REQUIRE(hdvlab_trace_create(folder, 1 << 20, 1024, HDVLAB_CLOCK_MANUAL, &live[TRACE]) == S_OK);
    }
    if (!live[SYSTEM]) {
        REQUIRE(hdvlab_embedded_create(1 << 20, 0, live[TRACE], &live[SYSTEM]) == S_OK);
        if (live[HOST]) {
            REQUIRE(HdvTeardownDeviceHost(live[HOST]) == S_OK);
            forget(DEVICE);
            forget(HOST);
        }
    }
    if (!live[HOST])
        REQUIRE(HdvInitializeDeviceHost(live[SYSTEM], &live[HOST]) == S_OK);
    if (!live[DEVICE]) {
        GUID name = guid_of(instances++);
        REQUIRE(HdvCreateDeviceInstance(live[HOST], HdvDeviceTypePCI, &class_guid, &name, &interface, NULL, &live[DEVICE]) == S_OK);
        if (hdvlab_system_add_slot(live[SYSTEM], 0, &class_guid, &name, 0, NULL) == S_OK)
            (void)hdvlab_system_start(live[SYSTEM]);
    }
    if (!live[FILE_KIND])
        live[FILE_KIND] = make_file();
}

static int is_live;

/* A handle for a parameter of that kind; is_live is whether it must be taken. */
static void *take_handle(enum kind kind) {
    uint8_t how = take8(&input);
    uintptr_t value = (uintptr_t)live[kind];
    switch (how & 7) {
    case 0: value = (uintptr_t)live[(kind + 1 + (how >> 3) % (KINDS - 1)) % KINDS]; break;
    case 1: value = stale_count ? (uintptr_t)stale[(how >> 3) % (stale_count < STALE ? stale_count : STALE)] : 0; break;
    case 2: value ^= 1ull << (how >> 3 | (take8(&input) & 1) << 5); break;
    case 3: value += (uint64_t)(int64_t)(int8_t)take8(&input) << 32; break;
    case 4: value = how >> 3 ? take64(&input) : 0; break;
    default: break;
    }
    is_live = value && value == (uintptr_t)live[kind];
    if (kind == TRACE && value && value == (uintptr_t)reader)
        is_live = 1;
    return (void *)value;
}

/* A refusal for want of a live handle; other arguments may have been refused first. */
static void check(HRESULT hr) { REQUIRE(is_live || hr == E_HANDLE || hr == E_INVALIDARG || hr == E_POINTER); }

/* Inside a device nothing can be ended. */
static void leave_all(void) {
    for (; entered; entered--)
        REQUIRE(hdvlab_device_leave(live[DEVICE]) == S_OK);
}

#define N take_number(&input)
#define SMALL take_below(&input, 16)
#define SYSTEM_OF take_handle(SYSTEM)
#define DEVICE_OF take_handle(DEVICE)
#define TRACE_OF take_handle(TRACE)
#define FILE_OF take_handle(FILE_KIND)

/* The arguments are evaluated before the call, in whatever order: each takes from the input. */
static void call_hdv(uint32_t which) {
    void *pointer = NULL;
    GUID name = guid_of(1u << 31 | take8(&input));
    void *handle = which < 2 ? SYSTEM_OF : which < 4 || which == 13 ? take_handle(HOST) : DEVICE_OF;
    uint64_t a = N, b = N, c = N;
    int bar = (int)(a & 7);
    HRESULT hr = S_OK;
    switch (which) {
    case 0: hr = HdvInitializeDeviceHost(handle, &pointer); break;
    case 1: hr = HdvInitializeDeviceHostEx(handle, (HDV_DEVICE_HOST_FLAGS)(a & 3), &pointer); break;
    case 2:
        hr = HdvTeardownDeviceHost(handle);
        if (hr == S_OK)
            forget(DEVICE), forget(HOST);
        break;
    case 3: hr = HdvCreateDeviceInstance(handle, (HDV_DEVICE_TYPE)(a & 1), &class_guid, &name, &interface, NULL, &pointer); break;
    case 4: hr = HdvReadGuestMemory(handle, a, (uint32_t)b & 0xFFF, scratch); break;
    case 5: hr = HdvWriteGuestMemory(handle, a, (uint32_t)b & 0xFFF, scratch); break;
    case 6:
        hr = HdvCreateGuestMemoryAperture(handle, a, (uint32_t)b & 0xFFFF, (BOOL)(c & 1), &pointer);
        if (hr == S_OK && c & 2)
            REQUIRE(HdvDestroyGuestMemoryAperture(handle, pointer) == S_OK);
        break;
    case 7: hr = HdvDestroyGuestMemoryAperture(handle, (void *)(uintptr_t)(a | 1)); break;
    case 8: hr = HdvDeliverGuestInterrupt(handle, a, (uint32_t)b); break;
    case 9: hr = HdvRegisterDoorbell(handle, (HDV_PCI_BAR_SELECTOR)bar, b, c, a, (HANDLE)(intptr_t)-1); break;
    case 10: hr = HdvUnregisterDoorbell(handle, (HDV_PCI_BAR_SELECTOR)bar, b, c, a); break;
    case 11:
        hr = HdvCreateSectionBackedMmioRange(handle, (HDV_PCI_BAR_SELECTOR)bar, b, c, (HDV_MMIO_MAPPING_FLAGS)(a >> 3 & 7),
                                             (HANDLE)(intptr_t)-1, a);
        break;
    case 12: hr = HdvDestroySectionBackedMmioRange(handle, (HDV_PCI_BAR_SELECTOR)bar, b); break;
    default: hr = hdvlab_bench_device(handle, &class_guid, &name, &pointer); break;
    }
    check(hr);
    if (which < 2 && hr == S_OK) {
        leave_all();
        REQUIRE(HdvTeardownDeviceHost(pointer) == S_OK);
    }
}

static void call_trace(uint32_t which) {
    void *handle = TRACE_OF;
    uint64_t a = N, b = N, number = 0;
    uint32_t word = 0, other = 0;
    void *pointer = NULL;
    const void *columns[HDVLAB_COLUMN_COUNT];
    HDVLAB_TRACE_STATE state;
    HRESULT hr = S_OK;
    switch (which) {
    case 0: /* rarely: a new recording costs a millisecond */
        hr = is_live && handle == live[TRACE] && take8(&input) < 0xFC ? S_OK : hdvlab_trace_close(handle);
        if (hr == S_OK && handle == reader) {
            stale[stale_count++ % STALE] = reader;
            reader = NULL;
        } else if (hr == S_OK && is_live && hdvlab_trace_state(handle, &state) == E_HANDLE) {
            forget(TRACE);
            for (; pins; pins--) /* what is pinned outlives the close */
                hdvlab_trace_unpin(handle);
        }
        break;
    case 1: hr = is_live && handle == live[TRACE] ? S_OK : hdvlab_trace_finish(handle); break;
    case 2: hr = hdvlab_trace_state(handle, &state); break;
    case 3: hr = hdvlab_trace_committed(handle, a & 0xFFF, &number); break;
    case 4:
        hr = hdvlab_trace_pin(handle, (uint32_t)(a & 15), &pointer);
        if (hr == S_OK && b & 1)
            hdvlab_trace_unpin(handle);
        else if (hr == S_OK && handle == live[TRACE])
            pins++;
        else if (hr == S_OK)
            hdvlab_trace_unpin(handle);
        break;
    case 5: /* a pin that is none: nothing may come of it */
        if (handle == live[TRACE] && pins)
            pins--;
        hdvlab_trace_unpin(handle);
        hr = E_HANDLE;
        break;
    case 6: hr = hdvlab_trace_mark(handle, (uint32_t)(a & 31), (uint16_t)b, -1, (int32_t)a, scratch, (uint32_t)b & 63, (int64_t *)&number); break;
    case 7: hr = hdvlab_trace_set_time(handle, (int64_t)a); break;
    case 8: hr = hdvlab_trace_verify(handle, a, &word, &other); break;
    case 9: hr = hdvlab_trace_settled(handle, a, &number); break;
    case 10:
        memset(scratch, (int)(b & 31), 64);
        for (int i = 0; i < HDVLAB_COLUMN_COUNT; i++)
            columns[i] = scratch;
        hr = hdvlab_trace_append(handle, a & 3, columns, scratch, sizeof scratch);
        break;
    case 11: hr = hdvlab_bench_rows(handle, a & 15, (BOOL)(b & 1), &number); break;
    case 12:
        hr = hdvlab_embedded_create(b & 1 ? 1 << 20 : a, 0, handle, &pointer);
        is_live |= !handle; /* a machine need not be recorded */
        if (hr == S_OK) {
            leave_all();
            REQUIRE(hdvlab_system_close(pointer) == S_OK);
        }
        break;
    case 13:
        is_live = 1;
        hr = reader ? S_OK : hdvlab_trace_attach(folder, &reader);
        break;
    case 14:
        is_live = 1;
        hr = reader ? S_OK : hdvlab_trace_salvage(folder, a & 0xFFFFF, (uint32_t)b & 0xFFF, &reader);
        break;
    default: {
        const char *column = NULL;
        REQUIRE(!hdvlab_trace_column((uint32_t)a, &column) == (a % (1ull << 32) >= HDVLAB_COLUMN_COUNT));
        hr = E_HANDLE;
    }
    }
    check(hr);
}

static void call_machine(uint32_t which) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_GUEST, .wait_ms = 1};
    GUID name = guid_of(1u << 30 | take8(&input));
    void *handle = SYSTEM_OF;
    uint64_t a = N, b = N, number = 0, addresses[6];
    uint32_t word = 0, size = SMALL;
    HRESULT hr = S_OK;
    switch (which) {
    case 0: hr = hdvlab_system_start(handle); break;
    case 1: hr = hdvlab_system_stop(handle); break;
    case 2:
        hr = hdvlab_system_close(handle);
        if (hr == S_OK)
            forget(SYSTEM);
        break;
    case 3: hr = hdvlab_system_add_slot(handle, size, &class_guid, &name, 0, NULL); break;
    case 4:
        hr = hdvlab_system_remove_slot(handle, size);
        if (hr == S_OK && hdvlab_device_inside(live[DEVICE]) == E_HANDLE)
            forget(DEVICE);
        break;
    case 5: hr = hdvlab_guest_config_read(handle, &access, (uint32_t)a, (uint32_t)b, size, &word); break;
    case 6: hr = hdvlab_guest_config_write(handle, &access, (uint32_t)a, (uint32_t)b, size, (uint32_t)a); break;
    case 7: hr = hdvlab_guest_config_peek(handle, size & 1, scratch); break;
    case 8: hr = hdvlab_guest_read(handle, &access, a, size, &number); break;
    case 9: hr = hdvlab_guest_write(handle, &access, a, size, b); break;
    case 10: hr = hdvlab_guest_load(handle, a, size, 0, b, &number); break;
    case 11: hr = hdvlab_guest_store(handle, a, size, 0, b, a); break;
    case 12: hr = hdvlab_guest_ram_read(handle, a, b & 0xFFF, scratch); break;
    case 13: hr = hdvlab_guest_ram_write(handle, a, b & 0xFFF, scratch); break;
    case 14: hr = hdvlab_guest_wait_interrupt(handle, (uint8_t)a, -(int64_t)(b & 1), &word); break;
    case 15: hr = hdvlab_guest_cancel(handle); break;
    case 16: hr = hdvlab_bench_guest_writes(handle, a, size, b & 7, &number); break;
    case 17: {
        int system_is_live = is_live;
        void *device = DEVICE_OF;
        is_live &= system_is_live;
        hr = hdvlab_bench_wakes(handle, device, a, NULL, 0, &number);
        break;
    }
    case 18: hr = hdvlab_guest_place_bars(handle, size & 1, b & 1 ? addresses : NULL); break;
    case 19: hr = hdvlab_system_slot(handle, &name, &word); break;
    case 20: {
        HDV_DEVICE device = NULL;
        hr = hdvlab_system_device(handle, size & 1, &device);
        REQUIRE(FAILED(hr) || device);
        break;
    }
    case 21: {
        int system_is_live = is_live;
        void *trace = TRACE_OF;
        is_live &= system_is_live;
        hr = hdvlab_system_record(handle, trace);
        is_live |= system_is_live && !trace; /* none is none, not a bad one */
        is_live |= system_is_live && FAILED(hr); /* a machine that runs is refused before */
        break;
    }
    case 22: {
        static WCHAR text[] = {'[', 0, ']', 0};
        text[1] = (WCHAR)a;
        is_live = 1;
        hr = b & 1 ? hdvlab_json_check(text, &number) : hdvlab_instance_id(text, &name);
        break;
    }
    default: hr = hdvlab_bench_guest_reads(handle, a, size, b & 7, &number); break;
    }
    check(hr);
}

static void call_device(uint32_t which) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_USER, .wait_ms = 1};
    GUID name = guid_of(1u << 29 | take8(&input));
    void *handle = which < 6 || which == 12 ? DEVICE_OF : FILE_OF;
    uint64_t a = N, b = N, number = 0, *numbers = NULL;
    uint32_t size = SMALL;
    uint8_t *bytes = NULL;
    HDV_DEVICE made = NULL;
    HRESULT hr = S_OK;
    switch (which) {
    case 0: hr = hdvlab_device_set_index(handle, (uint16_t)a); break;
    case 1:
        hr = hdvlab_device_enter(handle, 1, -1);
        entered += hr == S_OK;
        break;
    case 2:
        hr = hdvlab_device_leave(handle);
        entered -= hr == S_OK;
        break;
    case 3: hr = hdvlab_device_wait_idle(handle, 1); break;
    case 4: hr = hdvlab_device_inside(handle); break;
    case 5: hr = hdvlab_device_access(handle, &access, (BOOL)(a & 1), (uint32_t)b & 7, a, size, &number); break;
    case 12:
        hr = hdvlab_bench_copies(handle, a, (uint32_t)b & 0xFFFF, a & 7, &number);
        break;
    case 6:
        hr = hdvlab_register_file_close(handle);
        if (hr == S_OK)
            forget(FILE_KIND);
        break;
    case 7: hr = hdvlab_register_file_reset(handle); break;
    case 8: hr = hdvlab_register_file_values(handle, &numbers); break;
    case 9: hr = hdvlab_register_file_config(handle, &bytes); break;
    case 10: hr = hdvlab_register_file_peek(handle, (uint32_t)a, b, size, &number); break;
    case 11: hr = hdvlab_register_file_interrupt(handle, (uint32_t)a); break;
    default: {
        int file_is_live = is_live;
        void *host = take_handle(HOST);
        is_live &= file_is_live;
        hr = hdvlab_register_file_instance(handle, host, &class_guid, &name, &made);
        is_live |= hr == EXISTS && file_is_live; /* said before the host is looked at */
    }
    }
    check(hr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input = (struct cursor){data, data + size};
    stale_count = 0;
    hdvlab_set_cause(-1);
    REQUIRE(hdvlab_cause() == -1);
    while (cursor_more(&input)) {
        make_all();
        uint8_t what = take8(&input);
        uint64_t before = hdvlab_live_handles();
        is_live = 1;
        switch (what & 3) {
        case 0: call_hdv((what >> 2) % 14); break;
        case 1: call_trace((what >> 2) % 16); break;
        case 2: call_machine((what >> 2) % 24); break;
        default: call_device((what >> 2) % 14); break;
        }
        REQUIRE(is_live || hdvlab_live_handles() == before);
    }
    leave_all();
    if (live[SYSTEM])
        REQUIRE(hdvlab_system_close(live[SYSTEM]) == S_OK);
    if (live[HOST])
        REQUIRE(HdvTeardownDeviceHost(live[HOST]) == S_OK);
    if (live[FILE_KIND])
        REQUIRE(hdvlab_register_file_close(live[FILE_KIND]) == S_OK);
    if (reader)
        REQUIRE(hdvlab_trace_close(reader) == S_OK);
    reader = NULL;
    for (; live[TRACE] && pins; pins--)
        hdvlab_trace_unpin(live[TRACE]);
    void *trace = live[TRACE];
    HDVLAB_TRACE_STATE state;
    if (trace && (hdvlab_trace_state(trace, &state) != S_OK || state.reserved > 100000)) {
        REQUIRE(hdvlab_trace_close(trace) == S_OK);
        trace = NULL;
    }
    memset(live, 0, sizeof live);
    live[TRACE] = trace;
    REQUIRE(hdvlab_live_handles() == (trace != NULL));
    return 0;
}
