// What Python sees of the library. Written by hand; the compiler supplies the values and checks the types.

typedef int32_t HRESULT;

typedef struct { uint32_t Data1; uint16_t Data2; uint16_t Data3; uint8_t Data4[8]; } GUID;

typedef struct {
    uint16_t VendorID, DeviceID;
    uint8_t RevisionID, ProgIf, SubClass, BaseClass;
    uint16_t SubVendorID, SubSystemID;
} HDV_PCI_PNP_ID;

typedef struct {
    int Version;
    HRESULT (*Initialize)(void *);
    void (*Teardown)(void *);
    HRESULT (*SetConfiguration)(void *, uint32_t, const uint16_t *const *);
    HRESULT (*GetDetails)(void *, HDV_PCI_PNP_ID *, uint32_t, uint32_t *);
    HRESULT (*Start)(void *);
    void (*Stop)(void *);
    HRESULT (*ReadConfigSpace)(void *, uint32_t, uint32_t *);
    HRESULT (*WriteConfigSpace)(void *, uint32_t, uint32_t);
    HRESULT (*ReadInterceptedMemory)(void *, int, uint64_t, uint64_t, uint8_t *);
    HRESULT (*WriteInterceptedMemory)(void *, int, uint64_t, uint64_t, const uint8_t *);
    ...;
} HDV_PCI_DEVICE_INTERFACE;

// HyperVDeviceVirtualization.h
HRESULT HdvInitializeDeviceHost(void *, void **);
HRESULT HdvInitializeDeviceHostEx(void *, int, void **);
HRESULT HdvInitializeDeviceHostForProxy(const GUID *, void *, void **);
HRESULT HdvInitializeDeviceHostForProxyEx(const GUID *, void *, int, void **);
HRESULT HdvProxyDeviceHost(void *, void *, uint32_t, uint64_t *);
HRESULT HdvTeardownDeviceHost(void *);
HRESULT HdvCreateDeviceInstance(void *, int, const GUID *, const GUID *, const void *, void *, void **);
HRESULT HdvReadGuestMemory(void *, uint64_t, uint32_t, uint8_t *);
HRESULT HdvWriteGuestMemory(void *, uint64_t, uint32_t, const uint8_t *);
HRESULT HdvCreateGuestMemoryAperture(void *, uint64_t, uint32_t, int32_t, void **);
HRESULT HdvDestroyGuestMemoryAperture(void *, void *);
HRESULT HdvDeliverGuestInterrupt(void *, uint64_t, uint32_t);
HRESULT HdvRegisterDoorbell(void *, int, uint64_t, uint64_t, uint64_t, void *);
HRESULT HdvUnregisterDoorbell(void *, int, uint64_t, uint64_t, uint64_t);
HRESULT HdvRegisterDoorbellPage(void *, int, uint64_t, void *);
HRESULT HdvUnregisterDoorbellPage(void *, int, uint64_t);
HRESULT HdvCreateSectionBackedMmioRange(void *, int, uint64_t, uint64_t, int, void *, uint64_t);
HRESULT HdvDestroySectionBackedMmioRange(void *, int, uint64_t);

// ComputeDefs.h, ComputeCore.h
enum {
    HcsOperationTypeNone, HcsOperationTypeEnumerate, HcsOperationTypeCreate, HcsOperationTypeStart,
    HcsOperationTypeShutdown, HcsOperationTypePause, HcsOperationTypeResume, HcsOperationTypeTerminate,
    HcsOperationTypeModify, HcsOperationTypeGetProperties, ...
};
enum { HcsEventSystemExited, HcsEventOperationCallback, ... };
typedef struct { int Type; const uint16_t *EventData; void *Operation; ...; } HCS_EVENT;

