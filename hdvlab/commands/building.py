"""What a compiler needs for programs against hdvlab's headers and library: ``config``, in the manner of pkg-config."""

from __future__ import annotations

import shlex

from hdvlab.commands.text import Text
from hdvlab.errors import UsageError


def config(
    *, cflags: bool = False, libs: bool = False, includedir: bool = False, libdir: bool = False, version: bool = False
) -> Text:
    """One line, quoted for a shell: what was asked for, in this order.

    Parameters
    ----------
    version : bool
        hdvlab's version.
    includedir, libdir : bool
        The folders of the headers and of the library.
    cflags, libs : bool
        ``-I``, and ``-L -l -Wl,-rpath``.

    Raises
    ------
    UsageError
        Nothing was asked for.
    """
    from importlib.metadata import version as version_of

    from hdvlab._core.where import compile_flags, include_folder, library_folder, link_flags

    words: list[str] = []
    if version:
        words.append(version_of("hdvlab"))
    if includedir:
        words.append(str(include_folder()))
    if libdir:
        words.append(str(library_folder()))
    if cflags:
        words += compile_flags()
    if libs:
        words += link_flags()
    if not words:
        raise UsageError("say what: hdvlab config --cflags --libs")
    return Text(" ".join(map(shlex.quote, words)))
