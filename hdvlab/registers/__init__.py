"""Register descriptions as data: the same object dispatches, decodes, documents and draws."""

from hdvlab.registers.access import Access, BitMasks
from hdvlab.registers.bar import Bar
from hdvlab.registers.field import Field
from hdvlab.registers.map import NoSuchRegisterError, RegisterMap
from hdvlab.registers.register import HANDLES, Register

__all__ = ["HANDLES", "Access", "Bar", "BitMasks", "Field", "NoSuchRegisterError", "Register", "RegisterMap"]
