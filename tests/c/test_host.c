/* HdvInitializeDeviceHost, HdvInitializeDeviceHostEx, HdvCreateDeviceInstance, HdvTeardownDeviceHost. */
#include "machine.h"

#include <string.h>

static HCS_SYSTEM system_make(void) {
    HCS_SYSTEM system = NULL;
    GIVES(hdvlab_embedded_create(RAM_BYTES, FALSE, NULL, &system), S_OK);
    return system;
}

TEST(a_host_needs_a_system_and_a_place_for_its_handle) {
    HCS_SYSTEM system = system_make();
    HDV_HOST host = NULL;
    GIVES(HdvInitializeDeviceHost(system, NULL), E_POINTER);
    GIVES(HdvInitializeDeviceHost(NULL, &host), E_HANDLE);
    GIVES(HdvInitializeDeviceHost((HCS_SYSTEM)(intptr_t)0x1234567800000001, &host), E_HANDLE);
    GIVES(HdvInitializeDeviceHostEx(system, (HDV_DEVICE_HOST_FLAGS)2, &host), E_INVALIDARG);
    CHECK(!host);
    GIVES(HdvInitializeDeviceHost(system, &host), S_OK);
    GIVES(HdvInitializeDeviceHost(host, &host), E_HANDLE); /* a handle, of another kind */
    GIVES(HdvTeardownDeviceHost(host), S_OK);
    GIVES(hdvlab_system_close(system), S_OK);
}

TEST(the_flag_for_com_security_is_taken) {
    HCS_SYSTEM system = system_make();
    HDV_HOST host = NULL;
    GIVES(HdvInitializeDeviceHostEx(system, HdvDeviceHostFlagInitializeComSecurity, &host), S_OK);
    GIVES(HdvTeardownDeviceHost(host), S_OK);
    GIVES(hdvlab_system_close(system), S_OK);
}

TEST(a_host_is_torn_down_once) {
    HCS_SYSTEM system = system_make();
    HDV_HOST host = NULL;
    GIVES(HdvInitializeDeviceHost(system, &host), S_OK);
    GIVES(HdvTeardownDeviceHost(host), S_OK);
    GIVES(HdvTeardownDeviceHost(host), E_HANDLE);
    GIVES(HdvTeardownDeviceHost(NULL), E_HANDLE);
    GIVES(hdvlab_system_close(system), S_OK);
}

TEST(an_instance_needs_every_pointer_a_known_type_and_a_whole_table) {
    struct machine machine;
    machine_open(&machine, NULL);
    HDV_PCI_DEVICE_INTERFACE table, holed;
    device_table(&table);
    HDV_DEVICE device = NULL;
    GIVES(HdvCreateDeviceInstance(NULL, HdvDeviceTypePCI, &test_class, &other_instance, &table, NULL, &device), E_HANDLE);
    GIVES(HdvCreateDeviceInstance(machine.host, HdvDeviceTypePCI, NULL, &other_instance, &table, NULL, &device), E_POINTER);
    GIVES(HdvCreateDeviceInstance(machine.host, HdvDeviceTypePCI, &test_class, NULL, &table, NULL, &device), E_POINTER);
    GIVES(HdvCreateDeviceInstance(machine.host, HdvDeviceTypePCI, &test_class, &other_instance, NULL, NULL, &device), E_POINTER);
    GIVES(HdvCreateDeviceInstance(machine.host, HdvDeviceTypePCI, &test_class, &other_instance, &table, NULL, NULL), E_POINTER);
    GIVES(HdvCreateDeviceInstance(machine.host, HdvDeviceTypeUndefined, &test_class, &other_instance, &table, NULL, &device), E_INVALIDARG);
    holed = table;
    holed.Version = HdvPciDeviceInterfaceVersionInvalid;
    GIVES(HdvCreateDeviceInstance(machine.host, HdvDeviceTypePCI, &test_class, &other_instance, &holed, NULL, &device), E_INVALIDARG);
    for (size_t slot = 8; slot < sizeof table; slot += sizeof(void *)) {
        holed = table;
        memset((char *)&holed + slot, 0, sizeof(void *));
        GIVES(HdvCreateDeviceInstance(machine.host, HdvDeviceTypePCI, &test_class, &other_instance, &holed, NULL, &device), E_INVALIDARG);
    }
    CHECK(!device);
    machine_close(&machine);
}

TEST(an_instance_is_registered_once) {
    struct machine machine;
    struct noting_device second;
    machine_open(&machine, NULL);
    device_default(&second);
    GIVES(device_create(&second, machine.host, &test_instance), HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS));
    GIVES(device_create(&second, machine.host, &other_instance), S_OK);
    machine_close(&machine);
    EQUAL(second.call_count, 1); /* it was in no slot: nobody powered it on */
    EQUAL(times(&second, 'T'), 1);
}

TEST(a_device_ends_with_its_host) {
    struct machine machine;
    BYTE byte = 0;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(HdvReadGuestMemory(machine.device.handle, 0, 1, &byte), S_OK);
    GIVES(HdvTeardownDeviceHost(machine.host), S_OK);
    GIVES(HdvReadGuestMemory(machine.device.handle, 0, 1, &byte), E_HANDLE);
    EQUAL(times(&machine.device, 'T'), 1);
    EQUAL(guest_read(&machine, PLACE, 4), 0xFFFFFFFF);
    GIVES(hdvlab_system_close(machine.system), S_OK);
}

static void tear_down_from_inside(struct noting_device *device) {
    struct machine *machine = (struct machine *)((char *)device - offsetof(struct machine, device));
    device->write = HdvTeardownDeviceHost(machine->host);
}

TEST(a_callback_may_not_tear_down_its_own_host) {
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    machine.device.on_write = tear_down_from_inside;
    GIVES(guest_write(&machine, PLACE, 4, 1), HRESULT_FROM_WIN32(ERROR_INVALID_STATE));
    EQUAL(times(&machine.device, 'T'), 0);
    machine_close(&machine);
    EQUAL(times(&machine.device, 'T'), 1);
}
