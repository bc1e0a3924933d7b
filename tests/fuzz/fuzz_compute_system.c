/* HCS documents that are not only read: compute systems created, started, paused, changed and ended by documents good and
 * bad, with devices of theirs. The state that a system says it is in must follow from the results of the calls, results
 * are JSON, each completion and each exit is told once, devices come in HDV's order, and nothing is left. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "document.h"
#include "rig.h"

#define SYSTEMS 2
#define DEVICES 3
#define OPERATIONS 40

enum state { NONE, CREATED, RUNNING, PAUSED, STOPPED };

struct life {
    _Atomic int step, inside;
};
struct machine {
    HCS_SYSTEM handle;
    HDV_HOST host;
    int is_open;
    _Atomic int exits;
};

static struct machine machines[SYSTEMS];
static struct life lives[SYSTEMS * DEVICES * 8];
static uint32_t life_count;
static _Atomic int completions;
static const WCHAR ids[SYSTEMS][3] = {{'i', 'A', 0}, {'i', 'B', 0}};

/* ---- devices ---------------------------------------------------------------------------------------------------------- */

static HRESULT come(struct life *life, int from, int to) {
    REQUIRE(!atomic_exchange(&life->inside, 1));
    REQUIRE(from < 0 || atomic_load(&life->step) == from);
    if (to >= 0)
        atomic_store(&life->step, to);
    atomic_store(&life->inside, 0);
    return S_OK;
}
static HRESULT initialize(PVOID context) { return come(context, 0, 1); }
static HRESULT configured(PVOID context, UINT32 count, const LPCWSTR *values) {
    uint32_t units = 0;
    for (uint32_t i = 0; i < count; i++)
        for (LPCWSTR unit = values[i]; *unit; unit++)
            units++;
    come(context, 1, 1);
    return units == 5 ? E_FAIL : S_OK;
}
static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed) {
    REQUIRE(count == HDV_PCI_BAR_COUNT);
    fill_identity(id);
    probed[0] = 0xFFFFF000;
    return come(context, 1, 1);
}
static HRESULT start(PVOID context) { return come(context, 1, 2); }
static void stop(PVOID context) { come(context, 2, 3); }
static void teardown(PVOID context) {
    struct life *life = context;
    REQUIRE(atomic_load(&life->step) != 2 && atomic_load(&life->step) != 4);
    come(life, -1, 4);
}
static HRESULT config_read(PVOID context, UINT32 offset, UINT32 *value) { return *value = offset, come(context, 2, 2); }
static HRESULT config_write(PVOID context, UINT32 offset, UINT32 value) {
    return (void)offset, (void)value, come(context, 2, 2);
}
static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    return (void)bar, (void)offset, memset(value, 1, length), come(context, 2, 2);
}
static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    return (void)bar, (void)offset, (void)length, (void)value, come(context, 2, 2);
}
static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, initialize, teardown, configured, details, start, stop, config_read, config_write,
    mmio_read, mmio_write};

static const GUID emulator = {0xAAAAAAAA, 0xBBBB, 0xCCCC, {0xDD, 0xDD, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE}};

