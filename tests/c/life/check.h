/* A line for each step, and an end at the first thing that is not as documented. */
#ifndef LIFE_CHECK_H
#define LIFE_CHECK_H

#include <hdvlab.h>
#include <stdio.h>
#include <stdlib.h>

static inline void step(const char *what) {
    printf("%s\n", what);
    fflush(stdout);
}

static inline void expect(int holds, const char *what, const char *file, int line, HRESULT got) {
    if (holds) return;
    printf("FAILED, %s:%d: %s (0x%08lX)\n", file, line, what, (unsigned long)got & 0xFFFFFFFFul);
    fflush(stdout);
    _Exit(1);
}

#define THAT(holds) expect(!!(holds), #holds, __FILE__, __LINE__, S_OK)
#define GIVES(code, call)                                                            \
    do {                                                                             \
        HRESULT given_ = (call);                                                     \
        expect(given_ == (code), #call " gives " #code, __FILE__, __LINE__, given_); \
    } while (0)
#define OK(call) GIVES(S_OK, call)
#define WIN32_CODE(name) HRESULT_FROM_WIN32(ERROR_##name)

#define PATIENCE_MS 10000

#endif
