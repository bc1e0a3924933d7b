/* QEMU's teaching device in C: the same device as device.py, and the same rows under the same driver.
 *
 *     cc -shared -fPIC edu.c $(hdvlab config --cflags --libs) -pthread -o edu.so      %hdv load ./edu.so
 *
 * Ref: QEMU, docs/specs/edu.rst and hw/misc/edu.c (10.2). Two things differ. HDV has no INTx, so without MSI only
 * IRQ_STATUS tells of an interrupt. A DMA range outside the device's buffer is refused.
 *
 * Everything but the description for the lab is HDV. Threads are POSIX's: one computes factorials, one moves DMA. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hdvlab_device.h>

enum {
    IDENTIFICATION = 0x00, LIVENESS = 0x04, FACTORIAL = 0x08, STATUS = 0x20, IRQ_STATUS = 0x24, IRQ_RAISE = 0x60,
    IRQ_ACKNOWLEDGE = 0x64, DMA_SOURCE = 0x80, DMA_DESTINATION = 0x88, DMA_COUNT = 0x90, DMA_COMMAND = 0x98, REGISTERS = 0xA0
};
enum { COMPUTING = 0x01, IRQ_ON_FACTORIAL = 0x80 };              /* STATUS */
enum { RUN = 0x1, FROM_DEVICE = 0x2, IRQ = 0x4 };                /* DMA_COMMAND */
enum { IRQ_FACTORIAL = 0x001, IRQ_DMA = 0x100 };                 /* causes in IRQ_STATUS */
enum { BAR0_SIZE = 1 << 20, BUFFER_ADDRESS = 0x40000, BUFFER_SIZE = 4096 };
enum { MSI = 0x40, MSI_ADDRESS = MSI + 4, MSI_DATA = MSI + 12, CONFIG_SIZE = 256 };

/* ---- the description -------------------------------------------------------------------------------------------- */

static const HDVLAB_ENTRY entries[] = {
    HDVLAB_BAR(0),
    HDVLAB_REGISTER("IDENTIFICATION", IDENTIFICATION, 4, "ro", "major and minor version"),
        HDVLAB_FIELD("ED", 0, 8),
        HDVLAB_FIELD("MINOR", 16, 8),
        HDVLAB_FIELD("MAJOR", 24, 8),
    HDVLAB_REGISTER("LIVENESS", LIVENESS, 4, "rw", "reads back the bitwise NOT of what was written"),
    HDVLAB_REGISTER("FACTORIAL", FACTORIAL, 4, "rw", "write n; when COMPUTING is 0 again, n! modulo 2^32"),
    HDVLAB_REGISTER("STATUS", STATUS, 4, "rw"),
        HDVLAB_FIELD("COMPUTING", 0, 1, "ro", "a factorial is being computed"),
        HDVLAB_FIELD("IRQ_ON_FACTORIAL", 7, 1, NULL, "raise IRQ 0x1 when it is done"),
    HDVLAB_REGISTER("IRQ_STATUS", IRQ_STATUS, 4, "ro", "causes raised and not acknowledged"),
        HDVLAB_FIELD("FACTORIAL", 0, 1, "ro"),
        HDVLAB_FIELD("DMA", 8, 1, "ro"),
    HDVLAB_REGISTER("IRQ_RAISE", IRQ_RAISE, 4, "wo", "raise the causes written"),
    HDVLAB_REGISTER("IRQ_ACKNOWLEDGE", IRQ_ACKNOWLEDGE, 4, "wo", "acknowledge the causes written"),
    HDVLAB_REGISTER("DMA_SOURCE", DMA_SOURCE, 8),
    HDVLAB_REGISTER("DMA_DESTINATION", DMA_DESTINATION, 8),
    HDVLAB_REGISTER("DMA_COUNT", DMA_COUNT, 8, "rw", "bytes"),
    HDVLAB_REGISTER("DMA_COMMAND", DMA_COMMAND, 8),
        HDVLAB_FIELD("RUN", 0, 1, NULL, "start; 1 until the transfer is done"),
        HDVLAB_FIELD("FROM_DEVICE", 1, 1),
            HDVLAB_MEANING(0, "RAM to device"),
            HDVLAB_MEANING(1, "device to RAM"),
        HDVLAB_FIELD("IRQ", 2, 1, NULL, "raise IRQ 0x100 when done"),
};

