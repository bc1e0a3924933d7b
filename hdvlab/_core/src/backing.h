/* The files behind regions of guest RAM, and their bytes. */
#ifndef HDVLAB_BACKING_H
#define HDVLAB_BACKING_H

#include <pthread.h>

#include "hdvlab.h"
#include "platform.h"

struct backed_file;

/* A VM maps one file in many pieces, which come and go: the file is held and mapped once, and a piece is a place in it. */
struct backed_files {
    pthread_mutex_t lock;
    struct backed_file *first;
    int is_sharing;
};

struct backing {
    HANDLE file;
    uint64_t offset, bytes;
    uint64_t file_id[2];
    struct backed_file *shared; /* whose file and mapping these are; NULL: its own */
    struct window window;
    uint8_t *base; /* NULL where the file may shrink under us: then every access is read or written */
    int borrowed;  /* somebody else's object and mapping */
};

void backed_files_init(struct backed_files *files, int is_sharing);
void backed_files_destroy(struct backed_files *files); /* none is open any more */
HRESULT backing_open(struct backed_files *files, HANDLE file, uint64_t offset, uint64_t bytes, uint32_t flags,
                     struct backing *b);
void backing_close(struct backed_files *files, struct backing *b);
/* Whether the bytes can be had now, so that a copy which could only half succeed is not begun. */
int backing_has(const struct backing *b, uint64_t from, uint64_t bytes);
HRESULT backing_copy(const struct backing *b, uint64_t at, uint64_t bytes, void *to, const void *from);

#endif
