/* HdvReadGuestMemory, HdvWriteGuestMemory, HdvCreateGuestMemoryAperture, HdvDestroyGuestMemoryAperture. */
#include "machine.h"

#include <string.h>

TEST(guest_memory_is_copied_both_ways) {
    struct machine machine;
    BYTE out[300], in[300] = {0};
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (BYTE)i;
    GIVES(HdvWriteGuestMemory(machine.device.handle, 0x1FF0, sizeof out, out), S_OK);
    GIVES(hdvlab_guest_ram_read(machine.system, 0x1FF0, sizeof in, in), S_OK);
    CHECK(!memcmp(in, out, sizeof in));
    GIVES(hdvlab_guest_ram_write(machine.system, RAM_BYTES - 4, 4, "abcd"), S_OK);
    GIVES(HdvReadGuestMemory(machine.device.handle, RAM_BYTES - 4, 4, in), S_OK);
    CHECK(!memcmp(in, "abcd", 4));
    machine_close(&machine);
}

TEST(a_copy_is_all_or_nothing) {
    struct machine machine;
    BYTE buffer[8] = {1, 2, 3, 4, 5, 6, 7, 8}, in[4];
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    HDV_DEVICE device = machine.device.handle;
    GIVES(HdvWriteGuestMemory(device, RAM_BYTES - 4, 8, buffer), HRESULT_FROM_WIN32(ERROR_NOACCESS));
    GIVES(hdvlab_guest_ram_read(machine.system, RAM_BYTES - 4, 4, in), S_OK);
    CHECK(!memcmp(in, "\0\0\0\0", 4));
    GIVES(HdvReadGuestMemory(device, RAM_BYTES - 4, 8, buffer), HRESULT_FROM_WIN32(ERROR_NOACCESS));
    EQUAL(buffer[0], 1);
    GIVES(HdvReadGuestMemory(device, PLACE, 4, buffer), HRESULT_FROM_WIN32(ERROR_NOACCESS)); /* its own BAR */
    GIVES(HdvReadGuestMemory(device, UINT64_MAX - 3, 8, buffer), HRESULT_FROM_WIN32(ERROR_ARITHMETIC_OVERFLOW));
    GIVES(HdvReadGuestMemory(device, 0, 0, buffer), S_OK);
    machine_close(&machine);
}

TEST(guest_memory_needs_a_buffer_a_device_that_runs_and_bus_mastering) {
    struct machine machine;
    BYTE buffer[4] = {0};
    machine_open(&machine, NULL);
    HDV_DEVICE device = machine.device.handle;
    GIVES(HdvReadGuestMemory(device, 0, 4, buffer), HRESULT_FROM_WIN32(ERROR_INVALID_STATE));
    GIVES(machine_start(&machine), S_OK);
    GIVES(HdvReadGuestMemory(device, 0, 4, NULL), E_POINTER);
    GIVES(HdvWriteGuestMemory(device, 0, 4, NULL), E_POINTER);
    GIVES(HdvReadGuestMemory(NULL, 0, 4, buffer), E_HANDLE);
    GIVES(HdvWriteGuestMemory(machine.host, 0, 4, buffer), E_HANDLE);
    machine_enable(&machine, 0x2); /* no bus master */
    GIVES(HdvReadGuestMemory(device, 0, 4, buffer), E_ACCESSDENIED);
    GIVES(HdvWriteGuestMemory(device, 0, 4, buffer), E_ACCESSDENIED);
    machine_close(&machine);
}

TEST(an_aperture_is_the_guests_memory_itself) {
    struct machine machine;
    PVOID address = NULL;
    BYTE in[4];
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(HdvCreateGuestMemoryAperture(machine.device.handle, 0x12345, 0x2000, FALSE, &address), S_OK);
    NEED(address);
    GIVES(hdvlab_guest_ram_write(machine.system, 0x12345, 4, "live"), S_OK);
    CHECK(!memcmp(address, "live", 4));
    memcpy((char *)address + 0x1FFC, "back", 4);
    GIVES(hdvlab_guest_ram_read(machine.system, 0x12345 + 0x1FFC, 4, in), S_OK);
    CHECK(!memcmp(in, "back", 4));
    GIVES(HdvDestroyGuestMemoryAperture(machine.device.handle, address), S_OK);
    machine_close(&machine);
}

