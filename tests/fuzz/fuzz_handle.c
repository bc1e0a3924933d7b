/* Every exported function with handles that are live, stale, of another kind, nearly right or just numbers: what is not
 * live gives E_HANDLE and changes nothing, what is live never crashes. test_regressions.py holds the list of functions
 * against the headers. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "plain_device.h"
#include "recording.h"

enum kind { SYSTEM, HOST, DEVICE, TRACE, FILE_KIND, OPERATION, HOLD, KINDS };
#define STALE 16

static struct cursor input;
static void *live[KINDS], *stale[STALE];
static uint32_t stale_count;
static char folder[256];
static HDVLAB_TRACE reader;
static uint32_t instances;
static uint8_t zeros[4096], scratch[8192];
static uint32_t entered, pins;
static int memory = -1, event = -1;

static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    return (void)context, (void)bar, (void)offset, memset(value, 0, length), S_OK;
}
static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    return (void)context, (void)bar, (void)offset, (void)length, (void)value, S_OK;
}
static HRESULT reset(void *context) { return (void)context, S_OK; }
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
        REQUIRE(hdvlab_gate_limit(live[SYSTEM], 1) == S_OK); /* who is held is this very thread */
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
    if (!live[OPERATION])
        live[OPERATION] = HcsCreateOperation(NULL, NULL);
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
#define OPERATION_OF take_handle(OPERATION)

/* What is not live in any of several places must be refused. */
static void *take_another(enum kind kind) {
    int others = is_live;
    void *handle = take_handle(kind);
    is_live &= others;
    return handle;
}