/* Those that the good documents name, and one that none does. */
static void make_devices(struct machine *m) {
    static const WCHAR keys[DEVICES][40] = {u"11111111-2222-3333-4444-555555555555", u"name", u"other"};
    REQUIRE(HdvInitializeDeviceHost(m->handle, &m->host) == S_OK);
    for (int i = 0; i < DEVICES && life_count < sizeof lives / sizeof *lives; i++) {
        GUID instance;
        HDV_DEVICE device;
        struct life *life = &lives[life_count++];
        *life = (struct life){.step = 0};
        REQUIRE(hdvlab_instance_id(keys[i], &instance) == S_OK);
        REQUIRE(HdvCreateDeviceInstance(m->host, HdvDeviceTypePCI, &emulator, &instance, &interface, life, &device) == S_OK);
    }
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

static void CALLBACK happened(HCS_EVENT *event, void *context) {
    struct machine *m = context;
    REQUIRE(!event->EventData || is_json(event->EventData));
    if (event->Type == HcsEventSystemExited)
        REQUIRE(!atomic_fetch_add(&m->exits, 1) && event->EventData);
    else
        REQUIRE(event->Type == HcsEventOperationCallback && event->Operation);
}

static void CALLBACK completed(HCS_OPERATION operation, void *context) {
    PWSTR document;
    REQUIRE(context == lives && HcsGetOperationResult(operation, &document) != HCS_E_OPERATION_PENDING);
    LocalFree(document);
    atomic_fetch_add(&completions, 1);
}

/* The result of a call that has been made with this operation; `hr` is what it returned. Closes it. */
static HRESULT result_of(HCS_OPERATION operation, HRESULT hr, PWSTR *kept) {
    PWSTR document = NULL;
    HRESULT result = HcsWaitForOperationResult(operation, INFINITE, &document);
    REQUIRE(FAILED(hr) ? result == hr || result == HCS_E_OPERATION_NOT_STARTED : result != HCS_E_OPERATION_PENDING);
    REQUIRE(!document || is_json(document));
    if (kept)
        *kept = document;
    else
        LocalFree(document);
    HcsCloseOperation(operation);
    return FAILED(hr) ? hr : result;
}

/* As the system itself says; and so all that was asked of it before is done. */
static enum state state_of(const struct machine *m) {
    static const char *const names[] = {"Created", "Running", "Paused", "Stopped"};
    static const char mark[] = "\"State\":\"";
    PWSTR document = NULL;
    if (!m->is_open)
        return NONE;
    HCS_OPERATION operation = HcsCreateOperation(NULL, NULL);
    HRESULT hr = HcsGetComputeSystemProperties(m->handle, operation, NULL);
    REQUIRE(result_of(operation, hr, &document) == S_OK && document);
    char ascii[1024];
    size_t n = 0;
    for (; document[n] && n + 1 < sizeof ascii; n++)
        ascii[n] = (char)document[n];
    ascii[n] = 0;
    LocalFree(document);
    const char *found = strstr(ascii, mark);
    REQUIRE(found);
    for (int i = 0; i < 4; i++)
        if (!strncmp(found + sizeof mark - 1, names[i], strlen(names[i])))
            return CREATED + i;
    REQUIRE(!"a state");
    return NONE;
}

static PCWSTR take_document(uint32_t good) {
    uint8_t how = take8(&input);
    if (how < 0xB0) {
        length = 0;
        put_good(how < 0x60 ? good : good == 0 ? 4 + (how & 2) : good == 1 ? 5 : how);
        text[length] = 0;
    } else { /* a part of the input of its own, so that its end ends the document only */
        struct cursor whole = input;
        size_t left = (size_t)(input.end - input.at), part = 1 + take8(&whole) % 48u;
        input.at = whole.at;
        input.end = input.at + (part < left - (left > 0) ? part : left - (left > 0));
        whole.at = input.end;
        take_text();
        input = whole;
    }
    return text;
}

static void create(struct machine *m) {
    if (m->is_open || life_count + DEVICES > sizeof lives / sizeof *lives)
        return;
    HCS_OPERATION operation = HcsCreateOperation(NULL, NULL);
    HCS_SYSTEM handle = NULL;
    HRESULT hr = HcsCreateComputeSystem(ids[m - machines], take_document(0), operation, NULL, &handle);
    REQUIRE(SUCCEEDED(hr) == (handle != NULL));
    REQUIRE(result_of(operation, hr, NULL) == hr);
    if (FAILED(hr))
        return;
    m->handle = handle;
    m->is_open = 1;
    atomic_store(&m->exits, 0);
    REQUIRE(state_of(m) == CREATED);
    if (take8(&input) < 0xE0)
        make_devices(m);
    if (take8(&input) & 1)
        REQUIRE(HcsSetComputeSystemCallback(handle, HcsEventOptionEnableOperationCallbacks, m, happened) == S_OK);
}

static void change(struct machine *m, uint32_t what) {
    static HRESULT(WINAPI *const calls[])(HCS_SYSTEM, HCS_OPERATION, PCWSTR) = {
        HcsStartComputeSystem, HcsPauseComputeSystem, HcsResumeComputeSystem, HcsShutDownComputeSystem, HcsTerminateComputeSystem};
    static const uint32_t needed[] = {1u << CREATED, 1u << RUNNING, 1u << PAUSED, 1u << RUNNING, 1u << CREATED | 1u << RUNNING | 1u << PAUSED};
    static const enum state then[] = {RUNNING, PAUSED, RUNNING, STOPPED, STOPPED};
    enum state before = state_of(m);
    PCWSTR options = take8(&input) < 0xE0 ? NULL : take_document(7);
    HCS_OPERATION operation = HcsCreateOperation(NULL, NULL);
    HRESULT hr = calls[what](m->handle, operation, options);
    if (before == NONE) {
        REQUIRE(hr == E_HANDLE);
        HcsCloseOperation(operation);
        return;
    }
    int issued = SUCCEEDED(hr);
    HRESULT result = result_of(operation, hr, NULL);
    enum state after = state_of(m);
    if (!issued)
        REQUIRE(options && after == before);
    else if (!(needed[what] & 1u << before))
        REQUIRE(after == before && result == (before == STOPPED ? HCS_E_SYSTEM_ALREADY_STOPPED : HCS_E_INVALID_STATE));
    else
        REQUIRE(SUCCEEDED(result) ? after == then[what] : !what && after == STOPPED);
}

/* Several at once, tracked or not; in the order of the calls, so that what they lead to is told by the last state. */
static void rush(struct machine *m) {
    HCS_OPERATION operations[4] = {NULL};
    int told = 0, before = atomic_load(&completions), closed = 0;
    uint32_t count = 1 + take_below(&input, 4);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t what = take8(&input);
        operations[i] = what & 64 ? HcsCreateOperation(lives, completed) : NULL;
        HRESULT hr = what % 5 == 0   ? HcsStartComputeSystem(m->handle, operations[i], NULL)
                     : what % 5 == 1 ? HcsPauseComputeSystem(m->handle, operations[i], NULL)
                     : what % 5 == 2 ? HcsResumeComputeSystem(m->handle, operations[i], NULL)
                     : what % 5 == 3 ? HcsModifyComputeSystem(m->handle, operations[i], take_document(1), NULL)
                                     : HcsTerminateComputeSystem(m->handle, operations[i], NULL);
        told += operations[i] && SUCCEEDED(hr);
        if (what & 128 && operations[i])
            (void)HcsCancelOperation(operations[i]);
        if (what & 32 && operations[i]) {
            HcsCloseOperation(operations[i]);
            operations[i] = NULL;
            closed = 1;
        }
    }
    (void)state_of(m);
    for (uint32_t i = 0; i < count; i++)
        if (operations[i])
            (void)result_of(operations[i], HcsGetOperationResult(operations[i], NULL) == HCS_E_OPERATION_NOT_STARTED ? HCS_E_OPERATION_NOT_STARTED : S_OK, NULL);
    (void)told, (void)closed;
    REQUIRE(atomic_load(&completions) - before <= told);
}

