/* Device hosts, device instances, and the one place where their callbacks are called. */
#ifndef HDVLAB_DEVICE_H
#define HDVLAB_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "aperture.h"
#include "hdvlab.h"
#include "platform.h"
#include "trace.h"

#undef interface /* a keyword of some Windows headers, a field here */

struct system;

enum device_state { DEVICE_CREATED, DEVICE_INITIALIZED, DEVICE_STARTING, DEVICE_RUNNING, DEVICE_STOPPED, DEVICE_TORN_DOWN };

struct doorbell {
    struct doorbell *next;
    uint32_t bar;
    uint32_t flags; /* HDV_DOORBELL_FLAGS, or DOORBELL_PAGE alone */
    uint64_t offset, value;
    HANDLE event;
    int64_t row; /* of the write that rang it last, -1 = none did */
};

struct section {
    struct section *next;
    uint32_t bar;
    int writable;
    uint64_t offset, length, file_offset; /* bytes */
    HANDLE file;
    struct window window;
    uint8_t *map; /* the window's address; NULL where the file may shrink under us: then every access is read or written */
};

struct device {
    HDV_DEVICE handle;
    struct system *system;
    GUID class_id, instance_id;
    HDV_PCI_DEVICE_INTERFACE interface;
    void *context;
    uint16_t index; /* in the trace's table of devices */
    int is_opening; /* HdvCreateDeviceInstance is not through with it: nobody is to find it yet; under the system's lock */
    _Atomic int state;
    pthread_mutex_t lock;        /* serialises callbacks */
    _Atomic(pthread_t) inside;   /* thread that holds it, for the re-entrancy guard; 0 = none */
    _Atomic int concurrent;      /* accesses share it (device_shared.c); set before its power-on, never after */
    pthread_mutex_t sharers_lock;
    pthread_cond_t sharer_left;
    uint32_t sharers;
    int entered;                 /* by hdvlab_device_enter, which is what hdvlab_device_leave may end */
    int64_t outer_cause;         /* of the thread that did */
    HDV_PCI_PNP_ID pnp_id;
    uint32_t probed_bars[6];
    uint64_t bar_size[6]; /* 0 = not implemented, or the upper half of a 64-bit BAR */
    _Atomic uint32_t command; /* as the machine keeps it; gates memory decode and bus mastering */
    pthread_mutex_t tables_lock; /* the three lists; never held across a callback */
    struct doorbell *doorbells;
    struct section *sections;
    struct aperture *apertures;
    _Atomic uint32_t doorbell_count, section_count, aperture_count;
    _Atomic int line;    /* asserted */
    _Atomic int hung;    /* a callback has not returned in its time: nobody enters until it has */
    _Atomic uint32_t held_inside; /* threads that the gate holds within its callbacks: who would wait for them may wait long */
    _Atomic int is_leaving; /* it is being torn down: the gate holds nothing of it any more */
    _Atomic int owes_teardown; /* it was given up for lost without its Teardown, and perhaps its Stop */
    _Atomic int touched; /* the guest may have changed it since it started or was reset */
    _Atomic(HDVLAB_DEVICE_RESET) on_reset;
    void *elsewhere; /* what a system whose machine is elsewhere knows it by */
    _Atomic HRESULT gone; /* why it serves nobody, when it is not by its own doing: its host's process ended */
    struct device *next; /* in its host */
};

struct host {
    HDV_HOST handle;
    struct system *system;
    struct device *devices; /* under the system's lock */
    int torn_down;          /* likewise: takes no devices any more */
    uint32_t opening;       /* likewise: calls of HdvCreateDeviceInstance that are between the two; its end waits for them */
    void *elsewhere;        /* as in struct device */
    int restricted;         /* a proxy's: serves slots of hosting model ExternalRestricted, has apertures only */
    struct proxy_host *remote; /* it lives elsewhere: what stands for it here; proxy.h */
    int lost;               /* and its process is gone */
    HDV_DEVICE_HOST_FLAGS flags;
    struct host *next;
};

#define CONFIG_SPACE_BYTES 4096u
#define COMMAND_MEMORY 0x2u
#define COMMAND_BUS_MASTER 0x4u

/* HdvTeardownDeviceHost, whatever thread this is: waits for callbacks of the host's devices, if it has any. */
HRESULT host_end(HDV_HOST host);

/* A callback of a concurrent device that this thread is in. */
struct inside {
    const struct device *device; /* NULL = it is the only one in its device */
    struct inside *outer;
};

/* What this thread does on behalf of whom. */
struct thread_context {
    int64_t cause;
    int depth; /* callbacks this thread is in */
    struct inside *shared; /* those of them that share their device */
    int asking; /* in a callback of the gate, whose accesses it does not look at */
    int64_t held_ns; /* that it was held at the gate, ever */
    _Atomic uint32_t *is_held; /* counts it while it is; NULL: nobody needs to know */
    struct watch *watch; /* on whoever serves a guest whose patience ends; NULL: nobody waits */
};
extern __thread struct thread_context thread_context;