void *HcsCreateOperation(const void *, void (*)(void *, void *));
void HcsCloseOperation(void *);
void *HcsGetOperationContext(void *);
HRESULT HcsSetOperationContext(void *, const void *);
void *HcsGetComputeSystemFromOperation(void *);
int HcsGetOperationType(void *);
uint64_t HcsGetOperationId(void *);
HRESULT HcsGetOperationResult(void *, uint16_t **);
HRESULT HcsWaitForOperationResult(void *, uint32_t, uint16_t **);
HRESULT HcsSetOperationCallback(void *, const void *, void (*)(void *, void *));
HRESULT HcsCancelOperation(void *);
HRESULT HcsCreateComputeSystem(const uint16_t *, const uint16_t *, void *, const void *, void **);
HRESULT HcsOpenComputeSystem(const uint16_t *, uint32_t, void **);
void HcsCloseComputeSystem(void *);
HRESULT HcsStartComputeSystem(void *, void *, const uint16_t *);
HRESULT HcsShutDownComputeSystem(void *, void *, const uint16_t *);
HRESULT HcsTerminateComputeSystem(void *, void *, const uint16_t *);
HRESULT HcsPauseComputeSystem(void *, void *, const uint16_t *);
HRESULT HcsResumeComputeSystem(void *, void *, const uint16_t *);
HRESULT HcsModifyComputeSystem(void *, void *, const uint16_t *, void *);
HRESULT HcsGetComputeSystemProperties(void *, void *, const uint16_t *);
HRESULT HcsSetComputeSystemCallback(void *, int, const void *, void (*)(HCS_EVENT *, void *));
HRESULT HcsEnumerateComputeSystems(const uint16_t *, void *);
void *LocalFree(void *);
// hdvlab_device.h
#define HDVLAB_DEVICE_VERSION ...
enum { HDVLAB_ENTRY_BAR, HDVLAB_ENTRY_REGISTER, HDVLAB_ENTRY_FIELD, HDVLAB_ENTRY_MEANING, ... };
typedef struct {
    uint32_t Kind;
    const char *Name;
    uint64_t Place;
    uint32_t Size;
    const char *Access, *Doc;
    ...;
} HDVLAB_ENTRY;
typedef HRESULT (*HDVLAB_DEVICE_PEEK)(void *, int, uint64_t, uint32_t, uint64_t *);
typedef HRESULT (*HDVLAB_PLUG_DEVICE)(void *, const GUID *, void **);
typedef struct {
    uint32_t Size, Version;
    const char *Name;
    GUID ClassId;
    HDV_PCI_PNP_ID PnpId;
    uint32_t ProbedBars[6];
    uint32_t EntryCount;
    const HDVLAB_ENTRY *Entries;
    HDVLAB_DEVICE_PEEK Peek;
    ...;
} HDVLAB_DEVICE_INFO;

// hdvlab.h: trace
#define HDVLAB_COLUMN_COUNT ...
#define HDVLAB_NO_DEVICE ...
enum { HDVLAB_CLOCK_AUTO, HDVLAB_CLOCK_TSC, HDVLAB_CLOCK_MONOTONIC, HDVLAB_CLOCK_MANUAL, ... };
enum {
    HDVLAB_NONE, HDVLAB_CONFIG_READ, HDVLAB_CONFIG_WRITE, HDVLAB_MMIO_READ, HDVLAB_MMIO_WRITE, HDVLAB_DMA_READ,
    HDVLAB_DMA_WRITE, HDVLAB_INTERRUPT, HDVLAB_DOORBELL, HDVLAB_DOORBELL_REGISTER, HDVLAB_DOORBELL_UNREGISTER,
    HDVLAB_APERTURE_MAP, HDVLAB_APERTURE_UNMAP, HDVLAB_SECTION_MAP, HDVLAB_SECTION_UNMAP, HDVLAB_INITIALIZE,
    HDVLAB_SET_CONFIGURATION, HDVLAB_GET_DETAILS, HDVLAB_START, HDVLAB_STOP, HDVLAB_TEARDOWN, HDVLAB_RESET,
    HDVLAB_PAUSE, HDVLAB_RESUME, HDVLAB_MARK, HDVLAB_FAULT, HDVLAB_LOST, HDVLAB_KIND_COUNT, ...
};
enum { HDVLAB_GUEST, HDVLAB_USER, HDVLAB_DEVICE, HDVLAB_REPLAY, HDVLAB_INJECTED, HDVLAB_MACHINE, ... };

