/* Ref: Windows 8 and later (PrefetchVirtualMemory); the process's own objects only. Built with mingw-w64 and its
 * winpthreads, whose waits know one clock, the wall's: here they are cut into short ones and the deadline is kept. */
#include "platform.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <winioctl.h>
#include <winternl.h>

#define LONGEST_SLICE_NS 1000000000ll
#define LOCK_PLACE 0x4000000000000000ull /* locks hold up reads and writes of their bytes: one that no file has */

/* The errno that trace_hresult_of (trace_files.c) turns into the HRESULT that says the same. */
static int error_of(DWORD error) {
    switch (error) {
    case ERROR_SUCCESS: return 0;
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME: return ENOENT;
    case ERROR_ALREADY_EXISTS:
    case ERROR_FILE_EXISTS: return EEXIST;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
    case ERROR_WRITE_PROTECT: return EACCES;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case 1295: return ENOSPC; /* ERROR_DISK_QUOTA_EXCEEDED, which mingw-w64 leaves out */
    case ERROR_FILENAME_EXCED_RANGE:
    case ERROR_BUFFER_OVERFLOW: return ENAMETOOLONG;
    case ERROR_INVALID_HANDLE: return EBADF;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT: return ENOMEM;
    default: return EIO;
    }
}

static int last_error(void) { return error_of(GetLastError()); }

void platform_close(HANDLE object) {
    if (object != NO_HANDLE)
        CloseHandle(object);
}

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* Reserved and not committed, a page would have to be committed before each first use; so all of it is charged to the
 * page file, and a machine cannot have more RAM than there is of that. */
int platform_memory_create(uint64_t bytes, HANDLE *memory) {
    HANDLE section = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, (DWORD)(bytes >> 32), (DWORD)bytes,
                                        NULL);
    if (!section)
        return last_error();
    *memory = section;
    return 0;
}

int platform_window_map(HANDLE object, uint64_t offset, uint64_t bytes, int is_writable, struct window *window) {
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    uint64_t start = offset / system.dwAllocationGranularity * system.dwAllocationGranularity;
    void *base = MapViewOfFile(object, is_writable ? FILE_MAP_READ | FILE_MAP_WRITE : FILE_MAP_READ,
                               (DWORD)(start >> 32), (DWORD)start, offset - start + bytes);
    if (!base)
        return last_error();
    *window = (struct window){.address = (char *)base + (offset - start), .base = base, .bytes = offset - start + bytes,
                              .is_writable = is_writable};
    return 0;
}

void platform_window_unmap(struct window *window) {
    if (window->address && window->is_dead)
        VirtualFree(window->base, 0, MEM_RELEASE);
    else if (window->address)
        UnmapViewOfFile(window->base);
    *window = (struct window){0};
}

int platform_window_deaden(struct window *window) {
    if (!UnmapViewOfFile(window->base))
        return last_error();
    window->is_dead = 1;
    if (VirtualAlloc(window->base, window->bytes, MEM_RESERVE | MEM_COMMIT,
                     window->is_writable ? PAGE_READWRITE : PAGE_READONLY))
        return 0;
    int error = last_error(); /* another thread's memory is there meanwhile, or there is none left */
    *window = (struct window){0};
    return error;
}

/* ---- events and sections ------------------------------------------------------------------------------------------- */

static int is_type(HANDLE object, const wchar_t *name) {
    union {
        PUBLIC_OBJECT_TYPE_INFORMATION type;
        char space[1024];
    } answer;
    size_t bytes = wcslen(name) * sizeof *name;
    return NT_SUCCESS(NtQueryObject(object, ObjectTypeInformation, &answer, sizeof answer, NULL)) &&
           answer.type.TypeName.Length == bytes && !memcmp(answer.type.TypeName.Buffer, name, bytes);
}

/* 0, E_ACCESSDENIED when the handle may do less than `access`, ERROR_NOT_ENOUGH_QUOTA. */
static HRESULT copy_handle(HANDLE object, DWORD access, HANDLE *copy) {
    HANDLE self = GetCurrentProcess(), made = NULL;
    if (!DuplicateHandle(self, object, self, &made, access, FALSE, 0))
        return GetLastError() == ERROR_ACCESS_DENIED ? E_ACCESSDENIED : HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
    *copy = made;
    return S_OK;
}

HRESULT platform_event_copy(HANDLE event, HANDLE *copy) {
    return is_type(event, L"Event") ? copy_handle(event, EVENT_MODIFY_STATE | SYNCHRONIZE, copy) : E_HANDLE;
}

void platform_event_signal(HANDLE event) { SetEvent(event); }

