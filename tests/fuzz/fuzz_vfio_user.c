/* A VM that says what it likes to the vfio-user server: nothing crashes, hangs or is left (handles, descriptors), callbacks
 * get what callbacks may get, every access is one finished row, and a VM beside it that behaves is answered. The first half
 * of the input is what the device does, the second what the VM does, on a thread of its own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "recording.h"
#include "rig.h"

#define HEADER 16u
#define BAR_BYTES 0x4000u
#define RAM_BYTES 0x10000u
#define MSI 0x40u
#define MSIX 0x60u

enum { VERSION = 1, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS, READ, WRITE, DMA_READ,
       DMA_WRITE, RESET, WRITE_MULTI = 15 };

static struct cursor input;
static struct {
    int socket, memory, event, pipe[2];
    struct cursor script;
    uint16_t id;
    int is_gone;
    pthread_t thread;
} vm;

/* ---- a device with MSI and MSI-X ------------------------------------------------------------------------------------ */

struct fuzzed {
    HDV_DEVICE handle;
    uint8_t config[4096], bar[BAR_BYTES];
    _Atomic int inside;
};
static struct fuzzed devices[2];

static void come(struct fuzzed *d) { REQUIRE(!atomic_exchange(&d->inside, 1)); }
static HRESULT go(struct fuzzed *d) { return atomic_store(&d->inside, 0), S_OK; }
static HRESULT step(PVOID context) { return come(context), go(context); }
static void last(PVOID context) { (void)step(context); }
static HRESULT configured(PVOID context, UINT32 count, const LPCWSTR *values) {
    return (void)count, (void)values, step(context);
}
static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed) {
    (void)count;
    fill_identity(id);
    probed[0] = ~(BAR_BYTES - 1);
    return step(context);
}
static HRESULT config_read(PVOID context, UINT32 offset, UINT32 *value) {
    struct fuzzed *d = context;
    REQUIRE(offset % 4 == 0 && offset < sizeof d->config);
    memcpy(value, d->config + offset, 4);
    return step(d);
}
static HRESULT config_write(PVOID context, UINT32 offset, UINT32 value) {
    struct fuzzed *d = context;
    come(d);
    REQUIRE(offset % 4 == 0 && offset < sizeof d->config);
    if (offset == MSI || offset == MSIX) /* control words only: the list stays a list */
        memcpy(d->config + offset + 2, (uint8_t *)&value + 2, 2);
    else if (offset > MSI && offset < MSIX)
        memcpy(d->config + offset, &value, 4);
    return go(d);
}
static struct fuzzed *reach(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length) {
    struct fuzzed *d = context;
    come(d);
    REQUIRE(bar == HDV_PCI_BAR0 && is_size((uint32_t)length) && offset % length == 0 && offset <= BAR_BYTES - length);
    return d;
}
static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    struct fuzzed *d = reach(context, bar, offset, length);
    memcpy(value, d->bar + offset, length);
    return go(d);
}
static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    struct fuzzed *d = reach(context, bar, offset, length);
    memcpy(d->bar + offset, value, length);
    return go(d);
}
static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, step, last, configured, details, step, last, config_read, config_write, mmio_read,
    mmio_write};

static void plug(HCS_SYSTEM system, HDV_HOST host, uint32_t slot, uint8_t how) {
    struct fuzzed *d = &devices[slot];
    GUID name = guid_of(slot);
    memset(d, 0, sizeof *d);
    static const uint8_t msi[] = {0x05, MSIX, 0x86, 0x01}, msix[] = {0x11, 0, 7, 0, 0, 0x10, 0, 0, 0, 0x20, 0, 0};
    if (how & 1) {
        d->config[0x06] = 0x10;
        d->config[0x34] = MSI;
        memcpy(d->config + MSI, msi, sizeof msi);
        memcpy(d->config + MSIX, msix, sizeof msix);
    }
    d->config[0x3D] = how >> 1 & 1;
    REQUIRE(HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &class_guid, &name, &interface, d, &d->handle) == S_OK);
    REQUIRE(hdvlab_system_add_slot(system, slot, &class_guid, &name, 0, NULL) == S_OK);
}

