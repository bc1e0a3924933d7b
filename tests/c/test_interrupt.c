/* HdvDeliverGuestInterrupt. */
#include "machine.h"

static HRESULT wait_for(struct machine *machine, uint8_t vector, int64_t timeout_ns) {
    uint32_t pending;
    return hdvlab_guest_wait_interrupt(machine->system, vector, timeout_ns, &pending);
}

TEST(an_interrupt_is_a_message_that_the_guest_finds_by_its_vector) {
    struct machine machine;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(HdvDeliverGuestInterrupt(machine.device.handle, MESSAGE_ADDRESS, 0x31), S_OK);
    GIVES(wait_for(&machine, 0x30, 0), HRESULT_FROM_WIN32(ERROR_TIMEOUT));
    GIVES(wait_for(&machine, 0x31, 0), S_OK);
    GIVES(wait_for(&machine, 0x31, 0), HRESULT_FROM_WIN32(ERROR_TIMEOUT));
    GIVES(wait_for(&machine, 0x31, 20000000), HRESULT_FROM_WIN32(ERROR_TIMEOUT));
    machine_close(&machine);
}

TEST(a_message_outside_of_the_interrupt_window_is_no_write_to_memory) {
    struct machine machine;
    BYTE in[4] = {9, 9, 9, 9};
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    HDV_DEVICE device = machine.device.handle;
    GIVES(HdvDeliverGuestInterrupt(device, 0x1000, 0xFFFFFFFF), HRESULT_FROM_WIN32(ERROR_NOACCESS));
    GIVES(HdvDeliverGuestInterrupt(device, 0xFEF00000, 0), HRESULT_FROM_WIN32(ERROR_NOACCESS));
    GIVES(HdvDeliverGuestInterrupt(device, MESSAGE_ADDRESS + 1, 0), HRESULT_FROM_WIN32(ERROR_NOACCESS));
    GIVES(hdvlab_guest_ram_read(machine.system, 0x1000, 4, in), S_OK);
    EQUAL(in[0] | in[1] | in[2] | in[3], 0);
    machine_close(&machine);
}

TEST(an_interrupt_needs_a_device_that_runs_and_bus_mastering) {
    struct machine machine;
    machine_open(&machine, NULL);
    HDV_DEVICE device = machine.device.handle;
    GIVES(HdvDeliverGuestInterrupt(NULL, MESSAGE_ADDRESS, 1), E_HANDLE);
    GIVES(HdvDeliverGuestInterrupt(device, MESSAGE_ADDRESS, 1), HRESULT_FROM_WIN32(ERROR_INVALID_STATE));
    GIVES(machine_start(&machine), S_OK);
    machine_enable(&machine, 0x2);
    GIVES(HdvDeliverGuestInterrupt(device, MESSAGE_ADDRESS, 1), E_ACCESSDENIED);
    GIVES(hdvlab_system_stop(machine.system), S_OK);
    GIVES(HdvDeliverGuestInterrupt(device, MESSAGE_ADDRESS, 1), HRESULT_FROM_WIN32(ERROR_INVALID_STATE));
    machine_close(&machine);
}
