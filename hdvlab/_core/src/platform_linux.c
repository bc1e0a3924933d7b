#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static int descriptor_of(HANDLE object) { return (int)(intptr_t)object; }
static HANDLE handle_of(int descriptor) { return (HANDLE)(intptr_t)descriptor; }

void platform_close(HANDLE object) {
    if (object != NO_HANDLE)
        close(descriptor_of(object));
}

/* ---- memory ------------------------------------------------------------------------------------------------------- */

int platform_memory_create(uint64_t bytes, HANDLE *memory) {
    int fd = memfd_create("hdvlab-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return errno;
    if (ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        int error = errno;
        close(fd);
        return error;
    }
    *memory = handle_of(fd);
    return 0;
}

int platform_window_map(HANDLE object, uint64_t offset, uint64_t bytes, int is_writable, struct window *window) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = offset & ~(page - 1);
    void *base = mmap(NULL, offset - start + bytes, is_writable ? PROT_READ | PROT_WRITE : PROT_READ,
                      MAP_SHARED | MAP_NORESERVE, descriptor_of(object), (off_t)start);
    if (base == MAP_FAILED)
        return errno;
    *window = (struct window){.address = (char *)base + (offset - start), .base = base, .bytes = offset - start + bytes,
                              .is_writable = is_writable};
    return 0;
}

void platform_window_unmap(struct window *window) {
    if (window->address)
        munmap(window->base, window->bytes);
    *window = (struct window){0};
}

