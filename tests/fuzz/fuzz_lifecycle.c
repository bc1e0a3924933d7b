/* Machines, hosts, devices and slots made, started, stopped and ended in any order, by callbacks too and with a guest on
 * another thread; each device's callbacks must come in HDV's order, each at most once, one at a time but for the accesses
 * of a concurrent one, and nothing may be left. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "recording.h"
#include "rig.h"

#define SYSTEMS 2
#define HOSTS 3
#define LIVES 24
#define NAMES 5
#define SLOTS 4

enum { MADE, INITIALIZED, CONFIGURED, DETAILED, STARTED, STOPPED, TORN_DOWN };

struct life {
    HDV_DEVICE handle;
    _Atomic int step; /* the last callback that came */
    uint32_t name;
    int host, failed, concurrent;
    _Atomic int inside; /* ALONE and each access */
    HRESULT results[4];
    uint8_t nested;
};

#define ALONE 1000

static struct cursor input;
static HCS_SYSTEM systems[SYSTEMS];
static HDV_HOST hosts[HOSTS];
static int host_system[HOSTS], host_live[HOSTS], system_live[SYSTEMS], event;
static struct life lives[LIVES];
static int life_count;
static _Atomic uint64_t callbacks[TORN_DOWN + 1];
static __thread int is_helper; /* a thread that must not touch the input */
static __thread int depth;

static void operate(int from_callback);

/* A callback of a device begins: none other of it is under way, but that accesses may share it. */
static void come(struct life *life, int now) {
    int before = atomic_fetch_add(&life->inside, now == MADE ? 1 : ALONE);
    REQUIRE(!before || (now == MADE && life->concurrent && before < ALONE));
    if (now == MADE)
        return;
    atomic_store(&life->step, now);
    atomic_fetch_add(&callbacks[now], 1);
}
static void go(struct life *life, int now) {
    if (life->nested && !is_helper && depth < 2)
        operate(1);
    atomic_fetch_sub(&life->inside, now == MADE ? 1 : ALONE);
}

static HRESULT step(struct life *life, int before, int now) {
    REQUIRE(atomic_load(&life->step) == before && !life->failed);
    come(life, now);
    HRESULT hr = life->results[now - INITIALIZED > 3 ? 3 : now - INITIALIZED];
    life->failed = FAILED(as_answered(hr));
    go(life, now);
    return hr;
}

static HRESULT initialize(PVOID context) { return step(context, MADE, INITIALIZED); }
static HRESULT configured(PVOID context, UINT32 count, const LPCWSTR *values) {
    REQUIRE(values && count <= 2);
    for (UINT32 i = 0; i < count; i++)
        REQUIRE(values[i] && values[i][0] == 'k' && !values[i][1]);
    return step(context, INITIALIZED, CONFIGURED);
}
static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed) {
    fill_identity(id);
    REQUIRE(count == 6);
    probed[0] = 0xFFFFF000;
    return step(context, CONFIGURED, DETAILED);
}
static HRESULT start(PVOID context) { return step(context, DETAILED, STARTED); }
static void stop(PVOID context) {
    struct life *life = context;
    REQUIRE(atomic_load(&life->step) == STARTED && !life->failed);
    come(life, STOPPED);
    go(life, STOPPED);
}
static void teardown(PVOID context) {
    struct life *life = context;
    int before = atomic_load(&life->step);
    REQUIRE(before != TORN_DOWN && (before != STARTED || life->failed)); /* a device that ran was stopped */
    come(life, TORN_DOWN);
    go(life, TORN_DOWN);
}
static void served(struct life *life) {
    come(life, MADE);
    REQUIRE(atomic_load(&life->step) == STARTED && !life->failed);
    go(life, MADE);
}
static HRESULT config_read(PVOID context, UINT32 offset, UINT32 *value) {
    served(context);
    *value = offset;
    return S_OK;
}
static HRESULT config_write(PVOID context, UINT32 offset, UINT32 value) {
    (void)offset, (void)value;
    served(context);
    return S_OK;
}
static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    (void)bar, (void)offset;
    served(context);
    memset(value, 1, length);
    return S_OK;
}
static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    (void)bar, (void)offset, (void)length, (void)value;
    served(context);
    return S_OK;
}
static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, initialize, teardown, configured, details, start, stop, config_read, config_write,
    mmio_read, mmio_write};

static struct life *take_life(void) { return &lives[take_below(&input, LIVES) % (life_count ? life_count : 1)]; }

