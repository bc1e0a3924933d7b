/* A device that writes down what is asked of it, and an embedded machine to plug it into. */
#ifndef HDVLAB_TEST_MACHINE_H
#define HDVLAB_TEST_MACHINE_H

#include "harness.h"

#define RAM_BYTES (4u << 20)
#define PAGE 4096u
#define PLACE 0xE0000000u /* where BAR 0 is put; BAR 2 is a megabyte behind it */
#define MESSAGE_ADDRESS 0xFEE00000u

struct noting_device {
    /* What it answers; device_default fills them. */
    HDV_PCI_PNP_ID pnp_id;
    UINT32 probed_bars[6];
    HRESULT initialize, set_configuration, get_details, start, read, write; /* what each callback returns */
    UINT32 config[64];
    BYTE memory[PAGE];
    /* What it was asked, callbacks by their first letters in a string: I C G S s T, R W (config), r w (memory). */
    char calls[4096];
    UINT32 call_count;
    UINT32 value_count; /* of SetConfiguration */
    WCHAR first_value[32];
    HDV_PCI_BAR_SELECTOR bar;
    UINT64 offset, length;
    HDV_DEVICE handle;
    void (*on_write)(struct noting_device *device); /* called from WriteInterceptedMemory */
};

struct machine {
    HCS_SYSTEM system;
    HDV_HOST host;
    struct noting_device device;
};

extern const GUID test_class, test_instance, other_instance;
extern const HDVLAB_ACCESS guest;

void device_default(struct noting_device *device);
void device_table(HDV_PCI_DEVICE_INTERFACE *table);
HRESULT device_create(struct noting_device *device, HDV_HOST host, const GUID *instance);
/* How often the callback with that letter was called. */
UINT32 times(const struct noting_device *device, char letter);

/* A machine that is off, with the device in slot 0; machine_start also places the BARs and enables the device. */
void machine_open(struct machine *machine, HDVLAB_TRACE trace);
HRESULT machine_start(struct machine *machine);
void machine_close(struct machine *machine);
void machine_enable(struct machine *machine, UINT32 command);

UINT64 guest_read(struct machine *machine, UINT64 address, UINT32 size);
HRESULT guest_write(struct machine *machine, UINT64 address, UINT32 size, UINT64 value);
UINT32 config_read(struct machine *machine, UINT32 offset, UINT32 size);

#endif
