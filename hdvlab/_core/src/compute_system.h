/* A compute system: an embedded machine with an id, the handles that clients have of it, and its work. */
#ifndef HDVLAB_COMPUTE_SYSTEM_H
#define HDVLAB_COMPUTE_SYSTEM_H

#include "compute_document.h"
#include "compute_operation.h"

/* A client's handle. */
struct opened {
    struct opened *next;
    HCS_SYSTEM handle;
    HCS_EVENT_CALLBACK callback; /* NULL = none */
    const void *context;
    HCS_EVENT_OPTIONS options;
    struct event_call *calling; /* calls of it that run now */
};

/* One running call of an event callback, on its thread's stack. */
struct event_call {
    struct event_call *next;
    pthread_t thread;
};

/* A call on its way: done by one thread after the ones before it. */
struct job {
    struct job *next;
    HCS_OPERATION_TYPE type;
    struct compute *compute; /* with a reference on its system; NULL: an enumeration */
    struct operation *operation;
    HCS_SYSTEM handle; /* that the call was made with */
    struct slot_settings added;
    struct query_settings query;
};

enum exit_type { EXIT_NONE, EXIT_GRACEFUL, EXIT_FORCED, EXIT_UNEXPECTED };

struct compute {
    struct compute *next; /* in the registry */
    struct system *system;
    WCHAR *id;
    GUID runtime_id;
    WCHAR *owner;
    uint64_t ram_bytes;
    int terminate_on_last_close;
    WCHAR *keys[HDVLAB_SLOT_COUNT]; /* of the slots, as documents name them; written by its work only */
    pthread_mutex_t lock;           /* all that follows; never held across a callback */
    pthread_cond_t changed;
    struct opened *opened;
    struct job *first;
    int working;
    int stopped; /* and out of the registry */
    enum exit_type exit_type;
};

/* Queues the job, which it takes over. Failed: the operation is refused and the job gone. */
HRESULT compute_submit(struct job *job);
/* compute_work.c: does what the job says, with no lock held. Result and document are its operation's. */
HRESULT compute_work(struct job *job, WCHAR **document);
void compute_write_properties(struct json_writer *w, struct compute *compute, int with_memory);
/* compute_event.c: calls the callbacks of all handles (of one, when given), with no lock held. */
void compute_raise(struct compute *compute, HCS_SYSTEM only, HCS_EVENT_TYPE type, HCS_EVENT_OPTIONS wanted,
                   PCWSTR data, HCS_OPERATION operation);
/* Waits, with the lock held, until no other thread is in the callback of that handle. What it was made of may be gone then:
 * another thread may have closed it meanwhile. */
void compute_await_events(struct compute *compute, HCS_SYSTEM handle);
/* Out of the registry: its id is free, and it ends with its last reference. */
void compute_leave(struct compute *compute, enum exit_type exit_type);
/* Every system of the registry in turn. */
void compute_for_each(void (*visit)(struct compute *compute, void *context), void *context);

#endif
