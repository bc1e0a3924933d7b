/* Compute systems from C: a cold-plugged and a hot-plugged device, what fails, and what a program is told. */
#include "machine.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <ComputeCore.h>

#define CLASS_TEXT "11111111-2222-3333-4444-555555555555"
#define INSTANCE_TEXT "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
#define OTHER_TEXT "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeef"
#define SLOT "{\"EmulatorId\":\"" CLASS_TEXT "\",\"HostingModel\":\"External\",\"Configuration\":[\"key=1\"]}"
#define DOCUMENT(slots)                                                                                                \
    "{\"Owner\":\"test\",\"SchemaVersion\":{\"Major\":2,\"Minor\":1},\"VirtualMachine\":{\"ComputeTopology\":"         \
    "{\"Memory\":{\"SizeInMB\":1},\"Processor\":{\"Count\":1}},\"Devices\":{\"FlexibleIov\":{" slots "}}}}"

/* ASCII text as UTF-16, in one of a few places in turn. */
static PCWSTR wide(const char *text) {
    static WCHAR places[4][1024];
    static int next;
    WCHAR *place = places[next++ % 4];
    size_t i = 0;
    for (; text[i] && i < 1023; i++)
        place[i] = (WCHAR)text[i];
    place[i] = 0;
    return place;
}

static int contains(PCWSTR text, const char *part) {
    for (; text && *text; text++) {
        size_t i = 0;
        while (part[i] && text[i] == (WCHAR)part[i])
            i++;
        if (!part[i])
            return 1;
    }
    return 0;
}

/* The result of a tracked call; its document is in `last` until the next one. */
static PWSTR last;
static HRESULT result(HRESULT call, HCS_OPERATION operation) {
    PWSTR document = NULL;
    LocalFree(last);
    HRESULT hr = FAILED(call) ? call : HcsWaitForOperationResult(operation, INFINITE, &document);
    if (FAILED(call))
        HcsGetOperationResult(operation, &document);
    last = document;
    HcsCloseOperation(operation);
    return hr;
}

/* HcsStartComputeSystem and the like, waited for. */
typedef HRESULT(WINAPI *simple_call)(HCS_SYSTEM system, HCS_OPERATION operation, PCWSTR options);
static HRESULT done(simple_call call, HCS_SYSTEM system) {
    HCS_OPERATION operation = HcsCreateOperation(NULL, NULL);
    return result(call(system, operation, NULL), operation);
}

static HRESULT create(const char *id, const char *document, HCS_SYSTEM *system) {
    HCS_OPERATION operation = HcsCreateOperation(NULL, NULL);
    return result(HcsCreateComputeSystem(wide(id), wide(document), operation, NULL, system), operation);
}

static HRESULT add(HCS_SYSTEM system, const char *request) {
    HCS_OPERATION operation = HcsCreateOperation(NULL, NULL);
    return result(HcsModifyComputeSystem(system, operation, wide(request), NULL), operation);
}

/* The thread of a call gives its references back a moment after the result is there. */
static uint64_t handles_before;
static void begin(void) { handles_before = hdvlab_live_handles(); }
static void end(void) {
    LocalFree(last);
    last = NULL;
    for (int i = 0; i < 10000000 && hdvlab_live_handles() != handles_before; i++)
        sched_yield();
}

