/* Both ends of a proxy's socket with a peer that sends what it likes: nothing crashes, hangs, or is left (handles,
 * descriptors); the machine's own devices live on; a guest gets an answer or all ones; a device's callbacks come in order.
 * The first half of the input is what this side does, the second what the peer does, on a thread of its own. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* Messages are no part of the library's surface. */
#include "../../hdvlab/_core/src/proxy_wire.h"

#include "recording.h"
#include "rig.h"

#define RAM (1u << 20)
#define NAMES 3
#define HEALTHY_SLOT 5u
#define HEALTHY_PLACE 0xF0000000u

static struct cursor input;

struct peer {
    int socket, memory;
    struct cursor script;
    pthread_t thread;
    uint64_t known[8], last_id, answered; /* devices of the machine's, or numbers of instances */
    uint32_t known_count;
};
static struct peer peer;
static _Atomic int devices_made, peer_ready;

/* ---- devices ------------------------------------------------------------------------------------------------------ */

struct life {
    HDV_DEVICE handle;
    _Atomic int step, inside;
};
static struct life lives[NAMES], healthy;
static __thread int within;

static void come(struct life *life, int from, int to) {
    REQUIRE(!atomic_exchange(&life->inside, 1));
    int step = atomic_load(&life->step);
    REQUIRE(from < 0 || step == from);
    if (to >= 0)
        atomic_store(&life->step, to);
}
static HRESULT go(struct life *life, uint64_t what) {
    PVOID mapped = NULL;
    if (what & 8 && life != &healthy && !within++) { /* a callback asks the machine */
        (void)HdvDeliverGuestInterrupt(life->handle, 0xFEE00000, 1);
        if (HdvCreateGuestMemoryAperture(life->handle, 0, 4096, FALSE, &mapped) == S_OK && what & 16)
            (void)HdvDestroyGuestMemoryAperture(life->handle, mapped);
        REQUIRE(HdvTeardownDeviceHost(life->handle) != S_OK);
        within--;
    }
    atomic_store(&life->inside, 0);
    return what & 64 ? E_FAIL : S_OK;
}
static HRESULT initialize(PVOID context) { return come(context, 0, 1), go(context, 0); }
static HRESULT configured(PVOID context, UINT32 count, const LPCWSTR *values) {
    uint32_t sum = 0;
    come(context, 1, -1);
    for (uint32_t i = 0; i < count; i++)
        for (LPCWSTR unit = values[i]; *unit; unit++)
            sum += *unit;
    return go(context, sum & 8);
}
static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed) {
    come(context, 1, -1);
    REQUIRE(count == HDV_PCI_BAR_COUNT);
    fill_identity(id);
    probed[0] = 0xFFFFF000;
    return go(context, 0);
}
static HRESULT start(PVOID context) { return come(context, 1, 2), go(context, 8); }
static void stop(PVOID context) { come(context, 2, 3), go(context, 8); }
static void teardown(PVOID context) {
    struct life *life = context;
    come(life, -1, -1);
    REQUIRE(atomic_load(&life->step) != 2 && atomic_exchange(&life->step, 4) != 4);
    go(life, 0);
}
static HRESULT config_read(PVOID context, UINT32 offset, UINT32 *value) {
    come(context, 2, -1);
    *value = offset;
    return go(context, context == &healthy ? 0 : offset);
}
static HRESULT config_write(PVOID context, UINT32 offset, UINT32 value) {
    come(context, 2, -1);
    return go(context, context == &healthy ? 0 : offset ^ value);
}
static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    come(context, 2, -1);
    REQUIRE((uint32_t)bar < HDV_PCI_BAR_COUNT && length && length <= 8);
    memset(value, 0x5A, length);
    return go(context, context == &healthy ? 0 : offset);
}
static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    come(context, 2, -1);
    REQUIRE((uint32_t)bar < HDV_PCI_BAR_COUNT && length && length <= 8);
    return go(context, context == &healthy ? 0 : offset ^ value[length - 1]);
}
static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, initialize, teardown, configured, details, start, stop, config_read, config_write,
    mmio_read, mmio_write};

/* ---- the peer ------------------------------------------------------------------------------------------------------ */

