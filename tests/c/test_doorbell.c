/* HdvRegisterDoorbell, HdvUnregisterDoorbell, HdvRegisterDoorbellPage, HdvUnregisterDoorbellPage. */
#include "machine.h"

#define ANY_VALUE ((UINT64)(INT64)HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE) /* with its sign extended, as compilers do */

static HRESULT ring(struct machine *machine, UINT64 offset, UINT64 value, UINT64 flags, HANDLE event) {
    return HdvRegisterDoorbell(machine->device.handle, HDV_PCI_BAR0, offset, value, flags, event);
}

static HRESULT unring(struct machine *machine, UINT64 offset, UINT64 value, UINT64 flags) {
    return HdvUnregisterDoorbell(machine->device.handle, HDV_PCI_BAR0, offset, value, flags);
}

TEST(a_write_that_matches_signals_the_event_and_goes_no_further) {
    struct machine machine;
    HANDLE event = event_make();
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(ring(&machine, 0x10, 7, HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD, event), S_OK);
    GIVES(guest_write(&machine, PLACE + 0x10, 4, 7), S_OK);
    CHECK(event_take(event));
    EQUAL(times(&machine.device, 'w'), 0);
    GIVES(guest_write(&machine, PLACE + 0x10, 4, 8), S_OK); /* another value, another size, another place */
    GIVES(guest_write(&machine, PLACE + 0x10, 2, 7), S_OK);
    GIVES(guest_write(&machine, PLACE + 0x14, 4, 7), S_OK);
    CHECK(!event_take(event));
    EQUAL(times(&machine.device, 'w'), 3);
    machine_close(&machine);
    object_close(event);
}

TEST(any_value_and_any_size_ring_for_all) {
    struct machine machine;
    HANDLE event = event_make();
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(ring(&machine, 0, 99, ANY_VALUE | HDV_DOORBELL_FLAG_TRIGGER_SIZE_ANY, event), S_OK);
    for (UINT32 size = 1; size <= 8; size *= 2) {
        GIVES(guest_write(&machine, PLACE, size, size), S_OK);
        CHECK(event_take(event));
    }
    EQUAL(times(&machine.device, 'w'), 0);
    GIVES(unring(&machine, 0, 0, 0x80000000), S_OK); /* the low 32 bits count, and no value */
    GIVES(guest_write(&machine, PLACE, 4, 1), S_OK);
    CHECK(!event_take(event));
    EQUAL(times(&machine.device, 'w'), 1);
    machine_close(&machine);
    object_close(event);
}

TEST(an_exact_value_rings_before_any_value) {
    struct machine machine;
    HANDLE exact = event_make(), any = event_make();
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(ring(&machine, 0, 0, ANY_VALUE, any), S_OK);
    GIVES(ring(&machine, 0, 5, 0, exact), S_OK);
    GIVES(guest_write(&machine, PLACE, 4, 5), S_OK);
    CHECK(event_take(exact) && !event_take(any));
    GIVES(guest_write(&machine, PLACE, 4, 6), S_OK);
    CHECK(!event_take(exact) && event_take(any));
    machine_close(&machine);
    object_close(exact);
    object_close(any);
}

TEST(the_library_has_its_own_copy_of_the_event) {
    struct machine machine;
    HANDLE event = event_make();
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(ring(&machine, 0, 0, ANY_VALUE, event), S_OK);
    object_close(event);
    GIVES(guest_write(&machine, PLACE, 4, 5), S_OK);
    GIVES(guest_write(&machine, PLACE, 4, 6), S_OK);
    EQUAL(times(&machine.device, 'w'), 0);
    machine_close(&machine);
}

