/* The life of a device, from outside: a small device, the machine it is in, and the guest that drives it, written from the
 * headers and the reference page alone. Prints a line per step; exits with 1 at the first thing that is not as documented.
 *
 *     cc -std=c11 *.c $(hdvlab config --cflags --libs) -pthread -o life && ./life FOLDER
 *     x86_64-w64-mingw32-gcc -std=c11 *.c -I INCLUDE vmdevicehost.dll -static -pthread -o life.exe
 */
#include "driver.h"
#include "machine.h"

#include "check.h"

static const HDVLAB_ACCESS in_a_hurry = {0, HDVLAB_GUEST, 20};

static summer first, second;

/* Cold plug, use, pause, hot plug, an empty slot, shutdown. */
static void whole_life(const char *folder) {
    static const BYTE bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    HDVLAB_TRACE trace = NULL;
    HDVLAB_TRACE_STATE state;
    HCS_SYSTEM system, again;
    HCS_OPERATION change;
    HDV_HOST host = NULL;
    exit_news news;
    driver cold, hot;
    waiter waits;
    UINT64 value = 0, rows = 0;
    UINT32 dword = 0x11223344u, pending = 0;

    OK(hdvlab_trace_create(folder, 1u << 20, 4096, HDVLAB_CLOCK_AUTO, &trace));
    system = system_create(WIDE("life"), WIDE(MACHINE(SLOT(COLD_TEXT, "\"scale=3\""))), &news);
    OK(hdvlab_system_record(system, trace));
    step("a machine with a slot, and a trace");

    OK(HdvInitializeDeviceHost(system, &host));
    summer_make(&first, host, &COLD);
    GIVES(WIN32_CODE(ALREADY_EXISTS), HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &SUMMER_CLASS, &COLD, &summer_interface,
                                                              &second, &second.handle));
    step("a device host with an instance");

    OK(hcs(HcsStartComputeSystem, system, NULL, NULL));
    THAT(summer_step(&first) == STARTED);
    OK(hcs(HcsGetComputeSystemProperties, system, NULL, "Running"));
    GIVES(HCS_E_INVALID_STATE, hcs(HcsStartComputeSystem, system, NULL, NULL));
    step("started: the device is on");

    driver_probe(&cold, system, &COLD, 0x41);
    step("the guest placed the BARs and programmed the MSI");

    store(&cold, cold.registers + REG_BELL, 4, 7);
    store(&cold, cold.registers + REG_BELL, 2, RING);
    THAT(load(&cold, cold.registers + REG_STRAY) == 2);
    /* nothing there: the device's code comes back, the guest sees all ones */
    GIVES(E_INVALIDARG, hdvlab_guest_write(system, &as_guest, cold.registers + REG_END, 4, 1));
    GIVES(E_INVALIDARG, hdvlab_guest_read(system, &as_guest, cold.registers + REG_END, 4, &value));
    THAT(value == 0xFFFFFFFFu);
    THAT(load(&cold, cold.page + 0x20) == 0x20);
    step("registers, and writes that ring nothing");

    THAT(driver_sum(&cold, 0x100000, 0x200000, bytes, sizeof bytes) == 55 * 3);
    THAT(load(&cold, cold.registers + REG_JOBS) == 1);
    GIVES(WIN32_CODE(TIMEOUT), hdvlab_guest_wait_interrupt(system, cold.vector, 1, &pending));
    step("a ring, a copy in, a copy out, an interrupt");

    store(&cold, cold.registers + REG_WINDOW, 4, 1);
    OK(hdvlab_guest_ram_write(system, 0x100000, sizeof dword, &dword));
    store(&cold, cold.registers + REG_WINDOW, 4, 2);
    THAT(load(&cold, cold.registers + REG_SUM) == dword);
    store(&cold, cold.registers + REG_WINDOW, 4, 0);
    step("an aperture shows what the guest wrote meanwhile");

    lock(&first.lock);
    UINT32 reads_before = first.page_reads;
    unlock(&first.lock);
    THAT(load(&cold, cold.page + PAGE) == 1); /* jobs, which the device's thread left there */
    store(&cold, cold.page + PAGE + 8, 4, 0xCAFE);
    lock(&first.lock);
    THAT(first.page_reads == reads_before && first.shared[2] == 0xCAFE);
    unlock(&first.lock);
    step("a page of memory, shared without callbacks");

    OK(hcs(HcsPauseComputeSystem, system, NULL, NULL));
    GIVES(WIN32_CODE(BUSY), hdvlab_guest_read(system, &in_a_hurry, cold.registers, 4, &value));
    THAT(value == 0xFFFFFFFFu);
    waiter_start(&waits, &cold, LOADS);
    THAT(!event_wait(waits.done, 50));
    OK(hcs(HcsGetComputeSystemProperties, system, NULL, "Paused"));
    OK(hcs(HcsResumeComputeSystem, system, NULL, NULL));
    THAT(event_wait(waits.done, PATIENCE_MS));
    THAT(waits.value == IDENTITY);
    waiter_end(&waits);
    THAT(summer_step(&first) == STARTED);
    step("paused, an access waited, resumed");

    change = operation();
    OK(HcsModifyComputeSystem(system, change, WIDE(ADD(EMPTY_TEXT, "")), NULL));
    GIVES(E_UNEXPECTED, finished(change, EMPTY_TEXT));
    GIVES(WIN32_CODE(NOT_FOUND), hdvlab_system_slot(system, &EMPTY, &hot.slot));
    THAT(load(&cold, cold.registers + REG_IDENTITY) == IDENTITY);
    step("a hot plug without a device fails, the machine goes on");

    summer_make(&second, host, &HOT);
    change = operation();
    OK(HcsModifyComputeSystem(system, change, WIDE(ADD(HOT_TEXT, "\"scale=5\"")), NULL));
    OK(finished(change, NULL));
    THAT(summer_step(&second) == STARTED);
    driver_probe(&hot, system, &HOT, 0x42);
    THAT(hot.slot != cold.slot && hot.registers != cold.registers && hot.page != cold.page);
    THAT(driver_sum(&hot, 0x300000, 0x400000, bytes, sizeof bytes) == 55 * 5);
    THAT(driver_sum(&cold, 0x100000, 0x200000, bytes, 4) == 10 * 3);
    step("a second device, plugged into the running machine");

    config_set(&cold, 0x04, 2, 2); /* no bus master */
    GIVES(E_ACCESSDENIED, HdvReadGuestMemory(first.handle, 0, 4, (BYTE *)&dword));
    GIVES(E_ACCESSDENIED, HdvDeliverGuestInterrupt(first.handle, 0xFEE00000u, 0x41));
    config_set(&cold, 0x04, 2, 6);
    GIVES(WIN32_CODE(NOACCESS), HdvReadGuestMemory(first.handle, (64u << 20) - 2, 4, (BYTE *)&dword));
    GIVES(WIN32_CODE(NOACCESS), HdvDeliverGuestInterrupt(first.handle, 0x1000, 0x41));
    OK(HdvReadGuestMemory(first.handle, 0x100000, 0, (BYTE *)&dword));
    step("what a device may not do gives its code");

    OK(hcs(HcsShutDownComputeSystem, system, NULL, NULL));
    THAT(event_wait(news.arrived, PATIENCE_MS));
    THAT(news.graceful && !news.forced);
    THAT(summer_step(&first) == GONE && summer_step(&second) == GONE);
    GIVES(HCS_E_SYSTEM_ALREADY_STOPPED, hcs(HcsTerminateComputeSystem, system, NULL, NULL));
    GIVES(HCS_E_SYSTEM_NOT_FOUND, HcsOpenComputeSystem(WIDE("life"), GENERIC_ALL, &again));
    GIVES(WIN32_CODE(NOACCESS), hdvlab_guest_read(system, &as_guest, cold.registers, 4, &value));
    THAT(value == 0xFFFFFFFFu);
    GIVES(WIN32_CODE(INVALID_STATE), HdvReadGuestMemory(first.handle, 0, 4, (BYTE *)&dword));
    step("shut down in good order");

    OK(HdvTeardownDeviceHost(host));
    GIVES(E_HANDLE, HdvTeardownDeviceHost(host));
    GIVES(E_HANDLE, HdvReadGuestMemory(first.handle, 0, 4, (BYTE *)&dword));
    system_close(system, &news);
    step("the host torn down, the machine closed");

    OK(hdvlab_trace_finish(trace));
    OK(hdvlab_trace_state(trace, &state));
    OK(hdvlab_trace_committed(trace, 0, &rows));
    THAT(rows > 0 && rows == state.reserved && state.lost == 0 && state.stopped == S_OK && state.closed == 1);
    OK(hdvlab_trace_close(trace));
    printf("the trace has %lu rows\n", (unsigned long)rows);
}