static void make_device(int host) {
    struct life *life = &lives[life_count];
    if (life_count == LIVES)
        return;
    *life = (struct life){.host = host, .name = take_below(&input, NAMES), .nested = take8(&input) >= 0xC0};
    for (int i = 0; i < 4; i++)
        life->results[i] = take_result(&input);
    HRESULT want = host_live[host] ? S_OK : E_HANDLE;
    for (int i = 0; i < life_count && want == S_OK; i++) /* a name is one machine's, and free when its bearer is gone */
        if (lives[i].name == life->name && host_system[lives[i].host] == host_system[host] &&
            atomic_load(&lives[i].step) != TORN_DOWN)
            want = EXISTS;
    GUID name = guid_of(life->name);
    HRESULT hr = HdvCreateDeviceInstance(hosts[host], HdvDeviceTypePCI, &class_guid, &name, &interface, life, &life->handle);
    REQUIRE(hr == want);
    if (hr != S_OK)
        return;
    life_count++;
    life->concurrent = life->name & 1;
    REQUIRE(!life->concurrent || hdvlab_device_set_concurrent(life->handle, TRUE) == S_OK);
}

struct guest_work {
    HCS_SYSTEM system;
    HDV_DEVICE device;
};

static HRESULT CALLBACK peek(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT32 size, UINT64 *value) {
    struct life *life = context;
    (void)bar, (void)offset, (void)size;
    REQUIRE(!atomic_fetch_add(&life->inside, ALONE) && atomic_load(&life->step) == STARTED);
    *value = 0;
    atomic_fetch_sub(&life->inside, ALONE);
    return S_OK;
}

/* What a vCPU, a device's thread and a person do meanwhile. */
static void *guest(void *argument) {
    const struct guest_work *work = argument;
    HDVLAB_ACCESS access = {.origin = HDVLAB_GUEST};
    uint64_t value;
    uint32_t word;
    uint8_t bytes[16];
    is_helper = 1;
    for (uint32_t i = 0; i < 24; i++) {
        HRESULT hr = hdvlab_guest_config_read(work->system, &access, i % SLOTS, i * 4 % 64, 4, &word);
        REQUIRE(SUCCEEDED(hr) || word == UINT32_MAX);
        (void)hdvlab_guest_config_write(work->system, &access, i % SLOTS, i & 1 ? 4 : 0x10, 4, i & 1 ? 6 : 0xE0000000);
        hr = hdvlab_guest_read(work->system, &access, 0xE0000000 + i * 8, 4, &value);
        REQUIRE(SUCCEEDED(hr) || value == UINT32_MAX);
        (void)HdvWriteGuestMemory(work->device, 4096, sizeof bytes, bytes);
        (void)HdvRegisterDoorbell(work->device, HDV_PCI_BAR0, i * 8, 0, 0x80000000u, (HANDLE)(intptr_t)event);
        (void)hdvlab_device_peek(work->device, peek, 0, i * 4, 4, &value);
        if (hdvlab_device_enter(work->device, 1, -1) == S_OK)
            REQUIRE(hdvlab_device_leave(work->device) == S_OK);
    }
    return NULL;
}

static void with_guest(void (*what)(int), int argument, HCS_SYSTEM system) {
    struct guest_work work = {system, take_life()->handle};
    pthread_t thread;
    REQUIRE(!pthread_create(&thread, NULL, guest, &work));
    what(argument);
    REQUIRE(!pthread_join(thread, NULL));
}

static void start_system(int s) { (void)hdvlab_system_start(systems[s]); }
static void stop_system(int s) { (void)hdvlab_system_stop(systems[s]); }
static void close_system(int s) { system_live[s] &= hdvlab_system_close(systems[s]) != S_OK; }
static void remove_slot(int s) { (void)hdvlab_system_remove_slot(systems[s], take_below(&input, SLOTS + 1)); }
static void end_device(int l) {
    struct life *life = &lives[l];
    HRESULT hr = hdvlab_device_end(life->handle);
    REQUIRE(hr == S_OK || hr == E_HANDLE || hr == INVALID_STATE);
    REQUIRE(hr != S_OK || atomic_load(&life->step) == TORN_DOWN);
    REQUIRE(hr != E_HANDLE || !life->handle || atomic_load(&life->step) == TORN_DOWN);
}
static void add_slot(int s) {
    static const WCHAR text[] = {'k', 0};
    LPCWSTR configuration[2] = {text, text};
    GUID name = guid_of(take_below(&input, NAMES));
    uint32_t slot = take_below(&input, SLOTS + 1);
    (void)hdvlab_system_add_slot(systems[s], slot, &class_guid, &name, take_below(&input, 3), configuration);
}
static void tear_down(int host) {
    if (HdvTeardownDeviceHost(hosts[host]) != S_OK)
        return;
    host_live[host] = 0;
    for (int i = 0; i < life_count; i++)
        if (lives[i].host == host)
            REQUIRE(atomic_load(&lives[i].step) == TORN_DOWN);
}

