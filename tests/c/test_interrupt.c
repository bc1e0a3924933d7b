/* HdvDeliverGuestInterrupt. */
#include "machine.h"

#include <pthread.h>

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

struct waiting {
    struct machine *machine;
    HANDLE ready;
    HRESULT hr;
};

static void *wait_in_a_thread(void *argument) {
    struct waiting *waiting = argument;
    event_signal(waiting->ready);
    waiting->hr = wait_for(waiting->machine, 0x42, 10000000000);
    return NULL;
}

TEST(a_guest_that_waits_is_woken_by_its_interrupt_or_by_the_end_of_the_machine) {
    struct machine machine;
    struct waiting waiting = {&machine, event_make(), E_UNEXPECTED};
    pthread_t thread;
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    for (int round = 0; round < 2; round++) {
        NEED(!pthread_create(&thread, NULL, wait_in_a_thread, &waiting));
        CHECK(event_wait(waiting.ready));
        GIVES(round ? hdvlab_system_stop(machine.system)
                    : HdvDeliverGuestInterrupt(machine.device.handle, MESSAGE_ADDRESS, 0x42),
              S_OK);
        pthread_join(thread, NULL);
        GIVES(waiting.hr, round ? E_ABORT : S_OK);
    }
    machine_close(&machine);
    object_close(waiting.ready);
}
