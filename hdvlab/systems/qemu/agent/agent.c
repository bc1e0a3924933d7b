/* hdvlab's agent in the guest: runs shell commands and moves files for the host, over a serial line.

   The line carries frames, both ways; protocol.py says what is in them. One thread, one poll loop, nothing in it
   blocks for long: what comes from the host is taken off the line at once (the 8250 driver drops what nobody
   reads, the port has no flow control that QEMU honours), so the host sends no more than WINDOW bytes of a request
   ahead of the CREDIT it gets. What goes to the host waits in `line_out`; commands wait when that is full. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { VERSION = 1, CHUNK = 1024, WINDOW = 4096, JOBS = 12, HEADER = 12, FRAME = HEADER + CHUNK + 4 };
enum { COMMAND_MAX = 128 * 1024 - 1 }; /* Linux takes no longer argument */
enum { OUT_BUSY = 4096, OUT_FULL = 32768, OUT_SIZE = 65536 };
enum { HELLO = 1, PING, PONG, RUN, PUT, GET, DATA, END, CREDIT, SIGNAL, DONE, LOST };
enum { EXITED = 0, SIGNALLED = 1, FAILED = 2 };

static const unsigned char sync_mark[4] = {0xF5, 'h', 'd', 'v'};

typedef struct Job {
    int type;          /* RUN, PUT, GET; 0 = free */
    unsigned id;
    int source, sink;  /* to the host, from the host; -1 = none */
    pid_t child;
    int exited, status, killed;
    char *command;     /* being received */
    unsigned command_length, command_have;
    int ended;         /* the host sends no more */
    unsigned have;     /* bytes in `in` */
    unsigned mode;
    char *path, *partial; /* PUT: goes to `partial`, becomes `path` when all of it is there */
    unsigned char in[WINDOW];
} Job;

static Job jobs[JOBS];
static int line = -1;
static unsigned char out[OUT_SIZE];
static unsigned out_used;
static unsigned char in[4 * FRAME];
static unsigned in_used;
static unsigned out_sequence, in_sequence;
static int noise_seen; /* asked the host already whether it lost something */
static char boot_id[40];
static uint32_t started; /* tells one start of the agent from the next */

static uint32_t crc32(const unsigned char *data, size_t size)
{
    uint32_t crc = 0xFFFFFFFFu;
    while (size--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xEDB88320u & -(crc & 1));
        }
    }
    return ~crc;
}

static unsigned get16(const unsigned char *p) { return p[0] | p[1] << 8; }
static uint32_t get32(const unsigned char *p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }
static void put16(unsigned char *p, unsigned value) { p[0] = value & 0xFF; p[1] = value >> 8 & 0xFF; }
static void put32(unsigned char *p, uint32_t value) { put16(p, value & 0xFFFF); put16(p + 2, value >> 16); }

static unsigned char header_check(const unsigned char *header)
{
    unsigned char sum = 0xA5;
    for (int i = 4; i < HEADER; i++) {
        sum = (unsigned char)((sum << 1 | sum >> 7) ^ (i == 5 ? 0 : header[i]));
    }
    return sum;
}

static void send_frame(int type, unsigned id, const void *payload, unsigned length)
{
    unsigned char *frame = out + out_used;
    if (out_used + FRAME > OUT_SIZE) {
        abort(); /* cannot be: nothing is read from the line or from commands when it is that full */
    }
    memcpy(frame, sync_mark, 4);
    frame[4] = (unsigned char)type;
    put16(frame + 6, id);
    put16(frame + 8, out_sequence++);
    put16(frame + 10, length);
    frame[5] = header_check(frame);
    if (length) {
        memcpy(frame + HEADER, payload, length);
    }
    put32(frame + HEADER + length, crc32(frame + 4, HEADER - 4 + length));
    out_used += HEADER + length + 4;
}

static void send_hello(uint32_t nonce)
{
    unsigned char hello[12 + sizeof boot_id];
    size_t length = strlen(boot_id);
    out_sequence = 0;
    put32(hello, VERSION);
    put32(hello + 4, nonce);
    put32(hello + 8, started);
    memcpy(hello + 12, boot_id, length);
    send_frame(HELLO, 0, hello, (unsigned)(12 + length));
}

