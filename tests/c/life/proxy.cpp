/* A device host on the other side of COM's two interfaces, both of them in this process: a device that may reach guest
 * memory by apertures only, the broker that hands its host to the machine, and the machine's owner, who makes doorbells and
 * sections for it. Written from the headers and the reference page alone.
 *
 *     c++ -std=c++17 -x c++ proxy.cpp machine.c summer.c -x none $(hdvlab config --cflags --libs) -pthread -o proxy && ./proxy
 */
#include "machine.h"

#include <string.h>

#include "check.h"

namespace {

const GUID machine_id = {0x0b6a1c57, 0x52d0, 0x4d5b, {0x8e, 0x0f, 0x61, 0x0c, 0x55, 0x3b, 0x19, 0x21}};
const HRESULT host_is_there_already = (HRESULT)0xC0370030;
const UINT32 page = 4096;

/* ---- the device: turns bytes of guest memory around ------------------------------------------------------------------ */

class Mirror {
public:
    enum : UINT32 { ADDRESS = 0x00, VECTOR = 0x04, LENGTH = 0x08 /* turns that many around */, BELL = 0x10, END = 0x14 };

    HRESULT create(HDV_HOST host, const GUID &instance) {
        static const HDV_PCI_DEVICE_INTERFACE table = {
            HdvPciDeviceInterfaceVersion1,
            [](PVOID it) -> HRESULT { return self(it).initialize(); },
            [](PVOID it) -> void { self(it).steps += 'T'; self(it).teardowns++; },
            [](PVOID it, UINT32, const LPCWSTR *) -> HRESULT { self(it).steps += 'C'; return S_OK; },
            get_details,
            [](PVOID it) -> HRESULT { return self(it).start(); },
            [](PVOID it) -> void { self(it).steps += 'S'; },
            [](PVOID, UINT32, UINT32 *value) -> HRESULT { *value = 0; return S_OK; },
            [](PVOID, UINT32, UINT32) -> HRESULT { return S_OK; },
            [](PVOID it, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) -> HRESULT {
                return self(it).read(bar, offset, length, value);
            },
            [](PVOID it, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) -> HRESULT {
                return self(it).write(bar, offset, length, value);
            }};
        return HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &SUMMER_CLASS, &instance, &table, this, &handle);
    }

    HDV_DEVICE handle = nullptr;
    UINT32 steps = 0; /* sum of letters: which of them came */
    int teardowns = 0;

private:
    static Mirror &self(PVOID it) { return *static_cast<Mirror *>(it); }

    HRESULT initialize() {
        steps += 'I';
        return S_OK;
    }

    static HRESULT CALLBACK get_details(PVOID, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *bars) {
        const UINT32 probed[] = {HDVLAB_MEMORY_BAR(4096), HDVLAB_MEMORY_BAR(4096)};
        *id = HDV_PCI_PNP_ID();
        id->VendorID = 0x5C1D;
        id->DeviceID = 0x0002;
        id->BaseClass = 0xFF;
        for (UINT32 i = 0; i < count && i < 2; i++) bars[i] = probed[i];
        return S_OK;
    }

    /* What a restricted host may not do. */
    HRESULT start() {
        steps += 'G';
        HANDLE bell = event_create();
        GIVES(E_ACCESSDENIED,
              HdvRegisterDoorbell(handle, HDV_PCI_BAR0, BELL, 0, HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD, bell));
        event_close(bell);
        return S_OK;
    }

    HRESULT read(HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
        if (bar != HDV_PCI_BAR0 || offset + length > sizeof registers) return E_INVALIDARG;
        memcpy(value, reinterpret_cast<BYTE *>(registers) + offset, length);
        return S_OK;
    }

    HRESULT write(HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
        if (bar != HDV_PCI_BAR0 || length != 4 || offset >= sizeof registers) return E_INVALIDARG;
        memcpy(&registers[offset / 4], value, 4);
        return offset == LENGTH ? turn_around() : S_OK;
    }