/* ---- the VM --------------------------------------------------------------------------------------------------------- */

static void transmit(int socket, const uint8_t *bytes, size_t length, const int *fds, uint32_t fd_count) {
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int) * 40)]; } control = {.room = {0}};
    struct iovec part = {(void *)bytes, length};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&m);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(rights), fds, sizeof(int) * fd_count);
    }
    (void)!sendmsg(socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The fuzzer's alarm interrupts what waits. */
#define AGAIN(call)                                                                                                    \
    __extension__({                                                                                                    \
        ssize_t result_;                                                                                               \
        do                                                                                                             \
            result_ = (call);                                                                                          \
        while (result_ < 0 && errno == EINTR);                                                                         \
        result_;                                                                                                       \
    })

static void put(uint8_t *to, uint64_t value, size_t bytes) { memcpy(to, &value, bytes); }

static size_t frame(uint8_t *message, uint16_t command, uint32_t flags, size_t payload) {
    put(message, ++vm.id, 2);
    put(message + 2, command, 2);
    put(message + 4, HEADER + payload, 4);
    put(message + 8, flags, 4);
    put(message + 12, 0, 4);
    return HEADER + payload;
}

/* What the server has said so far; its commands are answered. Descriptors are closed. */
static void listen_to(int wait_ms) {
    static uint8_t message[HEADER + 16 + (1 << 20) + 4096];
    struct pollfd ready = {.fd = vm.socket, .events = POLLIN};
    while (!vm.is_gone && poll(&ready, 1, wait_ms) == 1) {
        union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int) * 40)]; } control;
        struct iovec place = {message, HEADER};
        struct msghdr m = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t got = AGAIN(recvmsg(vm.socket, &m, MSG_CMSG_CLOEXEC));
        if (got <= 0) {
            vm.is_gone = 1;
            return;
        }
        REQUIRE(got == HEADER); /* QEMU: short read of header */
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
                close(fd);
            }
        uint32_t bytes, flags;
        uint64_t count;
        memcpy(&bytes, message + 4, 4);
        memcpy(&flags, message + 8, 4);
        REQUIRE(bytes >= HEADER && bytes <= sizeof message && (flags & 0xF) < 2);
        REQUIRE(!(flags & 0x20) || bytes == HEADER);
        for (uint32_t done = HEADER; done < bytes;) {
            got = AGAIN(recv(vm.socket, message + done, bytes - done, 0));
            if (got <= 0) {
                vm.is_gone = 1;
                return;
            }
            done += (uint32_t)got;
        }
        wait_ms = 0;
        if (flags & 1 || flags & 0x10)
            continue;
        REQUIRE(bytes >= HEADER + 16 && (message[2] == DMA_READ || message[2] == DMA_WRITE));
        memcpy(&count, message + HEADER + 8, 8);
        REQUIRE(count <= 1 << 20);
        uint8_t how = take8(&vm.script);
        size_t length = HEADER + 16 + (message[2] == DMA_READ ? count : 0);
        length = how >= 0xF8 ? HEADER + how - 0xF8u : how >= 0xF0 ? length + how - 0xF0u : length;
        put(message + 4, length, 4);
        put(message + 8, how >= 0xE0 && how < 0xF0 ? 0x21 : 1, 4);
        if (how >= 0xE0 && how < 0xF0)
            length = HEADER, put(message + 4, length, 4), put(message + 12, 14, 4);
        message[0] ^= how == 0xDF;
        for (size_t sent = 0; sent < length;) {
            got = AGAIN(send(vm.socket, message + sent, length - sent, MSG_NOSIGNAL));
            if (got <= 0) {
                vm.is_gone = 1;
                return;
            }
            sent += (size_t)got;
        }
    }
}

