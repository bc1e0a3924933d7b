"""A lab sheet: what is to be written, how it is exercised, and what its behaviour has to be."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hdvlab.analysis.condition import Condition
from hdvlab.checks.property import Property, never
from hdvlab.device import Device
from hdvlab.errors import UsageError
from hdvlab.trace.tables import BarInfo

if TYPE_CHECKING:
    from hdvlab.guest import Function, Guest

#: What a check runs as the guest: ``exercise(guest, function)`` where a device is handed in, ``exercise(guest,
#: driver)`` where a driver is. What it returns is the evidence's value.
Exercise = Callable[..., Any]


@dataclass(frozen=True)
class DeviceClass:
    """A device is handed in: a class called ``name``, with the ids and registers of ``like``.

    ``like`` is a device class without behaviour. The sheet's exercises and properties speak of its registers; how the
    one handed in calls its own does not matter.
    """

    name: str
    like: type[Device]

    @property
    def what(self) -> str:
        """What to hand in, for people."""
        like = self.like
        return f"a device class {self.name} ({like.vendor_id:04x}:{like.device_id:04x})"


@dataclass(frozen=True)
class DriverFunction:
    """A driver is handed in: a function called ``name`` whose first argument is the guest; it drives ``device``."""

    name: str
    device: type[Device]

    @property
    def what(self) -> str:
        """What to hand in, for people."""
        return f"a function {self.name}(guest, ...) that drives {self.device.__name__}"


@dataclass(frozen=True)
class Check:
    """One exercise on a fresh lab, and its properties.

    ``device`` takes the place of the sheet's own device where a driver is handed in: one with a planted fault.
    """

    title: str
    exercise: Exercise
    properties: tuple[Property, ...]
    points: float = 1.0
    device: type[Device] | None = None
    seconds: float = 5.0
    needs: str = ""

    def shares(self) -> list[float]:
        """What each property is worth."""
        given = [one.points for one in self.properties]
        free = sum(points is None for points in given)
        rest = max(self.points - sum(points for points in given if points is not None), 0.0)
        return [rest / free if points is None else points for points in given]


@dataclass
class Sheet:
    """A lab sheet.

    ::

        sheet = Sheet("blink", "Registers and fields", DeviceClass("Blink", like=BlinkRegisters), task="...")

        @sheet.check("COUNT counts", reads_as("COUNT", 0, 1), never("fault"), points=2)
        def counts(guest, blink):
            blink.bar0.COUNT.read()
            blink.bar0.CTRL.write(1)
            blink.bar0.COUNT.read()

    Parameters
    ----------
    name : str
        For ``%hdv check NAME``.
    title : str
        One line.
    submit : DeviceClass or DriverFunction
        What is handed in.
    task : str
        What is to be done, in Markdown.
    """

    name: str
    title: str
    submit: DeviceClass | DriverFunction
    task: str = ""
    checks: list[Check] = field(default_factory=list)

    def check(
        self,
        title: str,
        *properties: Property,
        points: float = 1.0,
        device: type[Device] | None = None,
        seconds: float = 5.0,
        needs: str = "",
    ) -> Callable[[Exercise], Exercise]:
        """Decorator: the function is an exercise, judged by the properties.

        Parameters
        ----------
        title : str
            One line.
        *properties : Property
            What has to hold for its rows.
        points : float
            What the check is worth; shared evenly by the properties that say nothing else.
        device : class, optional
            For a driver: another device than the sheet's, one with a planted fault.
        seconds : float
            How long the exercise may take; what is not done then is stopped.
        needs : str
            A condition that some row has to meet, or nothing in this check counts: who returns the right bytes without
            having asked the device has shown nothing.

        Raises
        ------
        UsageError
            No property is given, ``needs`` is no condition, the properties' points are not those of the check, or a
            ``device`` is given where a device is handed in.
        """
        if needs:
            Condition(needs)
        given = sum(one.points for one in properties if one.points is not None)
        if not properties:
            raise UsageError(f"check {title!r} has no property; what is to hold?")
        if given > points or (given != points and all(one.points is not None for one in properties)):
            raise UsageError(f"check {title!r} is worth {points:g} points, but its properties {given:g}")
        if device is not None and isinstance(self.submit, DeviceClass):
            raise UsageError(f"check {title!r}: device= is for sheets where a driver is handed in")

        def add(exercise: Exercise) -> Exercise:
            self.checks.append(Check(title, exercise, properties, points, device, seconds, needs))
            return exercise

        return add

    def survives(self, seed: int, *, accesses: int = 300, points: float = 1.0, seconds: float = 5.0) -> None:
        """A check: the device answers so many accesses at random, wherever they go, and its code never fails.

        The same seed makes the same accesses.
        """
        properties = (
            never("fault", text="no error in the device's code"),
            never("mmio and status == E_UNEXPECTED", text="every access is answered by the device itself"),
        )

        def storm(guest: Guest, function: Function) -> None:
            dice = random.Random(seed)
            for _ in range(accesses):
                bar = function.bars[dice.choice(sorted(function.bars))]
                size = dice.choice((1, 2, 4, 4, 4, 8))
                places = [register.offset for register in bar.registers] or [0]
                near = min(dice.choice(places) + dice.choice((0, 0, 0, 1, 4)), bar.size - size)
                offset = near if dice.random() < 0.9 else dice.randrange(bar.size - size + 1)
                if dice.random() < 0.5:
                    bar.read(offset, size)
                else:
                    bar.write(offset, dice.choice((0, 1, (1 << 8 * size) - 1, dice.getrandbits(8 * size))), size)

        self.check(f"survives {accesses} accesses at random", *properties, points=points, seconds=seconds)(storm)

    @property
    def points(self) -> float:
        """What can be had."""
        return sum(one.points for one in self.checks)

    @property
    def device_name(self) -> str:
        """How the device is called in the lab and in the sheet's conditions."""
        of = self.submit
        return (of.name if isinstance(of, DeviceClass) else of.device.__name__).lower()

    @property
    def bars(self) -> dict[int, BarInfo]:
        """The registers that the sheet's conditions speak of."""
        of = self.submit
        described = (of.like if isinstance(of, DeviceClass) else of.device).description
        return {index: BarInfo(bar.bar_size, None, bar.map) for index, bar in described.bars.items()}

    def __repr__(self) -> str:
        points = f"{self.points:g} point{'' if self.points == 1 else 's'}"
        return f"{self.name}: {self.title} ({points})\nHand in {self.submit.what}.\n{self.task.strip()}".rstrip()

    def _repr_markdown_(self) -> str:
        return f"**{self.title}** ({self.points:g} points)\n\nHand in {self.submit.what}.\n\n{self.task.strip()}"
