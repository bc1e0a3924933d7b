/* Device hosts in another process: what they and the machine's owner are to each other. The objects are COM's: a pointer
 * to a table of functions, the same in C (`object->lpVtbl->Method(object, ...)`) and in C++ (`object->Method(...)`).
 * Ref: microsoft/WSL, windowsdefs.idl (the identifiers); Microsoft Learn, HdvInitializeDeviceHostForProxy.
 *
 * The device's process calls HdvInitializeDeviceHostForProxy with an object that answers QueryInterface for
 * IVmDeviceHostSupport. The library makes an IVmDeviceHost and gives it to that object's RegisterDeviceHost. Whatever
 * way it takes from there, in the machine's process it ends in a call of HdvProxyDeviceHost. */
#ifndef HDVLAB_VM_DEVICE_HOST_H
#define HDVLAB_VM_DEVICE_HOST_H

#ifdef _WIN32
#include <unknwn.h>
#endif

#include "HyperVDeviceVirtualization.h"

#if defined(__GNUC__)
#define HDVLAB_MAYBE_UNUSED __attribute__((unused))
#else
#define HDVLAB_MAYBE_UNUSED
#endif

#ifndef _WIN32
typedef GUID IID;

#ifdef __cplusplus
#define REFGUID const GUID &
#define REFIID const IID &
#else
#define REFGUID const GUID *
#define REFIID const IID *
#endif

#ifndef E_NOINTERFACE
#define E_NOINTERFACE ((HRESULT)0x80004002)
#endif

HDVLAB_MAYBE_UNUSED static const IID IID_IUnknown = {0, 0, 0, {0xC0, 0, 0, 0, 0, 0, 0, 0x46}};

#ifdef __cplusplus
struct IUnknown {
    virtual HRESULT WINAPI QueryInterface(REFIID iid, void **object) = 0;
    virtual ULONG WINAPI AddRef() = 0;
    virtual ULONG WINAPI Release() = 0;
};
#else
typedef struct IUnknown IUnknown;
typedef struct IUnknownVtbl {
    HRESULT(WINAPI *QueryInterface)(IUnknown *self, REFIID iid, void **object);
    ULONG(WINAPI *AddRef)(IUnknown *self);
    ULONG(WINAPI *Release)(IUnknown *self);
} IUnknownVtbl;
struct IUnknown {
    const IUnknownVtbl *lpVtbl;
};
#endif
#endif /* _WIN32 */

/* 78523d62-d919-47ca-9cd7-08139172d685 */
HDVLAB_MAYBE_UNUSED static const IID IID_IVmDeviceHost = {
    0x78523d62, 0xd919, 0x47ca, {0x9c, 0xd7, 0x08, 0x13, 0x91, 0x72, 0xd6, 0x85}};
/* e31aa49b-0914-465e-b145-1b9ba13efb10 */
HDVLAB_MAYBE_UNUSED static const IID IID_IVmDeviceHostSupport = {
    0xe31aa49b, 0x0914, 0x465e, {0xb1, 0x45, 0x1b, 0x9b, 0xa1, 0x3e, 0xfb, 0x10}};

/* IVmDeviceHost: the library's. GetDeviceInstance: the instance of that class and name, as an object that only the
 * library knows to use; ERROR_NOT_FOUND when the host has none.
 * IVmDeviceHostSupport: the application's. RegisterDeviceHost is called during HdvInitializeDeviceHostForProxy, on its
 * thread; what it returns is what that returns. It keeps `host` with a reference of its own. `ipcSectionHandle` is what
 * HdvProxyDeviceHost gave. */
#ifdef __cplusplus
struct IVmDeviceHost : public IUnknown {
    virtual HRESULT WINAPI GetDeviceInstance(REFGUID classId, REFGUID instanceId, IUnknown **device) = 0;
};
struct IVmDeviceHostSupport : public IUnknown {
    virtual HRESULT WINAPI RegisterDeviceHost(IVmDeviceHost *host, DWORD processId, UINT64 *ipcSectionHandle) = 0;
};
#else
typedef struct IVmDeviceHost IVmDeviceHost;
typedef struct IVmDeviceHostVtbl {
    HRESULT(WINAPI *QueryInterface)(IVmDeviceHost *self, REFIID iid, void **object);
    ULONG(WINAPI *AddRef)(IVmDeviceHost *self);
    ULONG(WINAPI *Release)(IVmDeviceHost *self);
    HRESULT(WINAPI *GetDeviceInstance)(IVmDeviceHost *self, REFGUID classId, REFGUID instanceId, IUnknown **device);
} IVmDeviceHostVtbl;
struct IVmDeviceHost {
    const IVmDeviceHostVtbl *lpVtbl;
};

typedef struct IVmDeviceHostSupport IVmDeviceHostSupport;
typedef struct IVmDeviceHostSupportVtbl {
    HRESULT(WINAPI *QueryInterface)(IVmDeviceHostSupport *self, REFIID iid, void **object);
    ULONG(WINAPI *AddRef)(IVmDeviceHostSupport *self);
    ULONG(WINAPI *Release)(IVmDeviceHostSupport *self);
    HRESULT(WINAPI *RegisterDeviceHost)(IVmDeviceHostSupport *self, IVmDeviceHost *host, DWORD processId,
                                        UINT64 *ipcSectionHandle);
} IVmDeviceHostSupportVtbl;
struct IVmDeviceHostSupport {
    const IVmDeviceHostSupportVtbl *lpVtbl;
};
#endif

#endif
