"""A device derived from a device: what it keeps, overrides and replaces."""

from __future__ import annotations

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import RegisterError


class Parent(Device):
    vendor_id, device_id = 0x1234, 1

    class bar0(Bar):
        CTRL = Register(0x00)
        COUNT = Register(0x04)

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        self.bar0.COUNT += 1


def count_after_a_write(lab: Lab, device: type[Device]) -> int:
    plugged = lab.plug(device)
    plugged.bar0.CTRL.write(5)
    assert lab.faults == []
    return plugged.bar0.COUNT.read()


def test_a_subclass_keeps_its_parents_handlers(lab: Lab) -> None:
    class Child(Parent):
        device_id = 2

    assert count_after_a_write(lab, Child) == 1
    assert lab["child"].function is not None
    assert lab["child"].function.config_read(0) == 0x0002_1234


def test_a_subclass_overrides_a_handler_by_overriding_the_method(lab: Lab) -> None:
    class Child(Parent):
        def ctrl(self, value: int) -> None:
            super().ctrl(value)
            self.bar0.COUNT += 100

    assert count_after_a_write(lab, Child) == 101


def test_an_overriding_method_may_also_take_the_old_value(lab: Lab) -> None:
    class Child(Parent):
        def ctrl(self, value: int, old: int) -> None:
            self.bar0.COUNT = value + old + 10

    assert count_after_a_write(lab, Child) == 15


def test_an_override_that_cannot_handle_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(RegisterError, match=r"Child\.ctrl takes self and 1 or 2 more arguments, not 0"):

        class Child(Parent):
            def ctrl(self) -> None:
                pass

    with pytest.raises(RegisterError, match=r"Mute\.ctrl handles a register, but is None here"):

        class Mute(Parent):
            ctrl = None


def test_a_subclass_decorator_replaces_its_parents_handler(lab: Lab) -> None:
    class Child(Parent):
        @Parent.bar0.CTRL.on_write
        def other(self, value: int) -> None:
            self.bar0.COUNT = 77

    assert count_after_a_write(lab, Child) == 77


def test_a_subclass_that_extends_a_bar_keeps_the_handlers_of_the_old_registers(lab: Lab) -> None:
    class Child(Parent):
        class bar0(Parent.bar0, size=8192):
            MORE = Register(0x1000, reset=9)

    assert count_after_a_write(lab, Child) == 1
    assert lab["child"].bar0.MORE.read() == 9


def test_a_subclass_that_replaces_a_bar_overrides_its_handlers_too(lab: Lab) -> None:
    class Child(Parent):
        class bar0(Bar):
            CTRL = Register(0x00)
            COUNT = Register(0x08)

        @bar0.CTRL.on_write
        def ctrl(self, value: int) -> None:
            self.bar0.COUNT = value

    assert count_after_a_write(lab, Child) == 5


def test_a_subclass_that_replaces_a_bar_and_leaves_a_handler_behind_is_refused() -> None:
    with pytest.raises(RegisterError, match=r"Child\.ctrl handles .*; a subclass that replaces a BAR"):

        class Child(Parent):
            class bar0(Bar):
                CTRL = Register(0x00)


def test_one_bar_class_may_serve_two_bars_with_values_of_their_own(lab: Lab) -> None:
    class Child(Parent):
        bar1 = Parent.bar0

    plugged = lab.plug(Child)
    plugged.bar1.COUNT.write(3)
    plugged.bar0.CTRL.write(0)
    assert (plugged.bar0.COUNT.read(), plugged.bar1.COUNT.read()) == (1, 3)


def test_two_objects_of_a_class_share_nothing(lab: Lab) -> None:
    one, other = lab.plug(Parent, name="one"), lab.plug(Parent, name="other")
    one.bar0.CTRL.write(1)
    assert (one.bar0.COUNT.read(), other.bar0.COUNT.read()) == (1, 0)


def test_an_author_may_write_init_without_calling_ours(lab: Lab) -> None:
    class Child(Parent):
        def __init__(self, step: int) -> None:
            self.step = step

        def ctrl(self, value: int) -> None:
            self.bar0.COUNT += self.step

    plugged = lab.plug(Child(40))
    plugged.bar0.CTRL.write(0)
    assert plugged.bar0.COUNT.read() == 40
