/* The embedded machine: RAM, one PCI segment, an interrupt window, all in this process. */
#ifndef HDVLAB_EMBEDDED_H
#define HDVLAB_EMBEDDED_H

#include "platform.h"
#include "system.h"

#define LOW_MEMORY_END 0xC0000000ull  /* RAM behind it appears at 4 GiB */
#define HIGH_MEMORY_START 0x100000000ull
#define INTERRUPT_WINDOW 0xFEE00000ull /* Intel SDM volume 3, section 11.11.1 */
#define INTERRUPT_WINDOW_END 0xFEF00000ull
#define DECODE_MAX (HDVLAB_SLOT_COUNT * HDV_PCI_BAR_COUNT)

struct decode {
    _Atomic uint64_t base, size;
    _Atomic uint32_t slot, bar;
};

struct embedded {
    struct system system; /* first: the generic code sees this one */
    HANDLE ram_memory;
    struct window ram_window;
    uint8_t *ram; /* the window's address */
    uint64_t ram_bytes;
    /* BARs that decode now. A reader that saw the sequence change looks again, so no access sees half a move. */
    _Atomic uint32_t decode_sequence;
    _Atomic uint32_t decode_count;
    struct decode decode[DECODE_MAX];
    pthread_mutex_t interrupt_lock;
    pthread_cond_t interrupt_arrived;
    uint32_t pending[256];
    uint64_t cancelled; /* rises when waiters must give up */
};

/* Acquires the handle as an embedded machine: NULL when it is none; release with handle_release. */
struct embedded *embedded_acquire(HCS_SYSTEM handle, HRESULT *hr);
/* config_space.c: the ops of these names */
void embedded_config_bits(struct system *system, uint32_t slot, const struct device *device, uint32_t dword,
                          uint32_t *mask, uint32_t *bits);
void embedded_config_keep(struct system *system, uint32_t slot, struct device *device, uint32_t dword,
                          uint32_t value);
/* Where in the RAM file a guest-physical range lies; false when it is not wholly RAM. */
int embedded_ram_offset(const struct embedded *machine, uint64_t gpa, uint64_t bytes, uint64_t *offset);

/* bus.c: looks at every slot again and decodes accordingly. */
void embedded_remap(struct system *system);

#endif
