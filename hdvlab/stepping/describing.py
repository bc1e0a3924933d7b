"""Names for the numbers of a held access."""

from __future__ import annotations

import contextlib

from hdvlab.errors import HdvError
from hdvlab.stepping.armed import Armed
from hdvlab.stepping.bench import Bench
from hdvlab.stepping.hit import AFTER, Access, Hit
from hdvlab.stepping.stop import Stop
from hdvlab.trace.schema import Origin


def describe_stop(access: Access, one: Armed | None, error: str, bench: Bench) -> Stop:
    """A stop with all that a person asks of it first."""
    slots = {slot.index: slot for slot in bench.slots()}  # not a generator: see Control._another
    slot = slots.get(access.device)
    hit = Hit(access, slot)
    stored = hit.stored
    file_line = _source(access, bench)
    is_after = access.phase == AFTER
    return Stop(
        ticket=access.ticket,
        breakpoint=0 if one is None else max(0, one.shown.number),
        reason="step" if one is None else one.shown.text,
        phase="after" if is_after else "before",
        row=access.row,
        kind=access.kind.name,
        origin=access.origin.name,
        device=hit.device,
        place=hit.place,
        action=hit.action,
        bar=access.bar,
        address=access.address,
        size=access.size,
        register="" if hit.register is None else hit.register.name,
        value=hit.value,
        fields=hit.describe(hit.value),
        stored=stored,
        stored_fields="" if stored is None else hit.describe(stored),
        status=access.status if is_after else 0,
        source=file_line[0],
        file=file_line[1],
        line=file_line[2],
        posted=access.origin is Origin.guest and bench.is_posted(access.kind),
        is_inside=access.is_inside,
        error=error,
        trace=bench.trace,
    )


def _source(access: Access, bench: Bench) -> tuple[str, str, int]:
    """The driver's line: of the access, or of the one in whose callback it is."""
    sources = bench.trace.tables.sources
    pc = access.pc
    if not pc and access.row >= 0:
        view = bench.trace.view()
        with contextlib.suppress(HdvError):
            cause = int(view.columns["cause"][view.position(access.row)])
            pc = int(view.columns["pc"][view.position(cause)]) if cause >= 0 else 0
    line = sources.get(pc)
    return ("", "", 0) if line is None else (str(line), line.file, line.line)
