/* A system whose machine belongs to another HDV library. */
#ifndef HDVLAB_FORWARD_H
#define HDVLAB_FORWARD_H

#include "system.h"

struct forward {
    struct system system; /* first: the generic code sees this one */
    HDVLAB_HDV_FUNCTIONS native;
    HCS_SYSTEM native_system;
};

/* forward_device.c: makes the device an instance over there, whose callbacks come through the tap. */
HRESULT forward_device_open(struct system *system, struct host *host, struct device *device);
/* The device's HDV_DEVICE over there. NULL: HdvCreateDeviceInstance has not returned yet, or failed. */
HDV_DEVICE forward_native_device(const struct device *device);

#endif
