/* The serial line to the host, and the frames on it; protocol.py says what is in them. */

#ifndef HDVLAB_AGENT_LINE_H
#define HDVLAB_AGENT_LINE_H

#include <stdint.h>

enum { VERSION = 1, CHUNK = 1024, HEADER = 12, FRAME = HEADER + CHUNK + 4 };
enum { HELLO = 1, PING, PONG, RUN, PUT, GET, DATA, END, CREDIT, SIGNAL, DONE, LOST };
/* Bytes waiting for the line: commands are not read any more; nor is the line itself; all there is room for. */
enum { OUT_BUSY = 4096, OUT_FULL = 32768, OUT_SIZE = 65536 };

static inline unsigned get16(const unsigned char *p)
{
    return p[0] | p[1] << 8;
}

static inline uint32_t get32(const unsigned char *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static inline void put16(unsigned char *p, unsigned value)
{
    p[0] = value & 0xFF;
    p[1] = value >> 8 & 0xFF;
}

static inline void put32(unsigned char *p, uint32_t value)
{
    put16(p, value & 0xFFFF);
    put16(p + 2, value >> 16);
}

typedef void TakeFrame(int type, unsigned id, unsigned sequence, const unsigned char *payload, unsigned length);

/* Open the port and make it raw; ends the agent where that cannot be done. Returns the descriptor, for poll. */
int line_open(const char *path);

/* Bytes that wait for the line. */
unsigned line_waiting(void);

/* Write what the line takes; read what there is, and hand its frames on. Both end the agent with the line. */
void line_write(void);
void line_read(TakeFrame *take);

/* Put a frame behind those that wait. */
void send_frame(int type, unsigned id, const void *payload, unsigned length);

/* The next frame is the first of a conversation. */
void line_start(void);

/* Bytes came that were no frame, since the last call. */
int line_noise(void);

#endif
