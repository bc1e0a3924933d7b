"""QEMU as a system: a real Linux guest drives the devices, over vfio-user."""