    HRESULT turn_around() {
        BYTE byte = 0;
        PVOID mapped = nullptr;
        UINT32 length = registers[LENGTH / 4];
        if (length > page) return E_INVALIDARG;
        GIVES(E_ACCESSDENIED, HdvReadGuestMemory(handle, registers[0], 1, &byte));
        GIVES(E_ACCESSDENIED, HdvWriteGuestMemory(handle, registers[0], 1, &byte));
        OK(HdvCreateGuestMemoryAperture(handle, registers[0], length, FALSE, &mapped));
        BYTE *bytes = static_cast<BYTE *>(mapped);
        for (UINT32 i = 0; i < length / 2; i++) {
            byte = bytes[i];
            bytes[i] = bytes[length - 1 - i];
            bytes[length - 1 - i] = byte;
        }
        OK(HdvDestroyGuestMemoryAperture(handle, mapped));
        return HdvDeliverGuestInterrupt(handle, 0xFEE00000u, registers[VECTOR / 4]);
    }

    UINT32 registers[END / 4] = {};
};

/* ---- the broker ------------------------------------------------------------------------------------------------------ */

bool same(REFIID one, REFIID other) { return memcmp(&one, &other, sizeof one) == 0; }

class Broker final : public IVmDeviceHostSupport {
public:
    explicit Broker(HCS_SYSTEM machine) : system(machine) {}

    HRESULT WINAPI QueryInterface(REFIID iid, void **object) override {
        *object = nullptr;
        if (is_stranger || (!same(iid, IID_IUnknown) && !same(iid, IID_IVmDeviceHostSupport))) return E_NOINTERFACE;
        *object = static_cast<IVmDeviceHostSupport *>(this);
        AddRef();
        return S_OK;
    }
    ULONG WINAPI AddRef() override { return ++references; }
    ULONG WINAPI Release() override { return --references; }

    HRESULT WINAPI RegisterDeviceHost(IVmDeviceHost *registered, DWORD processId, UINT64 *ipcSectionHandle) override {
        THAT(registered != nullptr && processId != 0 && ipcSectionHandle != nullptr);
        if (refuses) return E_ABORT;
        HRESULT result = HdvProxyDeviceHost(system, registered, processId, ipcSectionHandle);
        if (SUCCEEDED(result)) {
            registered->AddRef();
            host = registered;
        }
        return result;
    }

    HCS_SYSTEM system;
    IVmDeviceHost *host = nullptr;
    ULONG references = 1;
    bool is_stranger = false, refuses = false;
};

/* ---- the guest ------------------------------------------------------------------------------------------------------- */

const HDVLAB_ACCESS as_guest = {0, HDVLAB_GUEST, 0};

struct Driver {
    HCS_SYSTEM system;
    UINT64 bars[HDV_PCI_BAR_COUNT];
    UINT32 slot;

    Driver(HCS_SYSTEM machine, const GUID &instance) : system(machine) {
        OK(hdvlab_system_slot(system, &instance, &slot));
        OK(hdvlab_guest_place_bars(system, slot, bars));
    }
    void store(UINT32 offset, UINT32 value) { OK(hdvlab_guest_write(system, &as_guest, bars[0] + offset, 4, value)); }
    UINT64 load(int bar, UINT32 offset) {
        UINT64 value = 0;
        OK(hdvlab_guest_read(system, &as_guest, bars[bar] + offset, 4, &value));
        return value;
    }
    void turn_around(UINT32 address, UINT8 vector) {
        char text[] = "mirror";
        UINT32 more = 1;
        OK(hdvlab_guest_ram_write(system, address, 6, text));
        store(Mirror::ADDRESS, address);
        store(Mirror::VECTOR, vector);
        store(Mirror::LENGTH, 6);
        OK(hdvlab_guest_wait_interrupt(system, vector, PATIENCE_MS * 1000000ll, &more));
        OK(hdvlab_guest_ram_read(system, address, 6, text));
        THAT(strcmp(text, "rorrim") == 0);
    }
};

/* ---- the machine's owner --------------------------------------------------------------------------------------------- */

void make_doorbell_and_section(Driver &guest, HDV_DEVICE known_there) {
    HDV_DEVICE device = nullptr;
    OK(hdvlab_system_device(guest.system, guest.slot, &device));
    HANDLE bell = event_create(), section = section_create(page);
    UINT32 *shared = static_cast<UINT32 *>(section_view(section, page));
    const UINT64 any = (UINT64)(HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD | HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE);
    OK(HdvRegisterDoorbell(device, HDV_PCI_BAR0, Mirror::BELL, 0, any, bell));
    guest.store(Mirror::BELL, 12345);
    THAT(event_wait(bell, PATIENCE_MS));
    THAT(guest.load(0, Mirror::BELL) == 0); /* the write went no further */
    GIVES(E_ACCESSDENIED, HdvUnregisterDoorbell(known_there, HDV_PCI_BAR0, Mirror::BELL, 0, any)); /* its own handle */
    OK(HdvUnregisterDoorbell(device, HDV_PCI_BAR0, Mirror::BELL, 0, any));
    guest.store(Mirror::BELL, 12345);
    THAT(guest.load(0, Mirror::BELL) == 12345);
    step("a doorbell that the owner made for the device");

    OK(HdvCreateSectionBackedMmioRange(device, HDV_PCI_BAR1, 0, 1, HdvMmioMappingFlagWriteable, section, 0));
    shared[3] = 0xABCD;
    THAT(guest.load(1, 12) == 0xABCD);
    OK(HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR1, 0));
    section_close(section, shared, page);
    event_close(bell);
    step("a section that the owner made for the device");
}