TEST(a_doorbell_is_registered_once_and_unregistered_once) {
    struct machine machine;
    HANDLE event = event_make();
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(ring(&machine, 0, 1, 3, event), S_OK);
    GIVES(ring(&machine, 0, 1, 3, event), HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS));
    GIVES(ring(&machine, 0, 2, 3, event), S_OK);
    GIVES(unring(&machine, 0, 3, 3), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    GIVES(unring(&machine, 0, 1, 3), S_OK);
    GIVES(unring(&machine, 0, 1, 3), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    machine_close(&machine);
    object_close(event);
}

TEST(a_doorbell_needs_a_place_in_a_bar_a_size_and_an_event) {
    struct machine machine;
    HANDLE event = event_make(), section = section_make(PAGE);
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    HDV_DEVICE device = machine.device.handle;
    GIVES(HdvRegisterDoorbell(NULL, HDV_PCI_BAR0, 0, 0, 0, event), E_HANDLE);
    GIVES(HdvUnregisterDoorbell(NULL, HDV_PCI_BAR0, 0, 0, 0), E_HANDLE);
    GIVES(HdvRegisterDoorbell(device, (HDV_PCI_BAR_SELECTOR)6, 0, 0, 0, event), E_INVALIDARG);
    GIVES(HdvRegisterDoorbell(device, HDV_PCI_BAR1, 0, 0, 0, event), E_INVALIDARG);
    GIVES(ring(&machine, PAGE, 0, 0, event), E_INVALIDARG);
    GIVES(ring(&machine, PAGE - 3, 0, HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD, event), E_INVALIDARG);
    GIVES(ring(&machine, 0, 0, 5, event), E_INVALIDARG);
    GIVES(ring(&machine, 0, 0, 0, NULL), E_HANDLE);
    GIVES(ring(&machine, 0, 0, 0, (HANDLE)(intptr_t)0x7FFFFFF0), E_HANDLE);
    GIVES(ring(&machine, 0, 0, 0, section), E_HANDLE);
    machine_close(&machine);
    object_close(section);
    object_close(event);
}

TEST(an_event_that_is_signalled_already_holds_nobody_up) {
    struct machine machine;
    HANDLE event = event_make();
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    GIVES(ring(&machine, 0, 0, ANY_VALUE, event), S_OK);
    event_signal(event);
    for (int i = 0; i < 1000; i++)
        GIVES(guest_write(&machine, PLACE, 4, 1), S_OK);
    CHECK(event_take(event));
    CHECK(!event_take(event));
    machine_close(&machine);
    object_close(event);
}

TEST(a_doorbell_of_a_page_takes_every_write_to_it_that_no_other_takes) {
    struct machine machine;
    HANDLE page = event_make(), place = event_make();
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    HDV_DEVICE device = machine.device.handle;
    GIVES(HdvRegisterDoorbellPage(device, HDV_PCI_BAR0, 0, page), S_OK);
    GIVES(ring(&machine, 0x20, 7, 0, place), S_OK);
    for (UINT32 size = 1; size <= 8; size *= 2) {
        GIVES(guest_write(&machine, PLACE + PAGE - size, size, size), S_OK);
        CHECK(event_take(page) && !event_take(place));
    }
    GIVES(guest_write(&machine, PLACE + 0x20, 4, 7), S_OK);
    CHECK(event_take(place) && !event_take(page));
    GIVES(guest_write(&machine, PLACE + 0x20, 4, 8), S_OK);
    CHECK(event_take(page) && !event_take(place));
    EQUAL(times(&machine.device, 'w'), 0);
    GIVES(HdvUnregisterDoorbellPage(device, HDV_PCI_BAR0, 0), S_OK);
    GIVES(guest_write(&machine, PLACE, 4, 1), S_OK);
    EQUAL(times(&machine.device, 'w'), 1);
    CHECK(!event_take(page));
    machine_close(&machine);
    object_close(page);
    object_close(place);
}

TEST(a_page_has_one_doorbell_and_lies_in_its_bar) {
    struct machine machine;
    HANDLE event = event_make();
    machine_open(&machine, NULL);
    GIVES(machine_start(&machine), S_OK);
    HDV_DEVICE device = machine.device.handle;
    GIVES(HdvRegisterDoorbellPage(device, HDV_PCI_BAR0, 1, event), E_INVALIDARG);
    GIVES(HdvRegisterDoorbellPage(device, HDV_PCI_BAR0, UINT64_MAX, event), E_INVALIDARG);
    GIVES(HdvRegisterDoorbellPage(device, (HDV_PCI_BAR_SELECTOR)6, 0, event), E_INVALIDARG);
    GIVES(HdvRegisterDoorbellPage(device, HDV_PCI_BAR0, 0, event), S_OK);
    GIVES(HdvRegisterDoorbellPage(device, HDV_PCI_BAR0, 0, event), HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS));
    GIVES(HdvUnregisterDoorbellPage(device, HDV_PCI_BAR0, UINT64_MAX), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    GIVES(HdvUnregisterDoorbellPage(device, HDV_PCI_BAR0, 0), S_OK);
    GIVES(HdvUnregisterDoorbellPage(device, HDV_PCI_BAR0, 0), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    GIVES(HdvRegisterDoorbellPage(NULL, HDV_PCI_BAR0, 0, event), E_HANDLE);
    machine_close(&machine);
    object_close(event);
}
