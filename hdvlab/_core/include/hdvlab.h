/* What hdvlab's library offers beside HDV: the embedded machine, the guest's side of it, the trace, and register files.
 *
 * Conventions: functions return HRESULT; handles are index + generation, so a stale, forged or wrong-kind one gives
 * E_HANDLE. A guest read that cannot be served gives all ones of its width; a guest write that cannot be served is
 * dropped; both leave a row with an HRESULT, which the function returns too: a failure of hdvlab_guest_read is not one of
 * the call but what the guest met. Sizes and offsets are in bytes, times in nanoseconds; pointers must not be NULL
 * (E_POINTER) where nothing else is said. Paths are UTF-8. */
#ifndef HDVLAB_H
#define HDVLAB_H

#include <stddef.h>

#include "ComputeCore.h"
#include "HyperVDeviceVirtualization.h"
#include "VmDeviceHost.h"
#include "hdvlab_device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- trace ------------------------------------------------------------------------------------------------------ */

typedef void *HDVLAB_TRACE;

#define HDVLAB_COLUMN_COUNT 13
#define HDVLAB_NO_DEVICE 0xFFFFu

enum { HDVLAB_CLOCK_AUTO = 0, HDVLAB_CLOCK_TSC = 1, HDVLAB_CLOCK_MONOTONIC = 2, HDVLAB_CLOCK_MANUAL = 3 };

/* Row kinds and origins; hdvlab/trace/schema.py holds the same numbers and a test compares them. */
enum {
    HDVLAB_NONE = 0,
    HDVLAB_CONFIG_READ,
    HDVLAB_CONFIG_WRITE,
    HDVLAB_MMIO_READ,
    HDVLAB_MMIO_WRITE,
    HDVLAB_DMA_READ,
    HDVLAB_DMA_WRITE,
    HDVLAB_INTERRUPT,
    HDVLAB_DOORBELL,
    HDVLAB_DOORBELL_REGISTER,
    HDVLAB_DOORBELL_UNREGISTER,
    HDVLAB_APERTURE_MAP,
    HDVLAB_APERTURE_UNMAP,
    HDVLAB_SECTION_MAP,
    HDVLAB_SECTION_UNMAP,
    HDVLAB_INITIALIZE,
    HDVLAB_SET_CONFIGURATION,
    HDVLAB_GET_DETAILS,
    HDVLAB_START,
    HDVLAB_STOP,
    HDVLAB_TEARDOWN,
    HDVLAB_RESET,
    HDVLAB_PAUSE,
    HDVLAB_RESUME,
    HDVLAB_MARK,
    HDVLAB_FAULT,
    HDVLAB_LOST,
    HDVLAB_KIND_COUNT
};
enum { HDVLAB_GUEST = 0, HDVLAB_USER, HDVLAB_DEVICE, HDVLAB_REPLAY, HDVLAB_INJECTED, HDVLAB_MACHINE };

typedef struct {
    uint64_t reserved;         /* rows begun */
    uint64_t capacity;         /* rows there is space for now */
    uint64_t lost;             /* rows that could not be recorded */
    uint64_t backward;         /* times the clock went back; such a duration is recorded as 0 */
    uint64_t payload_reserved; /* bytes */
    uint64_t payload_bytes;    /* bytes of payload.bin that are there to be read */
    uint64_t payload_max;      /* bytes of it that are mapped */
    uint64_t max_rows;
    uint64_t chunk_rows;
    int64_t wall_ns; /* CLOCK_REALTIME when t_ns was 0 */
    int32_t stopped; /* HRESULT that stopped the recording, else S_OK */
    uint32_t clock;
    uint32_t closed; /* 1 when the writer closed it in good order */
    uint32_t live;   /* 1 while its writer runs */
    uint32_t suspended; /* 1 while hdvlab_trace_suspend has it record nothing */
} HDVLAB_TRACE_STATE;

/* Creates directory `path`, unless it is there, and records into it; a directory has one recording (ERROR_ALREADY_EXISTS).
 * max_rows bounds address space, not disk: up to 2^40, and at least chunk_rows, the rows of what is sealed at a time, a
 * power of two from 64 on (65536 is what the lab takes); else E_INVALIDARG. ERROR_NOT_FOUND: no such parent;
 * E_ACCESSDENIED, ERROR_DISK_FULL, E_OUTOFMEMORY. hdvlab.read_trace(path) reads it; the lab's trace.json, whose absence
 * that mentions, says nothing about the rows. */
HRESULT hdvlab_trace_create(const char *path, uint64_t max_rows, uint32_t chunk_rows, uint32_t clock,
                            HDVLAB_TRACE *trace);
/* Maps a recording read-only, also while another process writes it. ERROR_INVALID_DATA-like trouble: E_INVALIDARG. */
HRESULT hdvlab_trace_attach(const char *path, HDVLAB_TRACE *trace);
/* The same for a recording whose header.bin is damaged: the caller knows the layout. Its writer counts as gone. */
HRESULT hdvlab_trace_salvage(const char *path, uint64_t max_rows, uint32_t chunk_rows, HDVLAB_TRACE *trace);
/* Ends the recording in good order; it can still be read through this handle. A system that records into it goes on
 * without rows: finish after the system's end. */
HRESULT hdvlab_trace_finish(HDVLAB_TRACE trace);
HRESULT hdvlab_trace_close(HDVLAB_TRACE trace); /* finishes it first */
HRESULT hdvlab_trace_state(HDVLAB_TRACE trace, HDVLAB_TRACE_STATE *state);
/* Rows published without a gap, from row `from` on which is known to be published; while the writer runs. Once it is
 * gone, all rows up to the last published one: rows with kind 0 among them are holes. */
HRESULT hdvlab_trace_committed(HDVLAB_TRACE trace, uint64_t from, uint64_t *rows);
/* Base address of a column, or of payload.bin (column HDVLAB_COLUMN_COUNT). Holds a reference on the mapping that
 * hdvlab_trace_unpin gives back, so frames outlive the close. */
