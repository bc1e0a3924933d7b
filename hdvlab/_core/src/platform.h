/* Everything the library asks of an operating system; platform_linux.c and platform_windows.c are the two answers.
 *
 * A HANDLE is what the system's own API calls an open object: a file descriptor, cast, on Linux (events are eventfds,
 * sections and RAM are memfds or files); a real HANDLE on Windows. A function that returns int gives 0, or the errno
 * that says best what went wrong, on both systems. Paths are UTF-8. */
#ifndef HDVLAB_PLATFORM_H
#define HDVLAB_PLATFORM_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "WindowsTypes.h"

#define NO_HANDLE ((HANDLE)(intptr_t)-1)

/* Closes any of the objects below; NO_HANDLE is none and is left alone. */
void platform_close(HANDLE object);

/* ---- memory: a machine's RAM, and windows of it ----------------------------------------------------------------- */

/* A mapped range. `address` is what was asked for; the map itself may begin before it. */
struct window {
    void *address; /* NULL = not mapped */
    void *base;
    uint64_t bytes; /* from base on */
    int is_writable, is_dead;
};

/* Zeros that are shared by whoever maps them, and whose size never changes. */
int platform_memory_create(uint64_t bytes, HANDLE *memory);
/* Maps any range of a memory object or a section; a write to one that is not writable is a fault of the writer's.
 * Space for it is not set aside: it comes page by page. */
int platform_window_map(HANDLE object, uint64_t offset, uint64_t bytes, int is_writable, struct window *window);
void platform_window_unmap(struct window *window);
/* Puts zeros of nobody's in the place of the window, for whoever still has its address; they may be written to where the
 * window could. Failed: what it shows is as it was, or nothing (Windows). On Linux there is no instant
 * at which the address is bad; on Windows there is one, in which a thread that uses the window faults. */
int platform_window_deaden(struct window *window);

/* ---- events and sections: objects that belong to a device --------------------------------------------------------- */

/* A copy of an event, for the owner may close its own. E_HANDLE: it is none; ERROR_NOT_ENOUGH_QUOTA: too many. */
HRESULT platform_event_copy(HANDLE event, HANDLE *copy);
/* Never waits: an event that is signalled already stays so. */
void platform_event_signal(HANDLE event);

struct section_source {
    HANDLE section;
    int may_shrink; /* then its pages can vanish from under a mapping, which must not be made */
};

/* A copy of a section of at least that many bytes. E_HANDLE: no such object; E_INVALIDARG: not memory, or less of it;
 * E_ACCESSDENIED: not readable, or not writable though it is to be; ERROR_NOT_ENOUGH_QUOTA: too many. */
HRESULT platform_section_copy(HANDLE section, int is_writable, uint64_t least_bytes, struct section_source *copy);

/* Whether two handles are one object: the same file, the same section. */
int platform_is_same_object(HANDLE one, HANDLE other);
/* What tells an object from every other that is open; zeros when nothing does. */
void platform_object_id(HANDLE object, uint64_t id[2]);

/* ---- the files of a trace ----------------------------------------------------------------------------------------- */

int platform_directory_create(const char *path); /* EEXIST: it is there */
void platform_directory_remove(const char *path);
/* Opens for reading; or makes a file that must not be there yet, for reading and writing. */
int platform_file_open(const char *directory, const char *name, int is_new, HANDLE *file);
void platform_file_remove(const char *directory, const char *name);
/* Makes sure that there is space, so that writing through a map cannot fail. The bytes are new and read as zeros.
 * Windows' files are sparse and as long as their map from the start; there the zeros are written. */
int platform_file_reserve(HANDLE file, uint64_t offset, uint64_t bytes);
/* Gives space back to the file system, where it can, and leaves the file as long as it is. */
void platform_file_release(HANDLE file, uint64_t offset, uint64_t bytes);
uint64_t platform_file_bytes(HANDLE file); /* 0 when it cannot be told */
/* Bytes moved: less at the end of the file, 0 also when it failed. */
uint64_t platform_file_read(HANDLE file, uint64_t offset, void *buffer, uint64_t bytes);
uint64_t platform_file_write(HANDLE file, uint64_t offset, const void *buffer, uint64_t bytes);
/* Maps `bytes` from the file's start, also more than it holds: pages behind its end become usable as it grows. (On
 * Windows mapping for writing makes the file that long; a reader maps what there is.) NO_HANDLE: zeros of no file.
 * NULL and *error when it failed; *error is left alone when it did not. */
void *platform_file_map(HANDLE file, uint64_t bytes, int is_writable, int *error);
void platform_file_unmap(void *base, uint64_t bytes);
void platform_prefault(void *base, uint64_t bytes); /* so that a first write need not wait for its page */

/* The lock that says that a file's writer lives: the system drops it when the process dies, however it dies. */
void platform_lock_take(HANDLE file);
void platform_lock_drop(HANDLE file);
int platform_lock_is_held(HANDLE file); /* by another handle than this one */

uint32_t platform_process_id(void);

/* ---- time and threads --------------------------------------------------------------------------------------------- */

#ifdef _WIN32
int64_t monotonic_ns(void);
#else
static inline int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
#endif
int64_t platform_wall_ns(void); /* since 1970 */
int platform_trusts_tsc(void);  /* the system itself tells time by it */

/* Calls these around every fork of the process, where there are forks: the last one in the child. */
void platform_on_fork(void (*before)(void), void (*after)(void), void (*child)(void));
/* A thread that takes no signals: those are the interpreter's. */
int platform_thread_start(pthread_t *thread, void *(*work)(void *), void *argument);
/* As pthread_mutex_clocklock, pthread_cond_clockwait: ETIMEDOUT once monotonic_ns() is past the deadline. A condition
 * that is waited for so must have been made so; it may wake early, with 0. */
int platform_lock_until(pthread_mutex_t *mutex, int64_t deadline_ns);
void platform_condition_init(pthread_cond_t *condition);
int platform_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline_ns);

#endif
