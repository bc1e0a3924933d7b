"""A device class that contradicts itself is refused when it is made, with a message that says where."""

from __future__ import annotations

from typing import Any

import pytest

from hdvlab import Bar, Device, MsiCapability, MsixCapability, Register
from hdvlab.errors import RegisterError, StateError


class bar_with_ctrl(Bar):
    CTRL = Register(0)
    STATUS = Register(4)


def device(**body: Any) -> type[Device]:
    """Make a class ``Blink(Device)`` of this body."""
    return type("Blink", (Device,), {"vendor_id": 0x1234, "device_id": 1, **body})


@pytest.mark.parametrize("name", ["vendor_id", "device_id"])
def test_a_device_without_its_ids_is_refused_with_an_example(name: str) -> None:
    other = "device_id" if name == "vendor_id" else "vendor_id"
    with pytest.raises(RegisterError, match=f"Blink needs {name}, a number of 16 bits: {name} = 0x1234"):
        type("Blink", (Device,), {other: 1})
    with pytest.raises(RegisterError, match=f"Blink needs {name}"):
        device(**{name: "0x1234"})


@pytest.mark.parametrize(
    ("name", "width"),
    [("vendor_id", 16), ("device_id", 16), ("sub_vendor_id", 16), ("sub_system_id", 16), ("revision_id", 8),
     ("prog_if", 8), ("sub_class", 8), ("base_class", 8)],
)  # fmt: skip
def test_an_id_that_is_too_wide_is_refused_with_width_and_value(name: str, width: int) -> None:
    with pytest.raises(RegisterError, match=rf"Blink\.{name} is {width} bits wide; {1 << width:#x} does not fit"):
        device(**{name: 1 << width})
    with pytest.raises(RegisterError, match=rf"Blink\.{name} is {width} bits wide; -0x1 does not fit"):
        device(**{name: -1})


def test_the_vendor_id_that_means_no_device_is_refused() -> None:
    with pytest.raises(RegisterError, match="vendor_id is 0xffff, which says that no device is there"):
        device(vendor_id=0xFFFF)


@pytest.mark.parametrize("name", ["bar6", "bar10", "regs", "BAR0", "bar"])
def test_a_bar_under_another_name_than_bar0_to_bar5_is_refused(name: str) -> None:
    with pytest.raises(RegisterError, match=rf"Blink\.{name}: a BAR is called bar0 to bar5"):
        device(**{name: bar_with_ctrl})


def test_a_bar_that_is_no_bar_class_is_refused() -> None:
    class plain:
        CTRL = Register(0)

    with pytest.raises(RegisterError, match=r"Blink\.bar0 is to be a class derived from Bar"):
        device(bar0=plain)


def test_a_64_bit_bar_takes_the_next_ones_place() -> None:
    class wide(Bar, bits=64):
        pass

    with pytest.raises(RegisterError, match="bar2 is 64 bits wide and takes bar3's place"):
        device(bar2=wide, bar3=bar_with_ctrl)
    with pytest.raises(RegisterError, match="bar5 is 64 bits wide and there is no bar6"):
        device(bar5=wide)
    assert sorted(device(bar0=wide, bar2=wide, bar4=wide).description.bars) == [0, 2, 4]


@pytest.mark.parametrize("given", [MsiCapability(), 3, "msi", (3,), (None,)])
def test_capabilities_that_are_no_tuple_of_capabilities_are_refused(given: Any) -> None:
    with pytest.raises(RegisterError, match=r"Blink\.capabilities is a tuple"):
        device(capabilities=given)


def test_two_capabilities_of_a_kind_that_there_is_once_are_refused() -> None:
    with pytest.raises(RegisterError, match="2 capabilities with ID 0x05"):
        device(capabilities=(MsiCapability(), MsiCapability(vectors=2)))


def test_an_msix_table_outside_its_bar_is_refused_with_both_sizes() -> None:
    with pytest.raises(RegisterError, match="MSI-X table end at 0x8000 of BAR0, which has 0x1000 bytes"):
        device(bar0=bar_with_ctrl, capabilities=(MsixCapability(2048),))
    with pytest.raises(RegisterError, match="MSI-X table end at 0x20 of BAR2, which has 0x0 bytes"):
        device(bar0=bar_with_ctrl, capabilities=(MsixCapability(2, table_bar=2),))


def test_a_register_over_the_msix_table_is_refused_with_both_places() -> None:
    """hdvlab serves the table; a register there would take the driver's writes and no interrupt would ever come."""
    with pytest.raises(RegisterError, match="CTRL at 0x0 of bar0 lies in the MSI-X table, 0x0 to 0x1f"):
        device(bar0=bar_with_ctrl, capabilities=(MsixCapability(2),))
    with pytest.raises(RegisterError, match="STATUS at 0x4 of bar0 lies in the MSI-X pending bits, 0x0 to 0x7"):
        device(bar0=type(Bar)("bar0", (Bar,), {"STATUS": Register(4)}), bar2=type(Bar)("bar2", (Bar,), {}),
               capabilities=(MsixCapability(2, table_bar=2, pba_bar=0, pba_offset=0),))  # fmt: skip
    assert device(bar0=bar_with_ctrl, capabilities=(MsixCapability(2, table_offset=0x800),))


