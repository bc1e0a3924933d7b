"""Drivers in C for the guest: compiled here, run there in user space against a device."""

from hdvlab.systems.qemu.guest_c.program import GuestProgram, compile_guest_program, guest_command, run_guest_program

__all__ = ["GuestProgram", "compile_guest_program", "guest_command", "run_guest_program"]
