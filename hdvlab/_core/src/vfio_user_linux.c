/* The server's side of vfio-user. */
#include "hdvlab.h"

HRESULT hdvlab_vfio_user_create(BOOL record_sections, HDVLAB_TRACE trace, HCS_SYSTEM *system) {
    (void)record_sections, (void)trace, (void)system;
    return E_NOTIMPL;
}
HRESULT hdvlab_vfio_user_listen(HCS_SYSTEM system, uint32_t slot, const char *path,
                                const HDVLAB_VFIO_USER_OPTIONS *options) {
    (void)system, (void)slot, (void)path, (void)options;
    return E_NOTIMPL;
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
    (void)system, (void)slot, (void)state;
    return E_NOTIMPL;
}
HRESULT hdvlab_vfio_user_wait(HCS_SYSTEM system, uint32_t slot, uint64_t known_changes, uint32_t timeout_ms,
                              HDVLAB_VFIO_USER_STATE *state) {
    (void)system, (void)slot, (void)known_changes, (void)timeout_ms, (void)state;
    return E_NOTIMPL;
}
HRESULT hdvlab_device_set_line(HDV_DEVICE device, BOOL asserted) {
    (void)device, (void)asserted;
    return E_NOTIMPL;
}
HRESULT hdvlab_device_on_reset(HDV_DEVICE device, HRESULT (*reset)(void *context)) {
    (void)device, (void)reset;
    return E_NOTIMPL;
}