HRESULT hdvlab_trace_pin(HDVLAB_TRACE trace, uint32_t column, void **base);
void hdvlab_trace_unpin(void *trace);
HRESULT hdvlab_trace_mark(HDVLAB_TRACE trace, uint32_t kind, uint16_t device, int64_t cause, int32_t status,
                          const void *text, uint32_t bytes, int64_t *row);
/* Recording off and on. Rows that would have begun in between are counted and not recorded; the count is the text of a mark
 * as it goes on, or as the recording is finished. S_OK, or 1 (S_FALSE): it is so already. ERROR_INVALID_STATE: it is finished;
 * what stopped it (ERROR_DISK_FULL ...), when it was stopped; E_ACCESSDENIED: a reader's. */
HRESULT hdvlab_trace_suspend(HDVLAB_TRACE trace, BOOL suspended);
HRESULT hdvlab_trace_set_time(HDVLAB_TRACE trace, int64_t t_ns); /* manual clock only */
/* Checks chunk `chunk`: *state is 0 unsealed, 1 whole, 2 damaged, 3 whole but for bytes in payload.bin, 4 cut short:
 * the files end within it. *rows is how many were sealed. */
HRESULT hdvlab_trace_verify(HDVLAB_TRACE trace, uint64_t chunk, uint32_t *state, uint32_t *rows);
/* Rows up to which, from row `from` on, the chunks are sealed: none of them is pending or a hole. */
HRESULT hdvlab_trace_settled(HDVLAB_TRACE trace, uint64_t from, uint64_t *rows);
/* Copies finished rows behind those that there are, with the bytes of payload that they point at. No other thread may
 * record meanwhile. columns: 13 arrays. A place outside of payload becomes -1. Full disk: ERROR_DISK_FULL. */
HRESULT hdvlab_trace_append(HDVLAB_TRACE trace, uint64_t rows, const void *const *columns, const void *payload,
                            uint64_t payload_bytes);
uint32_t hdvlab_trace_column(uint32_t column, const char **name); /* width in bytes; 0 = no such column */

/* ---- the machine ------------------------------------------------------------------------------------------------ */

#define HDVLAB_SLOT_COUNT 32

HRESULT hdvlab_embedded_create(uint64_t ram_bytes, BOOL record_sections, HDVLAB_TRACE trace, HCS_SYSTEM *system);
HRESULT hdvlab_system_start(HCS_SYSTEM system);
HRESULT hdvlab_system_stop(HCS_SYSTEM system);
HRESULT hdvlab_system_close(HCS_SYSTEM system);
/* The FlexibleIov entry: which device sits in which slot. Before the start it waits for it; later it is a hot plug. */
HRESULT hdvlab_system_add_slot(HCS_SYSTEM system, uint32_t slot, const GUID *device_class, const GUID *instance,
                               uint32_t configuration_count, const LPCWSTR *configuration);
HRESULT hdvlab_system_remove_slot(HCS_SYSTEM system, uint32_t slot);
/* For systems of HcsCreateComputeSystem, which hdvlab_system_start, _stop and _close refuse (E_ACCESSDENIED): HCS calls
 * move them. Everything else here takes their handles. */
/* Records into `trace` from now on; before the start (else ERROR_INVALID_STATE), once (ERROR_ALREADY_EXISTS), and before
 * another thread uses the system. */
HRESULT hdvlab_system_record(HCS_SYSTEM system, HDVLAB_TRACE trace);
/* Which slot an instance sits in: cold slots have their order in the document. ERROR_NOT_FOUND. */
HRESULT hdvlab_system_slot(HCS_SYSTEM system, const GUID *instance, uint32_t *slot);
/* The device in a slot, from its power-on to its teardown; ERROR_NOT_FOUND. Also for the machine's owner, who registers
 * doorbells and sections for a device whose host may not; the handle is the library's to end. */
HRESULT hdvlab_system_device(HCS_SYSTEM system, uint32_t slot, HDV_DEVICE *device);
/* The device that a host, here or in another process, has by that name; ERROR_NOT_FOUND: none has. It is asked, and so
 * known to the machine, before a slot names it. */
HRESULT hdvlab_system_find(HCS_SYSTEM system, const GUID *device_class, const GUID *instance, HDV_DEVICE *device);

/* Guest RAM that is added to a machine, and taken away, also while it runs: part of a file (a descriptor, of which a copy
 * is kept) appears at guest-physical address gpa. gpa, bytes and file_offset in whole 4 KiB pages, at most 8 TiB and 1,024
 * regions. flags: what guest and devices may do there. RAM wins over a BAR at the same address.
 * S_OK also for the very same region again; ERROR_ALREADY_EXISTS where any other overlaps; ERROR_ARITHMETIC_OVERFLOW;
 * E_INVALIDARG: no regular file or memfd, or shorter than that; E_ACCESSDENIED: the descriptor's mode or seals;
 * ERROR_NOT_ENOUGH_QUOTA; E_NOTIMPL: the machine is elsewhere.
 * A file that is not sealed against shrinking (F_SEAL_SHRINK) is read and written but never mapped, so that whoever cuts
 * it kills nobody: then ERROR_NOACCESS; apertures on it are refused with E_ACCESSDENIED. */
enum { HDVLAB_MEMORY_READ = 1, HDVLAB_MEMORY_WRITE = 2 };
HRESULT hdvlab_memory_map(HCS_SYSTEM system, uint64_t gpa, uint64_t bytes, HANDLE file, uint64_t file_offset,
                          uint32_t flags);
/* Takes away exactly one such region. Copies that run are waited for; apertures that touch it end, each with its row, and
 * their pages become zeros. ERROR_NOT_FOUND: no region, or a part of one, or several; E_ACCESSDENIED: the machine's own. */
HRESULT hdvlab_memory_unmap(HCS_SYSTEM system, uint64_t gpa, uint64_t bytes);