static void transmit(const void *message, size_t bytes, int descriptors, int descriptor) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * 5)];
    } control = {.room = {0}};
    struct iovec part = {(void *)message, bytes};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptors) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)descriptors);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&m);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)descriptors);
        for (int i = 0; i < descriptors; i++)
            memcpy(CMSG_DATA(rights) + sizeof(int) * (size_t)i, &descriptor, sizeof descriptor);
    }
    (void)!sendmsg(peer.socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Sends a message that was good, after the script had its way with it. */
static void spoil_and_send(struct wire_header *header, const void *data, uint32_t bytes, int descriptors) {
    static uint8_t message[sizeof(struct wire_header) + 70000];
    struct cursor *script = &peer.script;
    size_t length = sizeof *header + bytes;
    header->magic = WIRE_MAGIC;
    header->bytes = bytes;
    memcpy(message, header, sizeof *header);
    if (bytes)
        memcpy(message + sizeof *header, data, bytes);
    uint8_t how = take8(script);
    switch (how) {
    case 0xFF: length = take16(script) % (length + 1); break;
    case 0xFE: message[take8(script) % sizeof *header] ^= (uint8_t)(1 + take8(script)); break;
    case 0xFD: message[take8(script) % sizeof *header] = take8(script); break;
    case 0xFC: descriptors = 1 + take8(script) % 5; break;
    case 0xFB:
        memset(message + length, take8(script), 64);
        length += 1 + take8(script) % 64u;
        break;
    case 0xFA:
        ((struct wire_header *)(void *)message)->bytes = take32(script);
        break;
    case 0xF9: { /* as long as it may be, and longer */
        length = sizeof *header + PROXY_DATA_MAX + take8(script) % 3 - 1;
        uint32_t said = (uint32_t)(length - sizeof *header);
        memcpy(message + offsetof(struct wire_header, bytes), &said, sizeof said);
        break;
    }
    case 0xF8: return;
    default: break;
    }
    transmit(message, length, descriptors, take8(script) & 1 && descriptors ? 0 : peer.memory);
}

static uint64_t take_known(void) {
    uint8_t how = take8(&peer.script);
    return peer.known_count && how < 0xE0 ? peer.known[how % peer.known_count] : take_number(&peer.script);
}

/* A device asks the machine: or what a device would not ask. */
static void ask_machine(void) {
    static const uint16_t operations[] = {PROXY_MAP, PROXY_UNMAP, PROXY_INTERRUPT, PROXY_DENIED, PROXY_HOST_END, PROXY_MAP};
    struct cursor *script = &peer.script;
    uint8_t how = take8(script);
    struct wire_header header = {.id = ++peer.last_id, .cause = (int64_t)take_number(script), .target = take_known(),
                                 .operation = how < 0xF0 ? operations[how % 6] : take16(script)};
    if (header.operation == PROXY_HOST_END && how < 0xC0)
        header.operation = PROXY_DENIED;
    for (int i = 0; i < 5; i++)
        header.argument[i] = take_number(script);
    if (header.operation == PROXY_DENIED && how & 64)
        header.argument[0] = HDVLAB_DMA_READ + how % 12;
    if (header.operation == PROXY_MAP && how & 64)
        header.argument[0] = take8(script) * 1024ull, header.argument[1] = 1 + take16(script);
    spoil_and_send(&header, NULL, 0, 0);
}

/* The machine asks a device: or what a machine would not ask. */
static void ask_device(void) {
    static const uint16_t operations[] = {PROXY_INITIALIZE, PROXY_SET_CONFIGURATION, PROXY_GET_DETAILS, PROXY_START,
                                          PROXY_STOP, PROXY_TEARDOWN, PROXY_CONFIG_READ, PROXY_CONFIG_WRITE, PROXY_READ,
                                          PROXY_WRITE, WIRE_GET_INSTANCE, WIRE_CONNECT, WIRE_RELEASE, WIRE_GET_INSTANCE};
    struct cursor *script = &peer.script;
    uint8_t how = take8(script), data[64];
    uint32_t bytes = 0;
    struct wire_header header = {.id = ++peer.last_id, .cause = -1, .target = take_known(),
                                 .operation = how < 0xF0 ? operations[how % 14] : take16(script)};
    for (int i = 0; i < 4; i++)
        header.argument[i] = how < 0x80 ? take8(script) % 8 : take_number(script);
    if (header.operation == WIRE_GET_INSTANCE) {
        GUID name = guid_of(take8(script) % (NAMES + 1));
        memcpy(data, &class_guid, sizeof class_guid);
        memcpy(data + sizeof name, &name, sizeof name);
        bytes = 2 * sizeof name;
    } else if (header.operation == PROXY_SET_CONFIGURATION) {
        bytes = take8(script) % sizeof data;
        memset(data, take8(script) & 1 ? 'k' : 0, bytes);
        if (bytes > 1)
            data[bytes - 1] = data[bytes - 2] = take8(script) & 3 ? 0 : 1;
    }
    spoil_and_send(&header, data, bytes, 0);
}

static void answer(const struct wire_header *request, int is_machine) {
    struct cursor *script = &peer.script;
    struct wire_header header = {.operation = request->operation, .flags = WIRE_ANSWER, .id = request->id, .cause = -1,
                                 .status = take_result(script)};
    struct proxy_details about = {.probed_bars = {0xFFFFF000}};
    uint32_t bytes = 0;
    int descriptors = 0;
    fill_identity(&about.pnp_id);
    if (request->operation == WIRE_CONNECT && peer.known_count < 8)
        peer.known[peer.known_count++] = request->argument[0];
    if (request->operation == PROXY_GET_DETAILS) {
        bytes = sizeof about;
        if (take8(script) >= 0xE0)
            take_bars(script, about.probed_bars);
    }
    if (is_machine && request->operation == PROXY_MAP) {
        descriptors = take8(script) < 0xE0;
        header.argument[0] = take8(script) < 0xE0 ? 0 : take_number(script);
    } else {
        header.argument[0] = 1 + take8(script);
    }
    header.argument[1] = take8(script);
    spoil_and_send(&header, &about, bytes, descriptors);
}

/* One message, if one comes; false at the end. Descriptors that come along are closed. */
static int receive(int wait_ms, int is_machine) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    static struct wire_message message;
    struct pollfd ready = {.fd = peer.socket, .events = POLLIN};
    if (poll(&ready, 1, wait_ms) != 1)
        return 1;
    struct iovec place = {&message, sizeof message};
    struct msghdr m = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(peer.socket, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got <= 0)
        return 0;
    REQUIRE(got >= (ssize_t)sizeof message.header && message.header.magic == WIRE_MAGIC);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        int descriptor;
        REQUIRE(c->cmsg_len == CMSG_LEN(sizeof descriptor));
        memcpy(&descriptor, CMSG_DATA(c), sizeof descriptor);
        close(descriptor);
    }
    peer.answered = message.header.flags & WIRE_ANSWER ? message.header.id : peer.answered;
    if (!(message.header.flags & WIRE_ANSWER))
        answer(&message.header, is_machine);
    else if (is_machine && message.header.operation == WIRE_GET_INSTANCE && SUCCEEDED(message.header.status) && peer.known_count < 8)
        peer.known[peer.known_count++] = message.header.argument[0];
    return 1;
}

