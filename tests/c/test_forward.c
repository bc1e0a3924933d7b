/* hdvlab_forward_create: the library forwards to itself, as to another that has the same functions. */
#include "machine.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

static const HDVLAB_HDV_FUNCTIONS own = {
    .size = sizeof own,
    .HdvInitializeDeviceHost = HdvInitializeDeviceHost,
    .HdvTeardownDeviceHost = HdvTeardownDeviceHost,
    .HdvCreateDeviceInstance = HdvCreateDeviceInstance,
    .HdvReadGuestMemory = HdvReadGuestMemory,
    .HdvWriteGuestMemory = HdvWriteGuestMemory,
    .HdvCreateGuestMemoryAperture = HdvCreateGuestMemoryAperture,
    .HdvDestroyGuestMemoryAperture = HdvDestroyGuestMemoryAperture,
    .HdvDeliverGuestInterrupt = HdvDeliverGuestInterrupt,
    .HdvInitializeDeviceHostEx = HdvInitializeDeviceHostEx,
    .HdvRegisterDoorbell = HdvRegisterDoorbell,
    .HdvUnregisterDoorbell = HdvUnregisterDoorbell,
    .HdvCreateSectionBackedMmioRange = HdvCreateSectionBackedMmioRange,
    .HdvDestroySectionBackedMmioRange = HdvDestroySectionBackedMmioRange,
};

/* A machine whose device is an instance of a forwarded host; its rows are the only ones. */
struct forwarded {
    struct machine machine;
    HCS_SYSTEM system;
    HDVLAB_TRACE trace;
};

static void forwarded_open(struct forwarded *f, const HDVLAB_HDV_FUNCTIONS *functions) {
    memset(f, 0, sizeof *f);
    device_default(&f->machine.device);
    GIVES(hdvlab_trace_create(scratch_path(), 1 << 16, 64, HDVLAB_CLOCK_MONOTONIC, &f->trace), S_OK);
    GIVES(hdvlab_embedded_create(RAM_BYTES, FALSE, NULL, &f->machine.system), S_OK);
    GIVES(hdvlab_forward_create(functions, f->machine.system, f->trace, &f->system), S_OK);
    GIVES(HdvInitializeDeviceHost(f->system, &f->machine.host), S_OK);
    GIVES(device_create(&f->machine.device, f->machine.host, &test_instance), S_OK);
    GIVES(hdvlab_system_add_slot(f->machine.system, 0, &test_class, &test_instance, 0, NULL), S_OK);
}

static void forwarded_close(struct forwarded *f) {
    machine_close(&f->machine);
    GIVES(hdvlab_system_close(f->system), S_OK);
    GIVES(hdvlab_trace_close(f->trace), S_OK);
}

/* How many rows of the kind there are with that HRESULT. */
static uint64_t rows(struct forwarded *f, uint8_t kind, HRESULT status) {
    uint64_t count = 0, found = 0;
    void *kinds, *statuses;
    GIVES(hdvlab_trace_committed(f->trace, 0, &count), S_OK);
    GIVES(hdvlab_trace_pin(f->trace, 2, &kinds), S_OK);
    GIVES(hdvlab_trace_pin(f->trace, 9, &statuses), S_OK);
    for (uint64_t i = 0; i < count; i++)
        found += ((const uint8_t *)kinds)[i] == kind && ((const int32_t *)statuses)[i] == status;
    hdvlab_trace_unpin(f->trace);
    hdvlab_trace_unpin(f->trace);
    return found;
}

TEST(a_forwarded_device_lives_a_whole_life_and_leaves_its_rows) {
    struct forwarded f;
    forwarded_open(&f, &own);
    GIVES(machine_start(&f.machine), S_OK);
    CHECK(!strncmp(f.machine.device.calls, "ICGS", 4));
    GIVES(guest_write(&f.machine, PLACE + 8, 4, 0xCAFE), S_OK);
    EQUAL(guest_read(&f.machine, PLACE + 8, 4), 0xCAFE);
    EQUAL(guest_read(&f.machine, PLACE + 0x100008, 2), 0xCAFE);
    EQUAL(f.machine.device.bar, 2);
    GIVES(hdvlab_system_stop(f.machine.system), S_OK);
    EQUAL(times(&f.machine.device, 's'), 1);
    EQUAL(times(&f.machine.device, 'T'), 1);
    for (uint8_t kind = HDVLAB_INITIALIZE; kind <= HDVLAB_TEARDOWN; kind++)
        EQUAL(rows(&f, kind, S_OK), 1);
    EQUAL(rows(&f, HDVLAB_MMIO_READ, S_OK), 2);
    EQUAL(rows(&f, HDVLAB_MMIO_WRITE, S_OK), 1);
    forwarded_close(&f);
    EQUAL(times(&f.machine.device, 'T'), 1);
}