void life() {
    exit_news news;
    HDV_HOST host = nullptr, other = nullptr;
    Mirror cold, hot;
    IUnknown *found = nullptr;
    HCS_SYSTEM system = system_create(
        WIDE("proxy"), WIDE(MACHINE("\"" COLD_TEXT "\": " SETTINGS("ExternalRestricted", ""))), &news);
    Broker broker(system);
    IVmDeviceHostSupport *support = &broker;

    broker.is_stranger = true;
    GIVES(E_NOINTERFACE, HdvInitializeDeviceHostForProxy(&machine_id, support, &host));
    broker.is_stranger = false;
    broker.refuses = true;
    GIVES(E_ABORT, HdvInitializeDeviceHostForProxy(&machine_id, support, &host));
    broker.refuses = false;
    OK(HdvInitializeDeviceHostForProxy(&machine_id, support, &host));
    THAT(broker.host != nullptr);
    GIVES(host_is_there_already, HdvInitializeDeviceHostForProxy(&machine_id, support, &other));
    step("a host, registered by a broker");

    OK(cold.create(host, COLD));
    OK(broker.host->GetDeviceInstance(SUMMER_CLASS, COLD, &found));
    found->Release();
    GIVES(WIN32_CODE(NOT_FOUND), broker.host->GetDeviceInstance(SUMMER_CLASS, HOT, &found));
    OK(hcs(HcsStartComputeSystem, system, NULL, NULL));
    THAT(cold.steps == 'I' + 'C' + 'G');
    Driver first(system, COLD);
    first.turn_around(0x100000, 0x41);
    step("started, and used by the guest");

    make_doorbell_and_section(first, cold.handle);

    HCS_OPERATION change = operation();
    OK(HcsModifyComputeSystem(system, change, WIDE(ADDING(HOT_TEXT, SETTINGS("ExternalRestricted", ""))), NULL));
    GIVES(E_UNEXPECTED, finished(change, HOT_TEXT));
    OK(hot.create(host, HOT));
    change = operation();
    OK(HcsModifyComputeSystem(system, change, WIDE(ADDING(HOT_TEXT, SETTINGS("External", ""))), NULL));
    GIVES(E_UNEXPECTED, finished(change, HOT_TEXT)); /* it is there, but not of this hosting model */
    change = operation();
    OK(HcsModifyComputeSystem(system, change, WIDE(ADDING(HOT_TEXT, SETTINGS("ExternalRestricted", ""))), NULL));
    OK(finished(change, NULL));
    Driver second(system, HOT);
    second.turn_around(0x200000, 0x42);
    first.turn_around(0x300000, 0x43);
    step("a second device, plugged into the running machine");

    OK(hcs(HcsPauseComputeSystem, system, NULL, NULL));
    OK(hcs(HcsResumeComputeSystem, system, NULL, NULL));
    first.turn_around(0x100000, 0x41);
    OK(hcs(HcsShutDownComputeSystem, system, NULL, NULL));
    THAT(cold.steps == 'I' + 'C' + 'G' + 'S' + 'T' && hot.steps == cold.steps);
    THAT(event_wait(news.arrived, PATIENCE_MS) && news.graceful);
    step("paused, resumed, shut down");

    OK(HdvTeardownDeviceHost(host));
    THAT(cold.teardowns == 1 && hot.teardowns == 1);
    GIVES(E_HANDLE, HdvTeardownDeviceHost(host));
    system_close(system, &news);
    broker.host->Release();
    THAT(broker.references == 1);
    step("torn down; nobody holds the broker");
}

} // namespace

int main() {
    life();
    nothing_is_left();
    return 0;
}
