/* The ten callbacks: their order, their arguments, and what becomes of what they return. */
#include "machine.h"

#include <pthread.h>
#include <string.h>

static const char *lifecycle(struct noting_device *device) {
    static char letters[64];
    size_t count = 0;
    for (UINT32 i = 0; i < device->call_count && count + 1 < sizeof letters; i++)
        if (strchr("ICGSsT", device->calls[i]))
            letters[count++] = device->calls[i];
    letters[count] = 0;
    return letters;
}

TEST(a_device_is_initialized_configured_asked_and_started_then_stopped_and_torn_down) {
    struct machine machine;
    machine_open(&machine, NULL);
    EQUAL(machine.device.call_count, 0);
    GIVES(machine_start(&machine), S_OK);
    CHECK(!strcmp(lifecycle(&machine.device), "ICGS"));
    GIVES(hdvlab_system_stop(machine.system), S_OK);
    CHECK(!strcmp(lifecycle(&machine.device), "ICGSsT"));
    machine_close(&machine);
    CHECK(!strcmp(lifecycle(&machine.device), "ICGSsT"));
}

TEST(the_host_ends_what_the_machine_has_not) {
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    machine_close(&machine);
    CHECK(!strcmp(lifecycle(&machine.device), "ICGSsT"));
}

TEST(a_hot_plugged_device_has_the_same_life) {
    struct machine machine;
    struct noting_device second;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    device_default(&second);
    GIVES(hdvlab_system_add_slot(machine.system, 1, &test_class, &other_instance, 0, NULL), E_UNEXPECTED);
    GIVES(device_create(&second, machine.host, &other_instance), S_OK);
    GIVES(hdvlab_system_add_slot(machine.system, 1, &test_class, &other_instance, 0, NULL), S_OK);
    CHECK(!strcmp(lifecycle(&second), "ICGS"));
    GIVES(hdvlab_system_remove_slot(machine.system, 1), S_OK);
    CHECK(!strcmp(lifecycle(&second), "ICGSsT"));
    machine_close(&machine);
    CHECK(!strcmp(lifecycle(&second), "ICGSsT"));
}

TEST(configuration_is_utf_16_text) {
    static const WCHAR expected[] = {'k', 'e', 'y', '=', '1', 0};
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    EQUAL(machine.device.value_count, 1);
    CHECK(!memcmp(machine.device.first_value, expected, sizeof expected));
    machine_close(&machine);
}

TEST(a_slot_that_nobody_registered_for_fails_the_start) {
    HCS_SYSTEM system = NULL;
    GIVES(hdvlab_embedded_create(RAM_BYTES, FALSE, NULL, &system), S_OK);
    GIVES(hdvlab_system_add_slot(system, 0, &test_class, &test_instance, 0, NULL), S_OK);
    GIVES(hdvlab_system_start(system), E_UNEXPECTED);
    GIVES(hdvlab_system_close(system), S_OK);
}

static void fails_the_start(size_t which, HRESULT why, const char *calls) {
    struct machine machine;
    machine_open(&machine, NULL);
    *(HRESULT *)((char *)&machine.device + which) = why;
    GIVES(hdvlab_system_start(machine.system), why);
    CHECK(!strcmp(lifecycle(&machine.device), calls));
    machine_close(&machine);
    CHECK(!strcmp(lifecycle(&machine.device), calls));
}

TEST(a_lifecycle_callback_that_fails_fails_the_start_with_its_own_hresult) {
    fails_the_start(offsetof(struct noting_device, initialize), E_OUTOFMEMORY, "IT");
    fails_the_start(offsetof(struct noting_device, set_configuration), E_INVALIDARG, "ICT");
    fails_the_start(offsetof(struct noting_device, get_details), E_NOTIMPL, "ICGT");
    fails_the_start(offsetof(struct noting_device, start), E_FAIL, "ICGST");
}

TEST(intercepted_memory_comes_with_bar_offset_and_length) {
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    for (UINT32 size = 1; size <= 8; size *= 2) {
        GIVES(guest_write(&machine, PLACE + 0x40, size, 0x1122334455667788), S_OK);
        EQUAL(machine.device.bar, HDV_PCI_BAR0);
        EQUAL(machine.device.offset, 0x40);
        EQUAL(machine.device.length, size);
        EQUAL(guest_read(&machine, PLACE + 0x40, size), 0x1122334455667788 & (UINT64_MAX >> (64 - 8 * size)));
    }
    machine_close(&machine);
}

TEST(a_64_bit_bar_goes_by_the_name_of_its_lower_half) {
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(guest_write(&machine, PLACE + 0x100000 + 8, 4, 7), S_OK);
    EQUAL(machine.device.bar, HDV_PCI_BAR2);
    EQUAL(machine.device.offset, 8);
    machine_close(&machine);
}

TEST(a_read_that_fails_gives_all_ones) {
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    machine.device.read = E_FAIL;
    EQUAL(guest_read(&machine, PLACE, 2), 0xFFFF);
    EQUAL(guest_read(&machine, PLACE, 8), UINT64_MAX);
    machine_close(&machine);
}

