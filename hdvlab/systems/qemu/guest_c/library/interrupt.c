/* Interrupts without a kernel driver of one's own.

   INTx: uio_pci_generic counts them; it turns the function's INTx off at each, and this turns it on again.

   MSI and MSI-X: UIO knows neither, and vfio-pci's way without an IOMMU (CONFIG_VFIO_NOIOMMU) is not in Debian's
   kernels. But a message is a write of 4 bytes of the function's choosing to an address that is told to it: here that
   address is one of this program's memory, and the interrupt is seen by looking there. The same as an interrupt in
   all that the device does; no processor is interrupted by it. KVM delivers messages past memory, so there it cannot
   be had for a vfio-user device, and is refused. */

#define _GNU_SOURCE
#include "function.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 0x4800 }; /* what is written, with the vector in it: anything but 0 */

static int under_kvm(void)
{
    unsigned a, b, c, d;
    char name[13] = "";
    __cpuid(1, a, b, c, d);
    if (!(c >> 31)) {
        return 0;
    }
    __cpuid(0x40000000, a, b, c, d);
    memcpy(name, &b, 4);
    memcpy(name + 4, &c, 4);
    memcpy(name + 8, &d, 4);
    return !strcmp(name, "KVMKVMKVM");
}

static int put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int error = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return error;
}

static int open_uio(HdvlabFunction *function)
{
    char path[100];
    glob_t found;
    snprintf(path, sizeof path, "%s/driver", function->folder);
    if (access(path, F_OK)) {
        int error = 0;
        if (access("/sys/bus/pci/drivers/uio_pci_generic", F_OK)
            && (system("modprobe uio_pci_generic") || access("/sys/bus/pci/drivers/uio_pci_generic", F_OK))) {
            return hdvlab_fail(ENOENT, "the module uio_pci_generic is not there; boot the VM with it");
        }
        snprintf(path, sizeof path, "%s/driver_override", function->folder);
        error = put(path, "uio_pci_generic");
        error = error ? error : put("/sys/bus/pci/drivers/uio_pci_generic/bind", function->place);
        put(path, "\n"); /* only for this once */
        if (error) {
            return hdvlab_fail(-error, "bind %s to uio_pci_generic", function->place);
        }
    }
    snprintf(path, sizeof path, "%s/uio/uio*", function->folder);
    if (glob(path, 0, NULL, &found)) {
        return hdvlab_fail(ENODEV, "uio_pci_generic made no device for %s", function->place);
    }
    snprintf(path, sizeof path, "/dev/%s", strrchr(found.gl_pathv[0], '/') + 1);
    globfree(&found);
    function->uio = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return function->uio < 0 ? hdvlab_fail(errno, "open %s", path) : 0;
}

static void set_intx(HdvlabFunction *function, int on)
{
    uint32_t command = hdvlab_config_read(function, PCI_COMMAND, 2);
    uint32_t wanted = on ? command & ~PCI_COMMAND_INTX_DISABLE : command | PCI_COMMAND_INTX_DISABLE;
    if (wanted != command) {
        hdvlab_config_write(function, PCI_COMMAND, 2, wanted);
    }
}

static int enable_msi(HdvlabFunction *function)
{
    unsigned at = function->capability;
    uint32_t flags = hdvlab_config_read(function, at + PCI_MSI_FLAGS, 2);
    int wide = (flags & PCI_MSI_FLAGS_64BIT) != 0;
    function->vectors = 1;
    hdvlab_config_write(function, at + PCI_MSI_ADDRESS_LO, 4, (uint32_t)function->mailbox.address);
    if (wide) {
        hdvlab_config_write(function, at + PCI_MSI_ADDRESS_HI, 4, (uint32_t)(function->mailbox.address >> 32));
    }
    hdvlab_config_write(function, at + (wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32), 2, MESSAGE);
    if (flags & PCI_MSI_FLAGS_MASKBIT) {
        hdvlab_config_write(function, at + (wide ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32), 4, 0);
    }
    return hdvlab_config_write(function, at + PCI_MSI_FLAGS, 2, (flags & ~PCI_MSI_FLAGS_QSIZE) | PCI_MSI_FLAGS_ENABLE);
}

