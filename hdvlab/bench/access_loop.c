/* Times single accesses to registers of several devices, by turns, so that whatever else the computer does meets all of
   them alike: access_loop r|w ROUNDS COUNT PLACE:OFFSET ... prints, for each round and register, the median, the tenth
   percentile and the mean of COUNT accesses, in nanoseconds, then one line for reading the clock alone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hdvlab_guest.h"

enum { TARGETS = 8, COUNT = 100000 };
static uint64_t sample[COUNT];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void report(int round, int target, long count, uint64_t began) {
    double mean = (double)(now() - began) / (double)count;
    qsort(sample, (size_t)count, sizeof *sample, compare);
    printf("%d %d %" PRIu64 " %" PRIu64 " %.0f\n", round, target, sample[count / 2], sample[count / 10], mean);
}

static void measure(int round, int target, HdvlabFunction *function, uint64_t offset, int writes, long count) {
    uint64_t began = now(), before = began, after;
    for (long i = 0; i < count; i++, before = after) {
        if (!function)
            ;
        else if (writes)
            hdvlab_write32(function, 0, offset, (uint32_t)i);
        else
            (void)hdvlab_read32(function, 0, offset);
        after = now();
        sample[i] = after - before;
    }
    if (function && writes)
        (void)hdvlab_read32(function, 0, offset); /* all of them have been served */
    report(round, target, count, began);
}

int main(int words, char **word) {
    HdvlabFunction *function[TARGETS];
    uint64_t offset[TARGETS];
    int targets = words - 4;
    if (targets < 1 || targets > TARGETS)
        return 2;
    int writes = word[1][0] == 'w', rounds = atoi(word[2]);
    long count = atol(word[3]);
    if (rounds < 1 || count < 10 || count > COUNT)
        return 2;
    for (int i = 0; i < targets; i++) {
        char *colon = strrchr(word[4 + i], ':');
        if (!colon)
            return 2;
        *colon = 0;
        offset[i] = strtoull(colon + 1, NULL, 0);
        function[i] = NULL;
        for (int j = 0; j < i && !function[i]; j++)
            if (!strcmp(word[4 + j], word[4 + i]))
                function[i] = function[j];
        if (!function[i] && hdvlab_open_at(&function[i], word[4 + i]))
            return 1;
    }
    for (int round = 0; round < rounds; round++)
        for (int turn = 0; turn < targets; turn++) {
            int i = (round + turn) % targets;
            measure(round, i, function[i], offset[i], writes, count);
        }
    measure(rounds, -1, NULL, 0, 0, 1000);
    return 0;
}
