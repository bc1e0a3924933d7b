"""blink: registers and fields. A device class is handed in."""

from __future__ import annotations

from hdvlab.checks import DeviceClass, Sheet, always, never, reads_as
from hdvlab.device import Device
from hdvlab.guest import Function, Guest
from hdvlab.registers import Bar, Register


class BlinkRegisters(Device):
    """What the sheet asks for, without behaviour."""

    vendor_id, device_id = 0x1234, 0x0B01

    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)}, doc="control")
        COUNT = Register(0x04, access="ro", doc="how often CTRL was written with EN set")
        LIMIT = Register(0x08, reset=0xFF, doc="where COUNT stops")
        STATUS = Register(0x0C, access="w1c", fields={"FULL": 0}, doc="FULL: COUNT has reached LIMIT")


sheet = Sheet(
    "blink",
    "Registers and fields",
    DeviceClass("Blink", like=BlinkRegisters),
    task="""
Its BAR 0 has 4096 bytes and four registers of 32 bits:

| offset | register | access | after power-on | what it is |
|---|---|---|---|---|
| 0x00 | CTRL | read, write | 0 | bit 0: EN; bits 1 to 4: RATE |
| 0x04 | COUNT | read only | 0 | how often CTRL was written with EN set |
| 0x08 | LIMIT | read, write | 0xff | COUNT stops there |
| 0x0c | STATUS | write 1 to clear | 0 | bit 0: FULL, set when COUNT reaches LIMIT |

Whoever writes CTRL with EN set lets COUNT go up by one, unless it is at LIMIT. When it gets there, FULL is set.
Vendor and device are 1234:0b01.
""",
)


@sheet.check(
    "values after power-on",
    reads_as("CTRL", 0),
    reads_as("COUNT", 0),
    reads_as("LIMIT", 0xFF),
    reads_as("STATUS", 0),
)
def power_on(guest: Guest, blink: Function) -> None:
    for register in blink.bar0:
        register.read()


@sheet.check(
    "it is found by its ids",
    always("value == 0x0b011234", where="read config+0x0"),
)
def ids(guest: Guest, blink: Function) -> None:
    blink.config_read(0)


@sheet.check("CTRL keeps what is written", reads_as("CTRL", 0x1E, 0x0A, 0x01), reads_as("CTRL.RATE", 15, 5, 0))
def keeps(guest: Guest, blink: Function) -> None:
    for value in (0x1E, 0x0A, 0x01):
        blink.bar0.CTRL.write(value)
        blink.bar0.CTRL.read()


@sheet.check(
    "COUNT counts writes with EN set",
    reads_as("COUNT", 1, 1, 2, 3, partial=True, points=2),
    points=2,
)
def counts(guest: Guest, blink: Function) -> None:
    for value in (1, 0x1E, 0x1F, 1):
        blink.bar0.CTRL.write(value)
        blink.bar0.COUNT.read()


@sheet.check("COUNT cannot be written", reads_as("COUNT", 0))
def read_only(guest: Guest, blink: Function) -> None:
    blink.bar0.COUNT.write(7)
    blink.bar0.COUNT.read()


@sheet.check(
    "COUNT stops at LIMIT, and FULL says so",
    reads_as("COUNT", 2, 2),
    reads_as("STATUS.FULL", 0, 1, 1, 0, text="FULL is set at LIMIT, and cleared by writing 1, not 0"),
    points=2,
)
def limit(guest: Guest, blink: Function) -> None:
    bar0 = blink.bar0
    bar0.LIMIT.write(2)
    bar0.CTRL.write(1)
    bar0.STATUS.read()
    bar0.CTRL.write(1)
    bar0.COUNT.read()
    bar0.STATUS.read()
    bar0.CTRL.write(1)
    bar0.COUNT.read()
    bar0.STATUS.write(0)
    bar0.STATUS.read()
    bar0.STATUS.write(1)
    bar0.STATUS.read()


@sheet.check(
    "one byte of CTRL may be written alone",
    reads_as("CTRL", 0x1C),
    reads_as("COUNT", 1),
    never("fault"),
)
def one_byte(guest: Guest, blink: Function) -> None:
    blink.bar0.write(0x00, 0x01, 1)
    blink.bar0.COUNT.read()
    blink.bar0.write(0x00, 0x1C, 1)
    blink.bar0.CTRL.read()


sheet.survives(seed=1, points=2)
