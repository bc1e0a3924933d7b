/* Ref: Windows SDK, ComputeDefs.h and winerror.h; Microsoft Learn, "Host Compute System API reference": what an HDV
 * program needs of it. Handles are opaque; 0 and every handle that is not live is refused with E_HANDLE. */
#ifndef HDVLAB_COMPUTE_DEFS_H
#define HDVLAB_COMPUTE_DEFS_H

#include <stdlib.h>

#include "WindowsTypes.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *HCS_SYSTEM;
typedef void *HCS_OPERATION;

/* Which call an operation tracks. */
typedef enum HCS_OPERATION_TYPE {
    HcsOperationTypeNone = -1,
    HcsOperationTypeEnumerate = 0,
    HcsOperationTypeCreate = 1,
    HcsOperationTypeStart = 2,
    HcsOperationTypeShutdown = 3,
    HcsOperationTypePause = 4,
    HcsOperationTypeResume = 5,
    HcsOperationTypeSave = 6,
    HcsOperationTypeTerminate = 7,
    HcsOperationTypeModify = 8,
    HcsOperationTypeGetProperties = 9,
    HcsOperationTypeCreateProcess = 10,
    HcsOperationTypeSignalProcess = 11,
    HcsOperationTypeGetProcessInfo = 12,
    HcsOperationTypeGetProcessProperties = 13,
    HcsOperationTypeModifyProcess = 14,
    HcsOperationTypeCrash = 15
} HCS_OPERATION_TYPE;

#define HCS_INVALID_OPERATION_ID ((UINT64)(-1))

typedef enum HCS_EVENT_TYPE {
    HcsEventInvalid = 0x00000000,
    HcsEventSystemExited = 0x00000001,
    HcsEventSystemCrashInitiated = 0x00000002,
    HcsEventSystemCrashReport = 0x00000003,
    HcsEventSystemRdpEnhancedModeStateChanged = 0x00000004,
    HcsEventSystemSiloJobCreated = 0x00000005,
    HcsEventSystemGuestConnectionClosed = 0x00000006,
    HcsEventProcessExited = 0x00010000,
    HcsEventOperationCallback = 0x01000000,
    HcsEventServiceDisconnect = 0x02000000
} HCS_EVENT_TYPE;

typedef struct HCS_EVENT {
    HCS_EVENT_TYPE Type;
    PCWSTR EventData;        /* JSON or NULL; good during the callback */
    HCS_OPERATION Operation; /* of HcsEventOperationCallback, else NULL */
} HCS_EVENT;

typedef enum HCS_EVENT_OPTIONS {
    HcsEventOptionNone = 0,
    HcsEventOptionEnableOperationCallbacks = 1, /* HcsEventOperationCallback for operations issued on this handle */
    HcsEventOptionEnableVmLifecycle = 2         /* taken; there is no such event here */
} HCS_EVENT_OPTIONS;

typedef void(CALLBACK *HCS_OPERATION_COMPLETION)(HCS_OPERATION operation, void *context);
typedef void(CALLBACK *HCS_EVENT_CALLBACK)(HCS_EVENT *event, void *context);

#ifndef HCS_E_INVALID_STATE
#define HCS_E_TERMINATED_DURING_START ((HRESULT)0x80370100)
#define HCS_E_INVALID_STATE ((HRESULT)0x80370105)
#define HCS_E_UNEXPECTED_EXIT ((HRESULT)0x80370106)
#define HCS_E_TERMINATED ((HRESULT)0x80370107)
#define HCS_E_CONNECT_FAILED ((HRESULT)0x80370108)
#define HCS_E_CONNECTION_CLOSED ((HRESULT)0x8037010A)
#define HCS_E_INVALID_JSON ((HRESULT)0x8037010D)
#define HCS_E_SYSTEM_NOT_FOUND ((HRESULT)0x8037010E)
#define HCS_E_SYSTEM_ALREADY_EXISTS ((HRESULT)0x8037010F)
#define HCS_E_SYSTEM_ALREADY_STOPPED ((HRESULT)0x80370110)
#define HCS_E_PROTOCOL_ERROR ((HRESULT)0x80370111)
#define HCS_E_OPERATION_NOT_STARTED ((HRESULT)0x80370115)
#define HCS_E_OPERATION_ALREADY_STARTED ((HRESULT)0x80370116)
#define HCS_E_OPERATION_PENDING ((HRESULT)0x80370117)
#define HCS_E_OPERATION_TIMEOUT ((HRESULT)0x80370118)
#define HCS_E_OPERATION_SYSTEM_CALLBACK_ALREADY_SET ((HRESULT)0x80370119)
#define HCS_E_OPERATION_RESULT_ALLOCATION_FAILED ((HRESULT)0x8037011A)
#define HCS_E_SERVICE_DISCONNECT ((HRESULT)0x8037011E)
#endif

#ifndef _WIN32
typedef void SECURITY_DESCRIPTOR;
typedef void *HLOCAL;
/* Gives back a result document. NULL is fine. */
static inline HLOCAL LocalFree(HLOCAL memory) {
    free(memory);
    return NULL;
}
#endif

#ifdef __cplusplus
}
#endif

#endif