/* HDV of another library: Windows' own, or a second copy of this one. NULL = that library lacks it. */
typedef struct {
    uint32_t size; /* of this structure; functions beyond it count as lacking */
    HRESULT(WINAPI *HdvInitializeDeviceHost)(HCS_SYSTEM, HDV_HOST *);
    HRESULT(WINAPI *HdvTeardownDeviceHost)(HDV_HOST);
    HRESULT(WINAPI *HdvCreateDeviceInstance)(HDV_HOST, HDV_DEVICE_TYPE, const GUID *, const GUID *, const VOID *,
                                             VOID *, HDV_DEVICE *);
    HRESULT(WINAPI *HdvReadGuestMemory)(HDV_DEVICE, UINT64, UINT32, BYTE *);
    HRESULT(WINAPI *HdvWriteGuestMemory)(HDV_DEVICE, UINT64, UINT32, const BYTE *);
    HRESULT(WINAPI *HdvCreateGuestMemoryAperture)(HDV_DEVICE, UINT64, UINT32, BOOL, PVOID *);
    HRESULT(WINAPI *HdvDestroyGuestMemoryAperture)(HDV_DEVICE, PVOID);
    HRESULT(WINAPI *HdvDeliverGuestInterrupt)(HDV_DEVICE, UINT64, UINT32);
    HRESULT(WINAPI *HdvInitializeDeviceHostEx)(HCS_SYSTEM, HDV_DEVICE_HOST_FLAGS, HDV_HOST *);
    HRESULT(WINAPI *HdvRegisterDoorbell)(HDV_DEVICE, HDV_PCI_BAR_SELECTOR, UINT64, UINT64, UINT64, HANDLE);
    HRESULT(WINAPI *HdvUnregisterDoorbell)(HDV_DEVICE, HDV_PCI_BAR_SELECTOR, UINT64, UINT64, UINT64);
    HRESULT(WINAPI *HdvRegisterDoorbellPage)(HDV_DEVICE, HDV_PCI_BAR_SELECTOR, UINT64, HANDLE);
    HRESULT(WINAPI *HdvUnregisterDoorbellPage)(HDV_DEVICE, HDV_PCI_BAR_SELECTOR, UINT64);
    HRESULT(WINAPI *HdvCreateSectionBackedMmioRange)(HDV_DEVICE, HDV_PCI_BAR_SELECTOR, UINT64, UINT64,
                                                     HDV_MMIO_MAPPING_FLAGS, HANDLE, UINT64);
    HRESULT(WINAPI *HdvDestroySectionBackedMmioRange)(HDV_DEVICE, HDV_PCI_BAR_SELECTOR, UINT64);
} HDVLAB_HDV_FUNCTIONS;

/* A machine of that library as a system of this one: device hosts of *system are hosts of native_system there, and all
 * that its devices are asked and ask passes through the tap on its way. Power, slots and the guest's side stay there;
 * so do the rules (what is allowed when, decoding, bus mastering, quotas), whose HRESULTs come back unchanged.
 * A function the library lacks: E_NOTIMPL when it is needed. Doorbells that ring leave no rows: the machine over there
 * takes the write. The table is copied. Tear the hosts down before the native system is closed.
 * E_POINTER, E_HANDLE (trace), E_ACCESSDENIED (trace not recording), E_INVALIDARG: no HdvInitializeDeviceHost,
 * HdvTeardownDeviceHost or HdvCreateDeviceInstance. */
HRESULT hdvlab_forward_create(const HDVLAB_HDV_FUNCTIONS *native, HCS_SYSTEM native_system, HDVLAB_TRACE trace,
                              HCS_SYSTEM *system);

/* ---- a VM as the machine: the server's side of vfio-user (QEMU >= 10.1.1 is the client; not on Windows) ----------- */

/* A system whose guest runs in a VM. Slots, start, stop and close are as with the embedded machine; hdvlab_system_start
 * makes the devices ready (Initialize to Start), then each slot is listened for, then the VM is started and connects. Guest
 * RAM is what the VM maps (DMA_MAP); the guest's side (hdvlab_guest_read ...) is the VM's own: E_NOTIMPL, but for
 * hdvlab_guest_config_peek, hdvlab_guest_ram_read and hdvlab_guest_ram_write. */
HRESULT hdvlab_vfio_user_create(BOOL record_sections, HDVLAB_TRACE trace, HCS_SYSTEM *system);

enum {
    HDVLAB_VFIO_USER_HIDE_CAPABILITIES = 1, /* no capability list until the first reset: the VM manages none of it, all of
                                             * the device's own reaches it, and interrupts are DMA writes (QEMU >= 11.1) */
};
typedef struct {
    uint32_t size; /* of this structure */
    uint32_t flags;
    uint32_t budget_ms; /* longest time a guest waits for one answer of the device; 0 = 2000. Then it gets all ones, the row
                         * ERROR_TIMEOUT, and so does every access until the late answer has come, which is thrown away.
                         * UINT32_MAX: no budget */
    uint32_t poll_us;   /* how long the server looks for the next message before it sleeps; UINT32_MAX = adapts itself */
} HDVLAB_VFIO_USER_OPTIONS;
/* Makes the socket (mode 0600; one that nobody listens on is replaced) and serves who connects, one VM at a time, on a thread
 * of its own; a VM that disconnects leaves the device as it is and the next may connect. options NULL = all 0, poll_us
 * adapting. ERROR_NOT_FOUND: the slot has no device that is on; ERROR_ALREADY_EXISTS: it is served already, or somebody
 * listens on that path; E_INVALIDARG: the path is too long. */
HRESULT hdvlab_vfio_user_listen(HCS_SYSTEM system, uint32_t slot, const char *path,
                                const HDVLAB_VFIO_USER_OPTIONS *options);
/* The same over a connected SOCK_STREAM socket, which is taken (on failure it is closed, but for E_POINTER). */
HRESULT hdvlab_vfio_user_attach(HCS_SYSTEM system, uint32_t slot, int socket, const HDVLAB_VFIO_USER_OPTIONS *options);
/* Ends listening and the connection; the VM finds its device dead: reads give all ones. ERROR_NOT_FOUND; ERROR_INVALID_STATE
 * within a callback. */
HRESULT hdvlab_vfio_user_end(HCS_SYSTEM system, uint32_t slot);

