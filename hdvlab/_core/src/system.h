/* A system: the machine that devices are plugged into. The embedded one and the vfio-user server fill the same ops. */
#ifndef HDVLAB_SYSTEM_H
#define HDVLAB_SYSTEM_H

#include "device.h"

enum system_state { SYSTEM_OFF, SYSTEM_BUSY, SYSTEM_RUNNING, SYSTEM_STOPPED };

struct system_ops {
    void (*destroy)(struct system *system);
    /* All or nothing; ERROR_NOACCESS when the range is not wholly RAM. gpa + bytes does not wrap. */
    HRESULT (*read_memory)(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes, void *buffer);
    HRESULT (*write_memory)(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes,
                            const void *buffer);
    /* File descriptor and offset behind a range of RAM that is contiguous in it. */
    HRESULT (*locate_memory)(struct system *system, uint64_t gpa, uint64_t bytes, int *fd, uint64_t *offset);
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

    /* For a system whose machine is elsewhere (another library, another process); NULL = the machine is here.
     * A host or device is told of before its handle is given out, and of its end before its last reference goes. */
    HRESULT (*host_open)(struct system *system, struct host *host);
    void (*host_close)(struct system *system, struct host *host); /* every device has had its Teardown on return */
    HRESULT (*device_open)(struct system *system, struct host *host, struct device *device);
    /* These take the place of the device's own tables. The tap has a row for each all the same. */
    HRESULT (*create_aperture)(struct device *device, uint64_t gpa, uint32_t bytes, BOOL write_protected, void **address);
    HRESULT (*destroy_aperture)(struct device *device, void *address);
    HRESULT (*register_doorbell)(struct device *device, uint32_t bar, uint64_t offset, uint64_t value, uint64_t flags,
                                 HANDLE event);
    HRESULT (*unregister_doorbell)(struct device *device, uint32_t bar, uint64_t offset, uint64_t value, uint64_t flags);
    HRESULT (*create_section)(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t pages, int flags,
                              HANDLE section, uint64_t section_offset_pages);
    HRESULT (*destroy_section)(struct device *device, uint32_t bar, uint64_t offset_pages, uint64_t *pages);
};

struct slot {
    int used;
    GUID class_id, instance_id;
    uint32_t configuration_count;
    LPCWSTR *configuration; /* one allocation */
    _Atomic(HDV_DEVICE) device; /* NULL until the slot is powered on */
    _Atomic uint32_t bar[6];    /* addresses as the guest wrote them; written with the device entered */
    uint8_t interrupt_line;     /* only with the device entered */
};

struct system {
    const struct system_ops *ops;
    HCS_SYSTEM handle;
    struct trace *trace;
    void *trace_handle;
    int record_sections;
    pthread_mutex_t lock; /* state, hosts, slots; never held across a callback */
    _Atomic int state;
    struct host *hosts;
    struct slot slots[HDVLAB_SLOT_COUNT];
};

HRESULT system_init(struct system *system, const struct system_ops *ops, HDVLAB_TRACE trace);
void system_destroy(struct system *system);
/* Whether it is that instance, and alive: one torn down leaves its name to the next. */
int device_is(const struct device *device, const GUID *class_id, const GUID *instance_id);
/* Whether its machine is elsewhere, which then decides what may happen when. */
static inline int is_elsewhere(const struct device *device) { return device->system->ops->device_open != NULL; }
/* Devices that were torn down while their host goes on leave it, so that plugging again and again costs nothing. */
void system_reap(struct system *system);
/* The device of a slot, with a reference; NULL = none there. */
struct device *system_slot_device(struct system *system, uint32_t slot);

#endif
