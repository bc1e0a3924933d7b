"""A Linux VM under QEMU as the machine: devices are served to it over vfio-user."""