/* Ref: Windows driver kit, SECTION_BASIC_INFORMATION; the query of class 0. */
struct section_information {
    PVOID base;
    ULONG attributes;
    LARGE_INTEGER bytes;
};
NTSTATUS NTAPI NtQuerySection(HANDLE section, ULONG class, PVOID information, SIZE_T length, SIZE_T *returned);

/* A file cannot be made shorter while a section of it is there, so no section may shrink. */
HRESULT platform_section_copy(HANDLE section, int is_writable, uint64_t least_bytes, struct section_source *copy) {
    if (!is_type(section, L"Section"))
        return E_HANDLE;
    struct section_information information = {0};
    if (!NT_SUCCESS(NtQuerySection(section, 0, &information, sizeof information, NULL)))
        return E_ACCESSDENIED;
    if ((uint64_t)information.bytes.QuadPart < least_bytes)
        return E_INVALIDARG;
    copy->may_shrink = 0;
    return copy_handle(section, is_writable ? SECTION_MAP_READ | SECTION_MAP_WRITE : SECTION_MAP_READ, &copy->section);
}

NTSTATUS NTAPI NtCompareObjects(HANDLE one, HANDLE other);

int platform_is_same_object(HANDLE one, HANDLE other) { return NtCompareObjects(one, other) == 0; }

/* ---- files ---------------------------------------------------------------------------------------------------------- */

static int wide_path(const char *directory, const char *name, wchar_t *wide, int units) {
    char path[4096];
    int length = name ? snprintf(path, sizeof path, "%s\\%s", directory, name)
                      : snprintf(path, sizeof path, "%s", directory);
    if (length >= (int)sizeof path)
        return ENAMETOOLONG;
    return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, units) ? 0 : ENOENT;
}

void platform_object_id(HANDLE object, uint64_t id[2]) {
    (void)object;
    id[0] = id[1] = 0;
}

int platform_directory_create(const char *path) {
    wchar_t wide[4096];
    int error = wide_path(path, NULL, wide, 4096);
    return error ? error : CreateDirectoryW(wide, NULL) ? 0 : last_error();
}

void platform_directory_remove(const char *path) {
    wchar_t wide[4096];
    if (!wide_path(path, NULL, wide, 4096))
        RemoveDirectoryW(wide);
}

