/* Handles: index + generation, never pointers. A stale, forged or wrong-kind handle finds nothing. */
#ifndef HDVLAB_HANDLE_H
#define HDVLAB_HANDLE_H

#include <stdint.h>

enum handle_kind {
    HANDLE_FREE,
    HANDLE_SYSTEM,
    HANDLE_HOST,
    HANDLE_DEVICE,
    HANDLE_TRACE,
    HANDLE_REGISTER_FILE,
    HANDLE_OPERATION,
};

/* Owns `object` until handle_retire and every reference are gone, then calls destroy(object). NULL: table full. */
void *handle_create(enum handle_kind kind, void *object, void (*destroy)(void *));
/* The object, with a reference that handle_release gives back; NULL for any handle that is not a live one of `kind`. */
void *handle_acquire(void *handle, enum handle_kind kind);
/* One more reference for a caller that already relies on one; works on a retired handle too. */
void handle_retain(void *handle);
void handle_release(void *handle);
/* Whether a handle, also a retired one that is still referenced, is of `kind`. */
int handle_is(void *handle, enum handle_kind kind);
/* Ends the handle: nobody acquires it any more. True for the one caller that ended it. */
int handle_retire(void *handle, enum handle_kind kind);
uint64_t handle_live(void);

#endif
