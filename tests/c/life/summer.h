/* A small device: it sums bytes of guest memory. BAR 0, 4 KiB, has registers. BAR 2, 8 KiB in 64 bits, has a page that
 * answers with its own offsets, and a page of memory that device and guest share. Its configuration is "scale=<digit>". */
#ifndef LIFE_SUMMER_H
#define LIFE_SUMMER_H

#include "platform.h"

#define SUMMER_TEXT "5c1d7a80-3e43-4f6c-9a51-0d9f2b8e6a01"
#define COLD_TEXT "5c1d7a80-3e43-4f6c-9a51-0d9f2b8e6a11"
#define HOT_TEXT "5c1d7a80-3e43-4f6c-9a51-0d9f2b8e6a12"
#define EMPTY_TEXT "5c1d7a80-3e43-4f6c-9a51-0d9f2b8e6a13"
extern const GUID SUMMER_CLASS, COLD, HOT, EMPTY;

#define IDENTITY 0x314D5553u /* "SUM1" */
#define LARGEST 4096u
#define PAGE 4096u

enum {
    REG_IDENTITY = 0x00, /* read-only */
    REG_LENGTH = 0x04,
    REG_SOURCE = 0x08, /* 64 bits */
    REG_TARGET = 0x10, /* 64 bits: where the sum goes */
    REG_SUM = 0x18,    /* read-only */
    REG_JOBS = 0x1C,   /* read-only */
    REG_STRAY = 0x20,  /* read-only: writes to the doorbell that did not ring */
    REG_WINDOW = 0x24, /* 1: keeps SOURCE mapped; 2: SUM becomes the first dword there; 0: lets go of it */
    REG_END = 0x28,
    REG_BELL = 0x100 /* dword 1: sum now */
};
#define RING 1u

enum step_of_life { MADE, INITIALIZED, CONFIGURED, DESCRIBED, STARTED, STOPPED, GONE };

typedef struct {
    lock_t lock;
    HDV_DEVICE handle;
    enum step_of_life step, last; /* how far it has come; before Teardown */
    UINT32 scale; /* from the slot's Configuration */
    BYTE registers[REG_END];
    UINT32 msi[4]; /* the capability as it reads */
    UINT32 page_reads;
    void *window;
    HANDLE bell;
    thread_t worker;
    int ending;
    HANDLE section;
    void *pages;
    UINT32 *shared; /* the second of the pages */
} summer;

/* A new one, an instance of the host under this name; its context must outlive it. */
void summer_make(summer *it, HDV_HOST host, const GUID *instance);
extern const HDV_PCI_DEVICE_INTERFACE summer_interface;
enum step_of_life summer_step(summer *it);

#endif