typedef struct {
    uint64_t reserved, capacity, lost, backward, payload_reserved, payload_bytes, payload_max, max_rows, chunk_rows;
    int64_t wall_ns;
    int32_t stopped;
    uint32_t clock, closed, live, suspended;
    ...;
} HDVLAB_TRACE_STATE;

HRESULT hdvlab_trace_create(const char *, uint64_t, uint32_t, uint32_t, void **);
HRESULT hdvlab_trace_attach(const char *, void **);
HRESULT hdvlab_trace_salvage(const char *, uint64_t, uint32_t, void **);
HRESULT hdvlab_trace_finish(void *);
HRESULT hdvlab_trace_close(void *);
HRESULT hdvlab_trace_state(void *, HDVLAB_TRACE_STATE *);
HRESULT hdvlab_trace_committed(void *, uint64_t, uint64_t *);
HRESULT hdvlab_trace_pin(void *, uint32_t, void **);
void hdvlab_trace_unpin(void *);
HRESULT hdvlab_trace_mark(void *, uint32_t, uint16_t, int64_t, int32_t, const void *, uint32_t, int64_t *);
HRESULT hdvlab_trace_suspend(void *, int32_t);
HRESULT hdvlab_trace_set_time(void *, int64_t);
HRESULT hdvlab_trace_verify(void *, uint64_t, uint32_t *, uint32_t *);
HRESULT hdvlab_trace_settled(void *, uint64_t, uint64_t *);
HRESULT hdvlab_trace_append(void *, uint64_t, const void *const *, const void *, uint64_t);
uint32_t hdvlab_trace_column(uint32_t, const char **);

// the machine and the guest's side of it
#define HDVLAB_SLOT_COUNT ...
typedef struct { uint64_t pc; uint8_t origin; uint32_t wait_ms; ...; } HDVLAB_ACCESS;

HRESULT hdvlab_embedded_create(uint64_t, int32_t, void *, void **);
typedef struct {
    uint32_t size;
    HRESULT (*HdvInitializeDeviceHost)(void *, void **);
    HRESULT (*HdvTeardownDeviceHost)(void *);
    HRESULT (*HdvCreateDeviceInstance)(void *, int, const GUID *, const GUID *, const void *, void *, void **);
    HRESULT (*HdvReadGuestMemory)(void *, uint64_t, uint32_t, uint8_t *);
    HRESULT (*HdvWriteGuestMemory)(void *, uint64_t, uint32_t, const uint8_t *);
    HRESULT (*HdvCreateGuestMemoryAperture)(void *, uint64_t, uint32_t, int32_t, void **);
    HRESULT (*HdvDestroyGuestMemoryAperture)(void *, void *);
    HRESULT (*HdvDeliverGuestInterrupt)(void *, uint64_t, uint32_t);
    HRESULT (*HdvInitializeDeviceHostEx)(void *, int, void **);
    HRESULT (*HdvRegisterDoorbell)(void *, int, uint64_t, uint64_t, uint64_t, void *);
    HRESULT (*HdvUnregisterDoorbell)(void *, int, uint64_t, uint64_t, uint64_t);
    HRESULT (*HdvRegisterDoorbellPage)(void *, int, uint64_t, void *);
    HRESULT (*HdvUnregisterDoorbellPage)(void *, int, uint64_t);
    HRESULT (*HdvCreateSectionBackedMmioRange)(void *, int, uint64_t, uint64_t, int, void *, uint64_t);
    HRESULT (*HdvDestroySectionBackedMmioRange)(void *, int, uint64_t);
    ...;
} HDVLAB_HDV_FUNCTIONS;