static HRESULT edu_peek(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT32 size, UINT64 *value);

const HDVLAB_DEVICE_INFO HdvlabDevice = {
    HDVLAB_DEVICE_HEAD,
    "edu",
    {0x1f6a9e54, 0x8d0c, 0x4c3b, {0x9a, 0x57, 0x2e, 0x41, 0x6b, 0x0d, 0x83, 0xc7}},
    {.VendorID = 0x1234, .DeviceID = 0x11E8, .RevisionID = 0x10, .SubClass = 0xFF, .BaseClass = 0x00},
    {HDVLAB_MEMORY_BAR(BAR0_SIZE)},
    HDVLAB_ENTRIES(entries),
    edu_peek,
};

/* ---- the device --------------------------------------------------------------------------------------------------- */

struct edu {
    HDV_DEVICE device;
    pthread_mutex_t lock; /* all below: callbacks come one at a time, but the two threads are at work meanwhile */
    pthread_cond_t wake;
    pthread_t computer, mover;
    int started, stopping;
    int64_t compute_cause, move_cause; /* rows of the writes that set them to work */
    int compute, move;                 /* there is work */
    struct timespec move_at;           /* monotonic */
    uint64_t dma_mask;
    double dma_delay_ms;
    uint8_t registers[REGISTERS]; /* little-endian, as stored */
    uint8_t claimed[REGISTERS];   /* 1 where a register is */
    uint8_t config[CONFIG_SIZE];
    uint8_t buffer[BUFFER_SIZE];
};

static uint64_t get(const uint8_t *from, size_t bytes) {
    uint64_t value = 0;
    memcpy(&value, from, bytes);
    return value;
}

static void put(uint8_t *to, uint64_t value, size_t bytes) { memcpy(to, &value, bytes); }
static uint32_t get32(const struct edu *edu, unsigned offset) { return (uint32_t)get(edu->registers + offset, 4); }
static void put32(struct edu *edu, unsigned offset, uint32_t value) { put(edu->registers + offset, value, 4); }
static uint64_t get64(const struct edu *edu, unsigned offset) { return get(edu->registers + offset, 8); }
static void put64(struct edu *edu, unsigned offset, uint64_t value) { put(edu->registers + offset, value, 8); }

static void raise_interrupt(struct edu *edu, uint32_t causes) {
    put32(edu, IRQ_STATUS, get32(edu, IRQ_STATUS) | causes);
    if (get32(edu, IRQ_STATUS) && edu->config[MSI + 2] & 1)
        HdvDeliverGuestInterrupt(edu->device, get(edu->config + MSI_ADDRESS, 8), (uint32_t)get(edu->config + MSI_DATA, 2));
}

/* ---- work outside of callbacks ------------------------------------------------------------------------------------ */

/* n! modulo 2^32; from 34 on it is 0, because the product holds 32 factors of two. */
static uint32_t factorial(uint32_t n) {
    uint32_t result = 1;
    for (uint32_t factor = 2; factor <= n && factor <= 34; factor++)
        result *= factor;
    return result;
}

static void *compute(void *context) {
    struct edu *edu = context;
    pthread_mutex_lock(&edu->lock);
    for (;;) {
        while (!edu->stopping && !edu->compute)
            pthread_cond_wait(&edu->wake, &edu->lock);
        if (edu->stopping)
            break;
        HdvlabSetCause(edu->compute_cause);
        put32(edu, FACTORIAL, factorial(get32(edu, FACTORIAL)));
        put32(edu, STATUS, get32(edu, STATUS) & ~(uint32_t)COMPUTING);
        edu->compute = 0;
        if (get32(edu, STATUS) & IRQ_ON_FACTORIAL)
            raise_interrupt(edu, IRQ_FACTORIAL);
    }
    pthread_mutex_unlock(&edu->lock);
    return NULL;
}

/* Place in the buffer of a device-side range, -1 = not wholly in it. */
static int64_t place(uint64_t address, uint64_t count) {
    uint64_t offset = address - BUFFER_ADDRESS;
    return address < BUFFER_ADDRESS || offset > BUFFER_SIZE || count > BUFFER_SIZE - offset ? -1 : (int64_t)offset;
}