static void modify(struct machine *m) {
    enum state before = state_of(m);
    HCS_OPERATION operation = HcsCreateOperation(NULL, NULL);
    PCWSTR document = take_document(1);
    HRESULT hr = HcsModifyComputeSystem(m->handle, operation, document, NULL);
    HRESULT result = result_of(operation, hr, NULL);
    REQUIRE(before == RUNNING || FAILED(result));
    REQUIRE(is_json(document) || before == NONE || hr == HCS_E_INVALID_JSON);
    REQUIRE(state_of(m) == before);
}

static void ask(struct machine *m, int about_all) {
    HCS_OPERATION operation = HcsCreateOperation(NULL, NULL);
    PCWSTR query = take8(&input) & 1 ? NULL : take_document(about_all ? 3 : 2);
    HRESULT hr = about_all ? HcsEnumerateComputeSystems(query, operation) : HcsGetComputeSystemProperties(m->handle, operation, query);
    PWSTR document = NULL;
    HRESULT result = result_of(operation, hr, &document);
    REQUIRE(FAILED(result) || document);
    LocalFree(document);
}

static void reopen(struct machine *m) {
    enum state before = state_of(m);
    HCS_SYSTEM second = NULL;
    HRESULT hr = HcsOpenComputeSystem(ids[m - machines], 0, &second);
    if (before == NONE) /* it may live on without a handle */
        REQUIRE(hr == HCS_E_SYSTEM_NOT_FOUND || second);
    else
        REQUIRE(hr == (before == STOPPED ? HCS_E_SYSTEM_NOT_FOUND : S_OK) && (hr == S_OK) == (second != NULL));
    if (take8(&input) & 1 && second && m->is_open) { /* the other handle goes on */
        HcsCloseComputeSystem(m->handle);
        m->handle = second;
    } else {
        HcsCloseComputeSystem(second);
    }
}