int platform_window_deaden(struct window *window) {
    if (mmap(window->base, window->bytes, window->is_writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        return errno;
    window->is_dead = 1;
    return 0;
}

/* ---- events and sections ------------------------------------------------------------------------------------------- */

/* A pipe would raise SIGPIPE, a file would grow: only eventfds. Without /proc nobody can tell them apart. */
static int is_event(int fd) {
    char path[32], target[32] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, target, sizeof target - 1) < 0 || !strcmp(target, "anon_inode:[eventfd]");
}

HRESULT platform_event_copy(HANDLE event, HANDLE *copy) {
    int fd = fcntl(descriptor_of(event), F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return errno == EMFILE ? HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA) : E_HANDLE;
    if (!is_event(fd)) {
        close(fd);
        return E_HANDLE;
    }
    *copy = handle_of(fd);
    return S_OK;
}

void platform_event_signal(HANDLE event) {
    uint64_t one = 1;
    struct pollfd ready = {.fd = descriptor_of(event), .events = POLLOUT};
    /* A full counter is already signalled: never wait for room on the guest's thread. */
    if (poll(&ready, 1, 0) == 1 && ready.revents & POLLOUT)
        (void)!write(ready.fd, &one, sizeof one);
}

HRESULT platform_section_copy(HANDLE section, int is_writable, uint64_t least_bytes, struct section_source *copy) {
    int fd = descriptor_of(section);
    struct stat file;
    if (fstat(fd, &file))
        return E_HANDLE;
    if (!S_ISREG(file.st_mode) || (uint64_t)file.st_size < least_bytes)
        return E_INVALIDARG;
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
    if (mode == O_WRONLY || (is_writable && mode != O_RDWR))
        return E_ACCESSDENIED;
    if ((fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0)
        return HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
    int seals = fcntl(fd, F_GET_SEALS);
    *copy = (struct section_source){.section = handle_of(fd), .may_shrink = seals < 0 || !(seals & F_SEAL_SHRINK)};
    return S_OK;
}

int platform_is_same_object(HANDLE one, HANDLE other) {
    struct stat a, b;
    return !fstat(descriptor_of(one), &a) && !fstat(descriptor_of(other), &b) && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

void platform_object_id(HANDLE object, uint64_t id[2]) {
    struct stat status;
    int failed = fstat(descriptor_of(object), &status);
    id[0] = failed ? 0 : (uint64_t)status.st_dev;
    id[1] = failed ? 0 : (uint64_t)status.st_ino;
}

/* ---- files ---------------------------------------------------------------------------------------------------------- */

/* A quota that is used up is a disk that is full. */
static int error_of(int error) { return error == EDQUOT ? ENOSPC : error; }

int platform_directory_create(const char *path) { return mkdir(path, 0700) ? error_of(errno) : 0; }
void platform_directory_remove(const char *path) { (void)rmdir(path); }

static int path_in(char *path, size_t size, const char *directory, const char *name) {
    return snprintf(path, size, "%s/%s", directory, name) >= (int)size ? ENAMETOOLONG : 0;
}

int platform_file_open(const char *directory, const char *name, int is_new, HANDLE *file) {
    char path[4096];
    int error = path_in(path, sizeof path, directory, name);
    if (error)
        return error;
    int fd = open(path, (is_new ? O_RDWR | O_CREAT | O_EXCL : O_RDONLY) | O_CLOEXEC, 0600);
    *file = handle_of(fd);
    return fd < 0 ? error_of(errno) : 0;
}

void platform_file_remove(const char *directory, const char *name) {
    char path[4096];
    if (!path_in(path, sizeof path, directory, name))
        (void)unlink(path);
}

int platform_file_reserve(HANDLE file, uint64_t offset, uint64_t bytes) {
    int error;
    do
        error = posix_fallocate(descriptor_of(file), (off_t)offset, (off_t)bytes);
    while (error == EINTR); /* some file systems give up for any signal, such as Ctrl-C */
    return error_of(error);
}

void platform_file_release(HANDLE file, uint64_t offset, uint64_t bytes) {
    (void)fallocate(descriptor_of(file), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
}

uint64_t platform_file_bytes(HANDLE file) {
    struct stat status;
    return fstat(descriptor_of(file), &status) ? 0 : (uint64_t)status.st_size;
}

uint64_t platform_file_read(HANDLE file, uint64_t offset, void *buffer, uint64_t bytes) {
    ssize_t done = pread(descriptor_of(file), buffer, bytes, (off_t)offset);
    return done < 0 ? 0 : (uint64_t)done;
}

uint64_t platform_file_write(HANDLE file, uint64_t offset, const void *buffer, uint64_t bytes) {
    ssize_t done = pwrite(descriptor_of(file), buffer, bytes, (off_t)offset);
    return done < 0 ? 0 : (uint64_t)done;
}

void *platform_file_map(HANDLE file, uint64_t bytes, int is_writable, int *error) {
    void *map = mmap(NULL, bytes, is_writable ? PROT_READ | PROT_WRITE : PROT_READ,
                     file == NO_HANDLE ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, descriptor_of(file), 0);
    if (map == MAP_FAILED) {
        *error = errno;
        return NULL;
    }
    return map;
}

void platform_file_unmap(void *base, uint64_t bytes) { munmap(base, bytes); }

void platform_prefault(void *base, uint64_t bytes) {
    uintptr_t start = (uintptr_t)base & ~(uintptr_t)4095;
    (void)madvise((void *)start, (uintptr_t)base + bytes - start, MADV_POPULATE_WRITE);
}

void platform_lock_take(HANDLE file) { (void)flock(descriptor_of(file), LOCK_EX | LOCK_NB); }
void platform_lock_drop(HANDLE file) { (void)flock(descriptor_of(file), LOCK_UN); }

int platform_lock_is_held(HANDLE file) {
    if (flock(descriptor_of(file), LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK)
        return 1;
    platform_lock_drop(file);
    return 0;
}

/* ---- time and threads ----------------------------------------------------------------------------------------------- */

int64_t platform_wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The kernel distrusts the TSC of some machines that claim it; then so do we. */
int platform_trusts_tsc(void) {
    char name[32] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (!file)
        return 0;
    int known = fgets(name, sizeof name, file) != NULL;
    fclose(file);
    return known && (!strcmp(name, "tsc\n") || !strcmp(name, "kvm-clock\n"));
}

void platform_on_fork(void (*before)(void), void (*after)(void), void (*child)(void)) {
    (void)pthread_atfork(before, after, child);
}

int platform_thread_start(pthread_t *thread, void *(*work)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, work, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static struct timespec timespec_of(int64_t ns) { return (struct timespec){ns / 1000000000, ns % 1000000000}; }

int platform_lock_until(pthread_mutex_t *mutex, int64_t deadline_ns) {
    struct timespec until = timespec_of(deadline_ns);
    return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until);
}

uint32_t platform_process_id(void) { return (uint32_t)getpid(); }

void platform_condition_init(pthread_cond_t *condition) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int platform_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline_ns) {
    struct timespec until = timespec_of(deadline_ns);
    return pthread_cond_timedwait(condition, mutex, &until);
}