TEST(a_compute_system_lives_with_a_device_plugged_cold_and_one_plugged_hot) {
    struct noting_device cold, hot;
    HCS_SYSTEM system = NULL;
    HDV_HOST host = NULL;
    UINT64 bars[6];
    UINT32 slot = 99;
    uint64_t value = 0;
    begin();
    device_default(&cold);
    device_default(&hot);
    GIVES(create("life", DOCUMENT("\"" INSTANCE_TEXT "\":" SLOT), &system), S_OK);
    NEED(system);
    GIVES(HdvInitializeDeviceHost(system, &host), S_OK);
    GIVES(device_create(&cold, host, &test_instance), S_OK);
    GIVES(device_create(&hot, host, &other_instance), S_OK);
    EQUAL(cold.call_count, 0);
    GIVES(done(HcsStartComputeSystem, system), S_OK);
    CHECK(!strcmp(cold.calls, "ICGS"));
    EQUAL(cold.value_count, 1);
    EQUAL(hot.call_count, 0);
    GIVES(add(system, "{\"ResourcePath\":\"VirtualMachine/Devices/FlexibleIov/" OTHER_TEXT "\",\"RequestType\":\"Add\","
                      "\"Settings\":" SLOT "}"),
          S_OK);
    CHECK(!strcmp(hot.calls, "ICGS"));
    GIVES(hdvlab_system_slot(system, &other_instance, &slot), S_OK);
    EQUAL(slot, 1);
    GIVES(hdvlab_guest_place_bars(system, 0, bars), S_OK);
    GIVES(hdvlab_guest_write(system, &guest, bars[0] + 8, 4, 0x12345678), S_OK);
    GIVES(hdvlab_guest_read(system, &guest, bars[0] + 8, 4, &value), S_OK);
    EQUAL(value, 0x12345678);
    GIVES(hdvlab_guest_place_bars(system, slot, bars), S_OK);
    GIVES(hdvlab_guest_write(system, &guest, bars[2], 1, 0x5A), S_OK);
    EQUAL(hot.memory[0], 0x5A);
    EQUAL(hot.bar, HDV_PCI_BAR2);
    GIVES(done(HcsPauseComputeSystem, system), S_OK);
    GIVES(done(HcsResumeComputeSystem, system), S_OK);
    GIVES(done(HcsShutDownComputeSystem, system), S_OK);
    EQUAL(times(&cold, 's'), 1);
    EQUAL(times(&cold, 'T'), 1);
    EQUAL(times(&hot, 'T'), 1);
    GIVES(HdvTeardownDeviceHost(host), S_OK);
    HcsCloseComputeSystem(system);
    EQUAL(times(&cold, 'T'), 1);
    end();
}

TEST(a_wrong_document_is_refused_with_the_path_of_the_field) {
    HCS_SYSTEM system = (HCS_SYSTEM)1;
    begin();
    GIVES(create("wrong", DOCUMENT("\"dev\":{\"EmulatorId\":7}"), &system), HCS_E_INVALID_JSON);
    CHECK(!system);
    CHECK(contains(last, "VirtualMachine.Devices.FlexibleIov.dev.EmulatorId: expected a string, found 7"));
    GIVES(create("wrong", "{\"Owner\":", &system), HCS_E_INVALID_JSON);
    CHECK(contains(last, "line 1, column 10"));
    end();
}

TEST(a_slot_without_a_device_fails_the_start_of_a_compute_system) {
    HCS_SYSTEM system = NULL;
    begin();
    GIVES(create("nobody", DOCUMENT("\"dev\":" SLOT), &system), S_OK);
    GIVES(done(HcsStartComputeSystem, system), E_UNEXPECTED);
    CHECK(contains(last, "VirtualMachine.Devices.FlexibleIov.dev: no device host"));
    GIVES(done(HcsStartComputeSystem, system), HCS_E_SYSTEM_ALREADY_STOPPED);
    HcsCloseComputeSystem(system);
    end();
}

TEST(a_device_that_fails_to_start_fails_the_compute_system_with_its_hresult) {
    struct noting_device device;
    HCS_SYSTEM system = NULL;
    HDV_HOST host = NULL;
    begin();
    device_default(&device);
    device.start = (HRESULT)0x80041234;
    GIVES(create("failing", DOCUMENT("\"" INSTANCE_TEXT "\":" SLOT), &system), S_OK);
    GIVES(HdvInitializeDeviceHost(system, &host), S_OK);
    GIVES(device_create(&device, host, &test_instance), S_OK);
    GIVES(done(HcsStartComputeSystem, system), 0x80041234);
    CHECK(!strcmp(device.calls, "ICGST"));
    GIVES(HdvTeardownDeviceHost(host), S_OK);
    HcsCloseComputeSystem(system);
    end();
}

TEST(a_removal_is_not_supported) {
    HCS_SYSTEM system = NULL;
    begin();
    GIVES(create("removal", DOCUMENT(""), &system), S_OK);
    GIVES(done(HcsStartComputeSystem, system), S_OK);
    GIVES(add(system, "{\"ResourcePath\":\"VirtualMachine/Devices/FlexibleIov/x\",\"RequestType\":\"Remove\"}"),
          HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED));
    GIVES(done(HcsTerminateComputeSystem, system), S_OK);
    HcsCloseComputeSystem(system);
    end();
}

struct told {
    HANDLE completed, exited;
    HCS_OPERATION operation;
    char exit_type[16];
};

static void CALLBACK on_completion(HCS_OPERATION operation, void *context) {
    struct told *told = context;
    told->operation = operation;
    event_signal(told->completed);
}