enum { HDVLAB_VFIO_USER_NONE = 0, HDVLAB_VFIO_USER_LISTENING, HDVLAB_VFIO_USER_CONNECTED };
typedef struct {
    uint32_t state;
    uint32_t hung;        /* 1: the device owes an answer that the server has given for it */
    uint64_t changes;     /* counts up whenever state or hung changes, or a reset comes */
    uint64_t connections; /* so far */
    uint64_t resets;      /* of this connection; the first comes before the guest runs */
    uint64_t messages;    /* of this connection */
    uint64_t timeouts;    /* answers given for the device, since it is served */
    uint64_t dma_regions, dma_bytes; /* now mapped; bytes of those that have a descriptor */
    uint32_t interrupt_mode;         /* 0 none, 1 INTx, 5 MSI, 17 MSI-X: what the VM has given events for */
    int32_t peer;         /* process id, 0 = unknown */
    HRESULT why;          /* of the last connection's end: S_OK = the VM closed it, HCS_E_PROTOCOL_ERROR = cut off */
} HDVLAB_VFIO_USER_STATE;
HRESULT hdvlab_vfio_user_state(HCS_SYSTEM system, uint32_t slot, HDVLAB_VFIO_USER_STATE *state);
/* The thread (pthread_t) that is in a callback whose answer was given in its place: 0 when there is none. */
HRESULT hdvlab_vfio_user_hung_thread(HCS_SYSTEM system, uint32_t slot, uint64_t *thread);
/* Waits until `changes` is another than known_changes. ERROR_TIMEOUT after timeout_ms (UINT32_MAX = never). */
HRESULT hdvlab_vfio_user_wait(HCS_SYSTEM system, uint32_t slot, uint64_t known_changes, uint32_t timeout_ms,
                              HDVLAB_VFIO_USER_STATE *state);

/* ---- the guest's side ------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t pc;      /* what the guest executes; 0 = unknown */
    uint8_t origin;   /* HDVLAB_GUEST ... */
    uint32_t wait_ms; /* longest wait for a device that serves another access, or for the end of a pause: ERROR_BUSY and no
                       * row; 0 = for ever */
} HDVLAB_ACCESS;

/* Config space: 1, 2 or 4 bytes within a dword, else E_INVALIDARG. ERROR_NOT_FOUND: no device is on in that slot. Memory: 1,
 * 2, 4 or 8 bytes (E_INVALIDARG) at any address, RAM as well; what is not aligned becomes several accesses. ERROR_NOACCESS:
 * neither RAM nor a BAR; ERROR_ARITHMETIC_OVERFLOW; else what the device's callback returned. */

HRESULT hdvlab_guest_config_read(HCS_SYSTEM system, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                                 uint32_t size, uint32_t *value);
HRESULT hdvlab_guest_config_write(HCS_SYSTEM system, const HDVLAB_ACCESS *access, uint32_t slot, uint32_t offset,
                                  uint32_t size, uint32_t value);
/* All 4096 bytes of a slot's config space as the machine would answer them; looking leaves no row. */
HRESULT hdvlab_guest_config_peek(HCS_SYSTEM system, uint32_t slot, uint8_t *config);
HRESULT hdvlab_guest_read(HCS_SYSTEM system, const HDVLAB_ACCESS *access, uint64_t address, uint32_t size,
                          uint64_t *value);
HRESULT hdvlab_guest_write(HCS_SYSTEM system, const HDVLAB_ACCESS *access, uint64_t address, uint32_t size,
                           uint64_t value);
/* The two above with the access spelled out, for callers to whom filling a structure costs; they wait 50 ms at most. */
HRESULT hdvlab_guest_load(HCS_SYSTEM system, uint64_t address, uint32_t size, uint32_t origin, uint64_t pc,
                          uint64_t *value);
HRESULT hdvlab_guest_store(HCS_SYSTEM system, uint64_t address, uint32_t size, uint32_t origin, uint64_t pc,
                           uint64_t value);
/* Sizes and places the BARs of a slot as a PC's firmware does, and switches memory decode and bus mastering on. Addresses
 * go to addresses[0..5], 0 for a BAR that is not there or an upper half; NULL = not wanted. ERROR_NOT_ENOUGH_QUOTA: no
 * room. The accesses are rows. */
HRESULT hdvlab_guest_place_bars(HCS_SYSTEM system, uint32_t slot, uint64_t *addresses);
/* RAM only, no rows: a guest's own loads and stores are not device accesses. */
HRESULT hdvlab_guest_ram_read(HCS_SYSTEM system, uint64_t address, uint64_t size, void *buffer);
HRESULT hdvlab_guest_ram_write(HCS_SYSTEM system, uint64_t address, uint64_t size, const void *buffer);
/* Takes one pending interrupt of the vector, which is the low byte of a message's data, whatever its address within the
 * interrupt window (0xFEE00000 to 0xFEEFFFFF); *pending is how many more there are. timeout_ns of 0 or less: looks only.
 * ERROR_TIMEOUT; E_ABORT when cancelled or powered off. */
HRESULT hdvlab_guest_wait_interrupt(HCS_SYSTEM system, uint8_t vector, int64_t timeout_ns, uint32_t *pending);
/* From now on vector start + i, as it arrives, signals events[i] too, of which a copy is kept: one event may serve several
 * vectors, and none makes the device wait, also when nobody takes its signals. events NULL, or an entry of NULL or -1, ends
 * what was bound there. All or nothing: E_INVALIDARG: no vector, or one beyond 255; E_HANDLE: not an event;
 * ERROR_NOT_ENOUGH_QUOTA. Once it returns no event bound before is signalled. */
HRESULT hdvlab_guest_bind_interrupts(HCS_SYSTEM system, uint32_t start, uint32_t count, const HANDLE *events);
HRESULT hdvlab_guest_cancel(HCS_SYSTEM system);
/* A person's way past the bus to one device, whatever the command register says. */
HRESULT hdvlab_device_access(HDV_DEVICE device, const HDVLAB_ACCESS *access, BOOL write, uint32_t bar, uint64_t offset,
                             uint32_t size, uint64_t *value);

/* ---- the gate: accesses that are held, looked at, changed ------------------------------------------------------- */