static void transfer(struct edu *edu) {
    uint64_t command = get64(edu, DMA_COMMAND), count = get64(edu, DMA_COUNT);
    uint64_t source = get64(edu, DMA_SOURCE), destination = get64(edu, DMA_DESTINATION);
    int64_t at = place(command & FROM_DEVICE ? source : destination, count);
    if (at >= 0 && command & FROM_DEVICE)
        HdvWriteGuestMemory(edu->device, destination & edu->dma_mask, (uint32_t)count, edu->buffer + at);
    else if (at >= 0)
        HdvReadGuestMemory(edu->device, source & edu->dma_mask, (uint32_t)count, edu->buffer + at);
    /* The engine always comes to rest, or the driver would wait for ever. */
    put64(edu, DMA_COMMAND, get64(edu, DMA_COMMAND) & ~(uint64_t)RUN);
    edu->move = 0;
    if (command & IRQ)
        raise_interrupt(edu, IRQ_DMA);
}

static void *move(void *context) {
    struct edu *edu = context;
    pthread_mutex_lock(&edu->lock);
    while (!edu->stopping) {
        if (!edu->move) {
            pthread_cond_wait(&edu->wake, &edu->lock);
        } else if (pthread_cond_timedwait(&edu->wake, &edu->lock, &edu->move_at) == ETIMEDOUT && !edu->stopping) {
            HdvlabSetCause(edu->move_cause);
            transfer(edu);
        }
    }
    pthread_mutex_unlock(&edu->lock);
    return NULL;
}

static void set_off(struct edu *edu) {
    clock_gettime(CLOCK_MONOTONIC, &edu->move_at);
    uint64_t ns = (uint64_t)edu->move_at.tv_nsec + (uint64_t)(edu->dma_delay_ms * 1e6);
    edu->move_at.tv_sec += (time_t)(ns / 1000000000u);
    edu->move_at.tv_nsec = (long)(ns % 1000000000u);
    edu->move_cause = HdvlabCause();
    edu->move = 1;
    pthread_cond_broadcast(&edu->wake);
}

/* ---- registers ---------------------------------------------------------------------------------------------------- */

static const struct {
    uint32_t offset, size; /* of a register of 8 bytes, an access of 4 to its start is one to the low half */
} registers[] = {{IDENTIFICATION, 4}, {LIVENESS, 4},        {FACTORIAL, 4},  {STATUS, 4},          {IRQ_STATUS, 4}, {IRQ_RAISE, 4},
                 {IRQ_ACKNOWLEDGE, 4}, {DMA_SOURCE, 8},     {DMA_DESTINATION, 8}, {DMA_COUNT, 8}, {DMA_COMMAND, 8}};
enum { REGISTER_COUNT = sizeof registers / sizeof registers[0] };

/* S_OK where a register takes the access, else what refuses it. */
static HRESULT check(const struct edu *edu, HDV_PCI_BAR_SELECTOR bar, uint64_t offset, uint64_t length) {
    for (int i = 0; bar == HDV_PCI_BAR0 && i < REGISTER_COUNT; i++)
        if (offset == registers[i].offset && (length == 4 || length == registers[i].size))
            return S_OK;
    return bar == HDV_PCI_BAR0 && offset < REGISTERS && edu->claimed[offset] ? E_INVALIDARG
                                                                             : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
}

static HRESULT edu_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    struct edu *edu = context;
    pthread_mutex_lock(&edu->lock);
    HRESULT hr = check(edu, bar, offset, length);
    if (hr == S_OK && (offset == IRQ_RAISE || offset == IRQ_ACKNOWLEDGE))
        memset(value, 0xFF, length); /* write-only */
    else if (hr == S_OK)
        memcpy(value, edu->registers + offset, length);
    pthread_mutex_unlock(&edu->lock);
    return hr;
}