/* The six that change a machine's life are refused inside a callback. */
static void refused_inside(int s, int host) {
    HRESULT hr = hdvlab_system_start(systems[s]);
    REQUIRE(hr == INVALID_STATE || hr == E_HANDLE);
    hr = hdvlab_system_stop(systems[s]);
    REQUIRE(hr == INVALID_STATE || hr == E_HANDLE);
    hr = hdvlab_system_close(systems[s]);
    REQUIRE(hr == INVALID_STATE || hr == E_HANDLE);
    hr = hdvlab_system_remove_slot(systems[s], 0);
    REQUIRE(hr == INVALID_STATE || hr == E_HANDLE);
    hr = HdvTeardownDeviceHost(hosts[host]);
    REQUIRE(hr == INVALID_STATE || hr == E_HANDLE);
    hr = hdvlab_device_end(take_life()->handle);
    REQUIRE(hr == INVALID_STATE || hr == E_HANDLE);
}

static void access_device(int s) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_GUEST, .wait_ms = 1};
    struct life *life = take_life();
    uint64_t value = 0;
    uint32_t word = 0;
    int runs = life_count && atomic_load(&life->step) == STARTED && !life->failed;
    HRESULT hr = hdvlab_device_access(life->handle, &access, take8(&input) & 1, 0, 8, 4, &value);
    REQUIRE(runs || FAILED(hr));
    (void)hdvlab_guest_config_read(systems[s], &access, take_below(&input, SLOTS), 0x40, 2, &word);
    void *mapped;
    if (HdvCreateGuestMemoryAperture(life->handle, 0, 8192, 0, &mapped) == S_OK && take8(&input) & 1)
        REQUIRE(HdvDestroyGuestMemoryAperture(life->handle, mapped) == S_OK);
    (void)HdvRegisterDoorbell(life->handle, HDV_PCI_BAR0, take8(&input) * 8u, 0, 0, (HANDLE)(intptr_t)event);
}

static void operate(int from_callback) {
    depth++;
    uint8_t what = take8(&input);
    int s = what >> 4 & 1, host = (what >> 5) % HOSTS;
    if (from_callback && what & 8) {
        refused_inside(s, host);
        depth--;
        return;
    }
    if (from_callback) {
        access_device(s);
        depth--;
        return;
    }
    switch (what & 15) {
    case 0:
    case 1: make_device(host); break;
    case 2:
    case 3: add_slot(s); break;
    case 4: start_system(s); break;
    case 5: with_guest(start_system, s, systems[s]); break;
    case 6: stop_system(s); break;
    case 7: with_guest(stop_system, s, systems[s]); break;
    case 8: remove_slot(s); break;
    case 9: with_guest(remove_slot, s, systems[s]); break;
    case 10: with_guest(add_slot, s, systems[s]); break;
    case 11: tear_down(host); break;
    case 12: with_guest(tear_down, host, systems[s]); break;
    case 13:
        if (what & 128)
            close_system(s);
        else
            with_guest(close_system, s, systems[s]);
        break;
    case 14: {
        int l = (int)(take_life() - lives);
        if (what & 128)
            end_device(l);
        else
            with_guest(end_device, l, systems[s]);
        break;
    }
    default: access_device(s);
    }
    depth--;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t kinds[][2] = {{HDVLAB_INITIALIZE, INITIALIZED}, {HDVLAB_SET_CONFIGURATION, CONFIGURED},
                                        {HDVLAB_GET_DETAILS, DETAILED},   {HDVLAB_START, STARTED},
                                        {HDVLAB_STOP, STOPPED},           {HDVLAB_TEARDOWN, TORN_DOWN}};
    if (event <= 0)
        event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    input = (struct cursor){data, data + size};
    HDVLAB_TRACE trace = recording_begin();
    uint64_t handles = hdvlab_live_handles(), rows = recording_rows();
    life_count = 0;
    memset(lives, 0, sizeof lives);
    memset((void *)callbacks, 0, sizeof callbacks);
    for (int s = 0; s < SYSTEMS; s++) {
        REQUIRE(hdvlab_embedded_create(1 << 20, 0, trace, &systems[s]) == S_OK);
        system_live[s] = 1;
    }
    for (int h = 0; h < HOSTS; h++) {
        host_system[h] = h == HOSTS - 1;
        host_live[h] = 1;
        REQUIRE(HdvInitializeDeviceHost(systems[host_system[h]], &hosts[h]) == S_OK);
    }
    for (int operations = 0; cursor_more(&input) && operations < 64; operations++)
        operate(0);
    input.at = input.end;
    for (int s = 0; s < SYSTEMS; s++)
        REQUIRE(hdvlab_system_close(systems[s]) == (system_live[s] ? S_OK : E_HANDLE));
    for (int h = 0; h < HOSTS; h++)
        REQUIRE(HdvTeardownDeviceHost(hosts[h]) == (host_live[h] ? S_OK : E_HANDLE));
    for (int i = 0; i < life_count; i++)
        REQUIRE(atomic_load(&lives[i].step) == TORN_DOWN && !atomic_load(&lives[i].inside));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        REQUIRE(recording_count(rows, KIND(kinds[i][0])) == atomic_load(&callbacks[kinds[i][1]]));
    REQUIRE(hdvlab_live_handles() == handles);
    return 0;
}
