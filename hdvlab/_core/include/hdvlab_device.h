/* What a device in C exports, so that hdvlab can load it: one function, and a description of its registers.
 *
 *     #include <hdvlab_device.h>
 *
 *     static const HDVLAB_ENTRY entries[] = {
 *         HDVLAB_BAR(0),
 *         HDVLAB_REGISTER("CTRL", 0x00, 4, "rw", "switches it on"),
 *             HDVLAB_FIELD("EN", 0, 1),
 *         HDVLAB_REGISTER("COUNT", 0x04, 4, "ro"),
 *     };
 *
 *     const HDVLAB_DEVICE_INFO HdvlabDevice = {
 *         HDVLAB_DEVICE_HEAD, "blink", {0x8a2b..., ...},
 *         {.VendorID = 0x1234, .DeviceID = 0x0001, .BaseClass = 0xFF}, {HDVLAB_MEMORY_BAR(4096)},
 *         HDVLAB_ENTRIES(entries), peek};
 *
 *     HRESULT HdvlabPlugDevice(HDV_HOST host, const GUID *instanceId, HDV_DEVICE *device) {
 *         ...
 *         return HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &HdvlabDevice.ClassId, instanceId, &interface, mine,
 *                                        device);
 *     }
 *
 * All else is HDV, so the same source is a device of any HDV program: that program calls HdvlabPlugDevice, too, or
 * HdvCreateDeviceInstance itself. Compile with: cc -shared -fPIC blink.c $(hdvlab config --cflags --libs) -o blink.so */
#ifndef HDVLAB_DEVICE_PLUG_H
#define HDVLAB_DEVICE_PLUG_H

#include <stddef.h>
#include <stdint.h>

#include "HyperVDeviceVirtualization.h"

#ifdef _WIN32
#define HDVLAB_EXPORT __declspec(dllexport)
#else
#define HDVLAB_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- registers, for names in frames and plots; a device serves its registers itself ------------------------------ */

enum { HDVLAB_ENTRY_BAR = 1, HDVLAB_ENTRY_REGISTER, HDVLAB_ENTRY_FIELD, HDVLAB_ENTRY_MEANING };

/* A line of the description. Registers belong to the BAR above them, fields to the register, meanings to the field. */
typedef struct HDVLAB_ENTRY {
    UINT32 Kind;
    const char *Name;   /* register, field: an identifier; meaning: what the value stands for; UTF-8 */
    UINT64 Place;       /* BAR: its number; register: bytes from the BAR's start; field: lowest bit; meaning: the value */
    UINT32 Size;        /* register: bytes, 1, 2, 4 or 8; field: bits */
    const char *Access; /* "rw", "ro", "wo", "w1c", "w1s", "rc"; NULL: register "rw", field as its register */
    const char *Doc;    /* one line for people; NULL = none */
} HDVLAB_ENTRY;

#define HDVLAB_BAR(number) {HDVLAB_ENTRY_BAR, NULL, (number), 0, NULL, NULL}
/* (name, offset, bytes), then access and doc where there is something to say */
#define HDVLAB_REGISTER(name, offset, ...) {HDVLAB_ENTRY_REGISTER, name, (offset), __VA_ARGS__}
/* (name, lowest bit, bits), likewise */
#define HDVLAB_FIELD(name, lowest, ...) {HDVLAB_ENTRY_FIELD, name, (lowest), __VA_ARGS__}
#define HDVLAB_MEANING(value, text) {HDVLAB_ENTRY_MEANING, text, (value), 0, NULL, NULL}
#define HDVLAB_ENTRIES(array) (UINT32)(sizeof(array) / sizeof((array)[0])), (array)

/* What GetDetails answers for a memory BAR of `size` bytes, a power of two. A 64-bit one takes two places. */
#define HDVLAB_MEMORY_BAR(size) (UINT32)(~((UINT64)(size) - 1) & 0xFFFFFFF0u)
#define HDVLAB_MEMORY_BAR64(size) \
    ((UINT32)(~((UINT64)(size) - 1) & 0xFFFFFFF0u) | 0x4u), (UINT32)(~((UINT64)(size) - 1) >> 32)

/* ---- the device --------------------------------------------------------------------------------------------------- */

#define HDVLAB_DEVICE_VERSION 1

/* A look at `size` bytes at a BAR offset, without any side effect. The context is the one of HdvCreateDeviceInstance.
 * No other callback of the device runs meanwhile. E_INVALIDARG, ERROR_NOT_FOUND: nothing there to be looked at. */
typedef HRESULT(CALLBACK *HDVLAB_DEVICE_PEEK)(PVOID deviceContext, HDV_PCI_BAR_SELECTOR barIndex, UINT64 offset,
                                              UINT32 size, UINT64 *value);

typedef struct HDVLAB_DEVICE_INFO {
    UINT32 Size;    /* of this structure; HDVLAB_DEVICE_HEAD fills in both */
    UINT32 Version;
    const char *Name;
    GUID ClassId;             /* HdvCreateDeviceInstance's deviceClassId */
    HDV_PCI_PNP_ID PnpId;     /* as GetDetails answers it */
    UINT32 ProbedBars[HDV_PCI_BAR_COUNT]; /* likewise */
    UINT32 EntryCount;
    const HDVLAB_ENTRY *Entries; /* NULL = no names */
    HDVLAB_DEVICE_PEEK Peek;     /* NULL = it cannot be looked at without touching it */
} HDVLAB_DEVICE_INFO;

#define HDVLAB_DEVICE_HEAD (UINT32)sizeof(HDVLAB_DEVICE_INFO), HDVLAB_DEVICE_VERSION

/* To be defined by the device. May be left out: then the lab asks the device itself, once it is on, and rows have
 * places in the place of names. */
extern HDVLAB_EXPORT const HDVLAB_DEVICE_INFO HdvlabDevice;

/* To be defined by the device: makes one instance by HdvCreateDeviceInstance, under this instance id, and hands on its
 * handle. Called once for each power-on, and once for each device when several are plugged in. What it allocates is
 * freed in Teardown; threads have ended by the time Teardown returns, because the code may be unloaded then. */
typedef HRESULT (*HDVLAB_PLUG_DEVICE)(HDV_HOST host, const GUID *instanceId, HDV_DEVICE *device);
HDVLAB_EXPORT HRESULT HdvlabPlugDevice(HDV_HOST host, const GUID *instanceId, HDV_DEVICE *device);

/* ---- causes ------------------------------------------------------------------------------------------------------- */

/* The row of the access that this thread serves, -1 = none. A device that goes on with it on another thread takes it
 * along, so that DMA and interrupts name the access that led to them. Windows' library keeps no trace. */
#ifdef HDVLAB_NO_TRACE
static inline int64_t HdvlabCause(void) { return -1; }
static inline void HdvlabSetCause(int64_t row) { (void)row; }
#else
int64_t hdvlab_cause(void);
void hdvlab_set_cause(int64_t row);
static inline int64_t HdvlabCause(void) { return hdvlab_cause(); }
static inline void HdvlabSetCause(int64_t row) { hdvlab_set_cause(row); }
#endif

#ifdef __cplusplus
}
#endif

#endif
