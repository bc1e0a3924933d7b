/* Between a device host and a machine that are apart: what they ask of each other, whatever carries it. Within a process
 * these are calls; proxy_socket*.c sends them as messages. */
#ifndef HDVLAB_PROXY_H
#define HDVLAB_PROXY_H

#include "device.h"
#include "platform.h"

enum proxy_operation {
    /* the machine asks a device: its callbacks */
    PROXY_INITIALIZE = 1,
    PROXY_SET_CONFIGURATION, /* argument: count; in: NUL-terminated strings, one behind the other */
    PROXY_GET_DETAILS,       /* out: struct proxy_details */
    PROXY_START,
    PROXY_STOP,
    PROXY_TEARDOWN,
    PROXY_CONFIG_READ,  /* arguments: offset; answer: dword */
    PROXY_CONFIG_WRITE, /* offset, dword */
    PROXY_READ,         /* BAR, offset, length; answer: value */
    PROXY_WRITE,        /* BAR, offset, length, value */
    /* a device asks the machine */
    PROXY_MAP = 32,  /* guest address, bytes, write-protected; answers: a memory object, offset in it, number */
    PROXY_UNMAP,     /* number */
    PROXY_INTERRUPT, /* address, data */
    PROXY_DENIED,    /* row kind, BAR, address, value, size: what such a host may not do, for the record; with
                        kind interrupt, its HRESULT instead of a BAR: one that had no message */
    PROXY_HOST_END,  /* the host is being torn down */
};

struct proxy_details {
    HDV_PCI_PNP_ID pnp_id;
    uint32_t probed_bars[HDV_PCI_BAR_COUNT];
};

#define PROXY_DATA_MAX 65536u

struct proxy_call {
    uint32_t operation;
    uint64_t argument[5];
    const void *in; /* at most PROXY_DATA_MAX bytes */
    uint32_t in_bytes;
    void *out;
    uint32_t out_bytes;
    uint64_t answer[2];
    HANDLE memory; /* of PROXY_MAP: a copy, the caller's to close */
};

/* The way from a device or a host to the machine: `target` is its handle there. */
struct proxy_port {
    HRESULT (*request)(void *context, uint64_t target, struct proxy_call *call);
    void *context;
    uint64_t target;
};

/* What GetDeviceInstance gives, for the library only. */
typedef struct proxy_instance proxy_instance;
struct proxy_instance_table {
    HRESULT(WINAPI *QueryInterface)(proxy_instance *self, REFIID iid, void **object);
    ULONG(WINAPI *AddRef)(proxy_instance *self);
    ULONG(WINAPI *Release)(proxy_instance *self);
    HRESULT (*connect)(proxy_instance *self, const struct proxy_port *port);
    HRESULT (*call)(proxy_instance *self, struct proxy_call *call);
};
struct proxy_instance {
    const struct proxy_instance_table *table;
};

/* The library's IVmDeviceHost: the public table first, so that the pointer serves as both. */
typedef struct proxy_host proxy_host;
struct proxy_host_table {
    HRESULT(WINAPI *QueryInterface)(proxy_host *self, REFIID iid, void **object);
    ULONG(WINAPI *AddRef)(proxy_host *self);
    ULONG(WINAPI *Release)(proxy_host *self);
    HRESULT(WINAPI *GetDeviceInstance)(proxy_host *self, REFGUID class_id, REFGUID instance_id, IUnknown **device);
    /* HdvProxyDeviceHost took it: the port leads to the machine's struct host. */
    HRESULT (*registered)(proxy_host *self, const struct proxy_port *port);
    /* The machine has done with it: no request gets through any more. */
    void (*gone)(proxy_host *self);
};
struct proxy_host {
    const struct proxy_host_table *table;
};

/* proxy_machine.c. The QueryInterface of each of them. */
HRESULT WINAPI proxy_host_query(proxy_host *self, REFIID iid, void **object);

extern const IID proxy_instance_iid, proxy_host_iid, proxy_unknown_iid;
static inline int proxy_same_id(REFIID a, const IID *b) { return !__builtin_memcmp(a, b, sizeof *b); }

/* proxy_machine.c. The device that a host elsewhere has by that name, made known to the machine, with a reference; NULL. */
struct device *proxy_find_device(struct host *host, const GUID *class_id, const GUID *instance_id);
/* With the system's lock held: takes out a host that nobody needs any more, if there is one; then proxy_retire it. */
struct host *proxy_take_idle(struct system *system, int closing);
void proxy_retire(struct host *host);
/* A request for the machine, whoever carried it; `device` is an HDV_DEVICE or HDV_HOST there. */
HRESULT proxy_serve(void *context, uint64_t target, struct proxy_call *call);
/* The host's process is gone, or cut off: its devices serve nobody any more, and rows say why. */
void proxy_host_lost(uint64_t host, HRESULT why, const char *text);
/* A row number that came from elsewhere: itself, if the device's trace has such a row, else -1. */
int64_t proxy_sound_cause(uint64_t device, int64_t cause);
/* A fault row of a device. */
void proxy_fault(uint64_t device, HRESULT status, const char *text);

#endif