/* Every system has a gate, whatever its kind. Its breakpoints are looked at where a row of a kind that the gate sees begins
 * (BEFORE: the row is published and pending, the device was not asked yet) and before it is completed (AFTER: the device has
 * answered). Those kinds are config, MMIO, DMA, interrupt (messages), doorbell, the lifecycle's steps and reset. An access
 * that began before a breakpoint was added is not stopped by it, nor are accesses that no device is asked for: unclaimed
 * ones, and those that memory of a section serves. While nothing is set, a row costs one relaxed load more.
 *
 * A held access waits on its own thread, outside of its device: others may come in, it may be peeked, poked, reloaded.
 * is_inside says where not: DMA and interrupts within a callback, and lifecycle steps. A user's access (origin user) or peek
 * that would wait for such a device fails with ERROR_POSSIBLE_DEADLOCK at once. A VM's patience (budget_ms) does not run
 * while its access is held, and begins anew afterwards; it does run while ASK's callback is asked, which may never answer. After the hold a device that was stopped meanwhile is not asked; the row says so.
 *
 * While a machine is being stopped or closed, and a device torn down, what is held is let go as if skipped (what cannot be
 * skipped: continued), and nothing is held any more: matching breakpoints count and ask. The same for the server of a VM. */

enum { HDVLAB_BEFORE = 0, HDVLAB_AFTER = 1 }; /* phase */
enum {
    HDVLAB_BREAK_AFTER = 1,    /* phase AFTER, else BEFORE */
    HDVLAB_BREAK_CHANGED = 2,  /* only when the value is another than the last one of the same kind, device, BAR, address and
                                * size. The first one there is only kept; where there is no memory for it (a million of
                                * places), it counts as another: nobody knows */
    HDVLAB_BREAK_ONCE = 4,     /* removes itself as it holds (with PASS: as it is hit) */
    HDVLAB_BREAK_ASK = 8,      /* hdvlab_gate_on_ask's callback decides; without one it holds */
    HDVLAB_BREAK_PASS = 16,    /* never holds, only counts and asks */
    HDVLAB_BREAK_DISABLED = 32 /* is not looked at */
};
typedef struct {
    uint64_t kinds;       /* bits 1 << HDVLAB_MMIO_READ ...; 0 = every kind that the gate sees */
    uint32_t origins;     /* bits 1 << HDVLAB_GUEST ...; 0 = guest and device */
    uint32_t flags;       /* HDVLAB_BREAK_... */
    int32_t device, bar;  /* index in the trace's table; -1 = any */
    uint64_t first, last; /* addresses: of an access that overlaps them */
    uint64_t value, mask; /* of the bytes from `first` on, little-endian; mask 0 = any. Matches only when the access covers
                           * every masked bit. BEFORE it is answered a read has no value: then neither mask nor CHANGED match */
    uint64_t ignore;      /* hits to let pass first */
} HDVLAB_BREAKPOINT;
typedef struct {
    uint64_t ticket;     /* counts held accesses of this gate, from 1 on */
    uint32_t breakpoint; /* its id; 0 = a step */
    uint32_t phase;
    int64_t row, held_ns; /* row of the access, -1 = not recorded; how long it is held so far */
    uint64_t address, value, pc;
    uint32_t size;
    int32_t bar; /* -1 = none */
    uint16_t device;
    uint8_t kind, origin;
    HRESULT status;     /* AFTER: what the device answered; BEFORE: E_PENDING */
    uint32_t is_inside; /* the device cannot be entered: DMA and interrupts of a callback, lifecycle steps */
} HDVLAB_STOP_STATE;

/* How a held access goes on.
 * OVERRIDE before a read: the device is not asked, the guest gets the value; before a write: the device gets the value; after
 * a read: the value is the answer, status S_OK. Interrupt, before: the value is the message's data. DMA of at most 8 bytes:
 * the value is what is copied (a write: before; a read: the device gets it).
 * SKIP, before: the device is not asked. Reads (DMA too) give all ones; writes, DMA, interrupts, doorbells and resets are
 * dropped; the status is 1 (S_FALSE).
 * RETRY, after: the callback runs again within the same row, and AFTER is looked at again; a lifecycle step only when it
 * failed. Before: as CONTINUE.
 * Everything else is E_INVALIDARG, and the access stays held: lifecycle steps are neither overridden nor skipped.
 * Rows say what the guest got. Each override, skip, retry and each hold that the limit ended leaves a mark with a text,
 * whose cause is the access's row. */
enum { HDVLAB_CONTINUE = 0, HDVLAB_OVERRIDE, HDVLAB_SKIP, HDVLAB_RETRY };

/* 256 at most (ERROR_NOT_ENOUGH_QUOTA). All that match an access count; the lowest id that holds is what the stop names.
 * E_INVALIDARG: a kind that the gate does not see, unknown flags or origins, first > last, device or BAR out of range. */
HRESULT hdvlab_gate_add(HCS_SYSTEM system, const HDVLAB_BREAKPOINT *breakpoint, uint32_t *id);
/* Other flags, all of them. ERROR_NOT_FOUND. */
HRESULT hdvlab_gate_set(HCS_SYSTEM system, uint32_t id, uint32_t flags);
HRESULT hdvlab_gate_remove(HCS_SYSTEM system, uint32_t id); /* what it holds stays held. ERROR_NOT_FOUND */
/* Matches (with ASK: those that the callback answered with 1; with those that `ignore` let pass) and holds so far. */
HRESULT hdvlab_gate_hits(HCS_SYSTEM system, uint32_t id, uint64_t *hits, uint64_t *stops);
/* Holds the count-th access from now on (BEFORE; guest's or device's), once; 0 takes it back, and so does a hold of a
 * breakpoint that comes first. */
