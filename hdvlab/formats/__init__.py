"""Other tools' traces, read into the same rows as our own recordings."""

from hdvlab.formats.read import read_trace

__all__ = ["read_trace"]