/* A slot that nobody has an instance for, and one that somebody has: the start fails, and all is torn down. */
static void slot_without_device(void) {
    exit_news news;
    HDV_HOST host = NULL;
    HCS_SYSTEM system =
        system_create(WIDE("empty"), WIDE(MACHINE(SLOT(COLD_TEXT, "") ", " SLOT(EMPTY_TEXT, ""))), &news);
    OK(HdvInitializeDeviceHost(system, &host));
    summer_make(&first, host, &COLD);
    GIVES(E_UNEXPECTED, hcs(HcsStartComputeSystem, system, NULL, EMPTY_TEXT));
    GIVES(HCS_E_SYSTEM_ALREADY_STOPPED, hcs(HcsTerminateComputeSystem, system, NULL, NULL));
    THAT(summer_step(&first) == GONE && first.last == DESCRIBED); /* powered on before the slot was found empty */
    OK(HdvTeardownDeviceHost(host));
    THAT(event_wait(news.arrived, PATIENCE_MS)); /* UnexpectedExit */
    THAT(!news.graceful && !news.forced);
    system_close(system, &news);
    step("a slot without a device fails the start");
}

/* The device refuses: its own code is the result. */
static void device_that_refuses(void) {
    exit_news news;
    HDV_HOST host = NULL;
    HCS_SYSTEM system = system_create(WIDE("refused"), WIDE(MACHINE(SLOT(COLD_TEXT, "\"colour=red\""))), &news);
    OK(HdvInitializeDeviceHost(system, &host));
    summer_make(&first, host, &COLD);
    GIVES(E_INVALIDARG, hcs(HcsStartComputeSystem, system, NULL, NULL));
    THAT(summer_step(&first) == GONE && first.last == CONFIGURED);
    OK(HdvTeardownDeviceHost(host));
    system_close(system, &news);
    step("a device that refuses its configuration fails the start");
}

