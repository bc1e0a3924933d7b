/* The yardstick: the least vfio-user server that a VM takes, blocking in recv as C servers do, recording nothing.
   One PCI function with a BAR 0 of 4 KiB, whose reads give a constant. Ref: QEMU, docs/interop/vfio-user.rst. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { VERSION = 1, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE };
enum { RESET = 13, WRITE_MULTI = 15, REPLY = 1, NO_REPLY = 0x10, ERROR = 0x20, EINVAL_ = 22 };
enum { CONFIG = 7, CONFIG_BYTES = 256, BAR_BYTES = 4096, FDS = 16, LARGEST = 1 << 16 };
#define CONSTANT 0x12345678u

struct header {
    uint16_t id, command;
    uint32_t bytes, flags, error;
};
struct access {
    uint64_t offset;
    uint32_t region, count;
};

static struct { struct header header; uint8_t payload[LARGEST]; } in, out;
static uint8_t config[CONFIG_BYTES];

/* The header with its descriptors, which are of no use here. 0 = the peer is gone. */
static int receive(int peer) {
    union { char room[CMSG_SPACE(sizeof(int) * FDS)]; struct cmsghdr align; } control;
    struct iovec part = {&in.header, sizeof in.header};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(peer, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC) != sizeof in.header)
        return 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
        for (size_t i = 0; c->cmsg_type == SCM_RIGHTS && CMSG_LEN(sizeof(int) * (i + 1)) <= c->cmsg_len; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            close(fd);
        }
    size_t left = in.header.bytes - sizeof in.header;
    if (in.header.bytes < sizeof in.header || left > LARGEST)
        return 0;
    return !left || recv(peer, in.payload, left, MSG_WAITALL) == (ssize_t)left;
}

/* Bytes of the answer's payload, which is the request's to begin with; -1 = refused. */
static int answer(void) {
    static const char capabilities[] = "{\"capabilities\":{\"max_msg_fds\":8}}";
    uint32_t *word = (uint32_t *)out.payload;
    struct access a;
    memcpy(out.payload, in.payload, 32);
    memcpy(&a, in.payload, sizeof a);
    switch (in.header.command) {
    case VERSION:
        memset(out.payload, 0, 4);
        memcpy(out.payload + 4, capabilities, sizeof capabilities);
        return 4 + sizeof capabilities;
    case GET_INFO:
        word[0] = 16, word[1] = 3, word[2] = 9, word[3] = 5;
        return 16;
    case REGION_INFO:
        word[0] = 32, word[1] = word[2] == 0 || word[2] == CONFIG ? 3 : 0, word[3] = 0;
        word[4] = word[2] == 0 ? BAR_BYTES : word[2] == CONFIG ? CONFIG_BYTES : 0;
        word[5] = word[6] = word[7] = 0;
        return 32;
    case IRQ_INFO:
        word[0] = 16, word[1] = 1, word[3] = 0;
        return 16;
    case REGION_READ:
        if (a.count > LARGEST - sizeof a)
            return -1;
        if (a.region == CONFIG && a.offset + a.count <= CONFIG_BYTES)
            memcpy(out.payload + sizeof a, config + a.offset, a.count);
        else
            for (uint32_t i = 0; i < a.count; i++)
                out.payload[sizeof a + i] = (uint8_t)(CONSTANT >> 8 * (i & 3));
        return (int)(sizeof a + a.count);
    case REGION_WRITE:
        if (a.region == CONFIG && a.offset >= 4 && a.offset + a.count <= CONFIG_BYTES)
            memcpy(config + a.offset, in.payload + sizeof a, a.count);
        return sizeof a;
    case DMA_UNMAP: return 24;
    case WRITE_MULTI: return 8;
    case DMA_MAP: case SET_IRQS: case RESET: return 0;
    default: return -1;
    }
}

static void serve(int peer) {
    while (receive(peer)) {
        int bytes = answer();
        if (in.header.flags & NO_REPLY)
            continue;
        out.header = (struct header){in.header.id, in.header.command, (uint32_t)(sizeof out.header + (bytes > 0 ? bytes : 0)),
                                     bytes < 0 ? REPLY | ERROR : REPLY, bytes < 0 ? EINVAL_ : 0};
        if (send(peer, &out, out.header.bytes, MSG_NOSIGNAL) != (ssize_t)out.header.bytes)
            return;
    }
}

/* echo_server SOCKET VENDOR DEVICE: serves one VM, and ends with it. Says so once it listens. */
int main(int count, char **words) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (count != 4 || strlen(words[1]) >= sizeof address.sun_path)
        return 2;
    strcpy(address.sun_path, words[1]);
    uint16_t ids[2] = {(uint16_t)strtoul(words[2], NULL, 0), (uint16_t)strtoul(words[3], NULL, 0)};
    memcpy(config, ids, sizeof ids);
    config[0x0B] = 0xFF; /* a class of its own */
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1)) {
        perror(words[1]);
        return 1;
    }
    puts("listening");
    fflush(stdout);
    int peer = accept(listener, NULL, NULL);
    if (peer >= 0)
        serve(peer);
    return 0;
}
