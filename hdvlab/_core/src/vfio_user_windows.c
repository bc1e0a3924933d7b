/* vfio-user passes file descriptors over UNIX sockets: not for Windows. */
#include "hdvlab.h"

HRESULT hdvlab_vfio_user_create(BOOL record_sections, HDVLAB_TRACE trace, HCS_SYSTEM *system) {
    (void)record_sections, (void)trace;
    return system ? E_NOTIMPL : E_POINTER;
}

HRESULT hdvlab_vfio_user_listen(HCS_SYSTEM system, uint32_t slot, const char *path,
                                const HDVLAB_VFIO_USER_OPTIONS *options) {
    (void)system, (void)slot, (void)options;
    return path ? E_NOTIMPL : E_POINTER;
}

HRESULT hdvlab_vfio_user_attach(HCS_SYSTEM system, uint32_t slot, int socket, const HDVLAB_VFIO_USER_OPTIONS *options) {
    (void)system, (void)slot, (void)socket, (void)options;
    return E_NOTIMPL;
}

HRESULT hdvlab_vfio_user_end(HCS_SYSTEM system, uint32_t slot) {
    (void)system, (void)slot;
    return E_NOTIMPL;
}

HRESULT hdvlab_vfio_user_state(HCS_SYSTEM system, uint32_t slot, HDVLAB_VFIO_USER_STATE *state) {
    (void)system, (void)slot;
    return state ? E_NOTIMPL : E_POINTER;
}

HRESULT hdvlab_vfio_user_hung_thread(HCS_SYSTEM system, uint32_t slot, uint64_t *thread) {
    (void)system, (void)slot;
    return thread ? E_NOTIMPL : E_POINTER;
}

HRESULT hdvlab_vfio_user_wait(HCS_SYSTEM system, uint32_t slot, uint64_t known_changes, uint32_t timeout_ms,
                              HDVLAB_VFIO_USER_STATE *state) {
    (void)system, (void)slot, (void)known_changes, (void)timeout_ms;
    return state ? E_NOTIMPL : E_POINTER;
}
