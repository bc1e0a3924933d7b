/* Random reads of 4 KiB past the page cache: random_reads DISK DEPTH SECONDS prints how many were done, and in how many
   nanoseconds. One thread for each that is in flight. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, DEPTH = 64 };
static int disk;
static uint64_t blocks, end;
static _Atomic uint64_t done;
static _Atomic int failed;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *reads(void *number) {
    uint64_t random = 0x9E3779B97F4A7C15u * ((uintptr_t)number + 1);
    void *buffer = aligned_alloc(BLOCK, BLOCK);
    while (buffer && now() < end) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        if (pread(disk, buffer, BLOCK, (off_t)(random % blocks * BLOCK)) != BLOCK) {
            perror("pread");
            atomic_store(&failed, 1);
            break;
        }
        atomic_fetch_add(&done, 1);
    }
    free(buffer);
    return NULL;
}

int main(int words, char **word) {
    pthread_t thread[DEPTH];
    long depth = words == 4 ? atol(word[2]) : 0;
    if (depth < 1 || depth > DEPTH)
        return 2;
    disk = open(word[1], O_RDONLY | O_DIRECT);
    off_t bytes = disk < 0 ? -1 : lseek(disk, 0, SEEK_END);
    if (bytes < BLOCK) {
        perror(word[1]);
        return 1;
    }
    blocks = (uint64_t)bytes / BLOCK;
    uint64_t began = now();
    end = began + (uint64_t)(atof(word[3]) * 1e9);
    for (long i = 0; i < depth; i++)
        pthread_create(&thread[i], NULL, reads, (void *)i);
    for (long i = 0; i < depth; i++)
        pthread_join(thread[i], NULL);
    printf("%" PRIu64 " %" PRIu64 "\n", atomic_load(&done), now() - began);
    return atomic_load(&failed);
}