/* The process of a device, to a machine. It goes on until the machine is done with it. */
static void *be_device(void *unused) {
    struct cursor *script = &peer.script;
    GUID vm = guid_of(9);
    struct wire_header hello = {.operation = WIRE_HELLO, .id = ++peer.last_id, .argument = {WIRE_VERSION}, .cause = -1};
    (void)unused;
    spoil_and_send(&hello, &vm, sizeof vm, 0);
    int is_up = 1;
    while (is_up && cursor_more(script)) {
        uint8_t what = take8(script);
        if (what == 0xFF)
            break; /* gone without a word */
        if (what >= 0xC0)
            ask_machine();
        is_up = receive(5, 0);
    }
    if (cursor_more(script))
        is_up = 0;
    while (is_up)
        is_up = receive(-1, 0);
    shutdown(peer.socket, SHUT_RDWR);
    return NULL;
}

/* What a machine does first, and waits for. */
static int power_on(void) {
    static const uint16_t steps[] = {WIRE_GET_INSTANCE, WIRE_CONNECT, PROXY_INITIALIZE, PROXY_SET_CONFIGURATION,
                                     PROXY_GET_DETAILS, PROXY_START};
    int is_up = 1;
    for (uint32_t name = 0; name < NAMES; name++)
        for (uint32_t step = 0; step < sizeof steps / sizeof *steps && is_up; step++) {
            GUID ids[2] = {class_guid, guid_of(name)};
            struct wire_header header = {.magic = WIRE_MAGIC, .operation = steps[step], .id = ++peer.last_id, .cause = -1,
                                         .target = name < peer.known_count ? peer.known[name] : 0,
                                         .bytes = step ? 0 : sizeof ids, .argument = {step == 1 ? 7 + name : 0}};
            uint8_t message[sizeof header + sizeof ids];
            memcpy(message, &header, sizeof header);
            memcpy(message + sizeof header, ids, sizeof ids);
            transmit(message, sizeof header + header.bytes, 0, -1);
            for (int i = 0; i < 20 && is_up && peer.answered != header.id; i++)
                is_up = receive(50, 1);
        }
    return is_up;
}

