/* Handles: index + generation, never pointers. A stale, forged or wrong-kind handle finds nothing. */
#ifndef HDVLAB_HANDLE_H
#define HDVLAB_HANDLE_H

#include <stdint.h>

#include "WindowsTypes.h"

enum handle_kind {
    HANDLE_FREE,
    HANDLE_SYSTEM,
    HANDLE_HOST,
    HANDLE_DEVICE,
    HANDLE_TRACE,
    HANDLE_REGISTER_FILE,
    HANDLE_OPERATION,
    HANDLE_APERTURE,
    HANDLE_PROXY, /* a connection; also counts who uses it */
};

/* Owns `object` until handle_retire and every reference are gone, then calls destroy(object). NULL: table full. */
void *handle_create(enum handle_kind kind, void *object, void (*destroy)(void *));
/* The object, with a reference that handle_release gives back; NULL for any handle that is not a live one of `kind`. */
void *handle_acquire(void *handle, enum handle_kind kind);
/* Why handle_acquire found nothing: E_HANDLE, or E_UNEXPECTED in a forked child for a handle of its parent, which is
 * nothing to the child: the threads and the turns behind it are not there. Its own new handles are. */
HRESULT handle_refusal(void *handle);
/* What is to be done in a forked child to each object of a kind that it has inherited. */
void handle_on_fork(enum handle_kind kind, void (*child)(void *object));
/* One more reference for a caller that already relies on one; works on a retired handle too. */
void handle_retain(void *handle);
void handle_release(void *handle);
/* The same for a handle that may be retired, as long as somebody still holds a reference. */
void *handle_acquire_retired(void *handle, enum handle_kind kind);
/* Ends the handle: nobody acquires it any more. True for the one caller that ended it. */
int handle_retire(void *handle, enum handle_kind kind);
uint64_t handle_live(void);

#endif
