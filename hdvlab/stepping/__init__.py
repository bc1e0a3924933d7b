"""Stop the guest at an access, look, change the answer, go on: breakpoints, steps, tracepoints and triggers."""
