"""Write the C source of the cffi binding: ``build_binding.py OUT.c``. Run by CMake."""

import sys
from pathlib import Path

from cffi import FFI

builder = FFI()
builder.cdef((Path(__file__).parent / "binding.h").read_text(encoding="utf-8"))
builder.set_source("hdvlab._core._native", '#include "hdvlab.h"', py_limited_api=True)
builder.emit_c_code(sys.argv[1])
