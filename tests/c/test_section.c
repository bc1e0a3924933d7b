/* HdvCreateSectionBackedMmioRange, HdvDestroySectionBackedMmioRange. */
#include "machine.h"

#define BIG 16 /* pages of BAR 0 here */

struct sectioned {
    struct machine machine;
    HANDLE section;
    uint8_t *memory; /* our own view of it */
};

static void section_open(struct sectioned *s) {
    machine_open(&s->machine, NULL);
    s->machine.device.probed_bars[0] = ~(BIG * PAGE - 1);
    GIVES(machine_start(&s->machine), S_OK);
    s->section = section_make(BIG * PAGE);
    s->memory = section_map(s->section, BIG * PAGE);
}

static void section_close(struct sectioned *s) {
    machine_close(&s->machine);
    section_unmap(s->memory, BIG * PAGE);
    object_close(s->section);
}

static HRESULT back(struct sectioned *s, UINT64 offset, UINT64 pages, int flags, UINT64 section_offset) {
    return HdvCreateSectionBackedMmioRange(s->machine.device.handle, HDV_PCI_BAR0, offset, pages,
                                           (HDV_MMIO_MAPPING_FLAGS)flags, s->section, section_offset);
}

TEST(accesses_to_a_section_backed_range_go_to_memory) {
    struct sectioned s;
    section_open(&s);
    NEED(s.memory);
    GIVES(back(&s, 2, 3, HdvMmioMappingFlagWriteable, 1), S_OK);
    s.memory[1 * PAGE + 0x10] = 0x42;
    EQUAL(guest_read(&s.machine, PLACE + 2 * PAGE + 0x10, 1), 0x42);
    GIVES(guest_write(&s.machine, PLACE + 5 * PAGE - 8, 8, 0x1122334455667788), S_OK);
    EQUAL(s.memory[4 * PAGE - 8], 0x88);
    EQUAL(s.memory[4 * PAGE - 1], 0x11);
    EQUAL(times(&s.machine.device, 'r') + times(&s.machine.device, 'w'), 0);
    (void)guest_read(&s.machine, PLACE + PAGE, 4); /* beside it the device answers */
    EQUAL(times(&s.machine.device, 'r'), 1);
    section_close(&s);
}

TEST(a_range_that_is_not_writable_refuses_writes) {
    struct sectioned s;
    section_open(&s);
    NEED(s.memory);
    GIVES(back(&s, 0, 1, HdvMmioMappingFlagNone, 0), S_OK);
    s.memory[0] = 1;
    GIVES(guest_write(&s.machine, PLACE, 1, 2), E_ACCESSDENIED);
    EQUAL(s.memory[0], 1);
    EQUAL(guest_read(&s.machine, PLACE, 1), 1);
    section_close(&s);
}

TEST(a_destroyed_range_is_the_devices_again) {
    struct sectioned s;
    section_open(&s);
    HDV_DEVICE device = s.machine.device.handle;
    GIVES(back(&s, 1, 2, HdvMmioMappingFlagWriteable, 0), S_OK);
    GIVES(HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR0, 2), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    GIVES(HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR0, 1), S_OK);
    GIVES(HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR0, 1), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    s.machine.device.read = E_FAIL;
    (void)guest_read(&s.machine, PLACE + PAGE, 4);
    EQUAL(times(&s.machine.device, 'r'), 1);
    section_close(&s);
}

TEST(ranges_do_not_overlap) {
    struct sectioned s;
    section_open(&s);
    GIVES(back(&s, 4, 4, 0, 0), S_OK);
    GIVES(back(&s, 7, 1, 0, 0), HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS));
    GIVES(back(&s, 3, 2, 0, 0), HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS));
    GIVES(back(&s, 8, 1, 0, 0), S_OK);
    section_close(&s);
}

TEST(the_library_has_its_own_hold_on_the_section) {
    struct sectioned s;
    section_open(&s);
    NEED(s.memory);
    GIVES(back(&s, 0, 1, HdvMmioMappingFlagWriteable, 0), S_OK);
    s.memory[4] = 9;
    section_unmap(s.memory, BIG * PAGE);
    object_close(s.section);
    EQUAL(guest_read(&s.machine, PLACE + 4, 1), 9);
    machine_close(&s.machine);
}

TEST(a_range_needs_a_machine_that_runs) {
    struct machine machine;
    HANDLE section = section_make(PAGE);
    machine_open(&machine, NULL);
    GIVES(HdvCreateSectionBackedMmioRange(machine.device.handle, HDV_PCI_BAR0, 0, 1, HdvMmioMappingFlagNone, section, 0),
          HRESULT_FROM_WIN32(ERROR_INVALID_STATE));
    machine_close(&machine);
    object_close(section);
}

TEST(a_range_needs_pages_of_the_bar_and_of_the_section) {
    struct sectioned s;
    section_open(&s);
    HDV_DEVICE device = s.machine.device.handle;
    HANDLE event = event_make();
    GIVES(back(&s, 0, 0, 0, 0), E_INVALIDARG);
    GIVES(back(&s, 0, 1, 4, 0), E_INVALIDARG);
    GIVES(back(&s, BIG, 1, 0, 0), E_INVALIDARG);
    GIVES(back(&s, 1, BIG, 0, 0), E_INVALIDARG);
    GIVES(back(&s, UINT64_MAX, 2, 0, 0), E_INVALIDARG);
    GIVES(back(&s, 0, 2, 0, BIG - 1), E_INVALIDARG);
    GIVES(back(&s, 0, 1, 0, UINT64_MAX), E_INVALIDARG);
    GIVES(HdvCreateSectionBackedMmioRange(NULL, HDV_PCI_BAR0, 0, 1, HdvMmioMappingFlagNone, s.section, 0), E_HANDLE);
    GIVES(HdvCreateSectionBackedMmioRange(device, (HDV_PCI_BAR_SELECTOR)6, 0, 1, HdvMmioMappingFlagNone, s.section, 0),
          E_INVALIDARG);
    GIVES(HdvCreateSectionBackedMmioRange(device, HDV_PCI_BAR0, 0, 1, HdvMmioMappingFlagNone,
                                          (HANDLE)(intptr_t)0x7FFFFFF0, 0),
          E_HANDLE);
    CHECK(FAILED(HdvCreateSectionBackedMmioRange(device, HDV_PCI_BAR0, 0, 1, HdvMmioMappingFlagNone, event, 0)));
    GIVES(HdvDestroySectionBackedMmioRange(NULL, HDV_PCI_BAR0, 0), E_HANDLE);
    object_close(event);
    section_close(&s);
}
