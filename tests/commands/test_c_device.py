from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hdvlab import Lab, commands
from hdvlab.commands.parser import verb_parser
from hdvlab.commands.plugging import pluggable
from hdvlab.device import CannotPeekError, CompiledDevice
from hdvlab.device.compiler import CompileError
from hdvlab.errors import TraceError, UsageError
from hdvlab.lab import Plugged

from ..c_devices import BLINK, blink


def test_load_plugs_in_what_is_a_library_whatever_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "device.bin"
    shutil.copyfile(blink(), path)
    with Lab() as lab:
        one = commands.load(lab, str(path))
        assert isinstance(one, Plugged)
        assert (one.name, one.slot) == ("blink", 1)
        two = commands.load(lab, str(path), name="other", slot=4, config=["c=1"])
        assert isinstance(two, Plugged)
        assert (two.name, two.address, two.peek(0, 4, 4)) == ("other", "00:04.0", 2)


def test_load_compiles_a_source_and_headers_beside_it_are_found(tmp_path: Path) -> None:
    (tmp_path / "ids.h").write_text("#define MINE 1\n", "utf-8")
    path = tmp_path / "mine.c"
    path.write_text(f'#include "ids.h"\n#if MINE\n{BLINK}\n#endif\n', "utf-8")
    with Lab() as lab:
        assert repr(commands.load(lab, str(path))) == "<blink at 00:01.0, 1234:0001, on>"
    path.write_text("int x = ;\n", "utf-8")
    with Lab() as lab, pytest.raises(CompileError, match="mine.c:1:9: error"):
        commands.load(lab, str(path))


def test_load_still_reads_traces_and_says_what_options_are_for(tmp_path: Path) -> None:
    with Lab() as lab:
        lab.mark("here")
        commands.save(lab, str(tmp_path / "run"))
        assert len(commands.load(lab, str(tmp_path / "run"), name="one")) == 1
        with pytest.raises(UsageError, match=r"run is no compiled device \(ELF\); --slot is for devices"):
            commands.load(lab, str(tmp_path / "run"), slot=1)
        with pytest.raises(TraceError, match="there is no such file"):
            commands.load(lab, str(tmp_path / "nothing.so"))
        with pytest.raises(UsageError, match="--config fast: write key=value"):
            commands.load(lab, str(blink()), config=["fast"])


def test_accesses_of_all_kinds_go_to_a_c_device() -> None:
    with Lab() as lab:
        commands.load(lab, str(blink()))
        assert repr(commands.poke(lab, "CTRL.EN=1")) == "CTRL.EN: 0x0 → 0x1"
        assert repr(commands.poke(lab, "blink.CTRL.MODE=fast")) == "CTRL.MODE: 0x0 (slow) → 0x1 (fast)"
        assert commands.peek(lab, "COUNT") == 2
        assert commands.read(lab, "CTRL.RATE") == 0
        commands.write(lab, "CTRL.RATE", 3)
        assert repr(commands.read(lab, "CTRL")) == "0x107 (EN=1 RATE=3 MODE=fast)"
        assert "CTRL" in repr(commands.regs(lab))
        assert "blink" in repr(commands.status(lab))
        assert "1234:0001" in commands.lspci(lab)
        frame = commands.trace(lab, register="CTRL.RATE")
        assert set(frame["origin"]) == {"user"}
        commands.plot(lab, "waveform", registers=["CTRL", "COUNT"])
        commands.plot(lab, "timeline")


def test_what_cannot_be_looked_at_is_poked_all_the_same() -> None:
    with Lab() as lab:
        commands.load(lab, str(blink("-DNO_PEEK")))
        assert repr(commands.poke(lab, "CTRL=1")) == "CTRL: poked; what became of it cannot be looked at"
        assert commands.read(lab, "COUNT") == 1
        shown = repr(commands.regs(lab))
        assert "CTRL" in shown
        assert "<NA>" in shown
        assert "NA" in (commands.regs(lab)._repr_html_() or "")
        with pytest.raises(CannotPeekError, match="cannot be looked at without touching it"):
            commands.peek(lab, "CTRL")


def test_a_source_is_compiled_and_plugged_in_and_again_swapped() -> None:
    with Lab() as lab:
        one = commands.c(lab, BLINK, name="mine")
        one.bar0.CTRL.write(1)
        again = commands.c(lab, BLINK, name="mine", flags=["-DNO_PEEK"])
        assert [(p.name, p.slot) for p in lab] == [("mine", 1)]
        assert again.bar0.COUNT.read() == 0
        with pytest.raises(CompileError, match="mine.c:3:"):
            commands.c(lab, "\n\nint x", name="mine")
        assert lab["mine"] is again  # a cell that does not compile leaves the device that was there
        with pytest.raises(UsageError, match="there is no source"):
            commands.c(lab, "  \n")


def test_a_compiled_device_in_a_variable_is_pluggable() -> None:
    device = CompiledDevice(blink())
    with Lab() as lab:
        assert commands.plug(lab, "mine", namespace={"mine": device}).name == "mine"
    assert pluggable({"mine": device})[0] == "mine"


def test_compiler_flags_are_what_the_verb_does_not_know_itself() -> None:
    parsed = verb_parser("c", "cell").parse_words(["--name", "x", "-O3", "--cc", "gcc", "-DX=1", "-lm"])
    assert (parsed.name, parsed.cc, parsed.flags) == ("x", "gcc", ["-O3", "-DX=1", "-lm"])
    assert verb_parser("c", "cell").parse_words([]).flags == []
