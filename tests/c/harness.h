/* A test harness in one header, for Linux and Windows. A test is a function whose name is a sentence:
 *
 *     TEST(a_read_of_no_device_gives_all_ones) { EQUAL(guest_read(...), 0xFFFFFFFF); }
 *
 * Every test_*.c of this folder is built into one program. Run without arguments it runs all tests, with names these,
 * with --list it lists them. It prints "ok NAME", or "FAILED NAME: file:line: expression"; the exit status says whether
 * all was ok. A test goes on after a CHECK that failed and ends at a NEED that did. */
#ifndef HDVLAB_TEST_HARNESS_H
#define HDVLAB_TEST_HARNESS_H

#include <stdint.h>

#include <hdvlab.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

void test_add(struct test *test);
void test_failed(const char *file, int line, const char *expression);
void test_unequal(const char *file, int line, const char *expression, uint64_t value, uint64_t expected);

#define TEST(name)                                                                                                     \
    static void name(void);                                                                                            \
    static struct test test_##name = {#name, name, 0};                                                                 \
    __attribute__((constructor)) static void add_##name(void) { test_add(&test_##name); }                              \
    static void name(void)

#define CHECK(expression) ((expression) ? (void)0 : test_failed(__FILE__, __LINE__, #expression))
#define NEED(expression)                                                                                               \
    do                                                                                                                 \
        if (!(expression)) {                                                                                           \
            test_failed(__FILE__, __LINE__, #expression);                                                              \
            return;                                                                                                    \
        }                                                                                                              \
    while (0)
/* Whole numbers. */
#define EQUAL(value, expected)                                                                                         \
    do {                                                                                                               \
        uint64_t is_ = (uint64_t)(value), expected_ = (uint64_t)(expected);                                            \
        if (is_ != expected_)                                                                                          \
            test_unequal(__FILE__, __LINE__, #value, is_, expected_);                                                  \
    } while (0)
/* HRESULTs: 32 bits, whatever their type. */
#define GIVES(call, expected) EQUAL((uint32_t)(call), (uint32_t)(expected))

/* ---- what a test asks of the system: shims.c ------------------------------------------------------------------------ */

HANDLE event_make(void);
int event_take(HANDLE event); /* whether it was signalled; then it no longer is */
int event_wait(HANDLE event); /* the same, waiting for it; false after ten seconds */
void event_signal(HANDLE event);
HANDLE section_make(uint64_t bytes);
uint8_t *section_map(HANDLE section, uint64_t bytes);
void section_unmap(void *map, uint64_t bytes);
void object_close(HANDLE object);
/* A path for something that is not there yet, in the system's folder for what is temporary; and its end. */
const char *scratch_path(void);
void scratch_remove(const char *path);

#endif
