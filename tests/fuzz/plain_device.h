/* Callbacks of a device of which nothing but its accesses matters: one BAR of a page, and a config space of zeros. */
#ifndef FUZZ_PLAIN_DEVICE_H
#define FUZZ_PLAIN_DEVICE_H

#include "rig.h"

static HRESULT ok(PVOID context) { return (void)context, S_OK; }
static void nothing(PVOID context) { (void)context; }
static HRESULT configured(PVOID context, UINT32 count, const LPCWSTR *values) {
    return (void)context, (void)count, (void)values, S_OK;
}
static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed) {
    (void)context, (void)count;
    fill_identity(id);
    probed[0] = 0xFFFFF000;
    return S_OK;
}
static HRESULT config_read(PVOID context, UINT32 offset, UINT32 *value) {
    return (void)context, (void)offset, *value = 0, S_OK;
}
static HRESULT config_write(PVOID context, UINT32 offset, UINT32 value) {
    return (void)context, (void)offset, (void)value, S_OK;
}

#endif