HRESULT hdvlab_forward_create(const HDVLAB_HDV_FUNCTIONS *, void *, void *, void **);
HRESULT hdvlab_system_start(void *);
HRESULT hdvlab_system_stop(void *);
HRESULT hdvlab_system_close(void *);
HRESULT hdvlab_system_add_slot(void *, uint32_t, const GUID *, const GUID *, uint32_t, const uint16_t *const *);
HRESULT hdvlab_system_remove_slot(void *, uint32_t);
HRESULT hdvlab_system_record(void *, void *);
HRESULT hdvlab_system_slot(void *, const GUID *, uint32_t *);
HRESULT hdvlab_system_device(void *, uint32_t, void **);
HRESULT hdvlab_guest_place_bars(void *, uint32_t, uint64_t *);
enum { HDVLAB_MEMORY_READ, HDVLAB_MEMORY_WRITE, ... };
HRESULT hdvlab_memory_map(void *, uint64_t, uint64_t, void *, uint64_t, uint32_t);
HRESULT hdvlab_memory_unmap(void *, uint64_t, uint64_t);
HRESULT hdvlab_system_find(void *, const GUID *, const GUID *, void **);
typedef struct { uint32_t size, flags, budget_ms, poll_us; } HDVLAB_VFIO_USER_OPTIONS;
typedef struct {
    uint32_t state, hung;
    uint64_t changes, connections, resets, messages, timeouts, dma_regions, dma_bytes;
    uint32_t interrupt_mode;
    int32_t peer;
    HRESULT why;
    ...;
} HDVLAB_VFIO_USER_STATE;
enum { HDVLAB_VFIO_USER_NONE, HDVLAB_VFIO_USER_LISTENING, HDVLAB_VFIO_USER_CONNECTED, ... };
#define HDVLAB_VFIO_USER_HIDE_CAPABILITIES ...
HRESULT hdvlab_vfio_user_create(int32_t, void *, void **);
HRESULT hdvlab_vfio_user_listen(void *, uint32_t, const char *, const HDVLAB_VFIO_USER_OPTIONS *);
HRESULT hdvlab_vfio_user_attach(void *, uint32_t, int, const HDVLAB_VFIO_USER_OPTIONS *);
HRESULT hdvlab_vfio_user_end(void *, uint32_t);
HRESULT hdvlab_vfio_user_state(void *, uint32_t, HDVLAB_VFIO_USER_STATE *);
HRESULT hdvlab_vfio_user_hung_thread(void *, uint32_t, uint64_t *);
HRESULT hdvlab_vfio_user_wait(void *, uint32_t, uint64_t, uint32_t, HDVLAB_VFIO_USER_STATE *);
HRESULT hdvlab_device_set_line(void *, int32_t);
HRESULT hdvlab_device_on_reset(void *, HRESULT (*)(void *));

