#include "handle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "platform.h"

#define ENTRY_COUNT 65536u

/* word: generation (32) | inherited (1) | kind (6) | retired (1) | references (24) */
#define REFERENCES 0xFFFFFFu
#define RETIRED (1ull << 24)
#define KIND_SHIFT 25
#define KINDS 64u
#define INHERITED (1ull << 31) /* of the process that forked this one; retired too */
#define GENERATION_SHIFT 32

struct entry {
    _Atomic uint64_t word;
    void *object;
    void (*destroy)(void *);
    uint32_t next_free;
};

_Static_assert(sizeof(void *) == 8, "a handle needs 64 bits");

static struct entry entries[ENTRY_COUNT];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t first_free, used;
static _Atomic uint64_t live;

static struct entry *entry_of(void *handle) {
    uint32_t index = (uint32_t)(uintptr_t)handle;
    return index && index < ENTRY_COUNT ? &entries[index] : NULL;
}

static uint32_t kind_of(uint64_t word) { return (uint32_t)(word >> KIND_SHIFT) & (KINDS - 1); }

/* ---- forks: what is behind a handle stays the parent's, with its threads and locks ------------------------------- */

static void (*at_fork[KINDS])(void *);
static pthread_once_t watches = PTHREAD_ONCE_INIT;

static void before_fork(void) { pthread_mutex_lock(&table_lock); }
static void after_fork(void) { pthread_mutex_unlock(&table_lock); }

static void in_child(void) {
    for (uint32_t i = 1; i <= used; i++) {
        uint64_t word = atomic_load(&entries[i].word);
        if (!(word & REFERENCES))
            continue;
        if (at_fork[kind_of(word)] && !(word & INHERITED))
            at_fork[kind_of(word)](entries[i].object);
        atomic_store(&entries[i].word, word | RETIRED | INHERITED);
    }
    pthread_mutex_init(&table_lock, NULL);
}

static void watch_forks(void) { platform_on_fork(before_fork, after_fork, in_child); }

void handle_on_fork(enum handle_kind kind, void (*child)(void *)) { at_fork[kind] = child; }

HRESULT handle_refusal(void *handle) {
    struct entry *e = entry_of(handle);
    uint64_t word = e ? atomic_load(&e->word) : 0;
    return word & INHERITED && word >> GENERATION_SHIFT == (uintptr_t)handle >> 32 ? E_UNEXPECTED : E_HANDLE;
}

/* ------------------------------------------------------------------------------------------------------------------- */

void *handle_create(enum handle_kind kind, void *object, void (*destroy)(void *)) {
    pthread_once(&watches, watch_forks);
    pthread_mutex_lock(&table_lock);
    uint32_t index = first_free;
    if (index)
        first_free = entries[index].next_free;
    else if (used + 1 < ENTRY_COUNT)
        index = ++used;
    pthread_mutex_unlock(&table_lock);
    if (!index)
        return NULL;
    struct entry *e = &entries[index];
    uint32_t generation = (uint32_t)(atomic_load(&e->word) >> GENERATION_SHIFT) + 1;
    e->object = object;
    e->destroy = destroy;
    atomic_store(&e->word, (uint64_t)generation << GENERATION_SHIFT | (uint64_t)kind << KIND_SHIFT | 1);
    atomic_fetch_add(&live, 1);
    return (void *)((uintptr_t)generation << 32 | index);
}

static void *acquire(void *handle, enum handle_kind kind, uint64_t refused) {
    struct entry *e = entry_of(handle);
    if (!e)
        return NULL;
    uint64_t word = atomic_load_explicit(&e->word, memory_order_relaxed);
    do {
        if (word >> GENERATION_SHIFT != (uintptr_t)handle >> 32 || kind_of(word) != kind || word & refused ||
            !(word & REFERENCES) || (word & REFERENCES) == REFERENCES)
            return NULL;
    } while (!atomic_compare_exchange_weak_explicit(&e->word, &word, word + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    return e->object;
}

void *handle_acquire(void *handle, enum handle_kind kind) { return acquire(handle, kind, RETIRED); }

void *handle_acquire_retired(void *handle, enum handle_kind kind) { return acquire(handle, kind, 0); }

void handle_retain(void *handle) {
    atomic_fetch_add_explicit(&entry_of(handle)->word, 1, memory_order_relaxed);
}

void handle_release(void *handle) {
    struct entry *e = entry_of(handle);
    if (!e)
        return;
    uint64_t word = atomic_load_explicit(&e->word, memory_order_relaxed);
    do {
        if (word >> GENERATION_SHIFT != (uintptr_t)handle >> 32 || !(word & REFERENCES))
            return;
    } while (!atomic_compare_exchange_weak_explicit(&e->word, &word, word - 1, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if ((word - 1) & REFERENCES)
        return;
    e->destroy(e->object);
    e->object = NULL;
    /* The generation stays in the word, so the entry's next handle differs from every one before it. */
    atomic_store(&e->word, word >> GENERATION_SHIFT << GENERATION_SHIFT);
    atomic_fetch_sub(&live, 1);
    pthread_mutex_lock(&table_lock);
    e->next_free = first_free;
    first_free = (uint32_t)(e - entries);
    pthread_mutex_unlock(&table_lock);
}

int handle_retire(void *handle, enum handle_kind kind) {
    if (!handle_acquire(handle, kind))
        return 0;
    struct entry *e = entry_of(handle);
    int mine = !(atomic_fetch_or(&e->word, RETIRED) & RETIRED);
    if (mine)
        handle_release(handle); /* the owner's reference */
    handle_release(handle);
    return mine;
}

uint64_t handle_live(void) { return atomic_load(&live); }