static void send_done(unsigned id, int kind, int value)
{
    unsigned char done[5 + 200];
    const char *text = kind == FAILED ? strerror(value) : "";
    size_t length = strlen(text);
    done[0] = (unsigned char)kind;
    put32(done + 1, (uint32_t)value);
    memcpy(done + 5, text, length);
    send_frame(DONE, id, done, (unsigned)(5 + length));
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* Forget a job; a command that still runs is killed with all of its process group. */
static void drop(Job *job)
{
    if (job->child > 0 && !job->exited) {
        kill(-job->child, SIGKILL);
    }
    close_fd(&job->source);
    close_fd(&job->sink);
    if (job->partial) {
        unlink(job->partial);
    }
    free(job->partial);
    free(job->path);
    free(job->command);
    job->type = 0;
}

static void finish(Job *job, int kind, int value)
{
    send_done(job->id, kind, value);
    drop(job);
}

static void start_command(Job *job)
{
    int input[2], output[2];
    if (pipe2(input, O_CLOEXEC)) {
        finish(job, FAILED, errno);
        return;
    }
    if (pipe2(output, O_CLOEXEC)) {
        int error = errno;
        close(input[0]);
        close(input[1]);
        finish(job, FAILED, error);
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        setpgid(0, 0);
        int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (score >= 0 && write(score, "0", 1) < 0) {
            /* no memory control here: nothing to undo */
        }
        dup2(input[0], 0);
        dup2(output[1], 1);
        dup2(output[1], 2);
        execl("/bin/sh", "sh", "-c", job->command, (char *)NULL);
        dprintf(2, "/bin/sh: %s\n", strerror(errno));
        _exit(127);
    }
    int error = errno;
    close(input[0]);
    close(output[1]);
    job->sink = input[1];
    job->source = output[0];
    if (child < 0) {
        finish(job, FAILED, error);
        return;
    }
    setpgid(child, child); /* here too: a signal may come before the child got to it */
    job->child = child;
    fcntl(job->sink, F_SETFL, O_NONBLOCK);
    fcntl(job->source, F_SETFL, O_NONBLOCK);
    free(job->command);
    job->command = NULL;
}

static void open_put(Job *job, unsigned mode, const char *path)
{
    struct stat old;
    int there = stat(path, &old) == 0;
    job->mode = mode & 07777;
    job->path = strdup(path);
    if (job->path && (!there || S_ISREG(old.st_mode))) {
        /* Beside it first: a program that runs can be replaced, and half a file is never seen. */
        char *real = realpath(path, NULL);
        if (real) {
            free(job->path);
            job->path = real;
        }
        if (asprintf(&job->partial, "%s.partial-%u-%u", job->path, (unsigned)getpid(), job->id) < 0) {
            job->partial = NULL;
            finish(job, FAILED, ENOMEM);
            return;
        }
        job->sink = open(job->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    } else if (job->path) {
        job->sink = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    }
    if (job->sink < 0) {
        int error = errno;
        free(job->partial);
        job->partial = NULL;
        finish(job, FAILED, error);
    }
}

static void finish_put(Job *job)
{
    int error = 0;
    if (job->partial && fchmod(job->sink, job->mode)) {
        error = errno;
    }
    if (close(job->sink) && !error) {
        error = errno;
    }
    job->sink = -1;
    if (!error && job->partial) {
        if (rename(job->partial, job->path)) {
            error = errno;
        } else {
            free(job->partial);
            job->partial = NULL;
        }
    }
    finish(job, error ? FAILED : EXITED, error);
}

static void open_get(Job *job, const char *path)
{
    struct stat about;
    job->source = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (job->source < 0) {
        finish(job, FAILED, errno);
    } else if (fstat(job->source, &about) == 0 && S_ISDIR(about.st_mode)) {
        finish(job, FAILED, EISDIR);
    }
}

static Job *find(unsigned id)
{
    for (Job *job = jobs; job < jobs + JOBS; job++) {
        if (job->type && job->id == id) {
            return job;
        }
    }
    return NULL;
}

static void open_job(int type, unsigned id, const unsigned char *payload, unsigned length)
{
    char path[CHUNK + 1];
    unsigned fixed = type == GET ? 0 : 4;
    Job *job = jobs;
    while (job < jobs + JOBS && job->type) {
        job++;
    }
    if (job == jobs + JOBS || length < fixed || find(id)) {
        send_done(id, FAILED, job == jobs + JOBS ? EBUSY : EINVAL);
        return;
    }
    memset(job, 0, sizeof *job);
    job->type = type;
    job->id = id;
    job->source = job->sink = -1;
    memcpy(path, payload + fixed, length - fixed);
    path[length - fixed] = 0;
    if (type == PUT) {
        open_put(job, get32(payload), path);
    } else if (type == GET) {
        open_get(job, path);
    } else {
        job->command_length = get32(payload);
        job->command = job->command_length <= COMMAND_MAX ? malloc(job->command_length + 1) : NULL;
        if (!job->command) {
            finish(job, FAILED, job->command_length <= COMMAND_MAX ? ENOMEM : E2BIG);
        }
    }
}

static void credit(Job *job, unsigned count)
{
    unsigned char payload[4];
    put32(payload, count);
    send_frame(CREDIT, job->id, payload, 4);
}

/* Bytes of a request: a command's text first, then its standard input; or a file's content. */
static void take_data(Job *job, const unsigned char *data, unsigned length)
{
    if (job->command) {
        unsigned part = job->command_length - job->command_have;
        part = part < length ? part : length;
        memcpy(job->command + job->command_have, data, part);
        job->command_have += part;
        data += part;
        length -= part;
        if (part) {
            credit(job, part);
        }
        if (job->command_have == job->command_length) {
            job->command[job->command_length] = 0;
            start_command(job);
        }
    }
    if (!job->type || !length) {
        return;
    }
    if (job->have + length > WINDOW) {
        finish(job, FAILED, EPROTO); /* the host sent more than it was given credit for */
        return;
    }
    memcpy(job->in + job->have, data, length);
    job->have += length;
}

static void signal_job(Job *job, int number)
{
    if (job->type != RUN) {
        finish(job, FAILED, ECANCELED);
    } else if (job->child > 0) {
        kill(-job->child, number);
        job->killed = 1;
    } else {
        finish(job, SIGNALLED, number);
    }
}

static void take_frame(const unsigned char *frame)
{
    int type = frame[4];
    unsigned id = get16(frame + 6), length = get16(frame + 10);
    const unsigned char *payload = frame + HEADER;
    Job *job = find(id);
    if (type == HELLO && length >= 4) {
        /* Another host, or one that starts afresh: what was asked before is nobody's any more. */
        for (Job *one = jobs; one < jobs + JOBS; one++) {
            if (one->type) {
                drop(one);
            }
        }
        in_sequence = 1;
        noise_seen = 0;
        send_hello(get32(payload));
        return;
    }
    if (get16(frame + 8) != (in_sequence & 0xFFFF)) {
        send_frame(LOST, 0, NULL, 0);
        in_sequence = get16(frame + 8);
    }
    in_sequence++;
    noise_seen = 0;
    switch (type) {
    case PING:
        send_frame(PONG, id, payload, length);
        break;
    case RUN:
    case PUT:
    case GET:
        open_job(type, id, payload, length);
        break;
    case DATA:
        if (job) {
            take_data(job, payload, length);
        }
        break;
    case END:
        if (job) {
            job->ended = 1;
            if (job->command && job->command_length == 0) {
                take_data(job, payload, 0);
            }
        }
        break;
    case SIGNAL:
        if (job && length >= 1) {
            signal_job(job, payload[0]);
        }
        break;
    default: /* PONG, and what a later version may know */
        break;
    }
}

/* Take the whole frames off the front of `in`. What is no frame is skipped, byte by byte, and asked about. */
static void take_frames(void)
{
    unsigned at = 0;
    int noise = 0;
    while (in_used - at >= HEADER) {
        unsigned char *frame = in + at;
        unsigned length = get16(frame + 10);
        if (memcmp(frame, sync_mark, 4) || length > CHUNK || header_check(frame) != frame[5]) {
            noise |= *frame != 0; /* zeros are what the host sends to end a frame that was cut off */
            at++;
            continue;
        }
        if (in_used - at < HEADER + length + 4) {
            break;
        }
        if (get32(frame + HEADER + length) != crc32(frame + 4, HEADER - 4 + length)) {
            noise = 1;
            at++;
            continue;
        }
        take_frame(frame);
        at += HEADER + length + 4;
    }
    memmove(in, in + at, in_used - at);
    in_used -= at;
    if (noise && !noise_seen) {
        noise_seen = 1;
        send_frame(PING, 0, NULL, 0); /* the sequence number of what comes next tells whether a frame is missing */
    }
}

static void write_sink(Job *job)
{
    if (job->have) {
        ssize_t count = job->sink < 0 ? (ssize_t)job->have : write(job->sink, job->in, job->have);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (count < 0 && job->type == PUT) {
            finish(job, FAILED, errno);
            return;
        }
        if (count < 0) { /* the command does not read its input (any more) */
            close_fd(&job->sink);
            count = (ssize_t)job->have;
        }
        memmove(job->in, job->in + count, job->have - (size_t)count);
        job->have -= (unsigned)count;
        credit(job, (unsigned)count);
    }
    if (job->ended && !job->have) {
        if (job->type == PUT) {
            finish_put(job);
        } else {
            close_fd(&job->sink);
        }
    }
}

static void read_source(Job *job)
{
    unsigned char data[CHUNK];
    ssize_t count = job->source < 0 ? 0 : read(job->source, data, sizeof data);
    if (count > 0) {
        send_frame(DATA, job->id, data, (unsigned)count);
        return;
    }
    int error = count < 0 ? errno : 0;
    if (error == EINTR || (error == EAGAIN && !job->exited)) {
        return;
    }
    if (job->type == GET) {
        finish(job, error ? FAILED : EXITED, error);
        return;
    }
    if (job->exited) { /* what runs on in the background has the pipe still, and is not waited for */
        int status = job->status;
        finish(job, WIFSIGNALED(status) ? SIGNALLED : EXITED, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        return;
    }
    close_fd(&job->source);
}

static void reap(void)
{
    int status;
    pid_t child;
    while ((child = waitpid(-1, &status, WNOHANG)) > 0) {
        for (Job *job = jobs; job < jobs + JOBS; job++) {
            if (job->type == RUN && job->child == child) {
                job->exited = 1;
                job->status = status;
            }
        }
    }
}

/* Half the interrupts for what comes in: the driver takes 14 bytes at a time out of the port, not 8. */
static void raise_trigger(const char *path)
{
    char file[100];
    const char *name = strrchr(path, '/');
    snprintf(file, sizeof file, "/sys/class/tty/%.40s/rx_trig_bytes", name ? name + 1 : path);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, "14", 2) < 0) {
            /* another sort of port: slower, or faster by itself */
        }
        close(fd);
    }
}

