/* Windows has no such sockets, and needs none: COM carries the calls between processes there. */
#include "hdvlab.h"

HRESULT hdvlab_proxy_connect(const char *path, IVmDeviceHostSupport **support) {
    return path && support ? E_NOTIMPL : E_POINTER;
}

HRESULT hdvlab_proxy_support_from_socket(int socket, IVmDeviceHostSupport **support) {
    (void)socket;
    return support ? E_NOTIMPL : E_POINTER;
}

HRESULT hdvlab_proxy_accept(int socket, uint32_t timeout_ms, GUID *vm_id, DWORD *process_id, IVmDeviceHost **host) {
    (void)socket, (void)timeout_ms;
    return vm_id && process_id && host ? E_NOTIMPL : E_POINTER;
}

HRESULT hdvlab_proxy_set_budget(IVmDeviceHost *host, uint32_t budget_ms) {
    (void)budget_ms;
    return host ? E_NOTIMPL : E_POINTER;
}

HRESULT hdvlab_proxy_wait(IVmDeviceHost *host, uint32_t known, uint32_t timeout_ms, uint32_t *state, HRESULT *why) {
    (void)known, (void)timeout_ms;
    return host && state && why ? E_NOTIMPL : E_POINTER;
}
