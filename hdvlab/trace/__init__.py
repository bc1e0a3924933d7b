"""Traces: columns on shared mappings that are frames, and the names that their numbers stand for."""