/* A message that is good, after the script had its way with it. */
static void spoil_and_send(uint8_t *message, size_t length, uint32_t fd_count) {
    struct cursor *script = &vm.script;
    int fds[40];
    uint8_t how = take8(script), which = how >= 0x80 && how < 0xF0 ? take8(script) : 0;
    if (how >= 0xF0)
        switch (how & 0xF) {
        case 0: length = take16(script) % (length + 1); break;
        case 1: message[take8(script) % HEADER] ^= (uint8_t)(1 + take8(script)); break;
        case 2: put(message + 4, take32(script), 4); break;
        case 3: fd_count = take8(script) % 40; break;
        case 4: memset(message + length, 0x5A, 64), length += 1 + take8(script) % 64u; break;
        case 5: put(message + 8, take8(script), 4); break;
        case 6: length = HEADER, put(message + 4, HEADER, 4); break;
        case 7: { /* two writes */
            size_t first = take8(script) % length;
            transmit(vm.socket, message, first, NULL, 0);
            message += first, length -= first;
            break;
        }
        case 8: message[HEADER + take8(script) % 64] ^= take8(script); break;
        default: break;
        }
    for (uint32_t i = 0; i < fd_count; i++)
        fds[i] = which & 1 ? vm.pipe[i & 1] : which & 2 ? vm.socket : message[2] == DMA_MAP ? vm.memory : vm.event;
    if (length)
        transmit(vm.socket, message, length, fds, fd_count);
}

static uint64_t page_number(struct cursor *c) {
    uint8_t how = take8(c);
    return how < 0xF0 ? (how & 0x1Full) * 0x1000 : take_number(c);
}

static void say(void) {
    static const uint8_t commands[] = {DMA_MAP, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS,
                                       SET_IRQS, READ, READ, WRITE, WRITE, WRITE, RESET, WRITE_MULTI};
    static uint8_t message[HEADER + 4096 + 128];
    struct cursor *c = &vm.script;
    uint8_t how = take8(c), *p = message + HEADER;
    uint16_t command = how < 0xF8 ? commands[how & 15] : take16(c);
    uint32_t flags = how & 0x40 ? 0x10 : 0, fd_count = 0;
    size_t payload = 16;
    memset(message, 0, sizeof message);
    switch (command) {
    case VERSION: payload = 4; break;
    case DMA_MAP:
        put(p, 32, 4), put(p + 4, take8(c) & 3, 4), put(p + 8, page_number(c), 8), put(p + 16, page_number(c), 8);
        put(p + 24, page_number(c), 8);
        fd_count = how >> 4 & 1;
        payload = 32;
        break;
    case DMA_UNMAP:
        put(p, 24, 4), put(p + 4, take8(c) / 0xF0 * 2, 4), put(p + 8, page_number(c), 8), put(p + 16, page_number(c), 8);
        payload = 24;
        break;
    case REGION_INFO: put(p, 16 + take8(c), 4), put(p + 8, take8(c) % 11, 4), payload = 32; break;
    case GET_INFO: put(p, 8 + take8(c) % 32, 4); break;
    case IO_FDS:
    case IRQ_INFO: put(p, 8 + take8(c), 4), put(p + 8, take8(c) % 11, 4); break;
    case SET_IRQS: {
        uint8_t kind = take8(c), index = take8(c) % 6, count = take8(c) % 20;
        static const uint8_t kinds[] = {0x24, 0x21, 0x22, 0x09, 0x11, 0x14, 0x0C, 0x24};
        put(p, 20, 4), put(p + 4, kind < 0xF0 ? kinds[kind & 7] : kind, 4), put(p + 8, index, 4);
        put(p + 12, take8(c) % 10, 4), put(p + 16, count, 4);
        payload = 20 + (p[4] & 2 ? count : 0u);
        memset(p + 20, 1, 20);
        fd_count = p[4] & 4 && !(kind & 8) ? count : 0;
        break;
    }
    case READ:
    case WRITE: {
        uint8_t region = take8(c), size = take8(c);
        uint32_t count = size < 0xE0 ? 1u << (size & 3) : size < 0xF8 ? size & 0x1F : take16(c) & 0xFFF;
        put(p, region & 0x80 ? take_number(c) : take16(c) & 0x3FFF, 8);
        put(p + 8, region < 0xF0 ? (region & 1 ? 7 : 0) : region & 0xF, 4), put(p + 12, count, 4);
        payload = 16 + (command == WRITE ? count : 0);
        put(p + 16, take8(c) * 0x01010101ull, 8);
        break;
    }
    case RESET: payload = 0; break;
    case WRITE_MULTI: {
        uint8_t count = take8(c) % 5;
        put(p, count, 8);
        for (int i = 0; i < count; i++)
            put(p + 8 + 24 * i, take16(c), 8), put(p + 16 + 24 * i, take8(c) / 0x60, 4), put(p + 20 + 24 * i, take8(c) % 10, 4);
        payload = 8 + 24u * count;
        break;
    }
    default: payload = take8(c);
    }
    spoil_and_send(message, frame(message, command, flags, payload), fd_count);
}