HRESULT hdvlab_gate_step(HCS_SYSTEM system, uint64_t count);
/* Those held now, oldest first: *count of them, of which the first `room` are in stops (NULL where room is 0). */
HRESULT hdvlab_gate_stops(HCS_SYSTEM system, HDVLAB_STOP_STATE *stops, uint32_t room, uint32_t *count);
/* ERROR_NOT_FOUND: no such access is held (any more). */
HRESULT hdvlab_gate_release(HCS_SYSTEM system, uint64_t ticket, uint32_t action, uint64_t value);
/* Until the counter of holds and releases differs from *changes, which then is that counter. ERROR_BUSY after ms (UINT32_MAX =
 * never); ERROR_INVALID_STATE: the machine is off, nothing will be held any more. */
HRESULT hdvlab_gate_wait(HCS_SYSTEM system, uint64_t *changes, uint32_t ms);
/* The longest hold, also of what is held already; then it goes on as if continued. 1,200,000 unless set; UINT32_MAX = none;
 * 0: E_INVALIDARG. */
HRESULT hdvlab_gate_limit(HCS_SYSTEM system, uint32_t ms);
HRESULT hdvlab_gate_overdue(HCS_SYSTEM system, uint64_t *count); /* holds that the limit ended */

/* Asked for a hit of a breakpoint with ASK, on the thread of the access, with no lock of the gate held and outside of the
 * device where a hold is: 0 = go on, anything else = hold. It may call everything here. Accesses that it makes itself are not
 * looked at. hit->ticket is 0. */
typedef uint32_t (*HDVLAB_GATE_ASK)(void *context, uint32_t id, const HDVLAB_STOP_STATE *hit);
/* NULL = none. On return no thread is in the callback that was set before, unless that is what calls this. */
HRESULT hdvlab_gate_on_ask(HCS_SYSTEM system, HDVLAB_GATE_ASK ask, void *context);
/* Called on the thread of a held access about ten times a second, so that a thread which takes signals (Ctrl-C) can leave:
 * 0 = wait on, anything else = skip (what cannot be skipped: continue). Otherwise as on_ask. */
typedef uint32_t (*HDVLAB_GATE_IDLE)(void *context, uint64_t ticket);
HRESULT hdvlab_gate_on_idle(HCS_SYSTEM system, HDVLAB_GATE_IDLE idle, void *context);

/* ---- for `hdvlab bench`: loops in C, and what they took --------------------------------------------------------- */

HRESULT hdvlab_bench_guest_reads(HCS_SYSTEM system, uint64_t address, uint32_t size, uint64_t count, uint64_t *ns);
HRESULT hdvlab_bench_guest_writes(HCS_SYSTEM system, uint64_t address, uint32_t size, uint64_t count, uint64_t *ns);
HRESULT hdvlab_bench_rows(HDVLAB_TRACE trace, uint64_t count, BOOL complete, uint64_t *ns);
/* A device that is nothing but HDV callbacks: BAR 0 is a page of memory that all of them share. */
HRESULT hdvlab_bench_device(HDV_HOST host, const GUID *device_class, const GUID *instance, HDV_DEVICE *device);
HRESULT hdvlab_bench_copies(HDV_DEVICE device, uint64_t address, uint32_t bytes, uint64_t count, uint64_t *ns);
/* Wakes a thread `count` times and gives the nanoseconds that each time took from the call that did it: with an event
 * (that of a doorbell at `address`) by a guest's write there, else by an interrupt of the device. Vector 0x40. */
HRESULT hdvlab_bench_wakes(HCS_SYSTEM system, HDV_DEVICE device, uint64_t address, HANDLE event, uint32_t count,
                           uint64_t *ns);

/* ---- devices ---------------------------------------------------------------------------------------------------- */

HRESULT hdvlab_device_set_index(HDV_DEVICE device, uint16_t index); /* the number its rows carry */
/* Ends one instance, with its Stop and Teardown, which HDV itself does only with its host; a slot that it is in is empty
 * afterwards. E_HANDLE: it is gone already; ERROR_INVALID_STATE: from a callback, or while power is being switched. */
HRESULT hdvlab_device_end(HDV_DEVICE device);
/* Keeps the address of an aperture good past its end: the pages are zeros from then on, and not another's, until the hold
 * is released. Without one, an ended aperture's pages stay until its system is gone or 1,024 younger ones have ended.
 * An aperture that another library mapped (hdvlab_forward_create) is that library's to unmap: nothing keeps its address.
 * ERROR_NOT_FOUND: no aperture of the device has that address. */
typedef void *HDVLAB_APERTURE;
HRESULT hdvlab_aperture_hold(HDV_DEVICE device, PVOID mappedAddress, HDVLAB_APERTURE *hold);
HRESULT hdvlab_aperture_release(HDVLAB_APERTURE hold);
/* By default a device is in one callback at a time. A concurrent one may be in several callbacks for config space and BARs
 * at once, on different guest threads; lifecycle callbacks, config writes of less than a dword and hdvlab_device_enter
 * still have it alone. A thread never comes into a device that it is in already. To be set before the device is powered
 * on; from then on, also in its Initialize: ERROR_INVALID_STATE. */
HRESULT hdvlab_device_set_concurrent(HDV_DEVICE device, BOOL concurrent);
/* Runs device code outside a callback as if in one: waits its turn, alone, arms the re-entrancy guard. */
HRESULT hdvlab_device_enter(HDV_DEVICE device, uint32_t wait_ms, int64_t cause);
HRESULT hdvlab_device_leave(HDV_DEVICE device);
/* Waits until nobody is inside: S_OK, or ERROR_BUSY after wait_ms (0 = for ever). Holds nothing when it returns. */
HRESULT hdvlab_device_wait_idle(HDV_DEVICE device, uint32_t wait_ms);
/* S_OK when this thread is in one of the device's callbacks or has entered it, else 1 (S_FALSE). */
HRESULT hdvlab_device_inside(HDV_DEVICE device);
/* Who an instance is. What GetDetails answers is zero before it was asked. */
typedef struct {
    GUID class_id, instance_id;
    HDV_PCI_PNP_ID pnp_id;
    uint32_t probed_bars[6];
} HDVLAB_DEVICE_DETAILS;
HRESULT hdvlab_device_details(HDV_DEVICE device, HDVLAB_DEVICE_DETAILS *details);
/* Calls a device's own peek as if in a callback, without a row. ERROR_INVALID_STATE when it is not running or this
 * thread is inside, E_INVALIDARG outside the BAR; else what the peek answers. */