/* A machine, to the process of a device. When it is done it is gone. */
static void *be_machine(void *unused) {
    struct cursor *script = &peer.script;
    (void)unused;
    int is_up = receive(1000, 1); /* the registration */
    for (int i = 0; is_up && !atomic_load(&devices_made) && i < 1000; i++) /* a host that was refused asks to end */
        is_up = receive(1, 1);
    if (is_up && take8(script) < 0xD0)
        is_up = power_on();
    atomic_store(&peer_ready, 1);
    while (is_up && cursor_more(script)) {
        if (take8(script) >= 0x40)
            ask_device();
        is_up = receive(cursor_more(script) ? 1 : 0, 1);
    }
    shutdown(peer.socket, SHUT_RDWR);
    return NULL;
}

static void begin_peer(void *(*be)(void *), int *mine) {
    int pair[2];
    REQUIRE(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    peer.socket = pair[0];
    *mine = pair[1];
    REQUIRE(!pthread_create(&peer.thread, NULL, be, NULL));
}

static void end_peer(void) {
    REQUIRE(!pthread_join(peer.thread, NULL));
    close(peer.socket);
}

/* ---- the machine's side -------------------------------------------------------------------------------------------- */

static HDV_DEVICE plug_healthy(HCS_SYSTEM system, HDV_HOST host) {
    GUID name = guid_of(100);
    HDV_DEVICE device;
    memset(&healthy, 0, sizeof healthy);
    REQUIRE(HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &class_guid, &name, &interface, &healthy, &device) == S_OK);
    REQUIRE(hdvlab_system_add_slot(system, HEALTHY_SLOT, &class_guid, &name, 0, NULL) == S_OK);
    return healthy.handle = device;
}

static void use_machine(HCS_SYSTEM system) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_GUEST};
    uint8_t what = take8(&input), raw[16];
    uint32_t slot = what >> 6 & 1, word = 0;
    uint64_t value = 0, places[6];
    GUID name = guid_of(slot);
    HDV_DEVICE device = NULL;
    HRESULT hr;
    switch (what % 10) {
    case 0:
    case 1: (void)hdvlab_system_add_slot(system, slot, &class_guid, &name, 0, NULL); break;
    case 2:
        hr = hdvlab_guest_config_read(system, &access, slot, take8(&input) & 0x7C, 4, &word);
        REQUIRE(SUCCEEDED(hr) || word == UINT32_MAX);
        break;
    case 3: (void)hdvlab_guest_config_write(system, &access, slot, take8(&input) & 0x7F, 1, what); break;
    case 4:
        if (hdvlab_guest_place_bars(system, slot, places) != S_OK || !places[0])
            break;
        hr = hdvlab_guest_read(system, &access, places[0] + (take8(&input) & 0xFF8), 8, &value);
        REQUIRE(SUCCEEDED(hr) || value == UINT64_MAX);
        (void)hdvlab_guest_write(system, &access, places[0] + take8(&input), 2, value);
        break;
    case 5: (void)hdvlab_system_remove_slot(system, slot); break;
    case 6:
        if (hdvlab_system_device(system, slot, &device) == S_OK && device)
            (void)hdvlab_device_end(device);
        break;
    case 7: (void)hdvlab_system_find(system, &class_guid, &name, &device); break;
    case 8:
        (void)hdvlab_guest_ram_write(system, 0, sizeof raw, memset(raw, what, sizeof raw));
        break;
    default:
        if (hdvlab_system_device(system, slot, &device) == S_OK && device)
            (void)hdvlab_device_access(device, &access, what & 16, 0, 8, 4, &value);
    }
}

static void attack_machine(HDVLAB_TRACE trace) {
    HCS_SYSTEM system;
    HDV_HOST own;
    IVmDeviceHost *host = NULL;
    GUID vm;
    DWORD process;
    UINT64 section;
    int mine;
    REQUIRE(hdvlab_embedded_create(RAM, 0, trace, &system) == S_OK);
    REQUIRE(HdvInitializeDeviceHost(system, &own) == S_OK);
    plug_healthy(system, own);
    REQUIRE(hdvlab_system_start(system) == S_OK);
    config_store(system, HEALTHY_SLOT, 0x10, HEALTHY_PLACE);
    config_store(system, HEALTHY_SLOT, 4, COMMAND_MEMORY | COMMAND_BUS_MASTER);
    begin_peer(be_device, &mine);
    if (hdvlab_proxy_accept(mine, 100, &vm, &process, &host) == S_OK) {
        REQUIRE(hdvlab_proxy_set_budget(host, 1) == S_OK);
        (void)HdvProxyDeviceHost(system, host, process, &section);
        for (int i = 0; cursor_more(&input) && i < 24; i++)
            use_machine(system);
    }
    uint64_t value = 0;
    static const HDVLAB_ACCESS access = {.origin = HDVLAB_GUEST};
    REQUIRE(hdvlab_guest_read(system, &access, HEALTHY_PLACE, 4, &value) == S_OK && value == 0x5A5A5A5A);
    uint8_t end = take8(&input);
    if (host && end & 1)
        host->lpVtbl->Release(host);
    if (end & 2)
        (void)hdvlab_system_stop(system);
    /* The peer may still be ending its host, in which case neither goes before that is done. */
    REQUIRE(hdvlab_system_close(system) == S_OK);
    if (host && !(end & 1))
        host->lpVtbl->Release(host);
    REQUIRE(HdvTeardownDeviceHost(own) == S_OK);
    REQUIRE(atomic_load(&healthy.step) == 4);
    end_peer();
}