static HRESULT write_register(struct edu *edu, uint32_t offset, uint64_t value) {
    uint32_t value32 = (uint32_t)value;
    switch (offset) {
    case IDENTIFICATION:
    case IRQ_STATUS:
        return E_ACCESSDENIED; /* read-only */
    case LIVENESS:
        put32(edu, LIVENESS, ~value32);
        break;
    case FACTORIAL:
        if (get32(edu, STATUS) & COMPUTING)
            break;
        put32(edu, FACTORIAL, value32);
        put32(edu, STATUS, get32(edu, STATUS) | COMPUTING);
        edu->compute_cause = HdvlabCause();
        edu->compute = 1;
        pthread_cond_broadcast(&edu->wake);
        break;
    case STATUS:
        put32(edu, STATUS, (get32(edu, STATUS) & ~(uint32_t)IRQ_ON_FACTORIAL) | (value32 & IRQ_ON_FACTORIAL));
        break;
    case IRQ_RAISE:
        put32(edu, IRQ_RAISE, value32);
        raise_interrupt(edu, value32);
        break;
    case IRQ_ACKNOWLEDGE:
        put32(edu, IRQ_ACKNOWLEDGE, value32);
        put32(edu, IRQ_STATUS, get32(edu, IRQ_STATUS) & ~value32);
        break;
    case DMA_SOURCE:
    case DMA_DESTINATION:
    case DMA_COUNT:
        if (!(get64(edu, DMA_COMMAND) & RUN))
            put64(edu, offset, value);
        break;
    case DMA_COMMAND:
        if (get64(edu, DMA_COMMAND) & RUN || !(value & RUN))
            break;
        put64(edu, DMA_COMMAND, value & (RUN | FROM_DEVICE | IRQ));
        set_off(edu);
        break;
    }
    return S_OK;
}

static HRESULT edu_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    struct edu *edu = context;
    pthread_mutex_lock(&edu->lock);
    HRESULT hr = check(edu, bar, offset, length);
    if (hr == S_OK)
        hr = write_register(edu, (uint32_t)offset, get(value, length));
    pthread_mutex_unlock(&edu->lock);
    return hr;
}

static HRESULT edu_peek(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT32 size, UINT64 *value) {
    struct edu *edu = context;
    int found = 0;
    pthread_mutex_lock(&edu->lock);
    for (uint32_t i = 0; i < size; i++) {
        uint64_t at = offset + i, byte = 0xFF;
        if (bar == HDV_PCI_BAR0 && at < REGISTERS && edu->claimed[at]) {
            byte = edu->registers[at];
            found = 1;
        }
        *value = (*value & ~(0xFFull << 8 * i)) | byte << 8 * i;
    }
    pthread_mutex_unlock(&edu->lock);
    return found ? S_OK : HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
}

/* ---- config space: BARs and decoding are the host's --------------------------------------------------------------- */

static void reset_config(struct edu *edu) {
    memset(edu->config, 0, sizeof edu->config);
    put(edu->config + 0x00, 0x11E81234, 4); /* device, vendor */
    put(edu->config + 0x06, 0x0010, 2);     /* status: there is a list of capabilities */
    put(edu->config + 0x08, 0x00FF0010, 4); /* class 00, subclass ff, revision 10 */
    edu->config[0x34] = MSI;
    put(edu->config + MSI, 0x00800005, 4); /* one vector, 64-bit address */
}

/* Bits of a dword that the guest may write. */
static uint32_t writable(uint32_t offset) {
    switch (offset) {
    case 0x04: return 0x0547;     /* command */
    case 0x0C: return 0x0000FFFF; /* cache line size, latency timer */
    case 0x3C: return 0x000000FF; /* interrupt line */
    case MSI: return 0x00710000;
    case MSI_ADDRESS: return 0xFFFFFFFC;
    case MSI_ADDRESS + 4: return 0xFFFFFFFF;
    case MSI_DATA: return 0x0000FFFF;
    default: return 0;
    }
}

static HRESULT edu_read_config(PVOID context, UINT32 offset, UINT32 *value) {
    struct edu *edu = context;
    pthread_mutex_lock(&edu->lock);
    *value = offset < CONFIG_SIZE ? (uint32_t)get(edu->config + offset, 4) : 0;
    pthread_mutex_unlock(&edu->lock);
    return S_OK;
}

