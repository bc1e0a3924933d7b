/* A ring: the device that shows how fast devices are built. The driver puts buffers into a ring of descriptors in RAM and
 * rings; the device adds up their bytes on a thread of its own. No register access is on the way:
 *
 *   an aperture   the descriptors, which lie in guest RAM and are read and written here as plain memory
 *   a section     BAR2 is memory that both sides see: TAIL (the driver's) and HEAD (the device's)
 *   a doorbell    the write to BELL signals an event; no callback runs, the driver goes on at once
 *
 *     cc -shared -fPIC ring.c $(hdvlab config --cflags --libs) -pthread -o ring.so      %hdv load ./ring.so
 *
 * Linux' calls are eventfd and memfd_create; on Windows these two are CreateEvent and CreateFileMapping. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <hdvlab_device.h>

enum { PAGE = 4096, MOST_DESCRIPTORS = 256, MOST_BYTES = 1 << 16 };
enum { MAGIC = 0x00, BASE = 0x08, COUNT = 0x10, CTRL = 0x14, BELL = 0x20, REGISTERS = 0x24 }; /* BAR0 */
enum { MSI = 0x40, CONFIG_SIZE = 256 };

static const HDVLAB_ENTRY entries[] = {
    HDVLAB_BAR(0),
    HDVLAB_REGISTER("MAGIC", MAGIC, 4, "ro", "\"RING\""),
    HDVLAB_REGISTER("BASE", BASE, 8, "rw", "guest-physical address of the descriptors"),
    HDVLAB_REGISTER("COUNT", COUNT, 4, "rw", "how many there are, 1 to 256"),
    HDVLAB_REGISTER("CTRL", CTRL, 4, "rw"),
        HDVLAB_FIELD("EN", 0, 1, NULL, "map the ring; BASE and COUNT are read now"),
    HDVLAB_REGISTER("BELL", BELL, 4, "wo", "there is work up to TAIL; the value does not matter"),
    HDVLAB_BAR(2),
    HDVLAB_REGISTER("HEAD", 0x0, 4, "rw", "next descriptor that the device will take"),
    HDVLAB_REGISTER("TAIL", 0x4, 4, "rw", "first one that the driver has not filled"),
};

static HRESULT ring_peek(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT32 size, UINT64 *value);

const HDVLAB_DEVICE_INFO HdvlabDevice = {
    HDVLAB_DEVICE_HEAD,
    "ring",
    {0x6cd1f0aa, 0x2b7e, 0x4d19, {0xb3, 0x05, 0x94, 0x7f, 0x1c, 0xe8, 0x26, 0x5d}},
    {.VendorID = 0x1234, .DeviceID = 0x0002, .BaseClass = 0xFF},
    {HDVLAB_MEMORY_BAR(PAGE), 0, HDVLAB_MEMORY_BAR(PAGE)},
    HDVLAB_ENTRIES(entries),
    ring_peek,
};

/* A descriptor in guest RAM. */
struct descriptor {
    uint64_t address;
    uint32_t length; /* bytes, at most 64 KiB */
    uint32_t sum;    /* filled in by the device; all ones: it could not be read */
};

struct shared { /* BAR2 */
    _Atomic uint32_t head, tail;
};

struct ring {
    HDV_DEVICE device;
    pthread_mutex_t lock; /* registers and descriptors, against the thread */
    pthread_t worker;
    int started;
    _Atomic int stopping;
    int bell, window; /* eventfd, memfd */
    struct shared *shared;
    struct descriptor *descriptors; /* the aperture; NULL = off */
    uint32_t descriptor_count;
    uint8_t registers[REGISTERS], config[CONFIG_SIZE], bytes[MOST_BYTES];
};

static uint64_t get(const uint8_t *from, size_t bytes) {
    uint64_t value = 0;
    memcpy(&value, from, bytes);
    return value;
}

static void put(uint8_t *to, uint64_t value, size_t bytes) { memcpy(to, &value, bytes); }

/* ---- the work ----------------------------------------------------------------------------------------------------- */

static uint32_t sum_of(struct ring *ring, uint64_t address, uint32_t length) {
    if (length > MOST_BYTES || FAILED(HdvReadGuestMemory(ring->device, address, length, ring->bytes)))
        return UINT32_MAX;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < length; i++)
        sum += ring->bytes[i];
    return sum;
}