TEST(what_a_forwarded_device_asks_is_done_by_the_other_library) {
    struct forwarded f;
    forwarded_open(&f, &own);
    HDV_DEVICE device = f.machine.device.handle;
    BYTE there[4] = {0};
    void *mapped = NULL;
    uint32_t pending;
    GIVES(HdvWriteGuestMemory(device, 0x1000, 4, (const BYTE *)"abcd"), HRESULT_FROM_WIN32(ERROR_INVALID_STATE));
    GIVES(machine_start(&f.machine), S_OK);
    GIVES(HdvWriteGuestMemory(device, 0x1000, 4, (const BYTE *)"abcd"), S_OK);
    GIVES(hdvlab_guest_ram_read(f.machine.system, 0x1000, 4, there), S_OK);
    CHECK(!memcmp(there, "abcd", 4));
    GIVES(HdvReadGuestMemory(device, RAM_BYTES, 4, there), HRESULT_FROM_WIN32(ERROR_NOACCESS));
    EQUAL(rows(&f, HDVLAB_DMA_READ, HRESULT_FROM_WIN32(ERROR_NOACCESS)), 1);
    GIVES(HdvCreateGuestMemoryAperture(device, 0x1000, PAGE, FALSE, &mapped), S_OK);
    NEED(mapped);
    CHECK(!memcmp(mapped, "abcd", 4));
    GIVES(HdvDestroyGuestMemoryAperture(device, mapped), S_OK);
    GIVES(HdvDestroyGuestMemoryAperture(device, mapped), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    GIVES(HdvDeliverGuestInterrupt(device, MESSAGE_ADDRESS, 0x41), S_OK);
    GIVES(hdvlab_guest_wait_interrupt(f.machine.system, 0x41, 0, &pending), S_OK);
    machine_enable(&f.machine, 0x2);
    GIVES(HdvDeliverGuestInterrupt(device, MESSAGE_ADDRESS, 0x41), E_ACCESSDENIED);
    EQUAL(rows(&f, HDVLAB_INTERRUPT, E_ACCESSDENIED), 1);
    forwarded_close(&f);
}

TEST(doorbells_and_sections_of_a_forwarded_device_are_the_other_librarys) {
    struct forwarded f;
    HANDLE event = event_make(), section = section_make(PAGE);
    forwarded_open(&f, &own);
    HDV_DEVICE device = f.machine.device.handle;
    GIVES(machine_start(&f.machine), S_OK);
    GIVES(HdvRegisterDoorbell(device, HDV_PCI_BAR0, 16, 7, HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD, event), S_OK);
    GIVES(guest_write(&f.machine, PLACE + 16, 4, 7), S_OK);
    CHECK(event_take(event));
    EQUAL(times(&f.machine.device, 'w'), 0);
    EQUAL(rows(&f, HDVLAB_DOORBELL, S_OK), 0); /* it rang over there */
    EQUAL(rows(&f, HDVLAB_DOORBELL_REGISTER, S_OK), 1);
    GIVES(HdvUnregisterDoorbell(device, HDV_PCI_BAR0, 16, 7, HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD), S_OK);
    GIVES(HdvCreateSectionBackedMmioRange(device, HDV_PCI_BAR2, 0, 1, HdvMmioMappingFlagWriteable, section, 0), S_OK);
    GIVES(guest_write(&f.machine, PLACE + 0x100000, 4, 0x11223344), S_OK);
    EQUAL(times(&f.machine.device, 'w'), 0);
    uint8_t *shared = section_map(section, PAGE);
    NEED(shared);
    EQUAL(shared[3], 0x11);
    section_unmap(shared, PAGE);
    GIVES(HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR2, 0), S_OK);
    GIVES(guest_write(&f.machine, PLACE + 0x100000, 4, 1), S_OK);
    EQUAL(times(&f.machine.device, 'w'), 1);
    forwarded_close(&f);
    object_close(event);
    object_close(section);
}