static int open_line(const char *path)
{
    struct termios settings;
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || tcgetattr(fd, &settings)) {
        fprintf(stderr, "agent: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cflag &= ~(tcflag_t)CRTSCTS;
    cfsetspeed(&settings, B115200); /* QEMU's port waits by it before it tells of a last few bytes */
    tcsetattr(fd, TCSANOW, &settings);
    raise_trigger(path);
    return fd;
}

static void write_line(void)
{
    ssize_t count = write(line, out, out_used);
    if (count > 0) {
        memmove(out, out + count, out_used - (size_t)count);
        out_used -= (unsigned)count;
    } else if (count < 0 && errno != EAGAIN && errno != EINTR) {
        exit(0); /* the line is gone, and with it who asks */
    }
}

static void read_line(void)
{
    ssize_t count = read(line, in + in_used, sizeof in - in_used);
    if (count > 0) {
        in_used += (unsigned)count;
        take_frames();
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        exit(0);
    }
}

static void prepare(void)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, boot_id, 36);
    struct timespec now;
    close_fd(&fd);
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
    line = open_line(count > 1 ? arguments[1] : "/dev/ttyS1");
    send_hello(0);
    for (unsigned turn = 0;; turn++) {
        struct pollfd fds[2 + 2 * JOBS];
        memset(fds, 0, sizeof fds);
        fds[0] = (struct pollfd){line, (short)((out_used < OUT_FULL ? POLLIN : 0) | (out_used ? POLLOUT : 0)), 0};
        fds[1] = (struct pollfd){children, POLLIN, 0};
        int ready = -1;
        for (int i = 0; i < JOBS; i++) {
            Job *job = jobs + i;
            int may_read = job->type && out_used < OUT_BUSY;
            fds[2 + 2 * i].fd = may_read ? job->source : -1;
            fds[2 + 2 * i].events = POLLIN;
            fds[3 + 2 * i].fd = job->type && job->have ? job->sink : -1;
            fds[3 + 2 * i].events = POLLOUT;
            if (may_read && job->type == RUN && job->exited) {
                ready = 0;
            }
            if (job->type && !job->command && (job->sink < 0 ? job->have != 0 : job->ended && !job->have)) {
                ready = 0;
            }
        }
        if (poll(fds, 2 + 2 * JOBS, ready) < 0 && errno != EINTR) {
            exit(1);
        }
        if (fds[1].revents) {
            struct signalfd_siginfo info;
            while (read(children, &info, sizeof info) > 0) {
            }
            reap();
        }
        if (fds[0].revents & POLLOUT) {
            write_line();
        }
        if (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) {
            read_line();
        }
        for (unsigned i = 0; i < JOBS; i++) { /* another one first each time */
            Job *job = jobs + (i + turn) % JOBS;
            unsigned at = (unsigned)(2 + 2 * (job - jobs));
            if (job->type && !job->command && (fds[at + 1].revents || job->ended || job->sink < 0)) {
                write_sink(job);
            }
            if (job->type && out_used < OUT_BUSY && (fds[at].revents || (job->type == RUN && job->exited))) {
                read_source(job);
            }
        }
    }
}