static void serve(struct ring *ring) {
    uint32_t done = 0;
    pthread_mutex_lock(&ring->lock);
    uint32_t count = ring->descriptor_count, head = atomic_load(&ring->shared->head);
    uint32_t tail = atomic_load(&ring->shared->tail); /* the guest's: anything may stand there */
    while (ring->descriptors && head < count && tail < count && head != tail) {
        volatile struct descriptor *d = &ring->descriptors[head];
        d->sum = sum_of(ring, d->address, d->length);
        head = (head + 1) % count;
        atomic_store(&ring->shared->head, head);
        done++;
    }
    if (done && ring->config[MSI + 2] & 1)
        HdvDeliverGuestInterrupt(ring->device, get(ring->config + MSI + 4, 8), (uint32_t)get(ring->config + MSI + 12, 2));
    pthread_mutex_unlock(&ring->lock);
}

static void *work(void *context) {
    struct ring *ring = context;
    uint64_t rung;
    while (read(ring->bell, &rung, sizeof rung) == sizeof rung && !atomic_load(&ring->stopping))
        serve(ring);
    return NULL;
}

/* ---- registers ---------------------------------------------------------------------------------------------------- */

static HRESULT switch_ring(struct ring *ring, int on) {
    if (ring->descriptors)
        HdvDestroyGuestMemoryAperture(ring->device, ring->descriptors);
    ring->descriptors = NULL;
    uint64_t base = get(ring->registers + BASE, 8);
    ring->descriptor_count = (uint32_t)get(ring->registers + COUNT, 4);
    if (!on)
        return S_OK;
    if (base % sizeof(struct descriptor) || !ring->descriptor_count || ring->descriptor_count > MOST_DESCRIPTORS)
        return E_INVALIDARG;
    PVOID mapped = NULL;
    HRESULT hr = HdvCreateGuestMemoryAperture(
        ring->device, base, ring->descriptor_count * (UINT32)sizeof(struct descriptor), 0, &mapped);
    ring->descriptors = mapped;
    return hr;
}

static HRESULT ring_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    struct ring *ring = context;
    HRESULT hr = S_OK;
    pthread_mutex_lock(&ring->lock);
    if (bar == HDV_PCI_BAR0 && offset == BASE && length == 8)
        put(ring->registers + BASE, get(value, 8), 8);
    else if (bar == HDV_PCI_BAR0 && offset == COUNT && length == 4)
        put(ring->registers + COUNT, get(value, 4), 4);
    else if (bar == HDV_PCI_BAR0 && offset == CTRL && length == 4) {
        hr = switch_ring(ring, value[0] & 1);
        put(ring->registers + CTRL, SUCCEEDED(hr) && value[0] & 1, 4);
    } else
        hr = E_INVALIDARG; /* BELL only of another size; BAR2 only when its section could not be made */
    pthread_mutex_unlock(&ring->lock);
    return hr;
}

static HRESULT ring_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    struct ring *ring = context;
    HRESULT hr = bar == HDV_PCI_BAR0 && offset + length <= BELL ? S_OK : E_INVALIDARG;
    pthread_mutex_lock(&ring->lock);
    if (hr == S_OK)
        memcpy(value, ring->registers + offset, length);
    pthread_mutex_unlock(&ring->lock);
    return hr;
}

static HRESULT ring_peek(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT32 size, UINT64 *value) {
    struct ring *ring = context;
    HRESULT hr = S_OK;
    pthread_mutex_lock(&ring->lock);
    if (bar == HDV_PCI_BAR2)
        *value = get((const uint8_t *)ring->shared + offset, size);
    else if (offset + size <= REGISTERS)
        *value = get(ring->registers + offset, size);
    else
        hr = HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    pthread_mutex_unlock(&ring->lock);
    return hr;
}

/* ---- config space ------------------------------------------------------------------------------------------------- */

static HRESULT ring_read_config(PVOID context, UINT32 offset, UINT32 *value) {
    struct ring *ring = context;
    pthread_mutex_lock(&ring->lock);
    *value = offset < CONFIG_SIZE ? (uint32_t)get(ring->config + offset, 4) : 0;
    pthread_mutex_unlock(&ring->lock);
    return S_OK;
}

