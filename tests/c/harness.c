#include "harness.h"

#include <stdio.h>
#include <string.h>

static struct test *first;
static const struct test *running;
static int failures;

/* In alphabetical order: constructors run in none. */
void test_add(struct test *test) {
    struct test **place = &first;
    while (*place && strcmp((*place)->name, test->name) < 0)
        place = &(*place)->next;
    test->next = *place;
    *place = test;
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void test_failed(const char *file, int line, const char *expression) {
    failures++;
    printf("FAILED %s: %s:%d: %s\n", running->name, file_name(file), line, expression);
    fflush(stdout);
}

void test_unequal(const char *file, int line, const char *expression, uint64_t value, uint64_t expected) {
    failures++;
    printf("FAILED %s: %s:%d: %s is 0x%llX, not 0x%llX\n", running->name, file_name(file), line, expression,
           (unsigned long long)value, (unsigned long long)expected);
    fflush(stdout);
}

static int run(const struct test *test) {
    int before = failures;
    uint64_t handles = hdvlab_live_handles();
    running = test;
    test->run();
    if (hdvlab_live_handles() != handles)
        test_failed(__FILE__, __LINE__, "no handle is left");
    if (failures == before)
        printf("ok %s\n", test->name);
    fflush(stdout);
    return failures == before;
}

int main(int count, char **arguments) {
    int is_list = count == 2 && !strcmp(arguments[1], "--list"), status = 0;
    for (const struct test *test = first; test && count == 1; test = test->next)
        status |= !run(test);
    for (const struct test *test = first; test && is_list; test = test->next)
        puts(test->name);
    for (int i = 1; i < count && !is_list; i++) {
        const struct test *test = first;
        while (test && strcmp(test->name, arguments[i]))
            test = test->next;
        if (!test)
            printf("FAILED %s: there is no such test\n", arguments[i]);
        status |= !test || !run(test);
    }
    return status;
}
