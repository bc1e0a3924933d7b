"""Frames made of a trace's rows: what a plot, a table or a person asks of them. Nothing here draws."""
