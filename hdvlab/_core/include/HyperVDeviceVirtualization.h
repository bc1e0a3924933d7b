/* Ref: Windows SDK, HyperVDeviceVirtualization.h; Microsoft Learn, "Host Compute System API reference", HDV part.
 * The ABI is Windows': enums are 32 bits, strings are UTF-16, structures have natural alignment. What follows is in short
 * what notebooks/hdv-reference.md has an entry for by each name. */
#ifndef HDVLAB_HYPERV_DEVICE_VIRTUALIZATION_H
#define HDVLAB_HYPERV_DEVICE_VIRTUALIZATION_H

#include "ComputeDefs.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *HDV_HOST;
typedef void *HDV_DEVICE;

typedef enum { HdvDeviceTypeUndefined = 0, HdvDeviceTypePCI = 1 } HDV_DEVICE_TYPE;

typedef enum { HdvDeviceHostFlagNone = 0, HdvDeviceHostFlagInitializeComSecurity = 1 } HDV_DEVICE_HOST_FLAGS;

typedef enum {
    HDV_PCI_BAR0 = 0,
    HDV_PCI_BAR1,
    HDV_PCI_BAR2,
    HDV_PCI_BAR3,
    HDV_PCI_BAR4,
    HDV_PCI_BAR5
} HDV_PCI_BAR_SELECTOR;

#define HDV_PCI_BAR_COUNT 6

typedef enum {
    HdvPciDeviceInterfaceVersionInvalid = 0,
    HdvPciDeviceInterfaceVersion1 = 1
} HDV_PCI_INTERFACE_VERSION;

/* Passed in a UINT64 of which the low 32 bits count: the compiler that widened ANY_VALUE may have extended its sign. */
typedef enum {
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_ANY = 0,
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_BYTE = 1,
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_WORD = 2,
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD = 3,
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD = 4,
    HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE = (int)0x80000000
} HDV_DOORBELL_FLAGS;

typedef enum {
    HdvMmioMappingFlagNone = 0,
    HdvMmioMappingFlagWriteable = 1,
    HdvMmioMappingFlagExecutable = 2
} HDV_MMIO_MAPPING_FLAGS;

typedef struct HDV_PCI_PNP_ID {
    UINT16 VendorID;
    UINT16 DeviceID;
    UINT8 RevisionID;
    UINT8 ProgIf;
    UINT8 SubClass;
    UINT8 BaseClass;
    UINT16 SubVendorID;
    UINT16 SubSystemID;
} HDV_PCI_PNP_ID, *PHDV_PCI_PNP_ID;

HDVLAB_ASSERT(sizeof(HDV_PCI_PNP_ID) == 12, "HDV_PCI_PNP_ID has no padding");

/* The callbacks, in the order of a device's life: Initialize, SetConfiguration, GetDetails (and again at any time), Start;
 * config space and memory; Stop, if there was a successful Start; Teardown, in any case. Lifecycle callbacks come on the
 * thread that does the operation, the others on the guest's, one at a time for a device, with no lock of the library held.
 * A failure of a lifecycle callback ends the power-on with its HRESULT; one of an access gives the guest all ones.
 * probedBars: as each BAR reads after all ones were written, type bits included (bit 2: 64 bits, the next entry is the upper
 * half; bit 3: prefetchable). Config offsets are multiples of 4: identity, command, header type, BARs, ROM, interrupt line
 * and pin are the machine's to answer; Status (the upper half of 0x04; its bit 4: there are capabilities), the capability
 * pointer and all behind 0x3F the device's. Memory: length 1, 2, 4 or 8, offset a multiple of it. */
typedef HRESULT(CALLBACK *HDV_PCI_DEVICE_INITIALIZE)(PVOID deviceContext);
typedef void(CALLBACK *HDV_PCI_DEVICE_TEARDOWN)(PVOID deviceContext);
typedef HRESULT(CALLBACK *HDV_PCI_DEVICE_SET_CONFIGURATION)(PVOID deviceContext, UINT32 configurationValueCount,
                                                            const LPCWSTR *configurationValues);
typedef HRESULT(CALLBACK *HDV_PCI_DEVICE_GET_DETAILS)(PVOID deviceContext, PHDV_PCI_PNP_ID pnpId,
                                                      UINT32 probedBarsCount, UINT32 *probedBars);