/* Waits its turn (wait_ms = 0: for ever) and arms the guard. S_OK, ERROR_INVALID_STATE on re-entry, ERROR_BUSY. */
HRESULT device_enter(struct device *device, uint32_t wait_ms);
/* The same for who must not wait for a callback that the gate holds: ERROR_POSSIBLE_DEADLOCK at once. wait_ms is not 0. */
HRESULT device_enter_free(struct device *device, uint32_t wait_ms);
void device_leave(struct device *device);

/* device_shared.c: the same for an access to a concurrent device, with others. */
void device_shared_init(struct device *device);
void device_shared_destroy(struct device *device);
int device_is_shared_here(const struct device *device);
HRESULT device_enter_shared(struct device *device, uint32_t wait_ms, struct inside *inside);
void device_leave_shared(struct device *device, struct inside *inside);
/* With device->lock: true once nobody shares it any more; deadline_ns 0 = waits for ever. */
int device_becomes_alone(struct device *device, int64_t deadline_ns);

/* Lifecycle, each a row: called with no lock held. A device that fails its power-on is torn down. */
HRESULT device_power_on(struct device *device, uint32_t count, const LPCWSTR *configuration);
HRESULT device_start(struct device *device);
void device_stop(struct device *device);
void device_tear_down(struct device *device);
void device_is_leaving(struct device *device); /* its end begins: what the gate holds of it is let go */
/* A callback that had hung has returned. A device that was given up meanwhile has its Teardown now. */
void device_came_back(struct device *device);
/* A reset of the machine: the device's own, or Stop and Start; a row in any case. Returns whether it was skipped at the
 * gate: then the device is as it was. */
int device_reset(struct device *device, const HDVLAB_ACCESS *access);
/* One step (HDVLAB_INITIALIZE ... HDVLAB_STOP) that a machine elsewhere has decided on, in whatever order it does. */
HRESULT device_step(struct device *device, uint32_t kind, uint32_t count, const LPCWSTR *configuration);

/* Accesses: tap, doorbells, sections, callback. `value` is all ones after a read that failed. */
HRESULT device_mmio_read(struct device *device, const HDVLAB_ACCESS *access, uint32_t bar, uint64_t offset,
                         uint32_t size, uint64_t *value);
HRESULT device_mmio_write(struct device *device, const HDVLAB_ACCESS *access, uint32_t bar, uint64_t offset,
                          uint32_t size, uint64_t value);
/* Config space; the machine's ops say which part of slot `slot` it answers and keeps itself. */
HRESULT device_config_read(struct device *device, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                           uint32_t size, uint32_t *value);
HRESULT device_config_write(struct device *device, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                            uint32_t size, uint32_t value);
/* A range of it in one row, which has the bytes. */
HRESULT device_config_dump(struct device *device, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                           uint32_t bytes, uint8_t *data);
/* A dword as it is, for a machine that merges and keeps elsewhere. */
HRESULT device_dword_read(struct device *device, const HDVLAB_ACCESS *access, uint32_t offset, uint32_t *value);
HRESULT device_dword_write(struct device *device, const HDVLAB_ACCESS *access, uint32_t offset, uint32_t value);
/* All of it, without a row. */
HRESULT device_config_peek(struct device *device, uint32_t slot, uint8_t *config);

/* A row that begins and ends here, for an access that no callback served. */
HRESULT tap_served(struct device *device, const HDVLAB_ACCESS *access, uint32_t kind, uint32_t bar, uint64_t offset,
                   uint32_t size, uint64_t value, HRESULT status);
/* An access nobody claimed: a row without a device. */
void tap_unclaimed(struct trace *trace, const HDVLAB_ACCESS *access, uint32_t kind, uint64_t address, uint32_t size,
                   uint64_t value, HRESULT status);

/* memory.c: the rules every access of a device to guest memory keeps, on whatever thread. */
HRESULT memory_may_access(struct device *device, uint64_t gpa, uint32_t bytes);
/* A row for an interrupt that a device raised and that has no message to be sent as; its value is the vector. */
void interrupt_went_nowhere(HDV_DEVICE handle, uint32_t vector, HRESULT why);
/* doorbell.c: true when a doorbell took the write. */
int doorbell_ring(struct device *device, const HDVLAB_ACCESS *access, uint32_t bar, uint64_t offset, uint32_t size,
                  uint64_t value, HRESULT *status);
void doorbells_drop(struct device *device);
/* section.c: true when a section backs the range; then *status tells how it went. */
int section_access(struct device *device, int write, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value,
                   HRESULT *status);
void sections_drop(struct device *device);

static inline uint64_t ones(uint32_t size) { return size >= 8 ? UINT64_MAX : (1ull << 8 * size) - 1; }

#endif