/* The arguments are evaluated before the call, in whatever order: each takes from the input. */
static void call_hdv(uint32_t which) {
    void *pointer = NULL;
    GUID name = guid_of(1u << 31 | take8(&input));
    void *handle = which < 2 ? SYSTEM_OF : which < 4 || which == 13 ? take_handle(HOST) : DEVICE_OF;
    uint64_t a = N, b = N, c = N;
    int bar = (int)(a & 7);
    HRESULT hr = S_OK;
    void *hold = NULL;
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
    case 14: hr = HdvRegisterDoorbellPage(handle, (HDV_PCI_BAR_SELECTOR)bar, b, (HANDLE)(intptr_t)(c & 1 ? event : -1)); break;
    case 15: hr = HdvUnregisterDoorbellPage(handle, (HDV_PCI_BAR_SELECTOR)bar, b); break;
    case 16: /* an aperture's address outlives it while it is held */
        if (!live[DEVICE] || handle != live[DEVICE] || a & 1) {
            hr = hdvlab_aperture_hold(handle, scratch + (a & 0xFF), &hold);
            break;
        }
        if (hdvlab_device_inside(handle) == 1)
            (void)hdvlab_guest_config_write(live[SYSTEM], &(HDVLAB_ACCESS){.wait_ms = 1}, 0, 4, 4, 6);
        if (HdvCreateGuestMemoryAperture(handle, a & 0xFFFF, 4096, FALSE, &pointer) != S_OK)
            return;
        hr = hdvlab_aperture_hold(handle, pointer, &hold);
        REQUIRE(hr == S_OK);
        if (live[HOLD]) {
            REQUIRE(hdvlab_aperture_release(live[HOLD]) == S_OK);
            forget(HOLD);
        }
        live[HOLD] = hold;
        if (c & 1)
            REQUIRE(HdvDestroyGuestMemoryAperture(handle, pointer) == S_OK);
        *(volatile uint8_t *)pointer = 1;
        break;
    case 17: {
        void *released = take_handle(HOLD);
        hr = hdvlab_aperture_release(released);
        if (hr == S_OK)
            forget(HOLD);
        break;
    }
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
    case 7: hr = a & 3 ? hdvlab_trace_set_time(handle, (int64_t)a) : hdvlab_trace_suspend(handle, (BOOL)(b & 1)); break;
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

/* ---- systems and hosts that are elsewhere --------------------------------------------------------------------------- */

static HRESULT call_forward(void *native, uint64_t how) {
    HDVLAB_HDV_FUNCTIONS functions = {.size = how & 1 ? sizeof functions : (uint32_t)(how >> 1),
                                      .HdvInitializeDeviceHost = HdvInitializeDeviceHost,
                                      .HdvTeardownDeviceHost = HdvTeardownDeviceHost,
                                      .HdvCreateDeviceInstance = HdvCreateDeviceInstance};
    int native_is_live = is_live;
    void *trace = TRACE_OF, *made = NULL, *host = NULL;
    is_live |= !trace;
    HRESULT hr = hdvlab_forward_create(&functions, native, trace, &made);
    if (FAILED(hr))
        return hr;
    leave_all();
    if (HdvInitializeDeviceHost(made, &host) == S_OK) {
        REQUIRE(native_is_live);
        REQUIRE(HdvTeardownDeviceHost(host) == S_OK);
    }
    REQUIRE(hdvlab_system_close(made) == S_OK);
    return hr;
}

static HRESULT WINAPI query(IVmDeviceHostSupport *self, REFIID iid, void **object) {
    *object = memcmp(iid, &IID_IVmDeviceHostSupport, sizeof *iid) ? NULL : self;
    return *object ? S_OK : E_NOINTERFACE;
}
static ULONG WINAPI count_reference(IVmDeviceHostSupport *self) { return self != NULL; }
static void *machine_of_proxy;
static uint64_t proxy_how;
static HRESULT WINAPI registered(IVmDeviceHostSupport *self, IVmDeviceHost *host, DWORD process, UINT64 *section) {
    uint32_t state;
    HRESULT why;
    (void)self;
    REQUIRE(hdvlab_proxy_set_budget(host, (uint32_t)proxy_how) == E_NOTIMPL);
    REQUIRE(hdvlab_proxy_wait(host, 0, 0, &state, &why) == E_NOTIMPL);
    return proxy_how & 1 ? HdvProxyDeviceHost(machine_of_proxy, host, process, section) : S_OK;
}
static const IVmDeviceHostSupportVtbl support_table = {query, count_reference, count_reference, registered};

static HRESULT call_proxy(void *machine, uint64_t how, uint64_t number) {
    IVmDeviceHostSupport here = {&support_table}, *there = NULL;
    IVmDeviceHost *host = NULL;
    GUID vm = guid_of(7);
    DWORD process;
    UINT64 section;
    void *made = NULL;
    int pair[2], was_live = is_live;
    HRESULT hr;
    switch (how & 7) {
    case 0: REQUIRE(FAILED(hdvlab_proxy_connect(how & 8 ? "/" : "/nothing/at/all", &there))); break;
    case 1: REQUIRE(hdvlab_proxy_support_from_socket((int)(number | 1 << 20) & INT32_MAX, &there) == E_HANDLE); break;
    case 2: REQUIRE(hdvlab_proxy_accept((int)(number | 1 << 20) & INT32_MAX, 0, &vm, &process, &host) == E_HANDLE); break;
    case 3: /* a socket of the wrong kind, or a peer that says nothing: it is taken, and closed */
        REQUIRE(!socketpair(AF_UNIX, (how & 8 ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, pair));
        REQUIRE(FAILED(hdvlab_proxy_accept(pair[0], 0, &vm, &process, &host)));
        REQUIRE(fcntl(pair[0], F_GETFD) < 0);
        close(pair[1]);
        break;
    case 4:
        REQUIRE(!socketpair(AF_UNIX, (how & 8 ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, pair));
        if (SUCCEEDED(hdvlab_proxy_support_from_socket(pair[0], &there)))
            there->lpVtbl->Release(there);
        REQUIRE(fcntl(pair[0], F_GETFD) < 0);
        close(pair[1]);
        break;
    case 5:
        machine = take_handle(HOST);
        hr = hdvlab_proxy_wait_machine(machine, 0);
        REQUIRE(!is_live || hr == E_NOTIMPL);
        return hr;
    case 6: return HdvProxyDeviceHost(machine, &here, 1, &section);
    default:
        leave_all();
        machine_of_proxy = machine;
        proxy_how = number;
        hr = HdvInitializeDeviceHostForProxyEx(&vm, &here, (HDV_DEVICE_HOST_FLAGS)(how >> 3 & 1), &made);
        REQUIRE(hr != S_OK || was_live || !(number & 1));
        if (hr != S_OK)
            return hr;
        REQUIRE(HdvInitializeDeviceHostForProxy(&vm, &here, &made) == (HRESULT)0xC0370030);
        REQUIRE(hdvlab_proxy_wait_machine(made, 0) == HRESULT_FROM_WIN32(ERROR_TIMEOUT));
        REQUIRE(HdvTeardownDeviceHost(made) == S_OK);
    }
    return E_HANDLE;
}

/* What serves a VM; the machines here are embedded ones, which serve none. fuzz_vfio_user.c has a connection. */
static HRESULT call_vfio_user(void *handle, uint32_t which, uint64_t a, uint64_t b, uint32_t size) {
    HDVLAB_VFIO_USER_OPTIONS options = {.size = size, .flags = (uint32_t)a, .budget_ms = (uint32_t)b};
    HDVLAB_VFIO_USER_STATE state;
    uint64_t thread;
    HRESULT hr;
    switch (which) {
    case 0: {
        HCS_SYSTEM made = NULL;
        void *trace = TRACE_OF;
        hr = hdvlab_vfio_user_create(a & 1, trace, &made);
        is_live |= !trace; /* none is none, not a bad one */
        if (SUCCEEDED(hr)) {
            leave_all(); /* from inside a device no machine can be closed */
            REQUIRE(hdvlab_system_close(made) == S_OK);
        }
        return hr;
    }
    case 1: return hdvlab_vfio_user_listen(handle, (uint32_t)a & 63, "/nowhere/socket", b & 1 ? &options : NULL);
    case 2: return hdvlab_vfio_user_attach(handle, (uint32_t)a & 63, dup(event), b & 1 ? &options : NULL);
    case 3: return hdvlab_vfio_user_end(handle, (uint32_t)a & 63);
    case 4: return hdvlab_vfio_user_state(handle, (uint32_t)a & 63, &state);
    case 5: return hdvlab_vfio_user_wait(handle, (uint32_t)a & 63, b, 0, &state);
    default: return hdvlab_vfio_user_hung_thread(handle, (uint32_t)a & 63, &thread);
    }
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
    case 23: hr = hdvlab_memory_map(handle, a & 1 ? (a & 0xFF) << 20 : a, 4096, (HANDLE)(intptr_t)(b & 1 ? memory : event), b & 2 ? 0 : b, size & 3); break;
    case 24: hr = hdvlab_memory_unmap(handle, (a & 0xFF) << 20, 4096); break;
    case 25: {
        HANDLE events[4] = {(HANDLE)(intptr_t)event, NULL, (HANDLE)(intptr_t)-1, (HANDLE)(intptr_t)(b & 1 ? event : memory)};
        hr = hdvlab_guest_bind_interrupts(handle, (uint32_t)a, size & 7, b & 2 && !(size & 4) ? events : NULL);
        break;
    }
    case 26: {
        HDV_DEVICE device = NULL;
        hr = hdvlab_system_find(handle, &class_guid, &name, &device);
        is_live |= hr == NOT_FOUND && is_live;
        break;
    }
    case 27: hr = call_forward(handle, a); break;
    case 28: hr = call_proxy(handle, a, b); break;
    case 30: case 31: case 32: case 33: case 34: case 35: case 36: hr = call_vfio_user(handle, which - 30, a, b, size); break;
    default: hr = hdvlab_bench_guest_reads(handle, a, size, b & 7, &number); break;
    }
    check(hr);
}

/* ---- the gate ------------------------------------------------------------------------------------------------------- */

static uint32_t asked(void *system, uint32_t id, const HDVLAB_STOP_STATE *hit) {
    REQUIRE(hit->breakpoint == id && !hit->ticket);
    if (hit->address & 4)
        (void)hdvlab_gate_remove(system, id);
    return hit->address & 1;
}
static uint32_t idles(void *system, uint64_t ticket) { return hdvlab_gate_release(system, ticket, HDVLAB_RETRY, 0) != S_OK; }

static void call_gate(uint32_t which) {
    void *handle = SYSTEM_OF;
    uint64_t a = N, b = N, number = 0, other = 0;
    uint32_t id = (uint32_t)a & 15, count;
    HDVLAB_STOP_STATE stops[2];
    HRESULT hr;
    switch (which) {
    case 0: {
        HDVLAB_BREAKPOINT one = {.kinds = a & 3 ? 0 : a, .origins = (uint32_t)(a >> 8) & 7, .flags = (uint32_t)b & 127, .device = -1,
                                 .bar = -1, .first = b >> 8 & 255, .last = UINT64_MAX - (a & 1), .mask = b >> 16 & 1, .ignore = b >> 20 & 3};
        hr = hdvlab_gate_add(handle, &one, &id);
        break;
    }
    case 1: hr = hdvlab_gate_set(handle, id, (uint32_t)b & 127); break;
    case 2: hr = hdvlab_gate_remove(handle, id); break;
    case 3: hr = hdvlab_gate_hits(handle, id, &number, &other); break;
    case 4: hr = hdvlab_gate_step(handle, a & 7); break;
    case 5: hr = hdvlab_gate_stops(handle, stops, (uint32_t)a & 1, &count); break;
    case 6: hr = hdvlab_gate_release(handle, a, (uint32_t)b & 7, b); break;
    case 7: hr = hdvlab_gate_wait(handle, &number, 0); break;
    case 8: hr = hdvlab_gate_limit(handle, (uint32_t)a & 1); break;
    case 9: hr = hdvlab_gate_overdue(handle, &number); break;
    case 10: hr = hdvlab_gate_on_ask(handle, a & 1 ? asked : NULL, handle); break;
    default: hr = hdvlab_gate_on_idle(handle, a & 1 ? idles : NULL, handle); break;
    }
    check(hr);
}

/* ---- the HCS calls: only those that are refused, and operations; fuzz_compute_system.c has the others --------------- */

static void CALLBACK completed(HCS_OPERATION operation, void *context) { (void)operation, (void)context; }
static void CALLBACK happened(HCS_EVENT *what, void *context) { (void)what, (void)context; }

static void call_compute(uint32_t which) {
    static const WCHAR none[] = {'i', 'd', 0}, bad[] = {'{', 0}, object[] = {'{', '}', 0};
    uint64_t a = N;
    void *handle = which < 10 ? SYSTEM_OF : NULL;
    void *operation = which < 9 || which >= 10 ? take_another(OPERATION) : NULL, *made = NULL;
    PCWSTR text = a & 1 ? bad : object;
    PWSTR document = NULL;
    HRESULT hr = E_HANDLE;
    if (which < 9 && !operation) /* untracked is not refused */
        is_live = handle == live[SYSTEM];
    switch (which) {
    case 0: hr = HcsStartComputeSystem(handle, operation, text); break;
    case 1: hr = HcsShutDownComputeSystem(handle, operation, text); break;
    case 2: hr = HcsTerminateComputeSystem(handle, operation, text); break;
    case 3: hr = HcsPauseComputeSystem(handle, operation, text); break;
    case 4: hr = HcsResumeComputeSystem(handle, operation, text); break;
    case 5: hr = HcsModifyComputeSystem(handle, operation, text, NULL); break;
    case 6: hr = HcsGetComputeSystemProperties(handle, operation, text); break;
    case 7: /* no handle of a system goes in */
        is_live |= !operation || operation == live[OPERATION];
        hr = HcsCreateComputeSystem(a & 2 ? none : none + 2, bad, operation, NULL, &made);
        break;
    case 8:
        is_live |= !operation || operation == live[OPERATION];
        hr = HcsEnumerateComputeSystems(bad, operation);
        break;
    case 9: hr = HcsSetComputeSystemCallback(handle, (HCS_EVENT_OPTIONS)(a & 7), NULL, a & 8 ? happened : NULL); break;
    case 10: hr = HcsGetOperationResult(operation, a & 1 ? &document : NULL); break;
    case 11: hr = HcsWaitForOperationResult(operation, (DWORD)a, a & 1 ? &document : NULL); break;
    case 12: hr = HcsSetOperationCallback(operation, scratch, completed); break;
    case 13: hr = HcsCancelOperation(operation); break;
    case 14: hr = HcsSetOperationContext(operation, (void *)(uintptr_t)a); break;
    case 15: REQUIRE(is_live || !HcsGetOperationContext(operation)); break;
    case 16: REQUIRE(HcsGetOperationType(operation) >= HcsOperationTypeNone); break;
    case 17: REQUIRE((HcsGetOperationId(operation) == HCS_INVALID_OPERATION_ID) == !is_live); break;
    case 18: REQUIRE(is_live || !HcsGetComputeSystemFromOperation(operation)); break;
    case 19:
        HcsCloseOperation(operation);
        if (is_live)
            forget(OPERATION);
        break;
    case 20:
        REQUIRE(HcsOpenComputeSystem(none, (DWORD)a, &made) == HCS_E_SYSTEM_NOT_FOUND && !made);
        break;
    default: { /* an embedded machine is closed by it as by its own close */
        void *closed = SYSTEM_OF;
        HcsCloseComputeSystem(closed);
        if (is_live && hdvlab_guest_cancel(closed) == E_HANDLE)
            forget(SYSTEM);
    }
    }
    REQUIRE(which >= 10 || FAILED(hr) || which == 9);
    LocalFree(document);
    check(hr);
}

static HRESULT CALLBACK peek(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT32 size, UINT64 *value) {
    return (void)context, *value = offset + size + (UINT64)bar, S_OK;
}

static void call_device(uint32_t which) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_USER, .wait_ms = 1};
    GUID name = guid_of(1u << 29 | take8(&input));
    void *handle = which < 6 || which == 12 || (which >= 17 && which < 24) ? DEVICE_OF : FILE_OF;
    uint64_t a = N, b = N, number = 0, *numbers = NULL;
    uint32_t size = SMALL;
    uint8_t *bytes = NULL;
    HDV_DEVICE made = NULL;
    HRESULT hr = S_OK;
    HDVLAB_DEVICE_DETAILS about;
    HDVLAB_MESSAGE message;
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
    case 13: hr = hdvlab_register_file_end(handle); break;
    case 14: hr = hdvlab_register_file_message(handle, (uint32_t)a, &message); break;
    case 15: hr = hdvlab_register_file_withdraw(handle, (uint32_t)a); break;
    case 17: hr = hdvlab_device_details(handle, &about); break;
    case 18: hr = hdvlab_device_peek(handle, peek, (uint32_t)b & 7, a, size, &number); break;
    case 19: hr = hdvlab_device_set_concurrent(handle, (BOOL)(a & 1)); break;
    case 20:
        hr = hdvlab_device_end(handle);
        if (hr == S_OK)
            forget(DEVICE);
        break;
    case 21: hr = hdvlab_device_set_line(handle, (BOOL)(a & 1)); break;
    case 22: hr = hdvlab_device_on_reset(handle, b & 1 ? reset : NULL); break;
    case 23: {
        int64_t row;
        hr = hdvlab_doorbell_row(handle, (uint32_t)b & 7, a, b, size & 7, &row);
        break;
    }
    case 24: {
        HDVLAB_REGISTER one = {.size = 4, .sizes = 15, .write_mask = 0xFF};
        HDVLAB_DEVICE_DESCRIPTION d = {.config = zeros, .config_write_mask = zeros, .config_write_one_to_clear = zeros,
                                       .probed_bars = {0xFFFFF000}, .bar_size = {4096}, .register_count = (uint32_t)a & 1,
                                       .registers = &one};
        HDVLAB_DEVICE_CALLBACKS call = {.initialize = NULL};
        hr = hdvlab_register_file_redescribe(handle, &d, &call, b & 1 ? &a : NULL);
        break;
    }
    case 25: {
        int file_is_live = is_live;
        void *other = FILE_OF;
        is_live &= file_is_live;
        hr = hdvlab_register_file_copy(handle, other);
        break;
    }
    case 26: hr = hdvlab_register_file_rehearse(handle, (BOOL)(a & 1), (uint32_t)b & 7, a, size, &number); break;
    case 27: {
        uint32_t data;
        hr = hdvlab_register_file_rehearse_interrupt(handle, (uint32_t)a, &number, &data);
        break;
    }
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
    if (memory < 0) {
        memory = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        REQUIRE(!ftruncate(memory, 4096) && !fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK));
        event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    input = (struct cursor){data, data + size};
    stale_count = 0;
    hdvlab_set_cause(-1);
    REQUIRE(hdvlab_cause() == -1);
    while (cursor_more(&input)) {
        make_all();
        uint8_t what = take8(&input);
        uint64_t before = hdvlab_live_handles();
        is_live = 1;
        switch (what % 5) {
        case 0: call_hdv(what / 5 % 18); break;
        case 1: call_trace(what / 5 % 16); break;
        case 2: what / 5 < 40 ? call_machine(what / 5 % 37) : call_gate(what / 5 - 40); break;
        case 3: call_compute(what / 5 % 22); break;
        default: call_device(what / 5 % 28); break;
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
    if (live[HOLD])
        REQUIRE(hdvlab_aperture_release(live[HOLD]) == S_OK);
    HcsCloseOperation(live[OPERATION]);
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