HRESULT hdvlab_device_peek(HDV_DEVICE device, HDVLAB_DEVICE_PEEK peek, uint32_t bar, uint64_t offset, uint32_t size,
                           uint64_t *value);
/* Asserts or deasserts the legacy interrupt line INTA, for a device whose config space names the pin (offset 0x3D): HDV has
 * messages only. That it goes up is a row, an interrupt of size 0. E_NOTIMPL: a machine without lines (the embedded one);
 * ERROR_INVALID_STATE: the device is not running. */
HRESULT hdvlab_device_set_line(HDV_DEVICE device, BOOL asserted);
/* What a machine's reset is for this device: called with the device entered, its row's kind is reset. Without one (NULL) a
 * reset is Stop and Start, for HDV has no callback of that name. */
typedef HRESULT (*HDVLAB_DEVICE_RESET)(void *context);
HRESULT hdvlab_device_on_reset(HDV_DEVICE device, HDVLAB_DEVICE_RESET reset);
/* The row of the write that rang a doorbell last, -1 = none did yet: the cause of what its waiter does then. `bar` to `flags`
 * as given to HdvRegisterDoorbell. ERROR_NOT_FOUND: no such doorbell in this process. */
HRESULT hdvlab_doorbell_row(HDV_DEVICE device, uint32_t bar, uint64_t offset, uint64_t value, uint64_t flags, int64_t *row);
/* The row being served on this thread, -1 = none. Work that goes on elsewhere takes it along. */
int64_t hdvlab_cause(void);
void hdvlab_set_cause(int64_t row);

/* ---- register files: a device whose plain registers are served here --------------------------------------------- */

typedef void *HDVLAB_REGISTER_FILE;

enum { HDVLAB_REGISTER_ON_READ = 1, HDVLAB_REGISTER_ON_WRITE = 2, HDVLAB_REGISTER_NARROW_LOW = 4 };
enum { HDVLAB_BAR_ON_READ = 1, HDVLAB_BAR_ON_WRITE = 2 };

typedef struct {
    uint64_t offset;
    uint32_t bar;
    uint32_t size;  /* bytes: 1, 2, 4 or 8 */
    uint32_t sizes; /* sum of the access sizes it takes */
    uint32_t flags;
    uint64_t reset;
    uint64_t read_mask, write_mask, write_one_to_clear, write_one_to_set, read_to_clear;
} HDVLAB_REGISTER;

/* What a register file asks its author for. NULL = not needed. */
typedef struct {
    HRESULT (*initialize)(void *context);
    void (*teardown)(void *context);
    HRESULT (*set_configuration)(void *context, uint32_t count, const uint16_t *const *values);
    HRESULT (*start)(void *context);
    void (*stop)(void *context);
    HRESULT (*register_read)(void *context, uint32_t index, uint64_t stored, uint64_t *value);
    HRESULT (*register_write)(void *context, uint32_t index, uint64_t value, uint64_t old);
    HRESULT (*bar_read)(void *context, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value);
    HRESULT (*bar_write)(void *context, uint32_t bar, uint64_t offset, uint32_t size, uint64_t value);
    HRESULT (*config_written)(void *context, uint32_t offset, uint32_t value);
    HRESULT (*reset)(void *context); /* of the machine; NULL: stop, all registers to their reset values, start */
} HDVLAB_DEVICE_CALLBACKS;

typedef struct {
    HDV_PCI_PNP_ID pnp_id;
    uint32_t probed_bars[6];
    uint64_t bar_size[6];
    uint32_t bar_flags[6];
    uint32_t register_count;
    const HDVLAB_REGISTER *registers; /* sorted by bar, then offset */
    const uint8_t *config, *config_write_mask, *config_write_one_to_clear; /* 4096 bytes each */
    uint32_t msi_offset;  /* of the MSI capability in config space, 0 = none */
    uint32_t msix_offset; /* of the MSI-X capability, 0 = none */
} HDVLAB_DEVICE_DESCRIPTION;

/* An MSI or MSI-X vector. */
typedef struct {
    uint32_t capability; /* that the guest enabled: 0x05 MSI, 0x11 MSI-X, 0 neither; the rest is 0 then */
    uint32_t count;      /* vectors that the guest granted (MSI) or that there are (MSI-X) */
    uint32_t masked;     /* 1: by the vector's mask or by the function's */
    uint32_t pending;    /* 1: raised while it was masked */
    uint32_t data;
    uint64_t address;
} HDVLAB_MESSAGE;

HRESULT hdvlab_register_file_create(const HDVLAB_DEVICE_DESCRIPTION *description,
                                    const HDVLAB_DEVICE_CALLBACKS *callbacks, void *context,
                                    HDVLAB_REGISTER_FILE *file);
HRESULT hdvlab_register_file_close(HDVLAB_REGISTER_FILE file);
HRESULT hdvlab_register_file_reset(HDVLAB_REGISTER_FILE file);
/* Other registers for the same device, while it runs: their values come along, callbacks are the new ones, and nothing of it
 * is seen by the machine. The caller has the device (hdvlab_device_enter), else ERROR_INVALID_STATE. E_INVALIDARG: ids, BARs
 * or config space are others; nothing has changed then. */
HRESULT hdvlab_register_file_redescribe(HDVLAB_REGISTER_FILE file, const HDVLAB_DEVICE_DESCRIPTION *description,
                                        const HDVLAB_DEVICE_CALLBACKS *callbacks, const uint64_t *values);
/* Stored values, register_count of them, in the order of the description. Memory until the file is closed; those of
 * registers that were redescribed count no more. */
HRESULT hdvlab_register_file_values(HDVLAB_REGISTER_FILE file, uint64_t **values);
HRESULT hdvlab_register_file_config(HDVLAB_REGISTER_FILE file, uint8_t **config); /* 4096 bytes, likewise */
/* Reads a stored value without any side effect. */
HRESULT hdvlab_register_file_peek(HDVLAB_REGISTER_FILE file, uint32_t bar, uint64_t offset, uint32_t size,
                                  uint64_t *value);