static HRESULT edu_write_config(PVOID context, UINT32 offset, UINT32 value) {
    struct edu *edu = context;
    uint32_t mask = writable(offset);
    pthread_mutex_lock(&edu->lock);
    if (mask)
        put(edu->config + offset, (get(edu->config + offset, 4) & ~mask) | (value & mask), 4);
    pthread_mutex_unlock(&edu->lock);
    return S_OK;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static HRESULT edu_initialize(PVOID context) {
    struct edu *edu = context;
    for (int i = 0; i < REGISTER_COUNT; i++)
        memset(edu->claimed + registers[i].offset, 1, registers[i].size);
    put32(edu, IDENTIFICATION, 0x010000ED);
    edu->dma_mask = 0x0FFFFFFF;
    edu->dma_delay_ms = 100;
    reset_config(edu);
    return S_OK;
}

/* "key=value": the value when the key is this one, else NULL. Values are numbers, so other letters may become '?'. */
static const char *setting(const WCHAR *text, const char *key, char *value, size_t room) {
    while (*key)
        if (*text++ != (unsigned char)*key++)
            return NULL;
    if (*text++ != '=')
        return NULL;
    size_t length = 0;
    for (; *text && length < room - 1; text++)
        value[length++] = *text < 0x80 ? (char)*text : '?';
    value[length] = 0;
    return value;
}

static HRESULT edu_set_configuration(PVOID context, UINT32 count, const LPCWSTR *values) {
    struct edu *edu = context;
    for (UINT32 i = 0; i < count; i++) {
        char text[64], *end = text;
        if (setting(values[i], "dma_mask", text, sizeof text))
            edu->dma_mask = strtoull(text, &end, 0);
        else if (setting(values[i], "dma_delay_ms", text, sizeof text))
            edu->dma_delay_ms = strtod(text, &end);
        else
            return E_INVALIDARG; /* no such setting */
        if (end == text || *end || edu->dma_delay_ms < 0 || edu->dma_delay_ms > 1e9)
            return E_INVALIDARG; /* no number */
    }
    return S_OK;
}

static HRESULT edu_get_details(PVOID context, PHDV_PCI_PNP_ID pnpId, UINT32 count, UINT32 *probedBars) {
    (void)context;
    *pnpId = HdvlabDevice.PnpId;
    for (UINT32 i = 0; i < count && i < HDV_PCI_BAR_COUNT; i++)
        probedBars[i] = HdvlabDevice.ProbedBars[i];
    return S_OK;
}

static void edu_stop(PVOID context) {
    struct edu *edu = context;
    if (!edu->started)
        return;
    pthread_mutex_lock(&edu->lock);
    edu->stopping = 1;
    pthread_cond_broadcast(&edu->wake);
    pthread_mutex_unlock(&edu->lock);
    pthread_join(edu->computer, NULL);
    pthread_join(edu->mover, NULL);
    edu->started = 0;
}

static HRESULT edu_start(PVOID context) {
    struct edu *edu = context;
    if (pthread_create(&edu->computer, NULL, compute, edu))
        return E_OUTOFMEMORY;
    if (pthread_create(&edu->mover, NULL, move, edu)) {
        pthread_mutex_lock(&edu->lock);
        edu->stopping = 1;
        pthread_cond_broadcast(&edu->wake);
        pthread_mutex_unlock(&edu->lock);
        pthread_join(edu->computer, NULL);
        return E_OUTOFMEMORY;
    }
    edu->started = 1;
    return S_OK;
}

static void edu_teardown(PVOID context) {
    struct edu *edu = context;
    edu_stop(edu);
    pthread_cond_destroy(&edu->wake);
    pthread_mutex_destroy(&edu->lock);
    free(edu);
}

static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, edu_initialize, edu_teardown,    edu_set_configuration, edu_get_details, edu_start,
    edu_stop,                      edu_read_config, edu_write_config, edu_read,             edu_write,
};

HRESULT HdvlabPlugDevice(HDV_HOST host, const GUID *instanceId, HDV_DEVICE *device) {
    struct edu *edu = calloc(1, sizeof *edu);
    if (!edu)
        return E_OUTOFMEMORY;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&edu->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&edu->lock, NULL);
    HRESULT hr = HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &HdvlabDevice.ClassId, instanceId, &interface, edu,
                                         &edu->device);
    if (FAILED(hr)) {
        pthread_cond_destroy(&edu->wake);
        pthread_mutex_destroy(&edu->lock);
        free(edu);
        return hr;
    }
    *device = edu->device;
    return S_OK;
}
