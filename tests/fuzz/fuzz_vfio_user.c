/* A VM that says what it likes to the vfio-user server: nothing crashes, hangs or is left (handles, descriptors), callbacks
 * get what callbacks may get, every access is one finished row, and a VM beside it that behaves is answered. The first half
 * of the input is what the device does, the second what the VM does, on a thread of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vfio_user_script.h"

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

static void vm_send(const uint8_t *bytes, size_t length, const int *fds, uint32_t fd_count) {
    transmit(vm.socket, bytes, length, fds, fd_count);
}
static void vm_end(HCS_SYSTEM system) { (void)hdvlab_vfio_user_end(system, 0); }
static void vm_inside(uint64_t offset) { (void)offset; }

/* The fuzzer's alarm interrupts what waits. */
#define AGAIN(call)                                                                                                    \
    __extension__({                                                                                                    \
        ssize_t result_;                                                                                               \
        do                                                                                                             \
            result_ = (call);                                                                                          \
        while (result_ < 0 && errno == EINTR);                                                                         \
        result_;                                                                                                       \
    })

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
        REQUIRE(bytes >= HEADER + 16);
        size_t length = make_answer(message);
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

static void *be_vm(void *unused) {
    struct cursor *c = &vm.script;
    (void)unused;
    if (greet())
        listen_to(1000);
    while (!vm.is_gone && cursor_more(c)) {
        say();
        listen_to(take8(c) & 3 ? 1 : 0); /* sometimes the next comes before the answer */
    }
    listen_to(2);
    shutdown(vm.socket, SHUT_RDWR);
    return NULL;
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
    pthread_t thread;
    REQUIRE(!pthread_create(&thread, NULL, be_vm, NULL));
    for (int i = 0; cursor_more(&input) && i < 24; i++)
        act(system);
    check_healthy(other[0]);
    REQUIRE(!pthread_join(thread, NULL));
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