int platform_file_open(const char *directory, const char *name, int is_new, HANDLE *file) {
    wchar_t wide[4096];
    int error = wide_path(directory, name, wide, 4096);
    if (error)
        return error;
    HANDLE opened = CreateFileW(wide, is_new ? GENERIC_READ | GENERIC_WRITE : GENERIC_READ,
                                FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                                is_new ? CREATE_NEW : OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (opened == INVALID_HANDLE_VALUE)
        return last_error();
    DWORD returned;
    if (is_new) /* where the file system has no sparse files, a trace takes the disk space of all its rows at once */
        (void)DeviceIoControl(opened, FSCTL_SET_SPARSE, NULL, 0, NULL, 0, &returned, NULL);
    *file = opened;
    return 0;
}

void platform_file_remove(const char *directory, const char *name) {
    wchar_t wide[4096];
    if (!wide_path(directory, name, wide, 4096))
        DeleteFileW(wide);
}

static OVERLAPPED at_place(uint64_t offset) {
    OVERLAPPED place = {0};
    place.Offset = (DWORD)offset;
    place.OffsetHigh = (DWORD)(offset >> 32);
    return place;
}

uint64_t platform_file_read(HANDLE file, uint64_t offset, void *buffer, uint64_t bytes) {
    OVERLAPPED place = at_place(offset);
    DWORD done = 0;
    return ReadFile(file, buffer, (DWORD)bytes, &done, &place) ? done : 0;
}

uint64_t platform_file_write(HANDLE file, uint64_t offset, const void *buffer, uint64_t bytes) {
    OVERLAPPED place = at_place(offset);
    DWORD done = 0;
    return WriteFile(file, buffer, (DWORD)bytes, &done, &place) ? done : 0;
}

/* A page of a sparse file gets its place on the disk when it is first written; writing it through a map, on a full
 * disk, is an exception in the writer's thread. So the zeros are written here, where failing is an answer. */
int platform_file_reserve(HANDLE file, uint64_t offset, uint64_t bytes) {
    static const char zeros[65536];
    while (bytes) {
        uint64_t some = bytes < sizeof zeros ? bytes : sizeof zeros;
        if (platform_file_write(file, offset, zeros, some) != some)
            return last_error() ? last_error() : ENOSPC;
        offset += some;
        bytes -= some;
    }
    return 0;
}

void platform_file_release(HANDLE file, uint64_t offset, uint64_t bytes) {
    FILE_ZERO_DATA_INFORMATION range;
    DWORD returned;
    range.FileOffset.QuadPart = (LONGLONG)offset;
    range.BeyondFinalZero.QuadPart = (LONGLONG)(offset + bytes);
    (void)DeviceIoControl(file, FSCTL_SET_ZERO_DATA, &range, sizeof range, NULL, 0, &returned, NULL);
}

uint64_t platform_file_bytes(HANDLE file) {
    LARGE_INTEGER bytes;
    return GetFileSizeEx(file, &bytes) ? (uint64_t)bytes.QuadPart : 0;
}

/* A reader's map ends where the file does, of which a trace from another system may have nothing yet: Windows has no
 * map of nothing, so then it is zeros. */
void *platform_file_map(HANDLE file, uint64_t bytes, int is_writable, int *error) {
    void *base = NULL;
    uint64_t length = is_writable ? bytes : 0; /* 0: as long as the file */
    if (file == NO_HANDLE || (!is_writable && !platform_file_bytes(file))) {
        base = VirtualAlloc(NULL, file == NO_HANDLE ? bytes : 1, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
        *error = base ? *error : last_error();
        return base;
    }
    HANDLE section = CreateFileMappingW(file, NULL, is_writable ? PAGE_READWRITE : PAGE_READONLY,
                                        (DWORD)(length >> 32), (DWORD)length, NULL);
    if (section)
        base = MapViewOfFile(section, is_writable ? FILE_MAP_READ | FILE_MAP_WRITE : FILE_MAP_READ, 0, 0, length);
    if (!base)
        *error = last_error();
    if (section)
        CloseHandle(section); /* the view keeps it */
    return base;
}

void platform_file_unmap(void *base, uint64_t bytes) {
    (void)bytes;
    if (!UnmapViewOfFile(base))
        VirtualFree(base, 0, MEM_RELEASE); /* it was zeros of no file */
}

void platform_prefault(void *base, uint64_t bytes) {
    WIN32_MEMORY_RANGE_ENTRY range = {base, bytes};
    (void)PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

void platform_lock_take(HANDLE file) {
    OVERLAPPED place = at_place(LOCK_PLACE);
    (void)LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place);
}

void platform_lock_drop(HANDLE file) {
    OVERLAPPED place = at_place(LOCK_PLACE);
    (void)UnlockFileEx(file, 0, 1, 0, &place);
}

int platform_lock_is_held(HANDLE file) {
    OVERLAPPED place = at_place(LOCK_PLACE);
    if (!LockFileEx(file, LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place))
        return 1;
    platform_lock_drop(file);
    return 0;
}

/* ---- time and threads ----------------------------------------------------------------------------------------------- */

int64_t monotonic_ns(void) {
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    int64_t seconds = ticks.QuadPart / per_second.QuadPart, rest = ticks.QuadPart % per_second.QuadPart;
    return seconds * 1000000000 + rest * 1000000000 / per_second.QuadPart;
}

int64_t platform_wall_ns(void) {
    FILETIME now; /* 100 ns since 1601 */
    GetSystemTimePreciseAsFileTime(&now);
    int64_t ticks = (int64_t)now.dwHighDateTime << 32 | now.dwLowDateTime;
    return (ticks - 116444736000000000) * 100;
}

/* Windows tells nobody which clock it reads; the processor's own word that it is invariant must do. */
int platform_trusts_tsc(void) { return 1; }

/* There are no forks. */
void platform_on_fork(void (*before)(void), void (*after)(void), void (*child)(void)) {
    (void)before, (void)after, (void)child;
}

int platform_thread_start(pthread_t *thread, void *(*work)(void *), void *argument) {
    return pthread_create(thread, NULL, work, argument);
}

/* The wall's time at the deadline, or a slice from now when that is later. */
static struct timespec slice_before(int64_t deadline_ns) {
    int64_t left = deadline_ns - monotonic_ns();
    int64_t slice = left < 0 ? 0 : left < LONGEST_SLICE_NS ? left : LONGEST_SLICE_NS;
    int64_t until = platform_wall_ns() + slice;
    return (struct timespec){until / 1000000000, (long)(until % 1000000000)};
}

int platform_lock_until(pthread_mutex_t *mutex, int64_t deadline_ns) {
    int error;
    do {
        struct timespec until = slice_before(deadline_ns);
        error = pthread_mutex_timedlock(mutex, &until);
    } while (error == ETIMEDOUT && monotonic_ns() < deadline_ns);
    return error;
}

uint32_t platform_process_id(void) { return GetCurrentProcessId(); }

void platform_condition_init(pthread_cond_t *condition) { pthread_cond_init(condition, NULL); }

int platform_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline_ns) {
    struct timespec until = slice_before(deadline_ns);
    int error = pthread_cond_timedwait(condition, mutex, &until);
    return error == ETIMEDOUT && monotonic_ns() < deadline_ns ? 0 : error;
}