static void *be_vm(void *unused) {
    static const char proposal[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":65536,\"pgsizes\":4096}}";
    uint8_t message[HEADER + 256] = {0};
    struct cursor *c = &vm.script;
    (void)unused;
    uint8_t first = take8(c);
    if (first < 0xF0) {
        memcpy(message + HEADER + 4, proposal, sizeof proposal);
        if (first >= 0xE0)
            message[HEADER + take8(c) % 100] ^= take8(c);
        transmit(vm.socket, message, frame(message, VERSION, 0, 4 + sizeof proposal), NULL, 0);
        listen_to(1000);
    }
    while (!vm.is_gone && cursor_more(c)) {
        say();
        listen_to(take8(c) & 3 ? 1 : 0); /* sometimes the next comes before the answer */
    }
    listen_to(2);
    shutdown(vm.socket, SHUT_RDWR);
    return NULL;
}

/* ---- the device's side ---------------------------------------------------------------------------------------------- */

static void act(HCS_SYSTEM system) {
    HDV_DEVICE device = devices[0].handle;
    static BYTE buffer[70000];
    PVOID mapped = NULL;
    HDVLAB_VFIO_USER_STATE state;
    uint8_t what = take8(&input);
    switch (what & 15) {
    case 0:
    case 1: (void)HdvDeliverGuestInterrupt(device, 0xFEE00000u + (what & 0x10 ? take16(&input) : 0), take8(&input)); break;
    case 2: (void)HdvReadGuestMemory(device, page_number(&input) + (what >> 4), take16(&input), buffer); break;
    case 3: (void)HdvWriteGuestMemory(device, page_number(&input) + (what >> 4), take16(&input), buffer); break;
    case 4: (void)hdvlab_device_set_line(device, what >> 4 & 1); break;
    case 5: (void)HdvCreateSectionBackedMmioRange(device, HDV_PCI_BAR0, take8(&input) & 3, 1, 1, (HANDLE)(intptr_t)vm.memory, 0); break;
    case 6: (void)HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR0, take8(&input) & 3); break;
    case 7: (void)HdvRegisterDoorbell(device, HDV_PCI_BAR0, take8(&input) & 0xF8, take8(&input), take8(&input) & 7, (HANDLE)(intptr_t)vm.event); break;
    case 8: (void)HdvUnregisterDoorbell(device, HDV_PCI_BAR0, take8(&input) & 0xF8, take8(&input), take8(&input) & 7); break;
    case 9:
    case 10:
        if (HdvCreateGuestMemoryAperture(device, page_number(&input), 1 + take16(&input), what >> 4 & 1, &mapped) == S_OK) {
            REQUIRE(mapped);
            buffer[0] += *(volatile BYTE *)mapped;
            REQUIRE(what & 0x20 || HdvDestroyGuestMemoryAperture(device, mapped) == S_OK);
        }
        break;
    case 11: (void)hdvlab_guest_config_peek(system, 0, buffer); break;
    case 12: (void)hdvlab_guest_ram_read(system, page_number(&input), take16(&input), buffer); break;
    case 13: REQUIRE(hdvlab_vfio_user_state(system, 0, &state) == S_OK && state.state <= HDVLAB_VFIO_USER_CONNECTED); break;
    case 14: (void)hdvlab_vfio_user_wait(system, 0, UINT64_MAX, 1, &state); break;
    default:
        if (what == 0xFF)
            (void)hdvlab_vfio_user_end(system, 0);
        else if (what == 0xEF)
            (void)hdvlab_system_remove_slot(system, 0);
    }
}

