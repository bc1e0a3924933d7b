#include "driver.h"

#include "check.h"

const HDVLAB_ACCESS as_guest = {0, HDVLAB_GUEST, 0};

static UINT32 config_get(driver *it, UINT32 offset, UINT32 size) {
    UINT32 value = 0;
    OK(hdvlab_guest_config_read(it->system, &as_guest, it->slot, offset, size, &value));
    return value;
}

void config_set(driver *it, UINT32 offset, UINT32 size, UINT32 value) {
    OK(hdvlab_guest_config_write(it->system, &as_guest, it->slot, offset, size, value));
}

UINT32 load(driver *it, UINT64 address) {
    UINT64 value = 0;
    OK(hdvlab_guest_read(it->system, &as_guest, address, 4, &value));
    return (UINT32)value;
}

void store(driver *it, UINT64 address, UINT32 size, UINT64 value) {
    OK(hdvlab_guest_write(it->system, &as_guest, address, size, value));
}

void driver_probe(driver *it, HCS_SYSTEM system, const GUID *instance, UINT8 vector) {
    UINT64 bars[HDV_PCI_BAR_COUNT];
    UINT32 capability;
    it->system = system;
    it->vector = vector;
    OK(hdvlab_system_slot(system, instance, &it->slot));
    THAT(config_get(it, 0x00, 4) == 0x00015C1Du);
    THAT(config_get(it, 0x0B, 1) == 0xFF);
    OK(hdvlab_guest_place_bars(system, it->slot, bars));
    THAT(bars[0] != 0 && bars[0] % PAGE == 0 && bars[2] != 0 && bars[2] % (2 * PAGE) == 0);
    THAT(bars[1] == 0 && bars[3] == 0 && bars[4] == 0 && bars[5] == 0);
    it->registers = bars[0];
    it->page = bars[2];
    THAT((config_get(it, 0x04, 2) & 6) == 6); /* memory decode, bus master */
    THAT(config_get(it, 0x06, 2) & 0x10);
    capability = config_get(it, 0x34, 1);
    THAT(config_get(it, capability, 1) == 0x05);
    config_set(it, capability + 4, 4, 0xFEE00000u);
    config_set(it, capability + 8, 4, 0);
    config_set(it, capability + 12, 2, vector);
    config_set(it, capability + 2, 2, config_get(it, capability + 2, 2) | 1);
    THAT(load(it, it->registers + REG_IDENTITY) == IDENTITY);
}

THREAD(guest_waits_for_interrupt, argument) {
    waiter *it = (waiter *)argument;
    event_set(it->begun);
    it->result = hdvlab_guest_wait_interrupt(it->of->system, it->of->vector, PATIENCE_MS * 1000000ll, &it->value);
    event_set(it->done);
    return 0;
}

THREAD(guest_loads, argument) {
    waiter *it = (waiter *)argument;
    event_set(it->begun);
    it->value = load(it->of, it->of->registers + REG_IDENTITY);
    event_set(it->done);
    return 0;
}

void waiter_start(waiter *it, driver *of, int what) {
    it->of = of;
    it->result = E_PENDING;
    it->value = 0;
    it->begun = event_create();
    it->done = event_create();
    thread_start(&it->thread, what == LOADS ? guest_loads : guest_waits_for_interrupt, it);
    THAT(event_wait(it->begun, PATIENCE_MS));
}

void waiter_end(waiter *it) {
    thread_join(it->thread);
    event_close(it->begun);
    event_close(it->done);
}

UINT32 driver_sum(driver *it, UINT64 source, UINT64 target, const void *bytes, UINT32 length) {
    waiter waits;
    UINT32 sum = 0;
    OK(hdvlab_guest_ram_write(it->system, source, length, bytes));
    store(it, it->registers + REG_SOURCE, 8, source);
    store(it, it->registers + REG_TARGET, 8, target);
    store(it, it->registers + REG_LENGTH, 4, length);
    waiter_start(&waits, it, WAITS_FOR_INTERRUPT);
    store(it, it->registers + REG_BELL, 4, RING);
    waiter_end(&waits);
    OK(waits.result);
    THAT(waits.value == 0); /* no more of them */
    OK(hdvlab_guest_ram_read(it->system, target, sizeof sum, &sum));
    THAT(sum == load(it, it->registers + REG_SUM));
    return sum;
}
