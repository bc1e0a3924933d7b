/* Events, sections and temporary folders, which each system has its own of. */
#ifndef _WIN32
#define _GNU_SOURCE
#endif
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_MS 10000

#ifdef _WIN32

HANDLE event_make(void) { return CreateEventW(NULL, FALSE, FALSE, NULL); }
int event_take(HANDLE event) { return WaitForSingleObject(event, 0) == WAIT_OBJECT_0; }
int event_wait(HANDLE event) { return WaitForSingleObject(event, PATIENCE_MS) == WAIT_OBJECT_0; }
void event_signal(HANDLE event) { SetEvent(event); }

HANDLE section_make(uint64_t bytes) {
    return CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, (DWORD)(bytes >> 32), (DWORD)bytes, NULL);
}

uint8_t *section_map(HANDLE section, uint64_t bytes) {
    return MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, bytes);
}

void section_unmap(void *map, uint64_t bytes) {
    (void)bytes;
    UnmapViewOfFile(map);
}

void object_close(HANDLE object) { CloseHandle(object); }

HANDLE process_start(const char *child, const char *argument) {
    char command[4 * MAX_PATH];
    STARTUPINFOA startup = {.cb = sizeof startup};
    PROCESS_INFORMATION process;
    snprintf(command, sizeof command, "\"%s\" --child %s \"%s\"", program_path, child, argument);
    if (!CreateProcessA(NULL, command, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &process))
        return NULL;
    CloseHandle(process.hThread);
    return process.hProcess;
}

void process_end(HANDLE process) {
    TerminateProcess(process, 9);
    WaitForSingleObject(process, PATIENCE_MS);
    CloseHandle(process);
}

const char *scratch_path(void) {
    static char path[MAX_PATH + 32];
    static int number;
    char folder[MAX_PATH];
    GetTempPathA(sizeof folder, folder);
    snprintf(path, sizeof path, "%shdvlab-c-%lu-%d", folder, GetCurrentProcessId(), ++number);
    scratch_remove(path); /* what a process of the same number may have left when it was killed */
    return path;
}

void scratch_remove(const char *path) {
    char pattern[MAX_PATH + 64], file[2 * MAX_PATH + 64];
    WIN32_FIND_DATAA found;
    snprintf(pattern, sizeof pattern, "%s\\*", path);
    HANDLE search = FindFirstFileA(pattern, &found);
    for (BOOL more = search != INVALID_HANDLE_VALUE; more; more = FindNextFileA(search, &found)) {
        snprintf(file, sizeof file, "%s\\%s", path, found.cFileName);
        DeleteFileA(file);
    }
    if (search != INVALID_HANDLE_VALUE)
        FindClose(search);
    RemoveDirectoryA(path);
}

#else

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int descriptor_of(HANDLE object) { return (int)(intptr_t)object; }

HANDLE event_make(void) { return (HANDLE)(intptr_t)eventfd(0, EFD_CLOEXEC); }

static int take(HANDLE event, int patience_ms) {
    struct pollfd ready = {.fd = descriptor_of(event), .events = POLLIN};
    uint64_t count;
    return poll(&ready, 1, patience_ms) == 1 && read(ready.fd, &count, sizeof count) == (ssize_t)sizeof count;
}

int event_take(HANDLE event) { return take(event, 0); }
int event_wait(HANDLE event) { return take(event, PATIENCE_MS); }

void event_signal(HANDLE event) {
    uint64_t one = 1;
    if (write(descriptor_of(event), &one, sizeof one) != (ssize_t)sizeof one)
        abort();
}

HANDLE section_make(uint64_t bytes) {
    int fd = memfd_create("hdvlab-c", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
        abort();
    return (HANDLE)(intptr_t)fd;
}

uint8_t *section_map(HANDLE section, uint64_t bytes) {
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_of(section), 0);
    return map == MAP_FAILED ? NULL : map;
}

void section_unmap(void *map, uint64_t bytes) { munmap(map, bytes); }
void object_close(HANDLE object) { close(descriptor_of(object)); }

HANDLE process_start(const char *child, const char *argument) {
    pid_t process = fork();
    if (process < 0)
        abort(); /* -1 would be everybody to the kill below */
    if (!process) {
        execl(program_path, program_path, "--child", child, argument, (char *)NULL);
        _exit(127);
    }
    return (HANDLE)(intptr_t)process;
}

void process_end(HANDLE process) {
    if ((intptr_t)process <= 0)
        abort();
    kill((pid_t)(intptr_t)process, SIGKILL);
    waitpid((pid_t)(intptr_t)process, NULL, 0);
}

const char *scratch_path(void) {
    static char path[512];
    static int number;
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hdvlab-c-%d-%d", folder ? folder : "/tmp", (int)getpid(), ++number);
    scratch_remove(path); /* what a process of the same number may have left when it was killed */
    return path;
}

void scratch_remove(const char *path) {
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char file[1024];
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        (void)unlink(file);
    }
    if (directory)
        closedir(directory);
    (void)rmdir(path);
}

#endif
