/* The fuzzer's bytes, taken one decision after the other; behind their end everything is 0. */
#ifndef FUZZ_CURSOR_H
#define FUZZ_CURSOR_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An invariant. Says which one and ends the process, which the fuzzer takes for a finding. */
#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

struct cursor {
    const uint8_t *at, *end;
};

static inline int cursor_more(const struct cursor *c) { return c->at < c->end; }

static inline uint64_t take_bytes(struct cursor *c, uint32_t bytes) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes && c->at < c->end; i++)
        value |= (uint64_t)*c->at++ << 8 * i;
    return value;
}

static inline uint8_t take8(struct cursor *c) { return (uint8_t)take_bytes(c, 1); }
static inline uint16_t take16(struct cursor *c) { return (uint16_t)take_bytes(c, 2); }
static inline uint32_t take32(struct cursor *c) { return (uint32_t)take_bytes(c, 4); }
static inline uint64_t take64(struct cursor *c) { return take_bytes(c, 8); }
static inline uint32_t take_below(struct cursor *c, uint32_t count) { return take8(c) % count; }

/* A number as attackers like them: small, near a power of two, near the end of 32 or 64 bits, or just any. */
static inline uint64_t take_number(struct cursor *c) {
    uint8_t how = take8(c);
    switch (how & 7) {
    case 0: return how >> 3;
    case 1: return take8(c);
    case 2: return take16(c);
    case 3: return take32(c);
    case 4: return (1ull << (take8(c) & 63)) + (uint64_t)(int64_t)(int8_t)take8(c);
    case 5: return UINT64_MAX - (how >> 3);
    case 6: return UINT32_MAX - (uint64_t)(how >> 3);
    default: return take64(c);
    }
}

#endif
