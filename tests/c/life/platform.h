/* What differs between Linux and Windows in this program: all of it. An event resets itself when it is waited for; a
 * section is memory that two can map. */
#ifndef LIFE_PLATFORM_H
#define LIFE_PLATFORM_H

#ifdef _WIN32

#include <hdvlab.h>

#define WIDE_(text) L##text
#define WIDE(text) WIDE_(text)

typedef SRWLOCK lock_t;
#define LOCK_INITIALIZER SRWLOCK_INIT
static inline void lock(lock_t *it) { AcquireSRWLockExclusive(it); }
static inline void unlock(lock_t *it) { ReleaseSRWLockExclusive(it); }

static inline HANDLE event_create(void) { return CreateEventW(NULL, FALSE, FALSE, NULL); }
static inline void event_set(HANDLE event) { SetEvent(event); }
static inline int event_wait(HANDLE event, int ms) { return WaitForSingleObject(event, (DWORD)ms) == WAIT_OBJECT_0; }
static inline void event_close(HANDLE event) { CloseHandle(event); }

static inline HANDLE section_create(DWORD bytes) {
    return CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, bytes, NULL);
}
static inline void *section_view(HANDLE section, DWORD bytes) {
    return MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, bytes);
}
static inline void section_close(HANDLE section, void *view, DWORD bytes) {
    (void)bytes;
    UnmapViewOfFile(view);
    CloseHandle(section);
}

typedef HANDLE thread_t;
#define THREAD(name, argument) static DWORD WINAPI name(void *argument)
static inline void thread_start(thread_t *thread, LPTHREAD_START_ROUTINE run, void *argument) {
    *thread = CreateThread(NULL, 0, run, argument, 0, NULL);
}
static inline void thread_join(thread_t thread) {
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}

#else

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create */
#endif

#include <fcntl.h>
#include <hdvlab.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define WIDE_(text) u##text
#define WIDE(text) ((PCWSTR)WIDE_(text))

typedef pthread_mutex_t lock_t;
#define LOCK_INITIALIZER PTHREAD_MUTEX_INITIALIZER
static inline void lock(lock_t *it) { pthread_mutex_lock(it); }
static inline void unlock(lock_t *it) { pthread_mutex_unlock(it); }

static inline int descriptor(HANDLE handle) { return (int)(intptr_t)handle; }
static inline HANDLE event_create(void) { return (HANDLE)(intptr_t)eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
static inline void event_set(HANDLE event) { eventfd_write(descriptor(event), 1); }
static inline int event_wait(HANDLE event, int ms) {
    struct pollfd ready = {descriptor(event), POLLIN, 0};
    eventfd_t count;
    return poll(&ready, 1, ms) == 1 && eventfd_read(descriptor(event), &count) == 0;
}
static inline void event_close(HANDLE event) { close(descriptor(event)); }

static inline HANDLE section_create(DWORD bytes) {
    int file = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0 || ftruncate(file, bytes) != 0 || fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK) != 0) return NULL;
    return (HANDLE)(intptr_t)file;
}
static inline void *section_view(HANDLE section, DWORD bytes) {
    void *view = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor(section), 0);
    return view == MAP_FAILED ? NULL : view;
}
static inline void section_close(HANDLE section, void *view, DWORD bytes) {
    munmap(view, bytes);
    close(descriptor(section));
}

typedef pthread_t thread_t;
#define THREAD(name, argument) static void *name(void *argument)
static inline void thread_start(thread_t *thread, void *(*run)(void *), void *argument) {
    if (pthread_create(thread, NULL, run, argument) != 0) abort();
}
static inline void thread_join(thread_t thread) { pthread_join(thread, NULL); }

#endif

#endif
