"""QEMU as the machine: a real guest drives the devices over vfio-user."""
