/* What a breakpoint matches, and how a held access may go on. No state but what is given. */
#include "gate.h"

#include <stdlib.h>

#define BIT(kind) (1ull << (kind))
#define READS (BIT(HDVLAB_CONFIG_READ) | BIT(HDVLAB_MMIO_READ) | BIT(HDVLAB_DMA_READ))
#define STEPS                                                                                                          \
    (BIT(HDVLAB_INITIALIZE) | BIT(HDVLAB_SET_CONFIGURATION) | BIT(HDVLAB_GET_DETAILS) | BIT(HDVLAB_START) |            \
     BIT(HDVLAB_STOP) | BIT(HDVLAB_TEARDOWN))
#define SEEN                                                                                                           \
    (READS | STEPS | BIT(HDVLAB_CONFIG_WRITE) | BIT(HDVLAB_MMIO_WRITE) | BIT(HDVLAB_DMA_WRITE) |                       \
     BIT(HDVLAB_INTERRUPT) | BIT(HDVLAB_DOORBELL) | BIT(HDVLAB_RESET))
#define ORIGINS ((1u << (HDVLAB_MACHINE + 1)) - 1)
#define ORIGINS_UNLESS_SAID (1u << HDVLAB_GUEST | 1u << HDVLAB_DEVICE)
#define FLAGS                                                                                                          \
    (HDVLAB_BREAK_AFTER | HDVLAB_BREAK_CHANGED | HDVLAB_BREAK_ONCE | HDVLAB_BREAK_ASK | HDVLAB_BREAK_PASS |            \
     HDVLAB_BREAK_DISABLED)
#define VALUE_BYTES 8u

static int is_in(uint64_t kinds, uint32_t kind) { return kind < 64 && (kinds & BIT(kind)) != 0; }

int gate_sees(uint32_t kind) { return is_in(SEEN, kind); }
int gate_is_read(uint32_t kind) { return is_in(READS, kind); }
int gate_is_step(uint32_t kind) { return is_in(STEPS, kind); }

int gate_is_sound(const HDVLAB_BREAKPOINT *b) {
    return !(b->kinds & ~SEEN) && !(b->origins & ~ORIGINS) && !(b->flags & ~(uint32_t)FLAGS) && b->first <= b->last &&
           b->device >= -1 && b->device <= UINT16_MAX && b->bar >= -1 && b->bar < HDV_PCI_BAR_COUNT;
}

/* Before it is answered a read has none. */
static int has_value(const HDVLAB_STOP_STATE *hit) {
    return hit->phase == HDVLAB_AFTER || !gate_is_read(hit->kind);
}

/* Byte i of the mask stands for address first + i. */
static int has_masked(const HDVLAB_BREAKPOINT *b, const HDVLAB_STOP_STATE *hit) {
    uint32_t covered = hit->size < VALUE_BYTES ? hit->size : VALUE_BYTES;
    for (uint32_t i = 0; i < VALUE_BYTES; i++) {
        uint8_t mask = (uint8_t)(b->mask >> 8 * i), wanted = (uint8_t)(b->value >> 8 * i);
        uint64_t address = b->first + i, at = address - hit->address;
        if (!mask)
            continue;
        if (address < b->first || address < hit->address || at >= covered)
            return 0;
        if (((uint8_t)(hit->value >> 8 * at) ^ wanted) & mask)
            return 0;
    }
    return 1;
}

int gate_matches(const HDVLAB_BREAKPOINT *b, const HDVLAB_STOP_STATE *hit) {
    uint64_t last = hit->address + (hit->size ? hit->size - 1 : 0);
    if (last < hit->address)
        last = UINT64_MAX;
    if (b->flags & HDVLAB_BREAK_DISABLED || hit->phase != (b->flags & HDVLAB_BREAK_AFTER ? HDVLAB_AFTER : HDVLAB_BEFORE) ||
        !is_in(b->kinds ? b->kinds : SEEN, hit->kind) ||
        !((b->origins ? b->origins : ORIGINS_UNLESS_SAID) & 1u << hit->origin) ||
        (b->device >= 0 && b->device != hit->device) || (b->bar >= 0 && b->bar != hit->bar) || hit->address > b->last ||
        last < b->first)
        return 0;
    if ((b->mask || b->flags & HDVLAB_BREAK_CHANGED) && !has_value(hit))
        return 0;
    return !b->mask || has_masked(b, hit);
}

static int is_same_place(const struct seen_value *a, const struct seen_value *b) {
    return a->address == b->address && a->size == b->size && a->device == b->device && a->bar == b->bar &&
           a->kind == b->kind;
}

/* Where the place is, or the empty one where it is to be. */
static struct seen_value *place_of(struct seen_value *at, uint32_t room, const struct seen_value *place) {
    uint64_t hash = place->address * 0x9E3779B97F4A7C15ull;
    hash ^= (uint64_t)place->size << 40 ^ (uint64_t)place->device << 16 ^ (uint64_t)(uint8_t)place->bar << 8 ^ place->kind;
    hash *= 0xD6E8FEB86659FD93ull;
    uint32_t i = (uint32_t)(hash >> 32) & (room - 1);
    while (at[i].kind && !is_same_place(&at[i], place))
        i = (i + 1) & (room - 1);
    return &at[i];
}

static int make_room(struct gate_seen *seen) {
    if (seen->count < seen->room / 4 * 3)
        return 1;
    uint32_t room = seen->room ? seen->room * 2 : GATE_SEEN;
    struct seen_value *at = room <= GATE_SEEN_MOST ? calloc(room, sizeof *at) : NULL;
    if (!at)
        return 0;
    for (uint32_t i = 0; i < seen->room; i++)
        if (seen->at[i].kind)
            *place_of(at, room, &seen->at[i]) = seen->at[i];
    free(seen->at);
    seen->at = at;
    seen->room = room;
    return 1;
}

int gate_is_changed(struct gate_seen *seen, const HDVLAB_STOP_STATE *hit) {
    struct seen_value now = {hit->address, hit->value, hit->size, hit->device, (int8_t)hit->bar, hit->kind};
    struct seen_value *at = seen->room ? place_of(seen->at, seen->room, &now) : NULL;
    if (at && at->kind) {
        int is_changed = at->value != now.value;
        at->value = now.value;
        return is_changed;
    }
    if (!make_room(seen))
        return 1;
    *place_of(seen->at, seen->room, &now) = now;
    seen->count++;
    return 0;
}

static int may_override(const HDVLAB_STOP_STATE *stop, uint64_t value) {
    int fits = stop->size && stop->size <= VALUE_BYTES && (stop->size == VALUE_BYTES || !(value >> 8 * stop->size));
    switch (stop->kind) {
    case HDVLAB_CONFIG_READ:
    case HDVLAB_MMIO_READ:
    case HDVLAB_DMA_READ: return fits;
    case HDVLAB_CONFIG_WRITE:
    case HDVLAB_MMIO_WRITE:
    case HDVLAB_DMA_WRITE:
    case HDVLAB_INTERRUPT: return fits && stop->phase == HDVLAB_BEFORE;
    default: return 0;
    }
}

int gate_allows(const HDVLAB_STOP_STATE *stop, uint32_t action, uint64_t value) {
    switch (action) {
    case HDVLAB_CONTINUE: return 1;
    case HDVLAB_RETRY: return stop->phase == HDVLAB_BEFORE || !gate_is_step(stop->kind) || FAILED(stop->status);
    case HDVLAB_OVERRIDE: return may_override(stop, value);
    case HDVLAB_SKIP: return stop->phase == HDVLAB_BEFORE && !gate_is_step(stop->kind);
    default: return 0;
    }
}
