/* Functions: found in sysfs, taken, their configuration space and BARs. */

#define _GNU_SOURCE
#include "function.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices"

int hdvlab_fail(int error, const char *format, ...)
{
    va_list arguments;
    fflush(stdout);
    fputs("hdvlab: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, error ? " (%s)\n" : "\n", strerror(error));
    return -error;
}

/* Another program's guard may still be at work on what that program left: it needs a moment. */
static int take(int config)
{
    for (int tries = 0; flock(config, LOCK_EX | LOCK_NB); tries++) {
        struct timespec moment = {0, 10000000};
        if (errno != EWOULDBLOCK || tries == 200) {
            return -EBUSY;
        }
        nanosleep(&moment, NULL);
    }
    return 0;
}

static int enable(const char *folder)
{
    char path[100];
    snprintf(path, sizeof path, "%s/enable", folder);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int error = write(fd, "1", 1) == 1 ? 0 : -errno;
    close(fd);
    return error;
}

static int open_place(HdvlabFunction **out, const char *place)
{
    char path[100], target[256] = "";
    int bound, error;
    HdvlabFunction *function = calloc(1, sizeof *function);
    if (!function) {
        return hdvlab_fail(ENOMEM, "open %s", place);
    }
    snprintf(function->place, sizeof function->place, "%.15s", place);
    snprintf(function->folder, sizeof function->folder, DEVICES "/%s", function->place);
    function->guard = function->uio = -1;
    snprintf(path, sizeof path, "%s/config", function->folder);
    function->config = open(path, O_RDWR | O_CLOEXEC);
    if (function->config < 0) {
        error = errno;
        free(function);
        return hdvlab_fail(error, "there is no function at %s that this program may use", place);
    }
    snprintf(path, sizeof path, "%s/driver", function->folder);
    bound = readlink(path, target, sizeof target - 1) > 0;
    if (bound && !strstr(target, "/uio_pci_generic")) {
        const char *driver = strrchr(target, '/') + 1;
        close(function->config);
        free(function);
        return hdvlab_fail(EBUSY, "the kernel's driver %s has %s: echo %s > /sys/bus/pci/drivers/%s/unbind", driver,
                           place, place, driver);
    }
    error = take(function->config);
    if (error) {
        hdvlab_fail(EBUSY, "another program has %s; end it", place);
    } else if (!bound && (error = enable(function->folder)) != 0) { /* uio_pci_generic has enabled it itself */
        hdvlab_fail(-error, "enable %s", place);
    }
    if (error) {
        close(function->config);
        free(function);
        return error;
    }
    hdvlab_quiet(function->config); /* what somebody left on would hit memory that is not theirs any more */
    *out = function;
    return 0;
}

int hdvlab_open(HdvlabFunction **function, uint16_t vendor, uint16_t device)
{
    struct dirent **names;
    char place[16] = "";
    int count = scandir(DEVICES, &names, NULL, alphasort);
    if (count < 0) {
        return hdvlab_fail(errno, "look for PCI functions in " DEVICES);
    }
    for (int i = 0; i < count; i++) {
        uint16_t ids[2] = {0, 0};
        char path[300];
        snprintf(path, sizeof path, DEVICES "/%s/config", names[i]->d_name);
        int fd = place[0] ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            if (pread(fd, ids, sizeof ids, 0) == sizeof ids && ids[0] == vendor && ids[1] == device) {
                snprintf(place, sizeof place, "%.15s", names[i]->d_name);
            }
            close(fd);
        }
        free(names[i]);
    }
    free(names);
    if (!place[0]) {
        return hdvlab_fail(ENODEV, "no function has the ids %04x:%04x; lspci shows what is there", vendor, device);
    }
    return open_place(function, place);
}

int hdvlab_open_at(HdvlabFunction **function, const char *place)
{
    unsigned domain, bus, slot, number;
    char whole[40], variable[80];
    if (sscanf(place, "%x:%x:%x.%x", &domain, &bus, &slot, &number) != 4) {
        domain = 0;
        if (sscanf(place, "%x:%x.%x", &bus, &slot, &number) != 3) {
            snprintf(variable, sizeof variable, "HDVLAB_DEVICE_%s", place);
            const char *named = getenv(variable);
            if (!named) {
                return hdvlab_fail(ENODEV, "\"%s\" is no place such as 00:03.0, and no device of the lab", place);
            }
            return open_place(function, named);
        }
    }
    snprintf(whole, sizeof whole, "%04x:%02x:%02x.%x", domain, bus, slot, number);
    return open_place(function, whole);
}

