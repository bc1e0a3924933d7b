/* HdvInitializeDeviceHostForProxy, HdvInitializeDeviceHostForProxyEx, HdvProxyDeviceHost: both halves in one process. */
#include "machine.h"

#include <string.h>

#define SECOND_HOST_FOR_VM 0xC0370030u
#define NO_INTERFACE 0x80004002u /* E_NOINTERFACE */

static const GUID vm_id = {0x5c0e9d1a, 0x41b2, 0x4f7e, {0x9a, 0x11, 0x32, 0x0c, 0x5e, 0x77, 0x10, 0x01}};

/* An application's broker: gives what is registered to a machine of this process. */
struct broker {
    IVmDeviceHostSupport support; /* first */
    ULONG references;
    HCS_SYSTEM system;
    HRESULT refuses;
    DWORD process;
    UINT64 ipc;
};

static HRESULT WINAPI broker_query(IVmDeviceHostSupport *self, REFIID iid, void **object) {
    *object = NULL;
    if (memcmp(iid, &IID_IVmDeviceHostSupport, sizeof *iid))
        return (HRESULT)NO_INTERFACE;
    ((struct broker *)self)->references++;
    *object = self;
    return S_OK;
}

static ULONG WINAPI broker_add(IVmDeviceHostSupport *self) { return ++((struct broker *)self)->references; }
static ULONG WINAPI broker_release(IVmDeviceHostSupport *self) { return --((struct broker *)self)->references; }

static HRESULT WINAPI broker_register(IVmDeviceHostSupport *self, IVmDeviceHost *host, DWORD process, UINT64 *ipc) {
    struct broker *broker = (struct broker *)self;
    void *same = NULL;
    if (FAILED(broker->refuses))
        return broker->refuses;
    GIVES(host->lpVtbl->QueryInterface(host, &IID_IVmDeviceHost, &same), S_OK);
    CHECK(same == host);
    HRESULT hr = HdvProxyDeviceHost(broker->system, same, process, ipc);
    host->lpVtbl->Release(host);
    broker->process = process;
    broker->ipc = *ipc;
    return hr;
}

static const IVmDeviceHostSupportVtbl broker_table = {broker_query, broker_add, broker_release, broker_register};

static void broker_open(struct broker *broker, HCS_SYSTEM system) {
    *broker = (struct broker){.support = {&broker_table}, .references = 1, .system = system};
}

/* A running machine whose slot 1 has the device of a proxied host; its BAR 0 at PLACE. */
static HRESULT plug(struct machine *machine, HDV_HOST host, struct noting_device *device) {
    device_default(device);
    HRESULT hr = device_create(device, host, &other_instance);
    if (hr == S_OK)
        hr = hdvlab_system_add_slot(machine->system, 1, &test_class, &other_instance, 0, NULL);
    if (hr == S_OK) {
        hdvlab_guest_config_write(machine->system, &guest, 1, 0x10, 4, PLACE + 0x1000000);
        hdvlab_guest_config_write(machine->system, &guest, 1, 4, 2, 6);
    }
    return hr;
}

TEST(a_proxied_host_serves_the_guest_of_the_machine_it_is_registered_with) {
    struct machine machine;
    struct broker broker;
    struct noting_device device;
    HDV_HOST host = NULL;
    UINT64 value = 0;
    machine_open(&machine, NULL);
    NEED(machine_start(&machine) == S_OK);
    broker_open(&broker, machine.system);
    GIVES(HdvInitializeDeviceHostForProxy(&vm_id, &broker, &host), S_OK);
    CHECK(broker.process != 0);
    CHECK(broker.ipc != 0);
    GIVES(plug(&machine, host, &device), S_OK);
    GIVES(hdvlab_guest_write(machine.system, &guest, PLACE + 0x1000008, 4, 0x12345678), S_OK);
    GIVES(hdvlab_guest_read(machine.system, &guest, PLACE + 0x1000008, 4, &value), S_OK);
    EQUAL(value, 0x12345678);
    EQUAL(times(&device, 'w'), 1);
    EQUAL(times(&device, 'r'), 1);
    GIVES(HdvTeardownDeviceHost(host), S_OK);
    EQUAL(times(&device, 's'), 1);
    EQUAL(times(&device, 'T'), 1);
    EQUAL(broker.references, 1);
    GIVES(hdvlab_guest_read(machine.system, &guest, PLACE + 0x1000008, 4, &value) < 0, TRUE);
    EQUAL(value, 0xFFFFFFFF);
    machine_close(&machine);
}

