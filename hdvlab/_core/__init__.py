"""The compiled library and its one binding. Nothing else in hdvlab imports the extension."""

from __future__ import annotations

try:
    from hdvlab._core._native import ffi, lib
except ImportError as error:  # pragma: no cover - only where the build is missing, or what it needs
    if error.name is not None and not error.name.startswith("hdvlab"):
        package = {"_cffi_backend": "cffi"}.get(error.name, error.name)
        raise ImportError(
            f"hdvlab's compiled library needs the package {package}, which is not installed: pip install {package}"
        ) from error
    raise ImportError(
        "hdvlab's compiled library is missing. Install the package (pip install -e .) instead of importing its folder; "
        "this needs a C compiler. `hdvlab doctor` says what is there."
    ) from error

__all__ = ["ffi", "lib"]