def handler(*parameters: str, before: str = "", body: str = "pass") -> Any:
    """A function of these parameters."""
    namespace: dict[str, Any] = {}
    exec(f"{before}def handle({', '.join(parameters)}): {body}", namespace)
    return namespace["handle"]


@pytest.mark.parametrize(
    ("parameters", "kind", "wanted"),
    [
        (("self",), "write", "1 or 2 more arguments, not 0"),
        (("self", "a", "b", "c"), "write", "1 or 2 more arguments, not 3"),
        (("self", "a", "b"), "read", "0 or 1 more arguments, not 2"),
    ],
)
def test_a_handler_with_the_wrong_number_of_arguments_is_refused(
    parameters: tuple[str, ...], kind: str, wanted: str
) -> None:
    function = getattr(bar_with_ctrl.CTRL, f"on_{kind}")(handler(*parameters))
    with pytest.raises(RegisterError, match=rf"Blink\.ctrl takes self and {wanted}"):
        device(bar0=bar_with_ctrl, ctrl=function)


@pytest.mark.parametrize("last", ["*rest", "**rest", "*, flag", "*, flag=False"])
def test_a_handler_with_other_than_plain_arguments_is_refused(last: str) -> None:
    function = bar_with_ctrl.CTRL.on_write(handler("self", "value", last))
    with pytest.raises(RegisterError, match=r"Blink\.ctrl takes plain arguments only"):
        device(bar0=bar_with_ctrl, ctrl=function)


@pytest.mark.parametrize(("before", "body"), [("async ", "pass"), ("", "yield 1")])
def test_a_handler_that_would_only_make_a_coroutine_is_refused(before: str, body: str) -> None:
    function = bar_with_ctrl.CTRL.on_write(handler("self", "value", before=before, body=body))
    with pytest.raises(RegisterError, match=r"Blink\.ctrl is async or has a yield"):
        device(bar0=bar_with_ctrl, ctrl=function)


@pytest.mark.parametrize(("kind", "count"), [("read", 2), ("write", 3)])
def test_a_bar_handler_with_the_wrong_number_of_arguments_is_refused(kind: str, count: int) -> None:
    function = getattr(bar_with_ctrl, f"on_{kind}")(handler("self", "offset"))
    with pytest.raises(RegisterError, match=rf"Blink\.rest takes self and {count} more arguments, not 1"):
        device(bar0=bar_with_ctrl, rest=function)


def test_two_handlers_of_one_register_are_refused_with_both_names() -> None:
    one = bar_with_ctrl.CTRL.on_write(handler("self", "value"))
    other = bar_with_ctrl.CTRL.on_write(handler("self", "value"))
    with pytest.raises(RegisterError, match=r"Blink\.second and first both handle writes of CTRL"):
        device(bar0=bar_with_ctrl, first=one, second=other)


def test_two_handlers_of_one_bar_are_refused_with_both_names() -> None:
    one = bar_with_ctrl.on_read(handler("self", "offset", "size"))
    other = bar_with_ctrl.on_read(handler("self", "offset", "size"))
    with pytest.raises(RegisterError, match=r"second and first both handle reads of bar_with_ctrl"):
        device(bar0=bar_with_ctrl, first=one, second=other)


def test_a_handler_of_a_register_that_the_device_does_not_have_is_refused() -> None:
    with pytest.raises(RegisterError, match=r"Blink\.ctrl handles <Register ELSE .*>, which is in none of"):
        device(bar0=bar_with_ctrl, ctrl=Register(8, name="ELSE").on_write(handler("self", "value")))


def test_device_itself_is_no_device() -> None:
    with pytest.raises(StateError, match="Device is to be subclassed"):
        Device()


def test_a_register_outside_a_bar_is_refused() -> None:
    with pytest.raises(RegisterError, match=r"Loose\.CTRL is in no BAR; put it into class bar0"):

        class Loose(Device):
            vendor_id, device_id = 0x1234, 0x0001
            CTRL = Register(0x00)


def test_a_handler_may_not_hide_what_a_device_has() -> None:
    with pytest.raises(RegisterError, match=r"Hiding\.interrupt hides Device\.interrupt"):

        class Hiding(Device):
            vendor_id, device_id = 0x1234, 0x0001

            class bar0(Bar, size=4096):
                CTRL = Register(0x00)

            @bar0.CTRL.on_write
            def interrupt(self, value: int) -> None: ...


def test_a_handler_without_self_is_refused() -> None:
    with pytest.raises(RegisterError, match=r"needs self: def ctrl\(self, \.\.\.\)"):

        class Selfless(Device):
            vendor_id, device_id = 0x1234, 0x0001

            class bar0(Bar, size=4096):
                CTRL = Register(0x00)

            @bar0.CTRL.on_read
            def ctrl() -> int:  # type: ignore[misc]
                return 0
