"""The magics themselves: parse, call one command, return its object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from IPython.display import display

from hdvlab import commands
from hdvlab.commands.device_host import make_way
from hdvlab.commands.nearest import nearest
from hdvlab.commands.parser import BY_NAME, HelpWanted, help_text, verb_parser, verbs
from hdvlab.commands.plugging import look_up
from hdvlab.commands.text import Text
from hdvlab.errors import BackendUnavailableError, HdvError, UsageError
from hdvlab.magics.cell import Cell, bound
from hdvlab.magics.line import is_silenced, split, without_comment
from hdvlab.magics.mistake import in_one_line, in_own_frames, misspelt, warnings_in_one_line
from hdvlab.magics.skipping import skip_cells, stop_skipping

if TYPE_CHECKING:
    from hdvlab.guest import Guest
    from hdvlab.lab import AnyLab, Run

#: Verbs that look at the person's variables.
_WITH_NAMESPACE = ("plug", "trace", "plot", "save")


@magics_class
class HdvMagics(Magics):  # type: ignore[misc]  # IPython is not typed
    """``%hdv`` and ``%%hdv``."""

    @no_var_expand  # type: ignore[untyped-decorator]
    @needs_local_scope  # type: ignore[untyped-decorator]
    @line_cell_magic  # type: ignore[untyped-decorator]
    def hdv(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """See the end of this module: the text is the parser's."""
        namespace = {**self.shell.user_ns, **(local_ns or {})}
        text, silent = is_silenced(without_comment(line))
        try:
            words = split(text, namespace)
            result = self._cell(words, cell) if cell is not None else self._line(words, namespace)
        except HelpWanted as wanted:
            print(wanted.text)
            return None
        except (HdvError, KeyboardInterrupt) as error:
            if not hasattr(error, "_render_traceback_"):
                text = "" if isinstance(error, HdvError) else "stopped"
                in_one_line(error, text, has_colors=str(self.shell.colors).lower() != "nocolor")
            raise
        return None if silent else result

    # ---- %hdv --------------------------------------------------------------------------------------------------

    def _line(self, words: list[str], namespace: Mapping[str, Any]) -> Any:
        if not words:
            return commands.overview(commands.existing_lab())
        name, *rest = words
        if name == "help" and len(rest) == 1:  # of a verb
            name, rest = rest[0], ["--help"]
        if name in ("-h", "--help", "help"):
            raise HelpWanted(help_text())
        parser = verb_parser(name)
        options = vars(parser.parse_words(rest))
        if BY_NAME[name].cell and not BY_NAME[name].line:
            raise UsageError(f"{name} is about a cell: write %%hdv {name} in its first line")
        with warnings_in_one_line():
            try:
                if hasattr(self, f"_{name}"):
                    return getattr(self, f"_{name}")(namespace, **options)
                if name in _WITH_NAMESPACE:
                    options["namespace"] = namespace
                return getattr(commands, name)(commands.current_lab(), **options)
            finally:
                lab = commands.existing_lab()
                if lab is not None:
                    lab.warn_of_loss()

    def _about(self, namespace: Mapping[str, Any]) -> Any:
        return commands.about()

    def _status(self, namespace: Mapping[str, Any]) -> Any:
        return commands.status(commands.existing_lab())

    def _close(self, namespace: Mapping[str, Any]) -> Any:
        from hdvlab.host import RemoteLab

        lab = commands.existing_lab()
        if isinstance(lab, RemoteLab):
            return commands.detach()
        ended = ", and its VM has ended" if lab is not None and lab.vm_running else ""
        commands.close_lab()
        if lab is None:
            return Text("there is no lab")
        kept = f"are in {lab.trace.path}" if lab.trace.path.exists() else "are gone; %hdv save keeps some next time"
        return Text(f"closed{ended}; its {len(lab.trace):,} rows {kept}")

    def _start(self, namespace: Mapping[str, Any], ram: int | None, trace: str | None, clock: str | None) -> Any:
        if ram is not None or trace is not None or clock is not None:
            commands.new_lab(ram=ram, trace=trace, clock=clock or "auto")
        return commands.start(commands.current_lab())

    def _host(self, namespace: Mapping[str, Any], name: str, stop: bool, **options: Any) -> Any:
        if stop:
            return commands.host(name, stop=True)
        make_way()
        lab: Any = commands.host(name, **options)
        return commands.use_lab(lab)

    def _hosts(self, namespace: Mapping[str, Any]) -> Any:
        return commands.hosts()

    def _attach(self, namespace: Mapping[str, Any], name: str) -> Any:
        return commands.attach(name)

    def _detach(self, namespace: Mapping[str, Any]) -> Any:
        return commands.detach()

    def _lab(self, namespace: Mapping[str, Any], lab: str | None) -> AnyLab:
        if lab is None:
            return commands.current_lab()
        from hdvlab.host import RemoteLab
        from hdvlab.lab import Lab

        found = look_up(lab, namespace)
        if not isinstance(found, Lab | RemoteLab):
            labs = [name for name, value in namespace.items() if isinstance(value, Lab | RemoteLab)]
            known = [name for name in labs if name[0] != "_"]
            raise UsageError(f"{lab} is no Lab; {nearest(lab, known) if known else 'lab = hdvlab.Lab() makes one'}")
        return commands.use_lab(found)

    def _run(self, namespace: Mapping[str, Any], driver: str, **options: Any) -> Run:
        function, lab = commands.find_driver(driver, namespace), commands.current_lab()
        file = getattr(getattr(function, "__code__", None), "co_filename", "")
        return self._watched(lab, driver, file, lambda: commands.run(lab, function, namespace=namespace, **options))

    def _boot(self, namespace: Mapping[str, Any], or_skip: bool, **options: Any) -> Any:
        from hdvlab.systems.qemu.setup import TextBar

        stop_skipping(self.shell)
        try:
            return commands.boot(commands.existing_lab(), namespace=namespace, progress=TextBar(), **options)
        except BackendUnavailableError as error:
            if not or_skip:
                raise
            skip_cells(self.shell, "no VM")
            return Text(
                f"No VM can run here: {error.message}\n"
                "So the cells that follow are skipped, and say so. %hdv boot tries again; %unload_ext hdvlab ends it."
            )
        except KeyboardInterrupt as error:
            raise in_one_line(error, "stopped; no VM is on, %hdv boot starts anew") from None

    def _vm(self, namespace: Mapping[str, Any], action: str, words: list[str]) -> Any:
        return commands.vm(commands.existing_vm_lab(), action, words)

    def _sh(self, namespace: Mapping[str, Any], command: list[str], name: str, **options: Any) -> Any:
        return self._shell(" ".join(command), name, **options)

    def _shell(self, command: str, name: str, out: str | None, timeout: float | None) -> Any:
        lab = commands.existing_vm_lab()
        try:
            run = commands.sh(lab, command, name=name, timeout=timeout)
        except KeyboardInterrupt as error:
            raise in_one_line(error, "stopped, here and in the guest; the VM goes on") from None
        if out is not None:
            self.shell.user_ns[out] = run
        return run

    def _theme(self, namespace: Mapping[str, Any], name: str | None) -> Any:
        return commands.theme(name)

    def _check(self, namespace: Mapping[str, Any], sheet: str, name: str | None) -> Any:
        return commands.check(sheet, name, namespace=namespace)

    def _mark(self, namespace: Mapping[str, Any], text: list[str]) -> Any:
        return commands.mark(commands.current_lab(), " ".join(text))

    # ---- %%hdv -------------------------------------------------------------------------------------------------

    def _cell(self, words: list[str], body: str) -> Any:
        known = verbs("cell")
        if not words:
            raise UsageError(f"%%hdv needs a verb: {' or '.join(known)}")
        name, *rest = words
        if name in ("-h", "--help"):
            raise HelpWanted(help_text("cell"))
        if name not in known:
            is_line = name in BY_NAME and BY_NAME[name].magic is not None
            hint = f"write %hdv {name}, with one %" if is_line else nearest(name, known)
            raise UsageError(f"{name} takes no cell; {hint}" if is_line else f"no verb {name} for a cell; {hint}")
        options = verb_parser(name).parse_words(rest)
        if name == "c":
            # A line for the magic's own, so that the compiler counts as the notebook does.
            return commands.c(commands.current_lab(), f"\n{body}", **vars(options))
        if options.out is not None and not options.out.isidentifier():
            raise UsageError(f"--out {options.out}: a variable's name is needed")
        if name == "sh":
            if options.command:
                raise UsageError("%%hdv sh takes the cell as the script; %hdv sh COMMAND takes the line")
            return self._shell(body, options.name, options.out, options.timeout)
        if name == "guest" and self._is_for_vm(options):
            return self._guest_program(f"\n{body}", options)
        try:
            cell = Cell(self.shell, body, name)
        except SyntaxError as error:
            raise misspelt(self.shell, error) from None
        lab = commands.current_lab()
        go = self._record if name == "record" else self._guest
        run = self._watched(lab, name, cell.file, lambda: go(lab, cell, options.name))
        if options.out is not None:
            self.shell.user_ns[options.out] = run
        return run

    @staticmethod
    def _is_for_vm(options: Any) -> bool:
        """Whether a guest's cell is C, because the guest is a VM."""
        lab = commands.existing_lab()
        if lab is not None and lab.has_vm:
            return True
        if options.cc or options.flags or options.arguments or options.timeout:
            raise UsageError("the embedded machine's guest is Python, which takes no such thing; %hdv boot starts a VM")
        return False

    def _guest_program(self, source: str, options: Any) -> Any:
        given = {"name": options.name, "cc": options.cc, "flags": options.flags, "timeout": options.timeout}
        try:
            run = commands.guest_program(commands.existing_vm_lab(), source, options.arguments, **given)
        except KeyboardInterrupt as error:
            raise in_one_line(error, "stopped, here and in the guest; the VM goes on") from None
        if options.out is not None:
            self.shell.user_ns[options.out] = run
        return run

    def _watched(self, lab: AnyLab, what: str, file: str, program: Callable[[], Run]) -> Run:
        """Run a person's program: stopping it is one line, its errors show its own frames, those of ``file``."""
        try:
            return program()
        except KeyboardInterrupt as error:
            last = f"row {len(lab.trace) - 1:,} is the last" if len(lab.trace) else "no rows"
            state = "the machine is still on" if lab.running else "the machine is off"
            raise in_one_line(error, f"{what} stopped; {state}, {last}") from None
        except Exception as error:
            raise in_own_frames(self.shell, error, file) from None

    def _record(self, lab: AnyLab, cell: Cell, name: str) -> Run:
        def body() -> None:
            value = cell.run()
            if value is not None and not cell.is_silent:
                display(value)  # as the cell would have shown it

        return commands.record(lab, body, name=name)

    def _guest(self, lab: AnyLab, cell: Cell, name: str) -> Run:
        def guest(machine: Guest) -> Any:
            names = {"guest": machine, **machine.functions}
            with bound(self.shell.user_ns, names):
                return cell.run()

        return commands.guest(lab, guest, name=name)


HdvMagics.hdv.__doc__ = f"Devices, accesses and traces.\n\n{help_text()}"