static HRESULT ring_write_config(PVOID context, UINT32 offset, UINT32 value) {
    struct ring *ring = context;
    uint32_t mask = offset == MSI ? 0x00710000 : offset == MSI + 4 ? 0xFFFFFFFC : offset == MSI + 8 ? 0xFFFFFFFF : 0;
    mask = offset == MSI + 12 ? 0x0000FFFF : mask;
    pthread_mutex_lock(&ring->lock);
    if (mask)
        put(ring->config + offset, (get(ring->config + offset, 4) & ~mask) | (value & mask), 4);
    pthread_mutex_unlock(&ring->lock);
    return S_OK;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static HRESULT ring_initialize(PVOID context) {
    struct ring *ring = context;
    put(ring->registers + MAGIC, 0x474E4952, 4);
    put(ring->config + 0x00, 0x00021234, 4);
    put(ring->config + 0x06, 0x0010, 2);
    put(ring->config + 0x08, 0xFF000000, 4);
    ring->config[0x34] = MSI;
    put(ring->config + MSI, 0x00800005, 4); /* one vector, 64-bit address */
    return S_OK;
}

static HRESULT ring_set_configuration(PVOID context, UINT32 count, const LPCWSTR *values) {
    (void)context, (void)values;
    return count ? E_INVALIDARG : S_OK; /* there is nothing to set */
}

static HRESULT ring_get_details(PVOID context, PHDV_PCI_PNP_ID pnpId, UINT32 count, UINT32 *probedBars) {
    (void)context;
    *pnpId = HdvlabDevice.PnpId;
    for (UINT32 i = 0; i < count && i < HDV_PCI_BAR_COUNT; i++)
        probedBars[i] = HdvlabDevice.ProbedBars[i];
    return S_OK;
}

static void end_worker(struct ring *ring) {
    uint64_t one = 1;
    if (!ring->started)
        return;
    atomic_store(&ring->stopping, 1);
    if (write(ring->bell, &one, sizeof one) == sizeof one)
        pthread_join(ring->worker, NULL);
    ring->started = 0;
}

static HRESULT ring_start(PVOID context) {
    struct ring *ring = context;
    HRESULT hr = HdvCreateSectionBackedMmioRange(ring->device, HDV_PCI_BAR2, 0, 1, HdvMmioMappingFlagWriteable,
                                                 (HANDLE)(intptr_t)ring->window, 0);
    if (SUCCEEDED(hr))
        hr = HdvRegisterDoorbell(ring->device, HDV_PCI_BAR0, BELL, 0,
                                 HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD | (UINT64)HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE,
                                 (HANDLE)(intptr_t)ring->bell);
    if (SUCCEEDED(hr) && pthread_create(&ring->worker, NULL, work, ring))
        hr = E_OUTOFMEMORY;
    ring->started = SUCCEEDED(hr);
    return hr;
}

static void ring_stop(PVOID context) { end_worker(context); }

static void discard(struct ring *ring) {
    if (ring->shared)
        munmap(ring->shared, PAGE);
    if (ring->window >= 0)
        close(ring->window);
    if (ring->bell >= 0)
        close(ring->bell);
    pthread_mutex_destroy(&ring->lock);
    free(ring);
}

static void ring_teardown(PVOID context) {
    end_worker(context);
    discard(context); /* apertures, sections and doorbells go with the device */
}

static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, ring_initialize,  ring_teardown,     ring_set_configuration, ring_get_details, ring_start,
    ring_stop,                     ring_read_config, ring_write_config, ring_read,              ring_write,
};

HRESULT HdvlabPlugDevice(HDV_HOST host, const GUID *instanceId, HDV_DEVICE *device) {
    struct ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return E_OUTOFMEMORY;
    pthread_mutex_init(&ring->lock, NULL);
    ring->bell = eventfd(0, EFD_CLOEXEC);
    ring->window = memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    HRESULT hr = E_OUTOFMEMORY;
    if (ring->bell >= 0 && ring->window >= 0 && !ftruncate(ring->window, PAGE) &&
        !fcntl(ring->window, F_ADD_SEALS, F_SEAL_SHRINK)) { /* sealed: the host need not fear that it shrinks */
        void *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring->window, 0);
        ring->shared = map == MAP_FAILED ? NULL : map;
    }
    if (ring->shared)
        hr = HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &HdvlabDevice.ClassId, instanceId, &interface, ring,
                                     &ring->device);
    if (FAILED(hr))
        discard(ring);
    else
        *device = ring->device;
    return hr;
}