/* ---- the device's side ---------------------------------------------------------------------------------------------- */

static void attack_device(void) {
    IVmDeviceHostSupport *support = NULL;
    HDV_HOST host = NULL;
    GUID vm = guid_of(9);
    PVOID mapped = NULL;
    BYTE bytes[16] = {0};
    int mine;
    begin_peer(be_machine, &mine);
    REQUIRE(hdvlab_proxy_support_from_socket(mine, &support) == S_OK);
    memset(lives, 0, sizeof lives);
    HRESULT hr = HdvInitializeDeviceHostForProxy(&vm, support, &host);
    for (uint32_t i = 0; i < NAMES && SUCCEEDED(hr); i++) {
        GUID name = guid_of(i);
        REQUIRE(HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &class_guid, &name, &interface, &lives[i], &lives[i].handle) == S_OK);
    }
    atomic_store(&devices_made, 1);
    while (!atomic_load(&peer_ready))
        usleep(20);
    for (int i = 0; SUCCEEDED(hr) && cursor_more(&input) && i < 24; i++) {
        uint8_t what = take8(&input);
        HDV_DEVICE device = lives[what % NAMES].handle;
        uint32_t size = 1 + take16(&input);
        switch (what >> 4 & 7) {
        case 0:
        case 1:
            if (HdvCreateGuestMemoryAperture(device, take8(&input) * 512ull, size, what & 128, &mapped) == S_OK)
                REQUIRE(mapped && (what & 8 || HdvDestroyGuestMemoryAperture(device, mapped) == S_OK ||
                                   atomic_load(&lives[what % NAMES].step) == 4));
            break;
        case 2: (void)HdvDeliverGuestInterrupt(device, 0xFEE00000, size); break;
        case 3: REQUIRE(FAILED(HdvReadGuestMemory(device, size, sizeof bytes, bytes))); break;
        case 4: REQUIRE(FAILED(HdvWriteGuestMemory(device, size, sizeof bytes, bytes))); break;
        case 5: REQUIRE(FAILED(HdvRegisterDoorbell(device, HDV_PCI_BAR0, 0, 0, 0, (HANDLE)(intptr_t)peer.memory))); break;
        case 6: (void)HdvDestroyGuestMemoryAperture(device, bytes); break;
        default: (void)hdvlab_proxy_wait_machine(host, what & 1);
        }
    }
    if (SUCCEEDED(hr))
        REQUIRE(HdvTeardownDeviceHost(host) == S_OK);
    support->lpVtbl->Release(support);
    end_peer();
    for (int i = 0; i < NAMES; i++)
        REQUIRE(!lives[i].handle || atomic_load(&lives[i].step) == 4);
}

static int open_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    REQUIRE(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int memory = -1;
    if (memory < 0) {
        memory = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        REQUIRE(!ftruncate(memory, RAM) && !fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK));
    }
    if (!size)
        return 0;
    HDVLAB_TRACE trace = recording_begin();
    uint64_t handles = hdvlab_live_handles(), rows = recording_rows();
    int descriptors = open_descriptors();
    size_t half = 1 + (size - 1) / 2;
    input = (struct cursor){data + 1, data + half};
    atomic_store(&devices_made, 0);
    atomic_store(&peer_ready, 0);
    peer = (struct peer){.memory = memory, .script = {data + half, data + size}};
    if (*data & 1)
        attack_device();
    else
        attack_machine(trace);
    for (int i = 0; hdvlab_live_handles() != handles || open_descriptors() != descriptors; i++) {
        REQUIRE(i < 3000); /* threads that nobody joins are on their way out */
        usleep(1000);
    }
    (void)recording_count(rows, 0);
    return 0;
}