HRESULT hdvlab_guest_config_read(void *, const HDVLAB_ACCESS *, uint32_t, uint32_t, uint32_t, uint32_t *);
HRESULT hdvlab_guest_config_write(void *, const HDVLAB_ACCESS *, uint32_t, uint32_t, uint32_t, uint32_t);
HRESULT hdvlab_guest_config_peek(void *, uint32_t, uint8_t *);
HRESULT hdvlab_guest_read(void *, const HDVLAB_ACCESS *, uint64_t, uint32_t, uint64_t *);
HRESULT hdvlab_guest_write(void *, const HDVLAB_ACCESS *, uint64_t, uint32_t, uint64_t);
HRESULT hdvlab_guest_load(void *, uint64_t, uint32_t, uint32_t, uint64_t, uint64_t *);
HRESULT hdvlab_guest_store(void *, uint64_t, uint32_t, uint32_t, uint64_t, uint64_t);
HRESULT hdvlab_guest_ram_read(void *, uint64_t, uint64_t, void *);
HRESULT hdvlab_guest_ram_write(void *, uint64_t, uint64_t, const void *);
HRESULT hdvlab_guest_wait_interrupt(void *, uint8_t, int64_t, uint32_t *);
HRESULT hdvlab_guest_bind_interrupts(void *, uint32_t, uint32_t, void *const *);
HRESULT hdvlab_guest_cancel(void *);
HRESULT hdvlab_device_access(void *, const HDVLAB_ACCESS *, int32_t, uint32_t, uint64_t, uint32_t, uint64_t *);
enum { HDVLAB_BEFORE, HDVLAB_AFTER, ... };
enum {
    HDVLAB_BREAK_AFTER, HDVLAB_BREAK_CHANGED, HDVLAB_BREAK_ONCE, HDVLAB_BREAK_ASK, HDVLAB_BREAK_PASS,
    HDVLAB_BREAK_DISABLED, ...
};
enum { HDVLAB_CONTINUE, HDVLAB_OVERRIDE, HDVLAB_SKIP, HDVLAB_RETRY, ... };
typedef struct {
    uint64_t kinds;
    uint32_t origins, flags;
    int32_t device, bar;
    uint64_t first, last, value, mask, ignore;
} HDVLAB_BREAKPOINT;
typedef struct {
    uint64_t ticket;
    uint32_t breakpoint, phase;
    int64_t row, held_ns;
    uint64_t address, value, pc;
    uint32_t size;
    int32_t bar;
    uint16_t device;
    uint8_t kind, origin;
    HRESULT status;
    uint32_t is_inside;
} HDVLAB_STOP_STATE;
typedef uint32_t (*HDVLAB_GATE_ASK)(void *, uint32_t, const HDVLAB_STOP_STATE *);
typedef uint32_t (*HDVLAB_GATE_IDLE)(void *, uint64_t);
HRESULT hdvlab_gate_add(void *, const HDVLAB_BREAKPOINT *, uint32_t *);
HRESULT hdvlab_gate_set(void *, uint32_t, uint32_t);
HRESULT hdvlab_gate_remove(void *, uint32_t);
HRESULT hdvlab_gate_hits(void *, uint32_t, uint64_t *, uint64_t *);
HRESULT hdvlab_gate_step(void *, uint64_t);
HRESULT hdvlab_gate_stops(void *, HDVLAB_STOP_STATE *, uint32_t, uint32_t *);
HRESULT hdvlab_gate_release(void *, uint64_t, uint32_t, uint64_t);
HRESULT hdvlab_gate_wait(void *, uint64_t *, uint32_t);
HRESULT hdvlab_gate_limit(void *, uint32_t);
HRESULT hdvlab_gate_overdue(void *, uint64_t *);
HRESULT hdvlab_gate_on_ask(void *, HDVLAB_GATE_ASK, void *);
HRESULT hdvlab_gate_on_idle(void *, HDVLAB_GATE_IDLE, void *);

HRESULT hdvlab_bench_guest_reads(void *, uint64_t, uint32_t, uint64_t, uint64_t *);
HRESULT hdvlab_bench_guest_writes(void *, uint64_t, uint32_t, uint64_t, uint64_t *);
HRESULT hdvlab_bench_rows(void *, uint64_t, int32_t, uint64_t *);
HRESULT hdvlab_bench_device(void *, const GUID *, const GUID *, void **);
HRESULT hdvlab_bench_copies(void *, uint64_t, uint32_t, uint64_t, uint64_t *);
HRESULT hdvlab_bench_wakes(void *, void *, uint64_t, void *, uint32_t, uint64_t *);

// devices
HRESULT hdvlab_device_end(void *);
HRESULT hdvlab_device_set_index(void *, uint16_t);
HRESULT hdvlab_aperture_hold(void *, void *, void **);
HRESULT hdvlab_aperture_release(void *);
HRESULT hdvlab_device_set_concurrent(void *, int32_t);
HRESULT hdvlab_device_enter(void *, uint32_t, int64_t);
HRESULT hdvlab_device_leave(void *);
HRESULT hdvlab_device_wait_idle(void *, uint32_t);
HRESULT hdvlab_device_inside(void *);
typedef struct {
    GUID class_id, instance_id;
    HDV_PCI_PNP_ID pnp_id;
    uint32_t probed_bars[6];
} HDVLAB_DEVICE_DETAILS;
HRESULT hdvlab_device_details(void *, HDVLAB_DEVICE_DETAILS *);
HRESULT hdvlab_device_peek(void *, HDVLAB_DEVICE_PEEK, uint32_t, uint64_t, uint32_t, uint64_t *);
HRESULT hdvlab_doorbell_row(void *, uint32_t, uint64_t, uint64_t, uint64_t, int64_t *);
int64_t hdvlab_cause(void);
void hdvlab_set_cause(int64_t);

