/* hdvlab's agent in the guest: runs shell commands and moves files for the host, over a serial line.

   One thread, one poll loop, nothing in it blocks for long. What comes from the host is taken off the line at once,
   for the 8250 driver drops what nobody reads, and QEMU's port heeds no flow control: the host sends no more than
   WINDOW bytes of a request ahead of the CREDIT it gets. What goes to the host waits in line.c; commands wait when
   that is full. */

#define _GNU_SOURCE
#include "job.h"
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

static unsigned in_sequence;
static int asked; /* whether a frame is missing */
static char boot_id[40];
static uint32_t started; /* tells one start of the agent from the next */

static void send_hello(uint32_t nonce)
{
    unsigned char hello[12 + sizeof boot_id];
    size_t length = strlen(boot_id);
    line_start();
    put32(hello, VERSION);
    put32(hello + 4, nonce);
    put32(hello + 8, started);
    memcpy(hello + 12, boot_id, length);
    send_frame(HELLO, 0, hello, (unsigned)(12 + length));
}

static void take_frame(int type, unsigned id, unsigned sequence, const unsigned char *payload, unsigned length)
{
    Job *job = job_find(id);
    if (type == HELLO && length >= 4) {
        /* Another host, or one that starts afresh: what was asked before is nobody's any more. */
        for (Job *one = jobs; one < jobs + JOBS; one++) {
            if (one->type) {
                job_drop(one);
            }
        }
        in_sequence = 1;
        asked = 0;
        send_hello(get32(payload));
        return;
    }
    if (sequence != (in_sequence & 0xFFFF)) {
        send_frame(LOST, 0, NULL, 0);
        in_sequence = sequence;
    }
    in_sequence++;
    asked = 0;
    switch (type) {
    case PING:
        send_frame(PONG, id, payload, length);
        break;
    case RUN:
    case PUT:
    case GET:
        job_open(type, id, payload, length);
        break;
    case DATA:
        if (job) {
            job_take_data(job, payload, length);
        }
        break;
    case END:
        if (job) {
            job_end(job);
        }
        break;
    case SIGNAL:
        if (job && length >= 1) {
            job_signal(job, payload[0]);
        }
        break;
    default: /* PONG, and what a later version may know */
        break;
    }
}

static void prepare(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* what commands leave behind is reaped here, whatever process 1 is */
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, boot_id, 36);
    struct timespec now;
    if (fd >= 0) {
        close(fd);
    }
    boot_id[length > 0 ? length : 0] = 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    started = (uint32_t)now.tv_nsec ^ (uint32_t)now.tv_sec << 12 ^ (uint32_t)getpid() << 20;
    fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, "-1000", 5) < 0) {
            /* not root: then it is killed with the rest when memory runs out */
        }
        close(fd);
    }
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
    setenv("HOME", "/", 0);
    setenv("TERM", "dumb", 0);
}

int main(int count, char **arguments)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    signal(SIGPIPE, SIG_IGN);
    int children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    prepare();
    int line = line_open(count > 1 ? arguments[1] : "/dev/ttyS1");
    send_hello(0);
    for (unsigned turn = 0;; turn++) {
        struct pollfd fds[2 + 2 * JOBS];
        int wait = -1;
        fds[0] = (struct pollfd){line, 0, 0};
        fds[0].events = (short)((line_waiting() < OUT_FULL ? POLLIN : 0) | (line_waiting() ? POLLOUT : 0));
        fds[1] = (struct pollfd){children, POLLIN, 0};
        for (int i = 0; i < JOBS; i++) {
            if (job_poll(jobs + i, fds + 2 + 2 * i)) {
                wait = 0;
            }
        }
        if (poll(fds, 2 + 2 * JOBS, wait) < 0) {
            if (errno == EINTR) {
                continue;
            }
            exit(1);
        }
        if (fds[1].revents) {
            struct signalfd_siginfo info;
            while (read(children, &info, sizeof info) > 0) {
            }
            job_reap();
        }
        if (fds[0].revents & POLLOUT) {
            line_write();
        }
        if (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) {
            line_read(take_frame);
        }
        if (line_noise() && !asked) {
            asked = 1;
            send_frame(PING, 0, NULL, 0); /* the sequence number of the answer tells whether a frame is missing */
        }
        for (unsigned i = 0; i < JOBS; i++) { /* another one first each time */
            unsigned at = (i + turn) % JOBS;
            job_serve(jobs + at, fds + 2 + 2 * at);
        }
    }
}