HRESULT hdvlab_register_file_instance(HDVLAB_REGISTER_FILE file, HDV_HOST host, const GUID *device_class,
                                      const GUID *instance, HDV_DEVICE *device);
/* Raises an MSI or MSI-X vector as the guest programmed it: masked MSI-X vectors become pending. */
HRESULT hdvlab_register_file_interrupt(HDVLAB_REGISTER_FILE file, uint32_t vector);
/* How a vector stands, as the guest programmed it; looking changes nothing. E_INVALIDARG: the device has no such vector. */
HRESULT hdvlab_register_file_message(HDVLAB_REGISTER_FILE file, uint32_t vector, HDVLAB_MESSAGE *message);
/* Takes back a vector that is pending, because its reason is gone: S_OK, or 1 (S_FALSE) when it was not pending. */
HRESULT hdvlab_register_file_withdraw(HDVLAB_REGISTER_FILE file, uint32_t vector);
/* Rehearsal: what an access would do, tried on a register file that is bound to no instance, so that no machine and no trace
 * notice; one that is bound is ERROR_INVALID_STATE. `to` takes over the stored values, config space and interrupt state of
 * `from`, which has the same registers (else E_INVALIDARG). The caller keeps the device of `from` still meanwhile
 * (hdvlab_device_enter). */
HRESULT hdvlab_register_file_copy(HDVLAB_REGISTER_FILE from, HDVLAB_REGISTER_FILE to);
/* An access as the guest's would be, callbacks and all; *value is written, or is the answer (all ones where it failed). */
HRESULT hdvlab_register_file_rehearse(HDVLAB_REGISTER_FILE file, BOOL write, uint32_t bar, uint64_t offset, uint32_t size,
                                      uint64_t *value);
/* Raises a vector: 1 (S_FALSE) when the message of *address and *data would be sent, S_OK when it is pending now, else
 * ERROR_INVALID_STATE where the guest enabled neither MSI-X nor MSI, E_INVALIDARG where it was not granted. */
HRESULT hdvlab_register_file_rehearse_interrupt(HDVLAB_REGISTER_FILE file, uint32_t vector, uint64_t *address,
                                                uint32_t *data);
/* Ends the instance that the file is bound to, in a slot or not, with Stop and Teardown; its slot is empty afterwards.
 * S_OK, or 1 (S_FALSE) when there is none. From a callback, or while the machine changes: ERROR_INVALID_STATE. */
HRESULT hdvlab_register_file_end(HDVLAB_REGISTER_FILE file);

/* ---- device hosts in another process, over a UNIX socket (not on Windows, where COM carries the calls) ----------- */

enum { HDVLAB_PROXY_UP = 0, HDVLAB_PROXY_HUNG = 1, HDVLAB_PROXY_ENDED = 2 };

/* The device's process: an object for HdvInitializeDeviceHostForProxy that registers the host with whoever listens on
 * `path`. HCS_E_CONNECT_FAILED: nobody does. Give it back with its Release. */
HRESULT hdvlab_proxy_connect(const char *path, IVmDeviceHostSupport **support);
/* The same over a connected SOCK_SEQPACKET socket, which the object takes: on failure it is closed (but for
 * E_POINTER). */
HRESULT hdvlab_proxy_support_from_socket(int socket, IVmDeviceHostSupport **support);
/* Waits until the machine is gone (S_OK), or ERROR_TIMEOUT; 0 = look only, UINT32_MAX = for ever. */
HRESULT hdvlab_proxy_wait_machine(HDV_HOST host, uint32_t timeout_ms);

/* The machine's process: takes a connected SOCK_SEQPACKET socket (closed on failure, but for E_POINTER) and its peer's
 * registration, which must come within timeout_ms. What it gives is for HdvProxyDeviceHost; until that is called the
 * peer waits. The last Release without it turns the peer away. E_ACCESSDENIED: another user's process.
 * HCS_E_PROTOCOL_ERROR: no such peer. */
HRESULT hdvlab_proxy_accept(int socket, uint32_t timeout_ms, GUID *vm_id, DWORD *process_id, IVmDeviceHost **host);
/* The longest a guest waits for one answer of this host's devices (1000 ms unless set; 1 to 4000, below what a VM waits
 * itself); lifecycle steps get ten times that. Then the access ends with ERROR_TIMEOUT and all ones, and so does every
 * one after it until the late answer has come, which is thrown away. */
HRESULT hdvlab_proxy_set_budget(IVmDeviceHost *host, uint32_t budget_ms);
/* Waits until the host's state is another than `known`; ERROR_TIMEOUT after timeout_ms (UINT32_MAX = never). `why`, once
 * it has ended: S_OK = in good order, HCS_E_SERVICE_DISCONNECT = its process is gone, HCS_E_PROTOCOL_ERROR = it sent what
 * is no message and was cut off. Devices of a host that ended otherwise than in good order answer all ones with rows of
 * that status until their slot is filled anew: hdvlab_system_add_slot takes a slot whose device is dead. */
HRESULT hdvlab_proxy_wait(IVmDeviceHost *host, uint32_t known, uint32_t timeout_ms, uint32_t *state, HRESULT *why);

/* ---- the library ------------------------------------------------------------------------------------------------ */

/* Of all kinds, for leak tests. A thread of the library that has just done an Hcs call gives back what it holds (operation,
 * system, and with the last one the machine's memory) moments after that call's result is there. */
uint64_t hdvlab_live_handles(void);
/* Whether a text is JSON as the HCS calls read it: S_OK, or HCS_E_INVALID_JSON with the unit at which it is not in *at. */
HRESULT hdvlab_json_check(PCWSTR text, uint64_t *at);
/* The instance id that a key of FlexibleIov stands for: itself if it is a GUID, else the UUID version 5 of its UTF-8 in
 * namespace a8679153-843f-467f-ad7e-f429328f7568. */
HRESULT hdvlab_instance_id(PCWSTR key, GUID *instance);

#ifdef __cplusplus
}
#endif

#endif