// register files
enum { HDVLAB_REGISTER_ON_READ, HDVLAB_REGISTER_ON_WRITE, HDVLAB_REGISTER_NARROW_LOW, ... };
enum { HDVLAB_BAR_ON_READ, HDVLAB_BAR_ON_WRITE, ... };

typedef struct {
    uint64_t offset;
    uint32_t bar, size, sizes, flags;
    uint64_t reset, read_mask, write_mask, write_one_to_clear, write_one_to_set, read_to_clear;
    ...;
} HDVLAB_REGISTER;

typedef struct {
    HRESULT (*initialize)(void *);
    void (*teardown)(void *);
    HRESULT (*set_configuration)(void *, uint32_t, const uint16_t *const *);
    HRESULT (*start)(void *);
    void (*stop)(void *);
    HRESULT (*register_read)(void *, uint32_t, uint64_t, uint64_t *);
    HRESULT (*register_write)(void *, uint32_t, uint64_t, uint64_t);
    HRESULT (*bar_read)(void *, uint32_t, uint64_t, uint32_t, uint64_t *);
    HRESULT (*bar_write)(void *, uint32_t, uint64_t, uint32_t, uint64_t);
    HRESULT (*config_written)(void *, uint32_t, uint32_t);
    HRESULT (*reset)(void *);
    ...;
} HDVLAB_DEVICE_CALLBACKS;

typedef struct {
    HDV_PCI_PNP_ID pnp_id;
    uint32_t probed_bars[6];
    uint64_t bar_size[6];
    uint32_t bar_flags[6];
    uint32_t register_count;
    const HDVLAB_REGISTER *registers;
    const uint8_t *config, *config_write_mask, *config_write_one_to_clear;
    uint32_t msi_offset, msix_offset;
    ...;
} HDVLAB_DEVICE_DESCRIPTION;

HRESULT hdvlab_register_file_create(const HDVLAB_DEVICE_DESCRIPTION *, const HDVLAB_DEVICE_CALLBACKS *, void *, void **);
HRESULT hdvlab_register_file_close(void *);
HRESULT hdvlab_register_file_reset(void *);
HRESULT hdvlab_register_file_redescribe(void *, const HDVLAB_DEVICE_DESCRIPTION *, const HDVLAB_DEVICE_CALLBACKS *, const uint64_t *);
HRESULT hdvlab_register_file_values(void *, uint64_t **);
HRESULT hdvlab_register_file_config(void *, uint8_t **);
HRESULT hdvlab_register_file_peek(void *, uint32_t, uint64_t, uint32_t, uint64_t *);
HRESULT hdvlab_register_file_instance(void *, void *, const GUID *, const GUID *, void **);
HRESULT hdvlab_register_file_interrupt(void *, uint32_t);
typedef struct { uint32_t capability, count, masked, pending, data; uint64_t address; ...; } HDVLAB_MESSAGE;
HRESULT hdvlab_register_file_message(void *, uint32_t, HDVLAB_MESSAGE *);
HRESULT hdvlab_register_file_withdraw(void *, uint32_t);
HRESULT hdvlab_register_file_copy(void *, void *);
HRESULT hdvlab_register_file_rehearse(void *, int32_t, uint32_t, uint64_t, uint32_t, uint64_t *);
HRESULT hdvlab_register_file_rehearse_interrupt(void *, uint32_t, uint64_t *, uint32_t *);
HRESULT hdvlab_register_file_end(void *);