void hdvlab_close(HdvlabFunction *function)
{
    if (!function) {
        return;
    }
    hdvlab_interrupt_disable(function);
    hdvlab_quiet(function->config);
    if (function->guard >= 0) {
        close(function->guard);
    }
    if (function->pool.at) {
        munmap(function->pool.at, function->pool.pages * 4096);
    }
    for (int bar = 0; bar < HDVLAB_BARS; bar++) {
        if (function->bars[bar].at) {
            munmap((void *)function->bars[bar].at, function->bars[bar].size);
        }
    }
    flock(function->config, LOCK_UN); /* the guard has the same open file */
    close(function->config);
    free(function);
}

const char *hdvlab_place(const HdvlabFunction *function)
{
    return function->place;
}

uint64_t hdvlab_bar_size(HdvlabFunction *function, int bar)
{
    char path[100];
    struct stat about;
    if (bar < 0 || bar >= HDVLAB_BARS) {
        return 0;
    }
    if (function->bars[bar].at) {
        return function->bars[bar].size;
    }
    snprintf(path, sizeof path, "%s/resource%d", function->folder, bar);
    int fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    if (fstat(fd, &about) == 0 && about.st_size > 0) {
        void *at = mmap(NULL, (size_t)about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED) {
            function->bars[bar].at = at;
            function->bars[bar].size = (uint64_t)about.st_size;
        }
    }
    close(fd);
    return function->bars[bar].size;
}

static volatile void *at(HdvlabFunction *function, int bar, uint64_t offset, unsigned size)
{
    uint64_t whole = hdvlab_bar_size(function, bar);
    if (offset >= whole || whole - offset < size) {
        hdvlab_fail(0, "BAR%d+0x%llx/%u is outside: %s has %s%llu bytes there", bar, (unsigned long long)offset, size,
                    function->place, whole ? "" : "no memory BAR, ", (unsigned long long)whole);
        exit(2);
    }
    return function->bars[bar].at + offset;
}

#define ACCESS(bits)                                                                                                   \
    uint##bits##_t hdvlab_read##bits(HdvlabFunction *function, int bar, uint64_t offset)                               \
    {                                                                                                                  \
        return *(volatile uint##bits##_t *)at(function, bar, offset, bits / 8);                                        \
    }                                                                                                                  \
    void hdvlab_write##bits(HdvlabFunction *function, int bar, uint64_t offset, uint##bits##_t value)                  \
    {                                                                                                                  \
        *(volatile uint##bits##_t *)at(function, bar, offset, bits / 8) = value;                                       \
    }

ACCESS(8)
ACCESS(16)
ACCESS(32)
ACCESS(64)

uint32_t hdvlab_config_read(HdvlabFunction *function, unsigned offset, unsigned size)
{
    uint32_t value = 0;
    if ((size != 1 && size != 2 && size != 4) || pread(function->config, &value, size, offset) != (ssize_t)size) {
        hdvlab_fail(errno, "read config+0x%x/%u", offset, size);
        return 0xFFFFFFFF;
    }
    return value;
}

int hdvlab_config_write(HdvlabFunction *function, unsigned offset, unsigned size, uint32_t value)
{
    if (size != 1 && size != 2 && size != 4) {
        return hdvlab_fail(EINVAL, "write config+0x%x/%u: the width is 1, 2 or 4", offset, size);
    }
    return pwrite(function->config, &value, size, offset) == (ssize_t)size
               ? 0
               : hdvlab_fail(errno, "write config+0x%x/%u", offset, size);
}

static unsigned find_capability(int config, unsigned id)
{
    uint16_t status = 0, entry = 0;
    uint8_t next = 0;
    if (pread(config, &status, 2, PCI_STATUS) != 2 || !(status & PCI_STATUS_CAP_LIST)
        || pread(config, &next, 1, PCI_CAPABILITY_LIST) != 1) {
        return 0;
    }
    for (int seen = 0; (next & ~3u) >= 0x40 && seen < 48; seen++) {
        unsigned here = next & ~3u;
        if (pread(config, &entry, 2, here) != 2) {
            return 0;
        }
        if ((entry & 0xFF) == id) {
            return here;
        }
        next = (uint8_t)(entry >> 8);
    }
    return 0;
}

unsigned hdvlab_find_capability(HdvlabFunction *function, unsigned id)
{
    return find_capability(function->config, id);
}

static void change(int config, unsigned offset, unsigned clear, unsigned set)
{
    uint16_t value;
    if (pread(config, &value, 2, offset) == 2) {
        uint16_t wanted = (uint16_t)((value & ~clear) | set);
        if (wanted != value && pwrite(config, &wanted, 2, offset) != 2) {
            hdvlab_fail(errno, "write config+0x%x", offset);
        }
    }
}

void hdvlab_quiet(int config)
{
    unsigned msi = find_capability(config, PCI_CAP_ID_MSI), msix = find_capability(config, PCI_CAP_ID_MSIX);
    change(config, PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_INTX_DISABLE);
    if (msi) {
        change(config, msi + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, 0);
    }
    if (msix) {
        change(config, msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 0);
    }
}
