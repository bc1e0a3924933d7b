"""The library of devices; each has its registers, its device and its guest-side driver."""
