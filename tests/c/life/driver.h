/* The guest: what a driver of the device does, and threads of it that wait. */
#ifndef LIFE_DRIVER_H
#define LIFE_DRIVER_H

#include "summer.h"

extern const HDVLAB_ACCESS as_guest;

typedef struct {
    HCS_SYSTEM system;
    UINT32 slot;
    UINT64 registers, page; /* guest-physical */
    UINT8 vector;
} driver;

UINT32 load(driver *it, UINT64 address);
void store(driver *it, UINT64 address, UINT32 size, UINT64 value);
void config_set(driver *it, UINT32 offset, UINT32 size, UINT32 value);
/* Finds the slot, places the BARs, walks the capabilities to MSI, and programs it. */
void driver_probe(driver *it, HCS_SYSTEM system, const GUID *instance, UINT8 vector);
/* One job: bytes in memory, a ring, a thread that sleeps until the message comes. */
UINT32 driver_sum(driver *it, UINT64 source, UINT64 target, const void *bytes, UINT32 length);

/* A guest's thread that waits for an interrupt, or loads the identity register. */
typedef struct {
    driver *of;
    HRESULT result;
    UINT32 value;
    HANDLE begun, done;
    thread_t thread;
} waiter;

enum { WAITS_FOR_INTERRUPT, LOADS };
void waiter_start(waiter *it, driver *of, int what); /* returns once it is about to */
void waiter_end(waiter *it);                         /* waits for its end */

#endif