/* A document with a slip is refused at once, and the field is named. */
static void wrong_document(void) {
    HCS_SYSTEM system = NULL;
    HCS_OPERATION creation = operation();
    PWSTR document = NULL;
    GIVES(HCS_E_INVALID_JSON, HcsCreateComputeSystem(WIDE("slip"), WIDE("{\"VirtualMachine\": {\"Devises\": {}}}"),
                                                     creation, NULL, &system));
    GIVES(HCS_E_INVALID_JSON, HcsGetOperationResult(creation, &document));
    THAT(contains(document, "VirtualMachine.Devises"));
    LocalFree(document);
    HcsCloseOperation(creation);
    step("a slip in the document is named");
}

/* Power cut while a guest waits. */
static void terminated(void) {
    exit_news news;
    HDV_HOST host = NULL;
    driver cold;
    waiter waits;
    HCS_SYSTEM system = system_create(WIDE("cut"), WIDE(MACHINE(SLOT(COLD_TEXT, ""))), &news);
    OK(HdvInitializeDeviceHost(system, &host));
    summer_make(&first, host, &COLD);
    OK(hcs(HcsStartComputeSystem, system, NULL, NULL));
    driver_probe(&cold, system, &COLD, 0x50);
    waiter_start(&waits, &cold, WAITS_FOR_INTERRUPT);
    OK(hcs(HcsTerminateComputeSystem, system, NULL, NULL));
    THAT(event_wait(news.arrived, PATIENCE_MS));
    THAT(news.forced && !news.graceful);
    waiter_end(&waits);
    GIVES(E_ABORT, waits.result);
    THAT(summer_step(&first) == GONE);
    OK(HdvTeardownDeviceHost(host));
    system_close(system, &news);
    step("terminated: the guest that waited is let go");
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: life FOLDER    (records its trace there; the folder must not exist)\n");
        return 2;
    }
    whole_life(arguments[1]);
    slot_without_device();
    device_that_refuses();
    wrong_document();
    terminated();
    nothing_is_left();
    return 0;
}
