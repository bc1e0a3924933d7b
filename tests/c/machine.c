#include "machine.h"

#include <string.h>

const GUID test_class = {0x11111111, 0x2222, 0x3333, {0x44, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55}};
const GUID test_instance = {0xAAAAAAAA, 0xBBBB, 0xCCCC, {0xDD, 0xDD, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE}};
const GUID other_instance = {0xAAAAAAAA, 0xBBBB, 0xCCCC, {0xDD, 0xDD, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEF}};
const HDVLAB_ACCESS guest = {0, HDVLAB_GUEST, 0};

static struct noting_device *noted(PVOID context, char letter) {
    struct noting_device *device = context;
    if (device->call_count + 1 < sizeof device->calls)
        device->calls[device->call_count++] = letter;
    return device;
}

static HRESULT CALLBACK initialize(PVOID context) { return noted(context, 'I')->initialize; }
static void CALLBACK teardown(PVOID context) { noted(context, 'T'); }

static HRESULT CALLBACK set_configuration(PVOID context, UINT32 count, const LPCWSTR *values) {
    struct noting_device *device = noted(context, 'C');
    device->value_count = count;
    for (UINT32 i = 0; count && i < 31 && values[0][i]; i++)
        device->first_value[i] = values[0][i];
    return device->set_configuration;
}

static HRESULT CALLBACK get_details(PVOID context, PHDV_PCI_PNP_ID pnp_id, UINT32 count, UINT32 *probed_bars) {
    struct noting_device *device = noted(context, 'G');
    *pnp_id = device->pnp_id;
    for (UINT32 i = 0; i < count && i < 6; i++)
        probed_bars[i] = device->probed_bars[i];
    return device->get_details;
}

static HRESULT CALLBACK start(PVOID context) { return noted(context, 'S')->start; }
static void CALLBACK stop(PVOID context) { noted(context, 's'); }

static HRESULT CALLBACK read_config(PVOID context, UINT32 offset, UINT32 *value) {
    struct noting_device *device = noted(context, 'R');
    *value = offset < 256 ? device->config[offset / 4] : 0;
    return S_OK;
}

static HRESULT CALLBACK write_config(PVOID context, UINT32 offset, UINT32 value) {
    struct noting_device *device = noted(context, 'W');
    if (offset < 256)
        device->config[offset / 4] = value;
    return S_OK;
}

static HRESULT CALLBACK read_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    struct noting_device *device = noted(context, 'r');
    device->bar = bar;
    device->offset = offset;
    device->length = length;
    if (SUCCEEDED(device->read))
        memcpy(value, device->memory + offset, length);
    return device->read;
}

static HRESULT CALLBACK write_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length,
                                     const BYTE *value) {
    struct noting_device *device = noted(context, 'w');
    device->bar = bar;
    device->offset = offset;
    device->length = length;
    memcpy(device->memory + offset, value, length);
    if (device->on_write)
        device->on_write(device);
    return device->write;
}

void device_table(HDV_PCI_DEVICE_INTERFACE *table) {
    *table = (HDV_PCI_DEVICE_INTERFACE){HdvPciDeviceInterfaceVersion1, initialize, teardown, set_configuration,
                                        get_details, start, stop, read_config, write_config, read_memory, write_memory};
}

void device_default(struct noting_device *device) {
    memset(device, 0, sizeof *device);
    device->pnp_id = (HDV_PCI_PNP_ID){.VendorID = 0x1234, .DeviceID = 0x5678, .RevisionID = 1, .BaseClass = 0xFF};
    device->config[0] = 0x56781234;
    device->probed_bars[0] = 0xFFFFF000; /* 32 bits, one page */
    device->probed_bars[2] = 0xFFFFF004; /* 64 bits, one page */
    device->probed_bars[3] = 0xFFFFFFFF;
}

HRESULT device_create(struct noting_device *device, HDV_HOST host, const GUID *instance) {
    HDV_PCI_DEVICE_INTERFACE table;
    device_table(&table);
    HRESULT hr = HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &test_class, instance, &table, device, &device->handle);
    memset(&table, 0, sizeof table); /* the host has its own copy */
    return hr;
}

UINT32 times(const struct noting_device *device, char letter) {
    UINT32 count = 0;
    for (UINT32 i = 0; i < device->call_count; i++)
        count += device->calls[i] == letter;
    return count;
}

void machine_open(struct machine *machine, HDVLAB_TRACE trace) {
    static const WCHAR text[] = {'k', 'e', 'y', '=', '1', 0};
    LPCWSTR configuration[1] = {text};
    memset(machine, 0, sizeof *machine);
    device_default(&machine->device);
    GIVES(hdvlab_embedded_create(RAM_BYTES, FALSE, trace, &machine->system), S_OK);
    GIVES(HdvInitializeDeviceHost(machine->system, &machine->host), S_OK);
    GIVES(device_create(&machine->device, machine->host, &test_instance), S_OK);
    GIVES(hdvlab_system_add_slot(machine->system, 0, &test_class, &test_instance, 1, configuration), S_OK);
}

void machine_enable(struct machine *machine, UINT32 command) {
    GIVES(hdvlab_guest_config_write(machine->system, &guest, 0, 0x04, 2, command), S_OK);
}

HRESULT machine_start(struct machine *machine) {
    HRESULT hr = hdvlab_system_start(machine->system);
    if (FAILED(hr))
        return hr;
    GIVES(hdvlab_guest_config_write(machine->system, &guest, 0, 0x10, 4, PLACE), S_OK);
    GIVES(hdvlab_guest_config_write(machine->system, &guest, 0, 0x18, 4, PLACE + 0x100000), S_OK);
    GIVES(hdvlab_guest_config_write(machine->system, &guest, 0, 0x1C, 4, 0), S_OK);
    machine_enable(machine, 0x6); /* memory decode, bus master */
    return hr;
}

void machine_close(struct machine *machine) {
    GIVES(HdvTeardownDeviceHost(machine->host), S_OK);
    GIVES(hdvlab_system_close(machine->system), S_OK);
}

UINT64 guest_read(struct machine *machine, UINT64 address, UINT32 size) {
    uint64_t value = 0;
    (void)hdvlab_guest_read(machine->system, &guest, address, size, &value);
    return value;
}

HRESULT guest_write(struct machine *machine, UINT64 address, UINT32 size, UINT64 value) {
    return hdvlab_guest_write(machine->system, &guest, address, size, value);
}

UINT32 config_read(struct machine *machine, UINT32 offset, UINT32 size) {
    uint32_t value = 0;
    (void)hdvlab_guest_config_read(machine->system, &guest, 0, offset, size, &value);
    return value;
}
