/* The serial line to the host, and the frames on it. */

#define _GNU_SOURCE
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const unsigned char sync_mark[4] = {0xF5, 'h', 'd', 'v'};
static int line = -1;
static unsigned char out[OUT_SIZE];
static unsigned out_used;
static unsigned char in[4 * FRAME];
static unsigned in_used;
static unsigned out_sequence;
static int noise;

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

static unsigned char header_check(const unsigned char *header)
{
    unsigned char sum = 0xA5;
    for (int i = 4; i < HEADER; i++) {
        sum = (unsigned char)((sum << 1 | sum >> 7) ^ (i == 5 ? 0 : header[i]));
    }
    return sum;
}

void send_frame(int type, unsigned id, const void *payload, unsigned length)
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

void line_start(void)
{
    out_sequence = 0;
}

unsigned line_waiting(void)
{
    return out_used;
}

int line_noise(void)
{
    int seen = noise;
    noise = 0;
    return seen;
}

/* Take the whole frames off the front of `in`. What is no frame is skipped, byte by byte, and asked about. */
static void take_frames(TakeFrame *take)
{
    unsigned at = 0;
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
        take(frame[4], get16(frame + 6), get16(frame + 8), frame + HEADER, length);
        at += HEADER + length + 4;
    }
    memmove(in, in + at, in_used - at);
    in_used -= at;
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

int line_open(const char *path)
{
    struct termios settings;
    line = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (line < 0 || tcgetattr(line, &settings)) {
        fprintf(stderr, "agent: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cflag &= ~(tcflag_t)CRTSCTS;
    cfsetspeed(&settings, B115200); /* QEMU's port waits by it before it tells of a last few bytes */
    tcsetattr(line, TCSANOW, &settings);
    raise_trigger(path);
    return line;
}

void line_write(void)
{
    ssize_t count = write(line, out, out_used);
    if (count > 0) {
        memmove(out, out + count, out_used - (size_t)count);
        out_used -= (unsigned)count;
    } else if (count < 0 && errno != EAGAIN && errno != EINTR) {
        exit(0); /* the line is gone, and with it who asks */
    }
}

void line_read(TakeFrame *take)
{
    ssize_t count = read(line, in + in_used, sizeof in - in_used);
    if (count > 0) {
        in_used += (unsigned)count;
        take_frames(take);
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        exit(0);
    }
}
