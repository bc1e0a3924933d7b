/* What the parts of the guest library know of a function. */

#ifndef HDVLAB_GUEST_FUNCTION_H
#define HDVLAB_GUEST_FUNCTION_H

#include "hdvlab_guest.h"

#include <sys/types.h>

enum { HDVLAB_BARS = 6, HDVLAB_PAGES = 2048 }; /* pages: four huge ones */

struct HdvlabFunction {
    char place[16];
    char folder[64]; /* in sysfs */
    int config;      /* open file; its lock is what takes the function */
    struct {
        volatile unsigned char *at;
        uint64_t size;
    } bars[HDVLAB_BARS];
    struct {
        unsigned char *at; /* NULL: not made yet */
        size_t pages;
        uint64_t address[HDVLAB_PAGES];
        unsigned char used[HDVLAB_PAGES];
    } pool;
    int guard; /* write end of the pipe whose end tells the guard; -1 = none yet */
    HdvlabInterrupt kind; /* HDVLAB_ANY: none is on */
    unsigned capability;
    unsigned vectors;
    int uio;
    HdvlabDma mailbox;
};

/* A line on stderr; returns -error. */
int hdvlab_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The memory that outlives the program, and the process that lets it go once the device is quiet. */
int hdvlab_pool_open(HdvlabFunction *function);

/* No bus mastering, no messages, no INTx: the device touches nothing any more. */
void hdvlab_quiet(int config);

#endif