static void CALLBACK on_event(HCS_EVENT *event, void *context) {
    struct told *told = context;
    if (event->Type == HcsEventSystemExited && contains(event->EventData, "\"ExitType\":\"ForcedExit\""))
        strcpy(told->exit_type, "ForcedExit");
    event_signal(told->exited);
}

TEST(a_program_is_told_of_completion_and_of_exit) {
    struct told told = {event_make(), event_make(), NULL, ""};
    HCS_SYSTEM system = NULL;
    begin();
    GIVES(create("told", DOCUMENT(""), &system), S_OK);
    GIVES(HcsSetComputeSystemCallback(system, HcsEventOptionNone, &told, on_event), S_OK);
    HCS_OPERATION operation = HcsCreateOperation(&told, on_completion);
    CHECK(HcsGetOperationContext(operation) == &told);
    GIVES(HcsStartComputeSystem(system, operation, NULL), S_OK);
    CHECK(event_wait(told.completed));
    CHECK(told.operation == operation);
    GIVES(HcsGetOperationResult(operation, NULL), S_OK);
    EQUAL(HcsGetOperationType(operation), HcsOperationTypeStart);
    CHECK(HcsGetComputeSystemFromOperation(operation) == system);
    HcsCloseOperation(operation);
    GIVES(HcsTerminateComputeSystem(system, NULL, NULL), S_OK);
    CHECK(event_wait(told.exited));
    CHECK(!strcmp(told.exit_type, "ForcedExit"));
    HcsCloseComputeSystem(system);
    object_close(told.completed);
    object_close(told.exited);
    end();
}

TEST(a_second_handle_opens_the_same_compute_system) {
    HCS_SYSTEM system = NULL, second = NULL, third = NULL;
    begin();
    GIVES(create("opened", DOCUMENT(""), &system), S_OK);
    GIVES(create("opened", DOCUMENT(""), &third), HCS_E_SYSTEM_ALREADY_EXISTS);
    GIVES(HcsOpenComputeSystem(wide("opened"), GENERIC_ALL, &second), S_OK);
    CHECK(second && second != system);
    HcsCloseComputeSystem(system);
    GIVES(HcsStartComputeSystem(system, NULL, NULL), E_HANDLE);
    GIVES(done(HcsTerminateComputeSystem, second), S_OK);
    GIVES(HcsOpenComputeSystem(wide("opened"), GENERIC_ALL, &third), HCS_E_SYSTEM_NOT_FOUND);
    HcsCloseComputeSystem(second);
    end();
}

static void *read_once(void *context) {
    struct machine *machine = context;
    uint64_t value = 0;
    hdvlab_guest_read(machine->system, &guest, PLACE, 4, &value);
    machine->device.config[63] = (UINT32)value;
    return NULL;
}

TEST(a_paused_guest_waits_and_a_terminated_one_reads_all_ones) {
    struct machine machine = {0};
    UINT64 bars[6];
    pthread_t reader;
    begin();
    device_default(&machine.device);
    GIVES(create("paused", DOCUMENT("\"" INSTANCE_TEXT "\":" SLOT), &machine.system), S_OK);
    GIVES(HdvInitializeDeviceHost(machine.system, &machine.host), S_OK);
    GIVES(device_create(&machine.device, machine.host, &test_instance), S_OK);
    GIVES(done(HcsStartComputeSystem, machine.system), S_OK);
    GIVES(hdvlab_guest_place_bars(machine.system, 0, bars), S_OK);
    EQUAL(bars[0], PLACE);
    GIVES(done(HcsPauseComputeSystem, machine.system), S_OK);
    HDVLAB_ACCESS impatient = {0, HDVLAB_GUEST, 1};
    uint64_t value;
    GIVES(hdvlab_guest_read(machine.system, &impatient, PLACE, 4, &value), HRESULT_FROM_WIN32(ERROR_BUSY));
    NEED(!pthread_create(&reader, NULL, read_once, &machine));
    GIVES(done(HcsTerminateComputeSystem, machine.system), S_OK);
    pthread_join(reader, NULL);
    EQUAL(machine.device.config[63], 0xFFFFFFFF);
    EQUAL(times(&machine.device, 'r'), 0);
    GIVES(HdvTeardownDeviceHost(machine.host), S_OK);
    HcsCloseComputeSystem(machine.system);
    end();
}