typedef HRESULT(CALLBACK *HDV_PCI_DEVICE_START)(PVOID deviceContext);
typedef void(CALLBACK *HDV_PCI_DEVICE_STOP)(PVOID deviceContext);
typedef HRESULT(CALLBACK *HDV_PCI_READ_CONFIG_SPACE)(PVOID deviceContext, UINT32 offset, UINT32 *value);
typedef HRESULT(CALLBACK *HDV_PCI_WRITE_CONFIG_SPACE)(PVOID deviceContext, UINT32 offset, UINT32 value);
typedef HRESULT(CALLBACK *HDV_PCI_READ_INTERCEPTED_MEMORY)(PVOID deviceContext, HDV_PCI_BAR_SELECTOR barIndex,
                                                           UINT64 offset, UINT64 length, BYTE *value);
typedef HRESULT(CALLBACK *HDV_PCI_WRITE_INTERCEPTED_MEMORY)(PVOID deviceContext, HDV_PCI_BAR_SELECTOR barIndex,
                                                            UINT64 offset, UINT64 length, const BYTE *value);

typedef struct HDV_PCI_DEVICE_INTERFACE {
    HDV_PCI_INTERFACE_VERSION Version;
    HDV_PCI_DEVICE_INITIALIZE Initialize;
    HDV_PCI_DEVICE_TEARDOWN Teardown;
    HDV_PCI_DEVICE_SET_CONFIGURATION SetConfiguration;
    HDV_PCI_DEVICE_GET_DETAILS GetDetails;
    HDV_PCI_DEVICE_START Start;
    HDV_PCI_DEVICE_STOP Stop;
    HDV_PCI_READ_CONFIG_SPACE ReadConfigSpace;
    HDV_PCI_WRITE_CONFIG_SPACE WriteConfigSpace;
    HDV_PCI_READ_INTERCEPTED_MEMORY ReadInterceptedMemory;
    HDV_PCI_WRITE_INTERCEPTED_MEMORY WriteInterceptedMemory;
} HDV_PCI_DEVICE_INTERFACE, *PHDV_PCI_DEVICE_INTERFACE;

HDVLAB_ASSERT(sizeof(HDV_PCI_DEVICE_INTERFACE) == 88, "HDV_PCI_DEVICE_INTERFACE is eleven words");
HDVLAB_ASSERT(sizeof(HDV_DEVICE_TYPE) == 4 && sizeof(HDV_DEVICE_HOST_FLAGS) == 4 && sizeof(HDV_PCI_BAR_SELECTOR) == 4 &&
                  sizeof(HDV_PCI_INTERFACE_VERSION) == 4 && sizeof(HDV_DOORBELL_FLAGS) == 4 &&
                  sizeof(HDV_MMIO_MAPPING_FLAGS) == 4,
              "enumerations are 32 bits");

/* A host in this process for devices of that machine, until HdvTeardownDeviceHost. */
HRESULT WINAPI HdvInitializeDeviceHost(HCS_SYSTEM computeSystem, HDV_HOST *deviceHostHandle);
HRESULT WINAPI HdvInitializeDeviceHostEx(HCS_SYSTEM computeSystem, HDV_DEVICE_HOST_FLAGS flags,
                                         HDV_HOST *deviceHostHandle);
/* A device host whose machine is another process's business; see VmDeviceHost.h. ProxyInterface_IUnknown answers
 * QueryInterface for IVmDeviceHostSupport; its RegisterDeviceHost is called before this returns, and its failure is this
 * call's. Such a host is restricted: guest memory is reached through apertures only (HdvReadGuestMemory and
 * HdvWriteGuestMemory: E_ACCESSDENIED), doorbells and sections are the machine's owner to make (E_ACCESSDENIED).
 * 0xC0370030: this process has a host for that VM already. */
HRESULT WINAPI HdvInitializeDeviceHostForProxy(const GUID *VmId, PVOID ProxyInterface_IUnknown,
                                               HDV_HOST *DeviceHostHandle);
HRESULT WINAPI HdvInitializeDeviceHostForProxyEx(const GUID *VmId, PVOID ProxyInterface_IUnknown,
                                                 HDV_DEVICE_HOST_FLAGS flags, HDV_HOST *DeviceHostHandle);
/* The machine's side: registers a device host that lives elsewhere. DeviceHost_IUnknown: an IVmDeviceHost of this
 * library (E_NOINTERFACE: of another make). TargetProcessId: its process, which may be this one. IpcSectionHandle: to be
 * handed back to it. */
HRESULT WINAPI HdvProxyDeviceHost(HCS_SYSTEM ComputeSystem, PVOID DeviceHost_IUnknown, DWORD TargetProcessId,
                                  UINT64 *IpcSectionHandle);
/* Ends the host and its devices, with the Stop and Teardown they have not had; their handles are good until here, also after
 * the machine has stopped. ERROR_INVALID_STATE: from a callback. */
