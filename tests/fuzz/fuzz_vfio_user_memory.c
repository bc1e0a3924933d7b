/* The same VM and device as fuzz_vfio_user, with memory for a socket and one thread for both, which take turns: a run is the
 * same each time, and there are many in a second. Here the device acts within its callbacks too, the end of the connection
 * comes at any message of the server, and whoever keeps to the protocol gets one reply for each message, in order and fitting. */
#include "vfio_user_memory.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vfio_user_script.h"

#define ACTS_MAX 24
#define TOGETHER_MAX 6 /* messages that are sent before the server sees the first */
#define AWAITED_MAX 512u

static HCS_SYSTEM system_handle;
static int acts, has_begun;
#define IRQS 5u

/* What the VM has said, so far as it kept to the protocol, and has no reply to yet. */
static struct {
    struct said { uint32_t id_and_command; uint8_t start[20]; } said[AWAITED_MAX];
    uint32_t first, end;
} awaited;
/* Vectors per index: as GET_IRQ_INFO said, which is once and for all, and as SET_IRQS has taken. */
static struct { uint32_t offered[IRQS], taken[IRQS]; int is_offered[IRQS]; } irqs;

static void vm_send(const uint8_t *bytes, size_t length, const int *fds, uint32_t fd_count) {
    if (!vm.is_spoilt && !(bytes[8] & 0x10)) {
        REQUIRE(awaited.end < AWAITED_MAX && length >= HEADER);
        struct said *said = &awaited.said[awaited.end++];
        size_t start = length - HEADER < sizeof said->start ? length - HEADER : sizeof said->start;
        memset(said, 0, sizeof *said);
        memcpy(&said->id_and_command, bytes, 4);
        memcpy(said->start, bytes + HEADER, start);
    }
    wire_put(bytes, length, fds, fd_count, vm.is_spoilt && length % 2); /* some of the halves alone */
}

static uint32_t number_at(const uint8_t *bytes, uint32_t offset) {
    uint32_t number;
    memcpy(&number, bytes + offset, sizeof number);
    return number;
}

/* A reply that is no error is one to this. */
static void check_reply(const struct said *said, const uint8_t *payload, size_t bytes) {
    uint32_t index = number_at(said->start, 8), count = number_at(said->start, 16);
    switch (said->id_and_command >> 16) {
    case READ: REQUIRE(bytes == 16 + number_at(said->start, 12) && !memcmp(payload, said->start, 16)); break;
    case WRITE: REQUIRE(bytes == 16 && !memcmp(payload, said->start, 16)); break;
    case IRQ_INFO:
        REQUIRE(bytes == 16 && index < IRQS && number_at(payload, 8) == index);
        irqs.offered[index] = number_at(payload, 12);
        irqs.is_offered[index] = 1;
        break;
    case SET_IRQS:
        REQUIRE(!bytes && index < IRQS);
        if (count && number_at(said->start, 12) + count > irqs.taken[index])
            irqs.taken[index] = number_at(said->start, 12) + count;
        break;
    case RESET: REQUIRE(!bytes); break;
    default: break;
    }
    for (index = 0; index < IRQS; index++)
        REQUIRE(!irqs.is_offered[index] || irqs.taken[index] <= irqs.offered[index]);
}

static void vm_end(HCS_SYSTEM system) {
    if (wire_is_served() && !atomic_load(&devices[0].inside))
        wire_end();
    else
        REQUIRE(hdvlab_vfio_user_end(system, 0) != S_OK || !wire_is_served());
}

static void act_once(void) {
    if (cursor_more(&input) && acts++ < ACTS_MAX)
        act(system_handle);
}

static void vm_inside(uint64_t offset) {
    if (offset & 4)
        act_once();
}

int vm_speaks(void) {
    if (!has_begun) {
        has_begun = 1;
        if (greet())
            return 1;
    }
    act_once();
    if (!cursor_more(&vm.script))
        return 0;
    for (int i = 0; i < TOGETHER_MAX; i++) {
        say();
        if (take8(&vm.script) & 3 || !cursor_more(&vm.script))
            break;
    }
    return 1;
}

void vm_hears(const uint8_t *message, size_t bytes, const int *fds, uint32_t fd_count) {
    uint32_t id_and_command = number_at(message, 0), length = number_at(message, 4), flags = number_at(message, 8);
    (void)fds;
    REQUIRE(length == bytes && (flags & 0xF) < 2 && !(flags & ~0x31u));
    REQUIRE(!(flags & 0x20) || (length == HEADER && !fd_count));
    if (!(flags & 1)) {
        REQUIRE(bytes >= HEADER + 16 && !fd_count);
    } else if (!vm.is_spoilt) {
        const struct said *said = &awaited.said[awaited.first++];
        REQUIRE(awaited.first <= awaited.end && said->id_and_command == id_and_command);
        if (!(flags & 0x20))
            check_reply(said, message + HEADER, bytes - HEADER);
    }
}

size_t vm_answers(uint8_t *message) { return make_answer(message); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    HDVLAB_TRACE trace = recording_begin();
    uint64_t handles = hdvlab_live_handles(), rows = recording_rows();
    int before = descriptors();
    input = (struct cursor){data, data + size / 2};
    memset(&vm, 0, sizeof vm);
    vm.script = (struct cursor){data + size / 2, data + size};
    vm.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    vm.memory = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    acts = has_begun = 0;
    awaited.first = awaited.end = 0;
    memset(&irqs, 0, sizeof irqs);
    wire_open();
    uint8_t how = take8(&input);
    REQUIRE(vm.memory >= 0 && !ftruncate(vm.memory, RAM_BYTES));
    REQUIRE(how & 4 || !fcntl(vm.memory, F_ADD_SEALS, F_SEAL_SHRINK));
    vm.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    REQUIRE(!pipe2(vm.pipe, O_CLOEXEC));

    HDV_HOST host;
    REQUIRE(hdvlab_vfio_user_create(how >> 3 & 1, trace, &system_handle) == S_OK);
    REQUIRE(HdvInitializeDeviceHost(system_handle, &host) == S_OK);
    plug(system_handle, host, 0, how);
    REQUIRE(hdvlab_system_start(system_handle) == S_OK);
    if (how & 0x40)
        (void)HdvCreateSectionBackedMmioRange(devices[0].handle, HDV_PCI_BAR0, 3, 1, 1, (HANDLE)(intptr_t)vm.memory, 1);
    if (how & 0x10)
        wire_break(take8(&input));
    HDVLAB_VFIO_USER_OPTIONS options = {.size = sizeof options, .budget_ms = UINT32_MAX,
                                        .flags = how & 0x20 ? HDVLAB_VFIO_USER_HIDE_CAPABILITIES : 0};
    int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* the library has one to close */
    REQUIRE(hdvlab_vfio_user_attach(system_handle, 0, peer, &options) == S_OK);
    int has_all = wire_serve();
    REQUIRE(!has_all || vm.is_spoilt || awaited.first == awaited.end);
    while (cursor_more(&input) && acts < ACTS_MAX)
        act_once(); /* and nobody is there */
    if (how & 0x80)
        REQUIRE(hdvlab_system_stop(system_handle) == S_OK);
    REQUIRE(hdvlab_system_close(system_handle) == S_OK);
    REQUIRE(HdvTeardownDeviceHost(host) == S_OK);
    (void)recording_count(rows, ACCESS_KINDS);
    int mine[] = {vm.socket, vm.memory, vm.event, vm.pipe[0], vm.pipe[1]};
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        close(mine[i]);
    REQUIRE(hdvlab_live_handles() == handles);
    REQUIRE(descriptors() == before);
    return 0;
}