// VmDeviceHost.h, and device hosts in another process
typedef struct IUnknown IUnknown;
typedef struct {
    HRESULT (*QueryInterface)(IUnknown *, const GUID *, void **);
    uint32_t (*AddRef)(IUnknown *);
    uint32_t (*Release)(IUnknown *);
} IUnknownVtbl;
struct IUnknown { const IUnknownVtbl *lpVtbl; };
typedef struct IVmDeviceHost IVmDeviceHost;
typedef struct {
    HRESULT (*QueryInterface)(IVmDeviceHost *, const GUID *, void **);
    uint32_t (*AddRef)(IVmDeviceHost *);
    uint32_t (*Release)(IVmDeviceHost *);
    HRESULT (*GetDeviceInstance)(IVmDeviceHost *, const GUID *, const GUID *, IUnknown **);
} IVmDeviceHostVtbl;
struct IVmDeviceHost { const IVmDeviceHostVtbl *lpVtbl; };
typedef struct IVmDeviceHostSupport IVmDeviceHostSupport;
typedef struct {
    HRESULT (*QueryInterface)(IVmDeviceHostSupport *, const GUID *, void **);
    uint32_t (*AddRef)(IVmDeviceHostSupport *);
    uint32_t (*Release)(IVmDeviceHostSupport *);
    HRESULT (*RegisterDeviceHost)(IVmDeviceHostSupport *, IVmDeviceHost *, uint32_t, uint64_t *);
} IVmDeviceHostSupportVtbl;
struct IVmDeviceHostSupport { const IVmDeviceHostSupportVtbl *lpVtbl; };

enum { HDVLAB_PROXY_UP, HDVLAB_PROXY_HUNG, HDVLAB_PROXY_ENDED, ... };
HRESULT hdvlab_proxy_connect(const char *, IVmDeviceHostSupport **);
HRESULT hdvlab_proxy_support_from_socket(int, IVmDeviceHostSupport **);
HRESULT hdvlab_proxy_wait_machine(void *, uint32_t);
HRESULT hdvlab_proxy_accept(int, uint32_t, GUID *, uint32_t *, IVmDeviceHost **);
HRESULT hdvlab_proxy_set_budget(IVmDeviceHost *, uint32_t);
HRESULT hdvlab_proxy_wait(IVmDeviceHost *, uint32_t, uint32_t, uint32_t *, HRESULT *);

uint64_t hdvlab_live_handles(void);
HRESULT hdvlab_json_check(const uint16_t *, uint64_t *);
HRESULT hdvlab_instance_id(const uint16_t *, GUID *);

// Implemented in hdv/callbacks.py.
extern "Python" {
    HRESULT hdvlab_py_initialize(void *);
    void hdvlab_py_teardown(void *);
    HRESULT hdvlab_py_set_configuration(void *, uint32_t, const uint16_t *const *);
    HRESULT hdvlab_py_start(void *);
    void hdvlab_py_stop(void *);
    HRESULT hdvlab_py_reset(void *);
    HRESULT hdvlab_py_register_read(void *, uint32_t, uint64_t, uint64_t *);
    HRESULT hdvlab_py_register_write(void *, uint32_t, uint64_t, uint64_t);
    HRESULT hdvlab_py_bar_read(void *, uint32_t, uint64_t, uint32_t, uint64_t *);
    HRESULT hdvlab_py_bar_write(void *, uint32_t, uint64_t, uint32_t, uint64_t);
    HRESULT hdvlab_py_config_written(void *, uint32_t, uint32_t);
    // HDV's own ten.
    HRESULT hdvlab_hdv_initialize(void *);
    void hdvlab_hdv_teardown(void *);
    HRESULT hdvlab_hdv_set_configuration(void *, uint32_t, const uint16_t *const *);
    HRESULT hdvlab_hdv_get_details(void *, HDV_PCI_PNP_ID *, uint32_t, uint32_t *);
    HRESULT hdvlab_hdv_start(void *);
    void hdvlab_hdv_stop(void *);
    HRESULT hdvlab_hdv_read_config(void *, uint32_t, uint32_t *);
    HRESULT hdvlab_hdv_write_config(void *, uint32_t, uint32_t);
    HRESULT hdvlab_hdv_read(void *, int, uint64_t, uint64_t, uint8_t *);
    HRESULT hdvlab_hdv_write(void *, int, uint64_t, uint64_t, const uint8_t *);
    // The gate's.
    uint32_t hdvlab_py_gate_ask(void *, uint32_t, const HDVLAB_STOP_STATE *);
    uint32_t hdvlab_py_gate_idle(void *, uint64_t);
}
