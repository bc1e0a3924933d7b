/* A register file: a PCI device whose plain registers, config space and message-signalled interrupts are served in C.
 * Its author, usually Python, is called only where a register has behaviour. */
#ifndef HDVLAB_REGISTER_FILE_H
#define HDVLAB_REGISTER_FILE_H

#include <pthread.h>
#include <stdatomic.h>

#include "hdvlab.h"

#undef interface /* as in device.h */

#define CONFIG_BYTES 4096u
#define MSIX_MAX 2048u

struct msix {
    uint32_t count; /* 0 = no MSI-X */
    uint32_t table_bar, pba_bar;
    uint64_t table_offset, pba_offset;
    uint8_t *table, *pba; /* 16 bytes a vector; one bit a vector, in whole qwords */
};

/* The registers as they are described now. One that was replaced stays until the file goes: whoever holds its values or
 * looks something up in it on another thread finds them there. */
struct register_layout {
    uint32_t count;
    uint32_t first[7]; /* registers of BAR b: first[b] to first[b + 1] */
    uint32_t bar_flags[6];
    HDVLAB_REGISTER *registers;
    _Atomic uint64_t *values;
    struct register_layout *before;
};

struct register_file {
    HDVLAB_REGISTER_FILE handle;
    void *context;
    HDVLAB_DEVICE_CALLBACKS call;
    HDV_PCI_PNP_ID pnp_id;
    uint32_t probed_bars[6];
    uint64_t bar_size[6];
    _Atomic(struct register_layout *) layout;
    uint8_t *config, *config_reset, *config_write_mask, *config_write_one_to_clear;
    uint32_t msi_offset, msix_offset;
    pthread_mutex_t message_lock; /* pending bits and what they are decided by */
    uint32_t msi_pending;
    struct msix msix;
    _Atomic int bound; /* to an instance, or about to be */
    _Atomic(HDV_DEVICE) device;
};

/* register_layout.c */
/* Whether the registers lie in their BARs, in order and apart from each other. */
int layout_is_sound(const HDVLAB_DEVICE_DESCRIPTION *description);
/* With the registers' reset values; NULL = no memory. */
struct register_layout *layout_create(const HDVLAB_DEVICE_DESCRIPTION *description);
/* With those that it has replaced. */
void layout_destroy(struct register_layout *layout);
void layout_reset(struct register_layout *layout);
/* register_access.c */
HRESULT register_file_read(struct register_file *file, uint32_t bar, uint64_t offset, uint32_t size, uint8_t *value,
                           int peek);
HRESULT register_file_write(struct register_file *file, uint32_t bar, uint64_t offset, uint32_t size,
                            const uint8_t *value);
/* register_message.c */
HRESULT message_learn(struct register_file *file);
void message_reset(struct register_file *file);
/* Bytes of the MSI-X table or pending bits at a BAR offset; NULL = other registers. */
uint8_t *message_window(struct register_file *file, uint32_t bar, uint64_t offset, uint32_t size, int *writable);
/* Under message_lock: 1 with address and data when the vector may fire now, 0 when it became pending, else HRESULT. */
HRESULT message_raise(struct register_file *file, uint32_t vector, uint64_t *address, uint32_t *data);
/* Delivers what is pending and no longer masked. */
void message_unmasked(struct register_file *file);

#endif