static int enable_msix(HdvlabFunction *function)
{
    unsigned at = function->capability;
    uint32_t flags = hdvlab_config_read(function, at + PCI_MSIX_FLAGS, 2);
    uint32_t table = hdvlab_config_read(function, at + PCI_MSIX_TABLE, 4);
    int bar = (int)(table & PCI_MSIX_TABLE_BIR);
    unsigned offset = table & PCI_MSIX_TABLE_OFFSET;
    function->vectors = (flags & PCI_MSIX_FLAGS_QSIZE) + 1;
    if (function->vectors > 1024) {
        function->vectors = 1024; /* a page of mailboxes */
    }
    int error = hdvlab_config_write(function, at + PCI_MSIX_FLAGS, 2, flags | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    for (unsigned i = 0; !error && i < function->vectors; i++) {
        uint64_t entry = offset + i * PCI_MSIX_ENTRY_SIZE, address = function->mailbox.address + i * 4;
        hdvlab_write32(function, bar, entry + PCI_MSIX_ENTRY_LOWER_ADDR, (uint32_t)address);
        hdvlab_write32(function, bar, entry + PCI_MSIX_ENTRY_UPPER_ADDR, (uint32_t)(address >> 32));
        hdvlab_write32(function, bar, entry + PCI_MSIX_ENTRY_DATA, MESSAGE + i);
        hdvlab_write32(function, bar, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    }
    return error ? error
                 : hdvlab_config_write(function, at + PCI_MSIX_FLAGS, 2,
                                       (flags & ~PCI_MSIX_FLAGS_MASKALL) | PCI_MSIX_FLAGS_ENABLE);
}

int hdvlab_interrupt_enable(HdvlabFunction *function, HdvlabInterrupt kind)
{
    unsigned msi = hdvlab_find_capability(function, PCI_CAP_ID_MSI);
    unsigned msix = hdvlab_find_capability(function, PCI_CAP_ID_MSIX);
    int error = hdvlab_interrupt_disable(function);
    if (error) {
        return error;
    }
    if (kind == HDVLAB_ANY) {
        kind = msix ? HDVLAB_MSIX : msi ? HDVLAB_MSI : HDVLAB_INTX;
    }
    if (kind == HDVLAB_INTX) {
        if (!hdvlab_config_read(function, PCI_INTERRUPT_PIN, 1)) {
            return hdvlab_fail(ENOTSUP, "%s has no INTx pin", function->place);
        }
        error = open_uio(function);
        function->vectors = 1;
    } else {
        function->capability = kind == HDVLAB_MSIX ? msix : msi;
        if (!function->capability) {
            return hdvlab_fail(ENOTSUP, "%s has no %s capability", function->place, kind == HDVLAB_MSIX ? "MSI-X" : "MSI");
        }
        if (under_kvm()) {
            return hdvlab_fail(ENOTSUP, "under KVM messages do not reach a program; boot with TCG, or use INTx");
        }
        if (!function->mailbox.data) {
            function->mailbox = hdvlab_dma_alloc_below(function, 4096, 1ull << 32); /* MSI may have 32 bits only */
        }
        error = function->mailbox.data ? hdvlab_pool_open(function) : -ENOMEM;
        if (!error) {
            memset(function->mailbox.data, 0, 4096);
            error = kind == HDVLAB_MSIX ? enable_msix(function) : enable_msi(function);
        }
    }
    if (!error) {
        function->kind = kind;
    }
    return error;
}

int hdvlab_interrupt_disable(HdvlabFunction *function)
{
    HdvlabInterrupt kind = function->kind;
    function->kind = HDVLAB_ANY;
    if (kind == HDVLAB_INTX) {
        set_intx(function, 0);
        close(function->uio);
        function->uio = -1;
    } else if (kind != HDVLAB_ANY) {
        unsigned flags = kind == HDVLAB_MSI ? PCI_MSI_FLAGS : PCI_MSIX_FLAGS;
        uint32_t bit = kind == HDVLAB_MSI ? PCI_MSI_FLAGS_ENABLE : PCI_MSIX_FLAGS_ENABLE;
        uint32_t value = hdvlab_config_read(function, function->capability + flags, 2);
        return hdvlab_config_write(function, function->capability + flags, 2, value & ~bit);
    }
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int wait_intx(HdvlabFunction *function, int timeout_ms)
{
    struct pollfd ready = {function->uio, POLLIN, 0};
    uint32_t count;
    set_intx(function, 1); /* one that is pending comes at once */
    int result = poll(&ready, 1, timeout_ms);
    if (result < 0) {
        return hdvlab_fail(errno, "wait for an interrupt of %s", function->place);
    }
    if (result && read(function->uio, &count, 4) != 4) {
        return hdvlab_fail(errno, "read the interrupt count of %s", function->place);
    }
    return result;
}

int hdvlab_interrupt_wait(HdvlabFunction *function, unsigned vector, int timeout_ms)
{
    if (function->kind == HDVLAB_ANY || vector >= function->vectors) {
        return hdvlab_fail(EINVAL, "vector %u of %s is not on; hdvlab_interrupt_enable first", vector, function->place);
    }
    if (function->kind == HDVLAB_INTX) {
        return wait_intx(function, timeout_ms);
    }
    uint32_t *mail = (uint32_t *)function->mailbox.data + vector;
    int64_t end = now_ms() + timeout_ms;
    for (int tries = 0;; tries++) {
        int late = timeout_ms >= 0 && now_ms() >= end; /* looked at before the last look at the mail */
        if (__atomic_exchange_n(mail, 0, __ATOMIC_ACQ_REL)) {
            return 1;
        }
        if (late) {
            return 0;
        }
        struct timespec moment = {0, tries < 100 ? 20000 : 500000};
        nanosleep(&moment, NULL);
    }
}