HRESULT WINAPI HdvTeardownDeviceHost(HDV_HOST deviceHostHandle);
/* deviceInterface: an HDV_PCI_DEVICE_INTERFACE, copied as the GUIDs are. The device is not in the machine until a slot names
 * class and instance. *deviceHandle is set before the first callback. ERROR_ALREADY_EXISTS: that pair lives. */
HRESULT WINAPI HdvCreateDeviceInstance(HDV_HOST deviceHostHandle, HDV_DEVICE_TYPE deviceType,
                                       const GUID *deviceClassId, const GUID *deviceInstanceId,
                                       const VOID *deviceInterface, VOID *deviceContext, HDV_DEVICE *deviceHandle);
/* Guest RAM, copied wholly or not at all. After Start has returned and before Stop (ERROR_INVALID_STATE), while the guest has
 * bus mastering on (E_ACCESSDENIED); ERROR_NOACCESS: not wholly RAM. The same holds for apertures and messages. */
HRESULT WINAPI HdvReadGuestMemory(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount, BYTE *buffer);
HRESULT WINAPI HdvWriteGuestMemory(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount,
                                   const BYTE *buffer);
/* Maps guest RAM, live in both directions; an address of any alignment. E_INVALIDARG: 0 bytes; ERROR_NOT_ENOUGH_QUOTA. */
HRESULT WINAPI HdvCreateGuestMemoryAperture(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount,
                                            BOOL writeProtected, PVOID *mappedAddress);
/* By exactly the address that Create gave. ERROR_NOT_FOUND: also for one that has ended with the memory behind it. */
HRESULT WINAPI HdvDestroyGuestMemoryAperture(HDV_DEVICE requestor, PVOID mappedAddress);
/* A message as the guest programmed it into the MSI or MSI-X capability that the device keeps. ERROR_NOACCESS: the address
 * is none of the interrupt window's dwords. */
HRESULT WINAPI HdvDeliverGuestInterrupt(HDV_DEVICE requestor, UINT64 msiAddress, UINT32 msiData);
/* A guest's write of this size and value signals the event, of which a copy is kept, and goes no further; others reach the
 * callback. Flags: one HDV_DOORBELL_FLAG_TRIGGER_SIZE_..., with _ANY_VALUE or without. From HdvCreateDeviceInstance on until
 * Stop (ERROR_INVALID_STATE); before GetDetails nobody knows the BARs, so that a place outside of them is taken and never
 * rings. Unregistering: at any time, also in Teardown. E_INVALIDARG, E_HANDLE: no event, ERROR_ALREADY_EXISTS, ERROR_NOT_FOUND,
 * ERROR_NOT_ENOUGH_QUOTA. */
HRESULT WINAPI HdvRegisterDoorbell(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 BarOffset,
                                   UINT64 TriggerValue, UINT64 Flags, HANDLE DoorbellEvent);
HRESULT WINAPI HdvUnregisterDoorbell(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 BarOffset,
                                     UINT64 TriggerValue, UINT64 Flags);
/* 19H1's whole-page form: a guest's write of any size and value anywhere in the BAR's 4 KiB page PageIndex signals the
 * event and goes no further, unless a doorbell registered for just that place takes it first. E_INVALIDARG: no such page
 * in the BAR. ERROR_ALREADY_EXISTS / ERROR_NOT_FOUND, ERROR_NOT_ENOUGH_QUOTA, ERROR_INVALID_STATE from Stop on. */
HRESULT WINAPI HdvRegisterDoorbellPage(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 PageIndex,
                                       HANDLE DoorbellEvent);
HRESULT WINAPI HdvUnregisterDoorbellPage(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 PageIndex);
/* Pages of a BAR, 4 KiB each, backed by those of a section, of which a copy is kept: guest accesses reach it and no callback;
 * writes are dropped without HdvMmioMappingFlagWriteable. From within Start until Stop (ERROR_INVALID_STATE); destroyed at any
 * time, also in Teardown. E_INVALIDARG, E_HANDLE: no section, E_ACCESSDENIED, ERROR_ALREADY_EXISTS, ERROR_NOT_FOUND. */
HRESULT WINAPI HdvCreateSectionBackedMmioRange(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR barIndex,
                                               UINT64 offsetInPages, UINT64 lengthInPages,
                                               HDV_MMIO_MAPPING_FLAGS MappingFlags, HANDLE sectionHandle,
                                               UINT64 sectionOffsetInPages);
HRESULT WINAPI HdvDestroySectionBackedMmioRange(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR barIndex,
                                                UINT64 offsetInPages);

#ifdef __cplusplus
}
#endif

#endif