TEST(a_library_that_lacks_functions_is_told_apart_from_one_that_is_none) {
    struct forwarded f;
    HDVLAB_HDV_FUNCTIONS older = own;
    HCS_SYSTEM system;
    HDV_HOST host;
    older.size = offsetof(HDVLAB_HDV_FUNCTIONS, HdvInitializeDeviceHostEx);
    forwarded_open(&f, &older);
    GIVES(machine_start(&f.machine), S_OK);
    GIVES(HdvRegisterDoorbell(f.machine.device.handle, HDV_PCI_BAR0, 0, 0, 0, NULL), E_NOTIMPL);
    EQUAL(rows(&f, HDVLAB_DOORBELL_REGISTER, E_NOTIMPL), 1);
    GIVES(HdvInitializeDeviceHostEx(f.system, HdvDeviceHostFlagInitializeComSecurity, &host), E_NOTIMPL);
    GIVES(hdvlab_system_start(f.system), E_NOTIMPL);
    forwarded_close(&f);
    older.HdvCreateDeviceInstance = NULL;
    GIVES(hdvlab_forward_create(&older, NULL, NULL, &system), E_INVALIDARG);
    GIVES(hdvlab_forward_create(NULL, NULL, NULL, &system), E_POINTER);
    GIVES(hdvlab_forward_create(&own, NULL, NULL, NULL), E_POINTER);
}

/* ---- a host that ends while another thread makes a device ----------------------------------------------------------- */

static struct {
    HDV_HOST host; /* to be torn down from another thread, while the other library makes the device */
    pthread_t thread;
    HRESULT answer, ended;
    HANDLE over;
} making;

static void *end_the_host(void *argument) {
    (void)argument;
    making.ended = HdvTeardownDeviceHost(making.host);
    event_signal(making.over);
    return NULL;
}

static HRESULT WINAPI create_while_the_host_ends(HDV_HOST host, HDV_DEVICE_TYPE type, const GUID *class_id,
                                                 const GUID *instance, const VOID *table, VOID *context,
                                                 HDV_DEVICE *device) {
    if (pthread_create(&making.thread, NULL, end_the_host, NULL))
        return E_FAIL;
    for (int i = 0; i < 1000000 && !event_take(making.over); i++)
        sched_yield(); /* time enough for one that does not wait */
    return FAILED(making.answer) ? making.answer
                                 : HdvCreateDeviceInstance(host, type, class_id, instance, table, context, device);
}

static void make_while_the_host_ends(HRESULT answer, UINT32 teardowns) {
    HDVLAB_HDV_FUNCTIONS slow = own;
    HCS_SYSTEM machine, system;
    struct noting_device device;
    slow.HdvCreateDeviceInstance = create_while_the_host_ends;
    memset(&making, 0, sizeof making);
    making.answer = answer;
    making.over = event_make();
    device_default(&device);
    GIVES(hdvlab_embedded_create(RAM_BYTES, FALSE, NULL, &machine), S_OK);
    GIVES(hdvlab_forward_create(&slow, machine, NULL, &system), S_OK);
    GIVES(HdvInitializeDeviceHost(system, &making.host), S_OK);
    GIVES(device_create(&device, making.host, &test_instance), answer);
    pthread_join(making.thread, NULL);
    GIVES(making.ended, S_OK);
    EQUAL(times(&device, 'T'), teardowns);
    GIVES(hdvlab_system_close(system), S_OK);
    GIVES(hdvlab_system_close(machine), S_OK);
    object_close(making.over);
}

TEST(a_device_that_could_not_be_made_while_its_host_ended_has_no_teardown) {
    make_while_the_host_ends(E_FAIL, 0);
}

TEST(a_device_that_was_made_while_its_host_ended_has_its_teardown) { make_while_the_host_ends(S_OK, 1); }