TEST(apertures_may_overlap_and_show_each_others_writes) {
    struct machine machine;
    PVOID first = NULL, second = NULL;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(HdvCreateGuestMemoryAperture(machine.device.handle, 0x1000, PAGE, FALSE, &first), S_OK);
    GIVES(HdvCreateGuestMemoryAperture(machine.device.handle, 0x1800, PAGE, TRUE, &second), S_OK);
    NEED(first && second && first != second);
    *((volatile BYTE *)first + 0x800) = 0x5A;
    EQUAL(*(volatile BYTE *)second, 0x5A);
    GIVES(HdvDestroyGuestMemoryAperture(machine.device.handle, first), S_OK);
    GIVES(HdvDestroyGuestMemoryAperture(machine.device.handle, second), S_OK);
    machine_close(&machine);
}

TEST(an_aperture_is_destroyed_by_its_exact_address_and_once) {
    struct machine machine;
    PVOID address = NULL;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    HDV_DEVICE device = machine.device.handle;
    GIVES(HdvCreateGuestMemoryAperture(device, 0x1000, PAGE, FALSE, &address), S_OK);
    NEED(address);
    GIVES(HdvDestroyGuestMemoryAperture(device, (char *)address + 1), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    GIVES(HdvDestroyGuestMemoryAperture(device, NULL), E_POINTER);
    GIVES(HdvDestroyGuestMemoryAperture(NULL, address), E_HANDLE);
    GIVES(HdvDestroyGuestMemoryAperture(device, address), S_OK);
    GIVES(HdvDestroyGuestMemoryAperture(device, address), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    machine_close(&machine);
}

TEST(an_aperture_needs_memory_behind_all_of_it) {
    struct machine machine;
    PVOID address = NULL;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    HDV_DEVICE device = machine.device.handle;
    GIVES(HdvCreateGuestMemoryAperture(device, 0, 0, FALSE, &address), E_INVALIDARG);
    GIVES(HdvCreateGuestMemoryAperture(device, 0, PAGE, FALSE, NULL), E_POINTER);
    GIVES(HdvCreateGuestMemoryAperture(NULL, 0, PAGE, FALSE, &address), E_HANDLE);
    GIVES(HdvCreateGuestMemoryAperture(device, RAM_BYTES - 1, 2, FALSE, &address), HRESULT_FROM_WIN32(ERROR_NOACCESS));
    GIVES(HdvCreateGuestMemoryAperture(device, UINT64_MAX, 2, FALSE, &address),
          HRESULT_FROM_WIN32(ERROR_ARITHMETIC_OVERFLOW));
    machine_enable(&machine, 0x2);
    GIVES(HdvCreateGuestMemoryAperture(device, 0, PAGE, FALSE, &address), E_ACCESSDENIED);
    CHECK(!address);
    machine_close(&machine);
}

TEST(the_number_of_apertures_has_a_limit) {
    struct machine machine;
    PVOID address = NULL;
    UINT32 count = 0;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    HRESULT hr;
    while ((hr = HdvCreateGuestMemoryAperture(machine.device.handle, 0, PAGE, FALSE, &address)) == S_OK && count < 100000)
        count++;
    GIVES(hr, HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA));
    EQUAL(count, 1024);
    GIVES(HdvDestroyGuestMemoryAperture(machine.device.handle, address), S_OK);
    GIVES(HdvCreateGuestMemoryAperture(machine.device.handle, 0, PAGE, FALSE, &address), S_OK);
    machine_close(&machine);
}
