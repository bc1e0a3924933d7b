/* Ref: Windows SDK, HyperVDeviceVirtualization.h; Microsoft Learn, "Host Compute System API reference", HDV part.
 * The ABI is Windows': enums are 32 bits, strings are UTF-16, structures have natural alignment. */
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

HRESULT WINAPI HdvInitializeDeviceHost(HCS_SYSTEM computeSystem, HDV_HOST *deviceHostHandle);
HRESULT WINAPI HdvInitializeDeviceHostEx(HCS_SYSTEM computeSystem, HDV_DEVICE_HOST_FLAGS flags,
                                         HDV_HOST *deviceHostHandle);
HRESULT WINAPI HdvTeardownDeviceHost(HDV_HOST deviceHostHandle);
HRESULT WINAPI HdvCreateDeviceInstance(HDV_HOST deviceHostHandle, HDV_DEVICE_TYPE deviceType,
                                       const GUID *deviceClassId, const GUID *deviceInstanceId,
                                       const VOID *deviceInterface, VOID *deviceContext, HDV_DEVICE *deviceHandle);
HRESULT WINAPI HdvReadGuestMemory(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount, BYTE *buffer);
HRESULT WINAPI HdvWriteGuestMemory(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount,
                                   const BYTE *buffer);
HRESULT WINAPI HdvCreateGuestMemoryAperture(HDV_DEVICE requestor, UINT64 guestPhysicalAddress, UINT32 byteCount,
                                            BOOL writeProtected, PVOID *mappedAddress);
HRESULT WINAPI HdvDestroyGuestMemoryAperture(HDV_DEVICE requestor, PVOID mappedAddress);
HRESULT WINAPI HdvDeliverGuestInterrupt(HDV_DEVICE requestor, UINT64 msiAddress, UINT32 msiData);
HRESULT WINAPI HdvRegisterDoorbell(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 BarOffset,
                                   UINT64 TriggerValue, UINT64 Flags, HANDLE DoorbellEvent);
HRESULT WINAPI HdvUnregisterDoorbell(HDV_DEVICE requestor, HDV_PCI_BAR_SELECTOR BarIndex, UINT64 BarOffset,
                                     UINT64 TriggerValue, UINT64 Flags);
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
