/* A system: the machine that devices are plugged into. The embedded one and the vfio-user server fill the same ops. */
#ifndef HDVLAB_SYSTEM_H
#define HDVLAB_SYSTEM_H

#include "device.h"
#include "gate.h"
#include "memory_map.h"

enum system_state { SYSTEM_OFF, SYSTEM_BUSY, SYSTEM_RUNNING, SYSTEM_STOPPED };

struct system_ops {
    void (*destroy)(struct system *system);
    /* All or nothing; ERROR_NOACCESS when the range is not wholly RAM. gpa + bytes does not wrap. */
    HRESULT (*read_memory)(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes, void *buffer);
    HRESULT (*write_memory)(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes,
                            const void *buffer);
    HRESULT (*deliver_interrupt)(struct system *system, struct device *requestor, uint64_t address, uint32_t data);
    /* A slot's BARs or command register may have changed. */
    void (*remap)(struct system *system);
    /* Whoever waits in the guest is to give up. */
    void (*cancel)(struct system *system);
    /* Config space, with the device entered: the bits of a dword that the machine answers itself, and what they are; */
    void (*config_bits)(struct system *system, uint32_t slot, const struct device *device, uint32_t dword,
                        uint32_t *mask, uint32_t *bits);
    /* and what it keeps of a write, which comes as a whole dword. */
    void (*config_keep)(struct system *system, uint32_t slot, struct device *device, uint32_t dword, uint32_t value);
    /* NULL, or told of a dword that the device is about to be given: as the guest wrote it, or who held it wants it. */
    void (*config_given)(struct system *system, struct device *device, uint32_t dword, uint32_t value);

    /* NULL = the system has one map of guest RAM for all; else the one that a device sees, with a reference, or NULL. */
    struct memory_map *(*memory_of)(struct device *device);
    /* The device's line is another; NULL = there are none. */
    HRESULT (*set_line)(struct device *device);

    /* For a system whose machine is elsewhere (another library, another process); NULL = the machine is here.
     * A host or device is told of before its handle is given out, and of its end before its last reference goes. */
    HRESULT (*host_open)(struct system *system, struct host *host);
    void (*host_close)(struct system *system, struct host *host); /* every device has had its Teardown on return */
    HRESULT (*device_open)(struct system *system, struct host *host, struct device *device);
    void (*device_close)(struct device *device); /* with its last reference, also where device_open failed */
    /* A device raised an interrupt that has no message to be sent as: the row is the machine's to make. */
    void (*interrupt_nowhere)(struct device *device, uint32_t vector, HRESULT why);
    /* These take the place of the device's own tables. The tap has a row for each all the same. */
    HRESULT (*create_aperture)(struct device *device, uint64_t gpa, uint32_t bytes, BOOL write_protected, void **address);
    HRESULT (*destroy_aperture)(struct device *device, void *address);
    HRESULT (*register_doorbell)(struct device *device, uint32_t bar, uint64_t offset, uint64_t value, uint64_t flags,
                                 HANDLE event);
    HRESULT (*unregister_doorbell)(struct device *device, uint32_t bar, uint64_t offset, uint64_t value, uint64_t flags);
    HRESULT (*register_doorbell_page)(struct device *device, uint32_t bar, uint64_t page, HANDLE event);
    HRESULT (*unregister_doorbell_page)(struct device *device, uint32_t bar, uint64_t page);
    HRESULT (*create_section)(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t pages, int flags,
                              HANDLE section, uint64_t section_offset_pages);
    HRESULT (*destroy_section)(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t *pages);
};

/* Which hosts a slot takes its device from: HCS's hosting models. */
enum hosting { HOSTING_ANY, HOSTING_EXTERNAL, HOSTING_RESTRICTED };

struct slot {
    int used;
    int hosting;
    GUID class_id, instance_id;
    uint32_t configuration_count;
    LPCWSTR *configuration; /* one allocation */
    _Atomic(HDV_DEVICE) device; /* NULL until the slot is powered on */
    _Atomic uint32_t bar[6];    /* addresses as the guest wrote them */
    _Atomic uint8_t interrupt_line;
};

struct system {
    const struct system_ops *ops;
    HCS_SYSTEM handle; /* its own; a compute system's clients have others, of the same kind */
    struct compute *compute; /* NULL: not made by HcsCreateComputeSystem */
    struct trace *trace;
    void *trace_handle;
    int record_sections;
    _Atomic int paused; /* what every guest access looks at, with the device entered; beside what it uses anyway */
    _Atomic int is_gated; /* something is set at the gate: what every row looks at */
    pthread_mutex_t lock; /* state, hosts, slots; never held across a callback */
    pthread_cond_t settled; /* no longer SYSTEM_BUSY; no longer opening a device */
    _Atomic int state;
    struct host *hosts;
    struct slot slots[HDVLAB_SLOT_COUNT];
    pthread_mutex_t pause_lock; /* pause.c */
    pthread_cond_t resumed;
    struct memory_map *memory; /* guest RAM; NULL = the machine is elsewhere, and its RAM with it */
    struct graveyard dead_apertures;
    struct gate gate;
};

HRESULT system_init(struct system *system, const struct system_ops *ops, HDVLAB_TRACE trace);
void system_destroy(struct system *system);
/* Whether it is that instance, and alive: one torn down leaves its name to the next. */
int device_is(const struct device *device, const GUID *class_id, const GUID *instance_id);
/* The instance that a host registered, here or elsewhere, with a reference; NULL = nobody has. */
struct device *system_find_device(struct system *system, const GUID *class_id, const GUID *instance_id, int hosting);
/* Whether its machine is elsewhere, which then decides what may happen when. */
static inline int is_elsewhere(const struct device *device) { return device->system->ops->device_open != NULL; }
/* Devices that were torn down while their host goes on leave it, so that plugging again and again costs nothing. */
void system_reap(struct system *system);
/* The device of a slot, with a reference; NULL = none there. */
struct device *system_slot_device(struct system *system, uint32_t slot);

/* Waits until nobody changes power or slots. Not for callbacks. */
void system_await_settled(struct system *system);
/* Power, for whoever has the system's reference. *failed: the slot whose device kept it from starting, or NULL. A
 * compute system's calls wait for a change of slots that is going on. */
HRESULT system_start(struct system *system, struct slot **failed);
HRESULT system_stop(struct system *system);
/* A slot as hdvlab_system_add_slot describes it; number HDVLAB_SLOT_COUNT: the first free one (quota when none is). */
HRESULT system_add_slot(struct system *system, uint32_t number, int hosting, const GUID *device_class,
                        const GUID *instance, uint32_t count, const LPCWSTR *configuration);
/* Whether a host of the slot's hosting model has its instance. */
int system_has_device(struct system *system, const GUID *device_class, const GUID *instance, int hosting);

/* pause.c */
enum { NOT_PAUSED, PAUSED, PAUSE_ENDING }; /* the last: accesses that waited or come now are answered by nobody */
void system_pause_init(struct system *system);
void system_pause_destroy(struct system *system);
/* PAUSED: no callback for a guest's access runs or begins from its return on. */
void system_set_paused(struct system *system, int paused);
/* Waits until the system is resumed (S_OK), ends (ERROR_INVALID_STATE), or wait_ms are over (ERROR_BUSY; 0 = never). */
HRESULT system_wait_resumed(struct system *system, uint32_t wait_ms);

void compute_free(struct compute *compute); /* compute_system.c */

#endif
