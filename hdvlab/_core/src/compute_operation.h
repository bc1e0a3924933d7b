/* What an HCS_OPERATION tracks: one call, from the call to its completion. */
#ifndef HDVLAB_COMPUTE_OPERATION_H
#define HDVLAB_COMPUTE_OPERATION_H

#include "ComputeCore.h"

struct operation;

/* For a call of `type` made with handle `system`: *operation with a reference, or NULL when `handle` is NULL. E_HANDLE;
 * HCS_E_OPERATION_ALREADY_STARTED: it tracks a call already. One of the next two gives the reference back. */
HRESULT operation_begin(HCS_OPERATION handle, HCS_OPERATION_TYPE type, HCS_SYSTEM system,
                        struct operation **operation);
/* The call itself fails: the operation has its error (document is taken over), and can track another call. */
void operation_refuse(struct operation *operation, HRESULT result, WCHAR *document);
/* The work begins; false when it was cancelled before. */
int operation_run(struct operation *operation);
/* The work is done: waiters find the result. `document` is taken over. */
void operation_finish(struct operation *operation, HRESULT result, WCHAR *document);
/* Calls the completion callback, with no lock held, and gives the reference back. */
void operation_tell(struct operation *operation);
/* The handle that the call made. */
void operation_made(struct operation *operation, HCS_SYSTEM system);
/* The operation's handle, NULL for none. */
HCS_OPERATION operation_handle(const struct operation *operation);

#endif