TEST(nobody_is_asked_where_no_bar_is) {
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    EQUAL(guest_read(&machine, PLACE + PAGE, 4), 0xFFFFFFFF);
    machine_enable(&machine, 0x4); /* no memory decode */
    EQUAL(guest_read(&machine, PLACE, 4), 0xFFFFFFFF);
    EQUAL(times(&machine.device, 'r'), 0);
    machine_close(&machine);
}

TEST(config_space_is_read_and_written_by_dwords) {
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    EQUAL(config_read(&machine, 0, 2), 0x1234);
    EQUAL(config_read(&machine, 2, 2), 0x5678);
    machine.device.config[0x40 / 4] = 0x11223344;
    GIVES(hdvlab_guest_config_write(machine.system, &guest, 0, 0x41, 1, 0xAA), S_OK);
    EQUAL(machine.device.config[0x40 / 4], 0x1122AA44);
    EQUAL(config_read(&machine, 0x40, 4), 0x1122AA44);
    machine_close(&machine);
}

TEST(a_bar_that_is_sized_shows_its_mask) {
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(hdvlab_guest_config_write(machine.system, &guest, 0, 0x10, 4, 0xFFFFFFFF), S_OK);
    EQUAL(config_read(&machine, 0x10, 4), 0xFFFFF000);
    GIVES(hdvlab_guest_config_write(machine.system, &guest, 0, 0x18, 4, 0xFFFFFFFF), S_OK);
    EQUAL(config_read(&machine, 0x18, 4), 0xFFFFF004);
    machine_close(&machine);
}

static HANDLE inside, leave;

static void stay_inside(struct noting_device *device) {
    (void)device;
    event_signal(inside);
    (void)event_wait(leave);
}

static void *write_in_a_thread(void *argument) {
    (void)guest_write(argument, PLACE, 4, 1);
    return NULL;
}

TEST(an_access_waits_for_a_busy_device_no_longer_than_it_says) {
    static const HDVLAB_ACCESS impatient = {0, HDVLAB_GUEST, 30};
    struct machine machine;
    pthread_t thread;
    uint64_t value = 0;
    inside = event_make();
    leave = event_make();
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    machine.device.on_write = stay_inside;
    NEED(!pthread_create(&thread, NULL, write_in_a_thread, &machine));
    CHECK(event_wait(inside));
    GIVES(hdvlab_guest_read(machine.system, &impatient, PLACE, 4, &value), HRESULT_FROM_WIN32(ERROR_BUSY));
    EQUAL(times(&machine.device, 'r'), 0);
    event_signal(leave);
    EQUAL(guest_read(&machine, PLACE, 4), 1); /* waits its turn */
    pthread_join(thread, NULL);
    machine_close(&machine);
    object_close(inside);
    object_close(leave);
}

TEST(each_slot_of_the_table_is_called_with_its_own_context) {
    struct machine machine;
    struct noting_device other;
    const HDV_DEVICE_TYPE type = HdvDeviceTypePCI;
    const HDV_PCI_INTERFACE_VERSION version = HdvPciDeviceInterfaceVersion1;
    HDV_PCI_DEVICE_INTERFACE table;
    machine_open(&machine, NULL);
    device_default(&other);
    device_table(&table);
    EQUAL(table.Version, version);
    GIVES(HdvCreateDeviceInstance(machine.host, type, &test_class, &other_instance, &table, &other, &other.handle), S_OK);
    GIVES(hdvlab_system_add_slot(machine.system, 1, &test_class, &other_instance, 0, NULL), S_OK);
    GIVES(machine_start(&machine), S_OK);
    CHECK(!strcmp(lifecycle(&other), "ICGS"));
    const UINT32 merging = times(&machine.device, 'R'); /* what the machine read to merge narrow writes */
    EQUAL(config_read(&machine, 0x40, 4), 0);
    GIVES(guest_write(&machine, PLACE + 8, 4, 5), S_OK);
    EQUAL(guest_read(&machine, PLACE + 8, 4), 5);
    EQUAL(times(&machine.device, 'R'), merging + 1);
    CHECK(times(&machine.device, 'W') > 0);
    EQUAL(times(&machine.device, 'w'), 1);
    EQUAL(times(&machine.device, 'r'), 1);
    CHECK(!strcmp(lifecycle(&other), other.calls)); /* nothing of that was the other's */
    machine_close(&machine);
    CHECK(!strcmp(lifecycle(&other), "ICGSsT"));
}

TEST(the_guest_is_told_who_the_device_is_by_get_details_and_not_by_its_config_space) {
    struct machine machine;
    machine_open(&machine, NULL);
    const HDV_PCI_PNP_ID id = {0x1111, 0x2222, 3, 4, 5, 6, 0x7777, 0x8888};
    machine.device.pnp_id = id;
    GIVES(machine_start(&machine), S_OK);
    const UINT32 before = times(&machine.device, 'R');
    EQUAL(config_read(&machine, 0x00, 4), 0x22221111);
    EQUAL(config_read(&machine, 0x08, 4), 0x06050403);
    EQUAL(config_read(&machine, 0x2C, 4), 0x88887777);
    EQUAL(times(&machine.device, 'R'), before);
    machine_close(&machine);
}
