"""Panels for notebooks: what the machine is and does, live, and ways to change it."""
