/* Memory for the device: huge pages where the kernel has some (it never moves them), else locked ones. */

#define _GNU_SOURCE
#include "function.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES_PER_HUGE = 512, HUGE = 4 };

static void set(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, value, strlen(value)) < 0) {
            /* then there is less of it, which the caller sees */
        }
        close(fd);
    }
}

static long free_huge_pages(void)
{
    char line[100];
    long count = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "HugePages_Free: %ld", &count) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return count;
}

/* Stays behind until the program is gone, keeps its memory until the device is quiet, and goes too. */
static void stand_guard(HdvlabFunction *function, int pipe)
{
    char byte;
    setsid(); /* what ends the program by its process group does not end this */
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    for (int fd = 0; fd < 1024; fd++) {
        if (fd != pipe && fd != function->config) {
            close(fd);
        }
    }
    while (read(pipe, &byte, 1) < 0 && errno == EINTR) {
    }
    hdvlab_quiet(function->config);
    _exit(0);
}

static int post_guard(HdvlabFunction *function)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) {
        return hdvlab_fail(errno, "make a pipe");
    }
    fflush(NULL);
    pid_t guard = fork();
    if (guard < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return hdvlab_fail(error, "start the process that quiets %s in the end", function->place);
    }
    if (guard == 0) {
        stand_guard(function, ends[0]);
    }
    close(ends[0]);
    function->guard = ends[1];
    return 0;
}

static int find_addresses(HdvlabFunction *function)
{
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) {
        return hdvlab_fail(errno, "read /proc/self/pagemap");
    }
    for (size_t i = 0; i < function->pool.pages; i++) {
        uint64_t entry = 0;
        unsigned char *page = function->pool.at + i * PAGE;
        *(volatile unsigned char *)page = 0; /* now it is there */
        if (pread(pagemap, &entry, 8, (off_t)((uintptr_t)page / PAGE * 8)) != 8 || !(entry >> 63)
            || !(entry & ((1ull << 55) - 1))) {
            close(pagemap);
            return hdvlab_fail(EPERM, "the kernel does not tell where memory is; run as root");
        }
        function->pool.address[i] = (entry & ((1ull << 55) - 1)) * PAGE;
    }
    close(pagemap);
    return 0;
}

int hdvlab_pool_open(HdvlabFunction *function)
{
    if (!function->pool.at) {
        int error;
        long huge = free_huge_pages();
        if (huge < HUGE) {
            char count[8];
            snprintf(count, sizeof count, "%d", HUGE);
            set("/proc/sys/vm/nr_hugepages", count);
            huge = free_huge_pages();
        }
        size_t pages = (size_t)(huge < HUGE ? huge : HUGE) * PAGES_PER_HUGE;
        void *at = pages ? mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0)
                         : MAP_FAILED;
        if (at == MAP_FAILED) {
            pages = 256;
            set("/proc/sys/vm/compact_unevictable_allowed", "0"); /* locked memory is not moved either then */
            at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            if (at == MAP_FAILED || mlock(at, pages * PAGE)) {
                return hdvlab_fail(errno, "lock memory for DMA; give the VM more of it");
            }
        }
        function->pool.at = at;
        function->pool.pages = pages;
        error = find_addresses(function);
        error = error ? error : post_guard(function);
        if (error) {
            munmap(at, pages * PAGE);
            function->pool.at = NULL;
            return error;
        }
    }
    uint32_t command = hdvlab_config_read(function, PCI_COMMAND, 2);
    return command & PCI_COMMAND_MASTER ? 0
                                        : hdvlab_config_write(function, PCI_COMMAND, 2, command | PCI_COMMAND_MASTER);
}

HdvlabDma hdvlab_dma_alloc_below(HdvlabFunction *function, size_t size, uint64_t limit)
{
    HdvlabDma none = {NULL, 0, 0};
    size_t pages = (size + PAGE - 1) / PAGE, run = 0;
    if (!size || size > (size_t)PAGES_PER_HUGE * PAGE) {
        hdvlab_fail(EINVAL, "DMA memory of %zu bytes: 1 to 2 MiB can be had", size);
        return none;
    }
    if (hdvlab_pool_open(function)) {
        return none;
    }
    for (size_t i = 0; i < function->pool.pages; i++) {
        uint64_t address = function->pool.address[i];
        int follows = run && address == function->pool.address[i - 1] + PAGE;
        run = function->pool.used[i] || address + PAGE > limit ? 0 : follows ? run + 1 : 1;
        if (run == pages) {
            size_t first = i + 1 - pages;
            HdvlabDma buffer = {function->pool.at + first * PAGE, function->pool.address[first], size};
            memset(function->pool.used + first, 1, pages);
            memset(buffer.data, 0, pages * PAGE);
            return buffer;
        }
    }
    hdvlab_fail(ENOMEM, "no %zu contiguous bytes below 0x%llx; free some, or give the VM %s memory", size,
                (unsigned long long)limit, limit == UINT64_MAX ? "more" : "less");
    return none;
}

HdvlabDma hdvlab_dma_alloc(HdvlabFunction *function, size_t size)
{
    return hdvlab_dma_alloc_below(function, size, UINT64_MAX);
}

void hdvlab_dma_free(HdvlabFunction *function, HdvlabDma buffer)
{
    unsigned char *at = buffer.data;
    if (at && at >= function->pool.at && at < function->pool.at + function->pool.pages * PAGE) {
        memset(function->pool.used + (size_t)(at - function->pool.at) / PAGE, 0, (buffer.size + PAGE - 1) / PAGE);
    }
}
