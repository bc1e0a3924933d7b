/* What `hdvlab bench` needs in C, so that what it measures is the library and not the interpreter. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <poll.h>
#include <unistd.h>
#endif

#include "clock.h"
#include "hdvlab.h"

#define PATIENCE_MS 1000
#define BENCH_VECTOR 0x40u

/* ---- a device that is all callbacks: a page of memory ------------------------------------------------------------- */

static _Atomic uint64_t page[512];

static HRESULT succeed(PVOID context) { return (void)context, S_OK; }
static void do_nothing(PVOID context) { (void)context; }
static HRESULT set_configuration(PVOID context, UINT32 count, const LPCWSTR *values) {
    return (void)context, (void)count, (void)values, S_OK;
}
static HRESULT get_details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed_bars) {
    (void)context;
    *id = (HDV_PCI_PNP_ID){.VendorID = 0x1234, .DeviceID = 0xBE4D, .BaseClass = 0xFF};
    if (count)
        probed_bars[0] = 0xFFFFF000;
    return S_OK;
}
static HRESULT read_config(PVOID context, UINT32 offset, UINT32 *value) {
    return (void)context, (void)offset, *value = 0, S_OK;
}
static HRESULT write_config(PVOID context, UINT32 offset, UINT32 value) {
    return (void)context, (void)offset, (void)value, S_OK;
}
static HRESULT read_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    (void)context, (void)bar;
    uint64_t word = atomic_load_explicit(&page[offset / 8], memory_order_relaxed) >> 8 * (offset & 7);
    memcpy(value, &word, length <= 8 ? length : 8);
    return S_OK;
}
static HRESULT write_memory(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    (void)context, (void)bar;
    uint64_t word = 0;
    memcpy(&word, value, length <= 8 ? length : 8);
    atomic_store_explicit(&page[offset / 8], word, memory_order_relaxed);
    return S_OK;
}

HRESULT hdvlab_bench_device(HDV_HOST host, const GUID *device_class, const GUID *instance, HDV_DEVICE *device) {
    static const HDV_PCI_DEVICE_INTERFACE callbacks = {
        HdvPciDeviceInterfaceVersion1, succeed, do_nothing, set_configuration, get_details, succeed, do_nothing,
        read_config, write_config, read_memory, write_memory};
    return HdvCreateDeviceInstance(host, HdvDeviceTypePCI, device_class, instance, &callbacks, NULL, device);
}

/* ---- loops -------------------------------------------------------------------------------------------------------- */

HRESULT hdvlab_bench_guest_writes(HCS_SYSTEM system, uint64_t address, uint32_t size, uint64_t count, uint64_t *ns) {
    if (!ns)
        return E_POINTER;
    static const HDVLAB_ACCESS guest = {.origin = HDVLAB_GUEST};
    HRESULT hr = hdvlab_guest_write(system, &guest, address, size, 0); /* also says what is wrong with the arguments */
    int64_t start = monotonic_ns();
    for (uint64_t i = 0; i < count && SUCCEEDED(hr); i++)
        hr = hdvlab_guest_write(system, &guest, address, size, i);
    *ns = (uint64_t)(monotonic_ns() - start);
    return hr;
}

HRESULT hdvlab_bench_copies(HDV_DEVICE device, uint64_t address, uint32_t bytes, uint64_t count, uint64_t *ns) {
    if (!ns)
        return E_POINTER;
    BYTE *buffer = calloc(1, (size_t)bytes + 1);
    if (!buffer)
        return E_OUTOFMEMORY;
    HRESULT hr = HdvReadGuestMemory(device, address, bytes, buffer);
    int64_t start = monotonic_ns();
    for (uint64_t i = 0; i < count && SUCCEEDED(hr); i++)
        hr = HdvReadGuestMemory(device, address, bytes, buffer);
    *ns = (uint64_t)(monotonic_ns() - start);
    free(buffer);
    return hr;
}

/* ---- from a signal to the thread that waits for it ----------------------------------------------------------------- */

struct waiter {
    HCS_SYSTEM system;
    HANDLE event; /* NULL: it waits for an interrupt */
    uint32_t count;
    _Atomic uint32_t ready, woken;
    _Atomic int64_t at_ns;
    _Atomic HRESULT result;
};

static int event_comes(HANDLE event) {
#ifdef _WIN32
    return WaitForSingleObject(event, PATIENCE_MS) == WAIT_OBJECT_0;
#else
    uint64_t times;
    struct pollfd signalled = {.fd = (int)(intptr_t)event, .events = POLLIN};
    return poll(&signalled, 1, PATIENCE_MS) == 1 && read(signalled.fd, &times, sizeof times) == sizeof times;
#endif
}

static HRESULT wait_once(const struct waiter *w) {
    uint32_t pending;
    if (w->event)
        return event_comes(w->event) ? S_OK : HRESULT_FROM_WIN32(ERROR_TIMEOUT);
    return hdvlab_guest_wait_interrupt(w->system, BENCH_VECTOR, PATIENCE_MS * 1000000ll, &pending);
}

static void *wait_all(void *argument) {
    struct waiter *w = argument;
    for (uint32_t i = 0; i < w->count && SUCCEEDED(atomic_load(&w->result)); i++) {
        atomic_store(&w->ready, i + 1);
        HRESULT hr = wait_once(w);
        atomic_store(&w->at_ns, monotonic_ns());
        atomic_store(&w->result, hr);
        atomic_store(&w->woken, i + 1);
    }
    return NULL;
}

static void rest(long ns) {
    struct timespec some = {0, ns};
    nanosleep(&some, NULL);
}

HRESULT hdvlab_bench_wakes(HCS_SYSTEM system, HDV_DEVICE device, uint64_t address, HANDLE event, uint32_t count,
                           uint64_t *ns) {
    static const HDVLAB_ACCESS guest = {.origin = HDVLAB_GUEST};
    if (!ns)
        return E_POINTER;
    HRESULT hr = hdvlab_device_inside(device); /* whether it is one */
    uint32_t pending;
    if (SUCCEEDED(hr)) {
        hr = hdvlab_guest_wait_interrupt(system, BENCH_VECTOR, 0, &pending); /* whether this is one; none may be left */
        hr = hr == HRESULT_FROM_WIN32(ERROR_TIMEOUT) ? S_OK : hr;
    }
    if (FAILED(hr))
        return hr;
    struct waiter w = {.system = system, .event = event, .count = count};
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_all, &w))
        return E_OUTOFMEMORY;
    for (uint32_t i = 0; i < count && SUCCEEDED(hr); i++) {
        while (atomic_load(&w.ready) != i + 1)
            rest(1000);
        rest(100000); /* it says that it is about to wait; now it does */
        int64_t began = monotonic_ns();
        hr = event ? hdvlab_guest_write(system, &guest, address, 4, 1)
                   : HdvDeliverGuestInterrupt(device, 0xFEE00000u, BENCH_VECTOR);
        while (atomic_load(&w.woken) != i + 1)
            rest(1000);
        ns[i] = (uint64_t)(atomic_load(&w.at_ns) - began);
        hr = FAILED(hr) ? hr : atomic_load(&w.result);
    }
    if (FAILED(hr))
        atomic_store(&w.result, hr); /* it gives up once its patience ends */
    pthread_join(thread, NULL);
    return hr;
}
