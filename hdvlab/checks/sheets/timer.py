"""timer: interrupts. A device class is handed in."""

from __future__ import annotations

from hdvlab.checks import DeviceClass, Sheet, after, before, count, interrupts, never, order, reads_as, until, within
from hdvlab.device import Device
from hdvlab.errors import GuestTimeoutError
from hdvlab.guest import Function, Guest
from hdvlab.registers import Bar, Register


class TimerRegisters(Device):
    """What the sheet asks for, without behaviour."""

    vendor_id, device_id = 0x1234, 0x0B02

    class bar0(Bar, size=4096):
        DELAY = Register(0x00, doc="microseconds from the start to the interrupt")
        CTRL = Register(0x04, fields={"EN": 0}, doc="EN: runs; writing 1 starts it, writing 0 stops it")
        STATUS = Register(0x08, access="w1c", fields={"EXPIRED": 0}, doc="EXPIRED: the time is over")


sheet = Sheet(
    "timer",
    "Interrupts",
    DeviceClass("Timer", like=TimerRegisters),
    task="""
A timer that goes off once. Its BAR 0 has 4096 bytes and three registers of 32 bits:

| offset | register | access | what it is |
|---|---|---|---|
| 0x00 | DELAY | read, write | microseconds |
| 0x04 | CTRL | read, write | bit 0: EN; writing 1 starts the timer, writing 0 stops it |
| 0x08 | STATUS | write 1 to clear | bit 0: EXPIRED |

DELAY after EN was written 1, EXPIRED is set, EN is cleared, and then there is one interrupt (MSI). A timer that is
stopped before is silent. Starting it while it runs begins the time anew. Vendor and device are 1234:0b02. `self.after`
is a way.
""",
)


def _start(guest: Guest, timer: Function, delay_us: int) -> None:
    guest.request_interrupts(timer)
    timer.bar0.DELAY.write(delay_us)
    timer.bar0.CTRL.write(1)


@sheet.check(
    "one start, one interrupt",
    interrupts(1),
    within("write CTRL.EN==1", "interrupt", "2s"),
    never("interrupt and not device", text="the interrupt is the device's own"),
    points=2,
)
def one_shot(guest: Guest, timer: Function) -> None:
    _start(guest, timer, 2_000)
    guest.wait_interrupt(timer, 2.0)
    guest.sleep(0.02)


@sheet.check(
    "not before its time",
    until("not interrupt", "mark", since="write CTRL.EN==1", text="no interrupt 20 ms after a start with 10 s"),
    reads_as("CTRL.EN", 1, text="EN is set while it runs"),
    reads_as("STATUS.EXPIRED", 0, text="EXPIRED is not set while it runs"),
)
def patient(guest: Guest, timer: Function) -> None:
    _start(guest, timer, 10_000_000)
    guest.sleep(0.02)
    timer.bar0.CTRL.read()
    timer.bar0.STATUS.read()
    timer.bar0.CTRL.write(0)


@sheet.check(
    "registers say what happened",
    order("write CTRL.EN==1", "interrupt", "read STATUS.EXPIRED==1", "read STATUS.EXPIRED==0"),
    reads_as("CTRL.EN", 0, text="EN is cleared when the time is over"),
    before("interrupt", "read STATUS.EXPIRED==1"),
    points=2,
)
def registers(guest: Guest, timer: Function) -> None:
    _start(guest, timer, 1_000)
    guest.wait_interrupt(timer, 2.0)
    timer.bar0.STATUS.read()
    timer.bar0.CTRL.read()
    timer.bar0.STATUS.write(1)
    timer.bar0.STATUS.read()


@sheet.check("a timer that was stopped is silent", interrupts(0), reads_as("STATUS.EXPIRED", 0))
def stopped(guest: Guest, timer: Function) -> None:
    _start(guest, timer, 50_000)
    timer.bar0.CTRL.write(0)
    guest.sleep(0.1)
    timer.bar0.STATUS.read()


@sheet.check(
    "starting again begins the time anew",
    interrupts(1),
    after("write DELAY==2000", "interrupt", text="the interrupt is that of the second start"),
)
def again(guest: Guest, timer: Function) -> None:
    _start(guest, timer, 10_000_000)
    timer.bar0.DELAY.write(2_000)
    timer.bar0.CTRL.write(1)
    guest.wait_interrupt(timer, 2.0)
    guest.sleep(0.02)


@sheet.check(
    "three starts, three interrupts",
    count("interrupt", 3, points=1.5),
    before("write CTRL.EN==1", "interrupt", each=True, points=0.5),
    points=2,
)
def three(guest: Guest, timer: Function) -> None:
    for number in range(3):
        if number == 0:
            _start(guest, timer, 1_000)
        else:
            timer.bar0.CTRL.write(1)
        try:
            guest.wait_interrupt(timer, 1.0)
        except GuestTimeoutError:
            break
        timer.bar0.STATUS.write(1)


sheet.survives(seed=2)