/* The VM that behaves reads its BAR. */
static void check_healthy(int socket) {
    uint8_t message[HEADER + 64] = {0};
    for (int i = 0; i < 2; i++) {
        size_t length = i ? HEADER + 16 : HEADER + 4 + 20;
        memset(message, 0, sizeof message);
        if (i)
            put(message + HEADER, 8, 8), put(message + HEADER + 12, 4, 4);
        else
            memcpy(message + HEADER + 4, "{\"capabilities\":{}}", 20);
        transmit(socket, message, frame(message, i ? READ : VERSION, 0, length - HEADER), NULL, 0);
        uint32_t bytes = 0;
        REQUIRE(AGAIN(recv(socket, message, HEADER, MSG_WAITALL)) == HEADER);
        memcpy(&bytes, message + 4, 4);
        uint8_t reply[512];
        REQUIRE(message[8] == 1 && bytes > HEADER && bytes <= sizeof reply + HEADER);
        REQUIRE(AGAIN(recv(socket, reply, bytes - HEADER, MSG_WAITALL)) == (ssize_t)(bytes - HEADER));
    }
}

static int descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        count++;
    return closedir(folder), count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    HDVLAB_TRACE trace = recording_begin();
    uint64_t handles = hdvlab_live_handles(), rows = recording_rows();
    int before = descriptors(), pair[2], other[2];
    input = (struct cursor){data, data + size / 2};
    memset(&vm, 0, sizeof vm);
    vm.script = (struct cursor){data + size / 2, data + size};
    vm.memory = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    uint8_t how = take8(&input);
    REQUIRE(vm.memory >= 0 && !ftruncate(vm.memory, RAM_BYTES));
    REQUIRE(how & 4 || !fcntl(vm.memory, F_ADD_SEALS, F_SEAL_SHRINK));
    vm.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    REQUIRE(!pipe2(vm.pipe, O_CLOEXEC));

    HCS_SYSTEM system;
    HDV_HOST host;
    REQUIRE(hdvlab_vfio_user_create(how >> 3 & 1, trace, &system) == S_OK);
    REQUIRE(HdvInitializeDeviceHost(system, &host) == S_OK);
    plug(system, host, 0, how);
    plug(system, host, 1, 3);
    REQUIRE(hdvlab_system_start(system) == S_OK);
    if (how & 0x40)
        (void)HdvCreateSectionBackedMmioRange(devices[0].handle, HDV_PCI_BAR0, 3, 1, 1, (HANDLE)(intptr_t)vm.memory, 1);
    REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other));
    vm.socket = pair[0];
    HDVLAB_VFIO_USER_OPTIONS options = {.size = sizeof options, .budget_ms = UINT32_MAX,
                                        .flags = how & 0x20 ? HDVLAB_VFIO_USER_HIDE_CAPABILITIES : 0};
    REQUIRE(hdvlab_vfio_user_attach(system, 0, pair[1], &options) == S_OK);
    REQUIRE(hdvlab_vfio_user_attach(system, 1, other[1], &options) == S_OK);
    REQUIRE(!pthread_create(&vm.thread, NULL, be_vm, NULL));
    for (int i = 0; cursor_more(&input) && i < 24; i++)
        act(system);
    check_healthy(other[0]);
    REQUIRE(!pthread_join(vm.thread, NULL));
    if (how & 0x80)
        REQUIRE(hdvlab_system_stop(system) == S_OK);
    REQUIRE(hdvlab_system_close(system) == S_OK);
    REQUIRE(HdvTeardownDeviceHost(host) == S_OK);
    (void)recording_count(rows, ACCESS_KINDS);
    int mine[] = {vm.socket, other[0], vm.memory, vm.event, vm.pipe[0], vm.pipe[1]};
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        close(mine[i]);
    REQUIRE(hdvlab_live_handles() == handles);
    REQUIRE(descriptors() == before);
    return 0;
}
