/* An HDV program without Python around the C edu: a machine, a host, the device, one register read as a guest. */
#include <stdio.h>
#include <string.h>

#include <hdvlab.h>

#define CHECK(call)                                                      \
    do {                                                                 \
        HRESULT hr = (call);                                             \
        if (FAILED(hr)) {                                                \
            printf("%s: %08x\n", #call, (unsigned)hr);                   \
            return 1;                                                    \
        }                                                                \
    } while (0)

int main(void) {
    static const WCHAR setting[] = {'d', 'm', 'a', '_', 'd', 'e', 'l', 'a', 'y', '_', 'm', 's', '=', '0', 0};
    const LPCWSTR settings[] = {setting};
    const GUID instance = {1, 2, 3, {4}};
    const HDVLAB_ACCESS access = {0, HDVLAB_GUEST, 0};
    HCS_SYSTEM system;
    HDV_HOST host;
    HDV_DEVICE device;
    uint64_t value;
    CHECK(hdvlab_embedded_create(16 << 20, 0, NULL, &system));
    CHECK(HdvInitializeDeviceHost(system, &host));
    CHECK(HdvlabPlugDevice(host, &instance, &device));
    CHECK(hdvlab_system_add_slot(system, 1, &HdvlabDevice.ClassId, &instance, 1, settings));
    CHECK(hdvlab_system_start(system));
    CHECK(hdvlab_guest_config_write(system, &access, 1, 0x10, 4, 0xE0000000));
    CHECK(hdvlab_guest_config_write(system, &access, 1, 0x04, 2, 6));
    CHECK(hdvlab_guest_read(system, &access, 0xE0000000, 4, &value));
    printf("%08x", (unsigned)value);
    CHECK(hdvlab_guest_ram_write(system, 0x100000, 4, "abc"));
    CHECK(hdvlab_guest_write(system, &access, 0xE0000080, 8, 0x100000)); /* from RAM */
    CHECK(hdvlab_guest_write(system, &access, 0xE0000088, 8, 0x40000));  /* to the buffer */
    CHECK(hdvlab_guest_write(system, &access, 0xE0000090, 8, 4));
    for (uint64_t way = 0; way < 2; way++) {
        CHECK(hdvlab_guest_write(system, &access, 0xE0000098, 8, 1 | way << 1));
        do
            CHECK(hdvlab_guest_read(system, &access, 0xE0000098, 8, &value));
        while (value & 1);
        CHECK(hdvlab_guest_write(system, &access, 0xE0000080, 8, 0x40000)); /* and back */
        CHECK(hdvlab_guest_write(system, &access, 0xE0000088, 8, 0x200000));
    }
    char back[4];
    CHECK(hdvlab_guest_ram_read(system, 0x200000, 4, back));
    printf(" %s", back);
    CHECK(hdvlab_guest_write(system, &access, 0xE0000008, 4, 10));
    do
        CHECK(hdvlab_guest_read(system, &access, 0xE0000020, 4, &value));
    while (value & 1);
    CHECK(hdvlab_guest_read(system, &access, 0xE0000008, 4, &value));
    printf(" %u\n", (unsigned)value);
    CHECK(hdvlab_system_stop(system));
    CHECK(HdvTeardownDeviceHost(host));
    CHECK(hdvlab_system_close(system));
    return hdvlab_live_handles() != 0;
}
