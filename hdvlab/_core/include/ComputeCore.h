/* Ref: Windows SDK, ComputeCore.h; Microsoft Learn, "Host Compute System API reference": the calls an HDV program needs.
 *
 * A compute system here is the embedded machine of this library: RAM, a PCI segment and an interrupt window in this
 * process, with one FlexibleIov slot per device. Ids are known within this process.
 *
 * A call that takes an operation starts work and returns. One thread of this library does the work of a system, call
 * after call in the order of the calls, so lifecycle callbacks of devices never come on the caller's thread. What is
 * wrong with the arguments or the document is returned by the call itself; everything else is the operation's result.
 * Either way HcsGetOperationResult has the error document. A NULL operation leaves the work untracked. */
#ifndef HDVLAB_COMPUTE_CORE_H
#define HDVLAB_COMPUTE_CORE_H

#include "ComputeDefs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- operations --------------------------------------------------------------------------------------------------- */

/* An operation tracks one call. `callback` (may be NULL) comes once the call is done, on a thread of this library with
 * no lock held; it may close the operation and issue and wait for others. NULL: out of memory. */
HCS_OPERATION WINAPI HcsCreateOperation(const void *context, HCS_OPERATION_COMPLETION callback);
/* Ends the tracking: no callback begins after this returns, and one that runs on another thread has ended. The call that
 * was tracked goes on. */
void WINAPI HcsCloseOperation(HCS_OPERATION operation);
void *WINAPI HcsGetOperationContext(HCS_OPERATION operation); /* NULL for a bad handle */
HRESULT WINAPI HcsSetOperationContext(HCS_OPERATION operation, const void *context);
/* The handle that the tracked call was made with, or made; NULL before. No new handle: not to be closed for this. */
HCS_SYSTEM WINAPI HcsGetComputeSystemFromOperation(HCS_OPERATION operation);
HCS_OPERATION_TYPE WINAPI HcsGetOperationType(HCS_OPERATION operation); /* HcsOperationTypeNone: tracks nothing yet */
UINT64 WINAPI HcsGetOperationId(HCS_OPERATION operation); /* unique in this process; HCS_INVALID_OPERATION_ID */
/* The HRESULT of the tracked call, and its document: free with LocalFree; NULL where there is none.
 * HCS_E_OPERATION_NOT_STARTED, HCS_E_OPERATION_PENDING; both leave NULL. resultDocument may be NULL. */
HRESULT WINAPI HcsGetOperationResult(HCS_OPERATION operation, PWSTR *resultDocument);
/* The same after waiting up to timeoutMs (INFINITE: for ever): HCS_E_OPERATION_TIMEOUT. From inside a device's callback
 * there is no waiting, for the work may wait for that callback: ERROR_INVALID_STATE. */
HRESULT WINAPI HcsWaitForOperationResult(HCS_OPERATION operation, DWORD timeoutMs, PWSTR *resultDocument);
/* Sets context and callback. HCS_E_OPERATION_ALREADY_STARTED when the call is done. */
HRESULT WINAPI HcsSetOperationCallback(HCS_OPERATION operation, const void *context,
                                       HCS_OPERATION_COMPLETION callback);
/* Takes back a call whose work has not begun: its result is ERROR_CANCELLED. HCS_E_OPERATION_PENDING when it has begun:
 * it goes on. HCS_E_OPERATION_NOT_STARTED. */
HRESULT WINAPI HcsCancelOperation(HCS_OPERATION operation);

/* ---- compute systems ---------------------------------------------------------------------------------------------- */

/* A system of that id, in state Created, as the JSON document `configuration` says; *computeSystem is good at once, NULL
 * after a failure. HCS_E_INVALID_JSON with a document that names the field; HCS_E_SYSTEM_ALREADY_EXISTS. The security
 * descriptor is not looked at. */
HRESULT WINAPI HcsCreateComputeSystem(PCWSTR id, PCWSTR configuration, HCS_OPERATION operation,
                                      const SECURITY_DESCRIPTOR *securityDescriptor, HCS_SYSTEM *computeSystem);
/* One more handle to a system that is not stopped: HCS_E_SYSTEM_NOT_FOUND. requestedAccess is not looked at. */
HRESULT WINAPI HcsOpenComputeSystem(PCWSTR id, DWORD requestedAccess, HCS_SYSTEM *computeSystem);
/* Closes a handle. The system lives on, also without one, unless ShouldTerminateOnLastHandleClosed says otherwise: then
 * the last close terminates it and returns when it has stopped (at once from inside a callback). No event comes to this
 * handle's callback after this returns. */
void WINAPI HcsCloseComputeSystem(HCS_SYSTEM computeSystem);
/* Powers the devices on, one after the other in the order of the document (Initialize, SetConfiguration, GetDetails), and
 * then starts them in that order. E_UNEXPECTED: a slot no host of its hosting model has an instance for; the HRESULT of a
 * device's own callback that failed. Devices that were powered on before it get Stop, if they had Start, and Teardown; the
 * system is Stopped, with HcsEventSystemExited (UnexpectedExit), and cannot be started again. */
HRESULT WINAPI HcsStartComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options);
/* Running to Stopped in good order: first every device gets Stop, then every device Teardown, all before the operation is
 * done. There is no guest operating system that could be asked, or refuse. HCS_E_INVALID_STATE: paused, or not running. */
HRESULT WINAPI HcsShutDownComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options);
/* Stops it, in any state but Stopped: HCS_E_SYSTEM_ALREADY_STOPPED. */
HRESULT WINAPI HcsTerminateComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options);
/* Once done, no guest access is in a device, and the next one waits until HcsResumeComputeSystem, at most for the wait_ms
 * of its HDVLAB_ACCESS. Devices get neither Stop nor Start for it. */
HRESULT WINAPI HcsPauseComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options);
HRESULT WINAPI HcsResumeComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options);
/* {"ResourcePath": "VirtualMachine/Devices/FlexibleIov/<key>", "RequestType": "Add", "Settings": {...}} adds a device to
 * a running system. E_UNEXPECTED, or the HRESULT of the device's own callback, as with HcsStartComputeSystem; the system
 * runs on then, without that slot. "Remove" and "Update" of it, and every other resource: ERROR_NOT_SUPPORTED. */
HRESULT WINAPI HcsModifyComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR configuration,
                                      HANDLE identity);
/* The result document: Id, State, Owner, RuntimeId and others; with {"PropertyTypes": ["Memory"]} also Memory. */
HRESULT WINAPI HcsGetComputeSystemProperties(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR propertyQuery);
/* The events of the system, on threads of this library. One callback per handle:
 * HCS_E_OPERATION_SYSTEM_CALLBACK_ALREADY_SET; NULL takes it away. HcsEventSystemExited comes once, with
 * {"Status": HRESULT, "ExitType": "GracefulExit" (shut down), "ForcedExit" (terminated), "UnexpectedExit"}. */
HRESULT WINAPI HcsSetComputeSystemCallback(HCS_SYSTEM computeSystem, HCS_EVENT_OPTIONS callbackOptions,
                                           const void *context, HCS_EVENT_CALLBACK callback);
/* The properties of every system that is not stopped, as an array. `query` {"Ids": [...], "Owners": [...]} or NULL. */
HRESULT WINAPI HcsEnumerateComputeSystems(PCWSTR query, HCS_OPERATION operation);

#ifdef __cplusplus
}
#endif

#endif