TEST(a_proxied_host_has_apertures_and_interrupts_and_nothing_else) {
    struct machine machine;
    struct broker broker;
    struct noting_device device;
    HDV_HOST host = NULL;
    BYTE bytes[8] = {0};
    void *map = NULL;
    UINT32 pending = 0;
    HANDLE event = event_make(), section = section_make(PAGE);
    machine_open(&machine, NULL);
    NEED(machine_start(&machine) == S_OK);
    broker_open(&broker, machine.system);
    NEED(HdvInitializeDeviceHostForProxyEx(&vm_id, &broker, HdvDeviceHostFlagInitializeComSecurity, &host) == S_OK);
    GIVES(plug(&machine, host, &device), S_OK);
    GIVES(HdvReadGuestMemory(device.handle, 0, sizeof bytes, bytes), E_ACCESSDENIED);
    GIVES(HdvWriteGuestMemory(device.handle, 0, sizeof bytes, bytes), E_ACCESSDENIED);
    GIVES(HdvRegisterDoorbell(device.handle, HDV_PCI_BAR0, 0, 0, 0, event), E_ACCESSDENIED);
    GIVES(HdvUnregisterDoorbell(device.handle, HDV_PCI_BAR0, 0, 0, 0), E_ACCESSDENIED);
    GIVES(HdvCreateSectionBackedMmioRange(device.handle, HDV_PCI_BAR0, 0, 1, HdvMmioMappingFlagNone, section, 0),
          E_ACCESSDENIED);
    GIVES(HdvDestroySectionBackedMmioRange(device.handle, HDV_PCI_BAR0, 0), E_ACCESSDENIED);
    NEED(HdvCreateGuestMemoryAperture(device.handle, 0x1000, PAGE, FALSE, &map) == S_OK);
    memcpy(map, "aperture", 8);
    GIVES(hdvlab_guest_ram_read(machine.system, 0x1000, 8, bytes), S_OK);
    CHECK(!memcmp(bytes, "aperture", 8));
    GIVES(HdvDestroyGuestMemoryAperture(device.handle, map), S_OK);
    GIVES(HdvDestroyGuestMemoryAperture(device.handle, map), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    GIVES(HdvDeliverGuestInterrupt(device.handle, MESSAGE_ADDRESS, 0x41), S_OK);
    GIVES(hdvlab_guest_wait_interrupt(machine.system, 0x41, 0, &pending), S_OK);
    /* The machine's owner may, for the device. */
    HDV_DEVICE owned = NULL;
    GIVES(hdvlab_system_device(machine.system, 1, &owned), S_OK);
    GIVES(HdvRegisterDoorbell(owned, HDV_PCI_BAR0, 0x20, 7, HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD, event), S_OK);
    GIVES(hdvlab_guest_write(machine.system, &guest, PLACE + 0x1000020, 4, 7), S_OK);
    CHECK(event_take(event));
    EQUAL(times(&device, 'w'), 0);
    GIVES(HdvTeardownDeviceHost(host), S_OK);
    object_close(event);
    object_close(section);
    machine_close(&machine);
}

TEST(a_vm_has_one_proxied_host_in_a_process) {
    struct machine machine;
    struct broker broker;
    HDV_HOST host = NULL, other = NULL;
    machine_open(&machine, NULL);
    broker_open(&broker, machine.system);
    GIVES(HdvInitializeDeviceHostForProxy(NULL, &broker, &host), E_POINTER);
    GIVES(HdvInitializeDeviceHostForProxy(&vm_id, NULL, &host), E_POINTER);
    GIVES(HdvInitializeDeviceHostForProxy(&vm_id, &broker, NULL), E_POINTER);
    GIVES(HdvInitializeDeviceHostForProxyEx(&vm_id, &broker, (HDV_DEVICE_HOST_FLAGS)4, &host), E_INVALIDARG);
    GIVES(HdvInitializeDeviceHostForProxy(&vm_id, &broker, &host), S_OK);
    GIVES(HdvInitializeDeviceHostForProxy(&vm_id, &broker, &other), SECOND_HOST_FOR_VM);
    GIVES(HdvTeardownDeviceHost(host), S_OK);
    GIVES(HdvInitializeDeviceHostForProxy(&vm_id, &broker, &other), S_OK);
    GIVES(HdvTeardownDeviceHost(other), S_OK);
    broker.refuses = E_ACCESSDENIED;
    GIVES(HdvInitializeDeviceHostForProxy(&vm_id, &broker, &other), E_ACCESSDENIED);
    EQUAL(broker.references, 1);
    machine_close(&machine);
}

TEST(only_a_device_host_can_be_proxied) {
    struct machine machine;
    struct broker broker;
    UINT64 ipc = 0;
    machine_open(&machine, NULL);
    broker_open(&broker, machine.system);
    GIVES(HdvProxyDeviceHost(machine.system, NULL, 1, &ipc), E_POINTER);
    GIVES(HdvProxyDeviceHost(machine.system, &broker, 1, NULL), E_POINTER);
    GIVES(HdvProxyDeviceHost(NULL, &broker, 1, &ipc), E_HANDLE);
    GIVES(HdvProxyDeviceHost(machine.system, &broker, 1, &ipc), NO_INTERFACE);
    EQUAL(broker.references, 1);
    machine_close(&machine);
}

TEST(closing_the_machine_ends_the_devices_of_a_proxied_host) {
    struct machine machine;
    struct broker broker;
    struct noting_device device;
    HDV_HOST host = NULL;
    machine_open(&machine, NULL);
    NEED(machine_start(&machine) == S_OK);
    broker_open(&broker, machine.system);
    NEED(HdvInitializeDeviceHostForProxy(&vm_id, &broker, &host) == S_OK);
    GIVES(plug(&machine, host, &device), S_OK);
    GIVES(hdvlab_proxy_wait_machine(host, 0), HRESULT_FROM_WIN32(ERROR_TIMEOUT));
    machine_close(&machine);
    GIVES(hdvlab_proxy_wait_machine(host, 0), S_OK);
    EQUAL(times(&device, 'T'), 1);
    GIVES(HdvDeliverGuestInterrupt(device.handle, MESSAGE_ADDRESS, 0x41), HRESULT_FROM_WIN32(ERROR_INVALID_STATE));
    GIVES(HdvTeardownDeviceHost(host), S_OK);
}
