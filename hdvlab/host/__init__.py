"""The device-host process, and its client."""