static void touch(struct machine *m) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_GUEST, .wait_ms = 1};
    enum state state = state_of(m);
    uint32_t word = 0, slot = take_below(&input, 3);
    if (state == NONE)
        return;
    HRESULT hr = hdvlab_guest_config_read(m->handle, &access, slot, 0, 4, &word);
    REQUIRE(state == RUNNING || FAILED(hr));
    REQUIRE(SUCCEEDED(hr) || word == UINT32_MAX);
    hr = hdvlab_system_stop(m->handle);
    REQUIRE(hr == E_ACCESSDENIED);
}

static void end(struct machine *m, int terminate) {
    if (!m->is_open)
        return;
    if (terminate) {
        HCS_OPERATION operation = HcsCreateOperation(NULL, NULL);
        HRESULT hr = HcsTerminateComputeSystem(m->handle, operation, NULL);
        hr = result_of(operation, hr, NULL);
        REQUIRE(hr == S_OK || hr == HCS_E_SYSTEM_ALREADY_STOPPED);
        REQUIRE(state_of(m) == STOPPED);
    }
    if (m->host)
        REQUIRE(HdvTeardownDeviceHost(m->host) == S_OK || !terminate);
    HcsCloseComputeSystem(m->handle);
    REQUIRE(atomic_load(&m->exits) <= 1);
    m->handle = m->host = NULL;
    m->is_open = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input = (struct cursor){data, data + size};
    uint64_t handles = hdvlab_live_handles();
    memset(machines, 0, sizeof machines);
    life_count = 0;
    for (int i = 0; i < OPERATIONS && cursor_more(&input); i++) {
        uint8_t what = take8(&input);
        struct machine *m = &machines[what >> 7];
        if (!m->is_open)
            create(m);
        switch (what % 12) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4: change(m, what % 12); break;
        case 5: change(m, 0); break;
        case 6: modify(m); break;
        case 7: ask(m, what & 64); break;
        case 8: reopen(m); break;
        case 9:
            if (m->is_open)
                rush(m);
            break;
        case 10: touch(m); break;
        default: end(m, 1);
        }
    }
    for (int i = 0; i < SYSTEMS; i++)
        end(&machines[i], 1);
    for (uint32_t i = 0; i < life_count; i++)
        REQUIRE(atomic_load(&lives[i].step) == 4);
    for (int i = 0; hdvlab_live_handles() != handles; i++) {
        REQUIRE(i < 3000); /* a system's thread is on its way out */
        usleep(1000);
    }
    return 0;
}
