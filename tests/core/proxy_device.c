/* A device host in a process of its own, written in C: PROGRAM SOCKET. One BAR of a page; what is written to its first
 * dword is where in guest RAM it puts a greeting. */
#include <hdvlab.h>
#include <stdio.h>
#include <string.h>

static HDV_DEVICE device;

static HRESULT CALLBACK fine(PVOID context) { return (void)context, S_OK; }
static void CALLBACK nothing(PVOID context) { (void)context; }

static HRESULT CALLBACK configure(PVOID context, UINT32 count, const LPCWSTR *values) {
    return (void)context, (void)count, values ? S_OK : E_POINTER;
}

static HRESULT CALLBACK details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *bars) {
    (void)context;
    memset(bars, 0, count * sizeof *bars);
    bars[0] = 0xFFFFF000;
    memset(id, 0, sizeof *id);
    id->VendorID = 0x1234;
    id->DeviceID = 0xC0DE;
    return S_OK;
}

static HRESULT CALLBACK config_read(PVOID context, UINT32 offset, UINT32 *value) {
    (void)context, (void)offset;
    *value = 0;
    return S_OK;
}

static HRESULT CALLBACK config_write(PVOID context, UINT32 offset, UINT32 value) {
    return (void)context, (void)offset, (void)value, S_OK;
}

static HRESULT CALLBACK bar_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    (void)context, (void)bar;
    memset(value, (int)offset, length);
    return S_OK;
}

static HRESULT CALLBACK bar_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length,
                                  const BYTE *value) {
    UINT32 address;
    void *map = NULL;
    (void)context, (void)bar;
    if (offset || length != sizeof address)
        return E_INVALIDARG;
    memcpy(&address, value, sizeof address);
    HRESULT hr = HdvCreateGuestMemoryAperture(device, address, 16, FALSE, &map);
    if (FAILED(hr))
        return hr;
    memcpy(map, "hello from C", 13);
    hr = HdvDestroyGuestMemoryAperture(device, map);
    return FAILED(hr) ? hr : HdvDeliverGuestInterrupt(device, 0xFEE00000, 0x42);
}

int main(int count, char **arguments) {
    static const GUID vm = {1, 2, 3, {4}}, class_id = {0x11111111, 0x2222, 0x3333, {0x44, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55}};
    static const GUID instance = {9, 9, 9, {9}};
    const HDV_PCI_DEVICE_INTERFACE table = {HdvPciDeviceInterfaceVersion1, fine, nothing, configure, details, fine,
                                            nothing, config_read, config_write, bar_read, bar_write};
    IVmDeviceHostSupport *support;
    HDV_HOST host;
    if (count != 2 || FAILED(hdvlab_proxy_connect(arguments[1], &support)))
        return 1;
    HRESULT hr = HdvInitializeDeviceHostForProxy(&vm, support, &host);
    support->lpVtbl->Release(support);
    if (FAILED(hr) || FAILED(HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &class_id, &instance, &table, NULL, &device)))
        return 2;
    puts("ready");
    fflush(stdout);
    hdvlab_proxy_wait_machine(host, UINT32_MAX);
    return FAILED(HdvTeardownDeviceHost(host)) ? 3 : 0;
}
