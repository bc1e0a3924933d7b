/* What test_guest_c.py runs in the guest: guest_cases CASE [argument]. One program, for the way there is slow. */

#include <hdvlab_guest.h>

#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EDU_VENDOR = 0x1234, EDU_DEVICE = 0x11e8, BIG = 2 << 20 };

static HdvlabFunction *f;
static const char *argument;

static int open_edu(void)
{
    return hdvlab_open(&f, EDU_VENDOR, EDU_DEVICE);
}

static int nobody(void)
{
    return hdvlab_open(&f, EDU_VENDOR, 0x9999) != 0;
}

static int place(void)
{
    if (hdvlab_open_at(&f, argument)) {
        return 1;
    }
    printf("%08x %x", hdvlab_config_read(f, 0, 4), hdvlab_read32(f, 0, 0));
    return 0;
}

static int outside(void)
{
    open_edu();
    hdvlab_read32(f, 0, 0xFFFFE);
    return 0;
}

static int no_bar(void)
{
    open_edu();
    hdvlab_read32(f, 2, 0);
    return 0;
}

static int no_msix(void)
{
    open_edu();
    return hdvlab_interrupt_enable(f, HDVLAB_MSIX) != 0;
}

static int no_pin(void)
{
    hdvlab_open(&f, 0x1b36, 5); /* QEMU's pci-testdev */
    return hdvlab_interrupt_enable(f, HDVLAB_ANY) != 0;
}

static int not_on(void)
{
    open_edu();
    return hdvlab_interrupt_wait(f, 0, 1) < 0;
}

static int too_big(void)
{
    open_edu();
    return !hdvlab_dma_alloc(f, BIG + 1).data;
}

static int twice(void)
{
    HdvlabFunction *again;
    open_edu();
    return hdvlab_open(&again, EDU_VENDOR, EDU_DEVICE) != 0;
}

static int interrupts(void)
{
    if (open_edu() || hdvlab_interrupt_enable(f, argument[0] == 'm' ? HDVLAB_MSI : HDVLAB_INTX)) {
        return 1;
    }
    printf("%d", hdvlab_interrupt_wait(f, 0, 50));
    hdvlab_write32(f, 0, 0x60, 1);
    hdvlab_write32(f, 0, 0x60, 2);
    hdvlab_read32(f, 0, 0x24);
    printf("%d", hdvlab_interrupt_wait(f, 0, 5000));
    hdvlab_write32(f, 0, 0x64, 3);
    printf("%d", hdvlab_interrupt_wait(f, 0, 50));
    return 0;
}

static int dma(void)
{
    if (open_edu()) {
        return 1;
    }
    HdvlabDma big = hdvlab_dma_alloc(f, BIG), small = hdvlab_dma_alloc_below(f, 100, 1ull << 28);
    if (!big.data || !small.data || small.address % 4096 || small.address >= 1ull << 28) {
        return 2;
    }
    for (size_t i = 0; i < big.size; i++) {
        if (((char *)big.data)[i]) {
            return 3;
        }
    }
    if (hdvlab_dma_alloc_below(f, 1, 4096).data) {
        return 4;
    }
    memcpy(small.data, "through the device", 19);
    for (uint64_t back = 0; back < 2; back++) {
        hdvlab_write64(f, 0, 0x80, back ? 0x40000 : small.address);
        hdvlab_write64(f, 0, 0x88, back ? big.address + BIG - 4096 : 0x40000);
        hdvlab_write64(f, 0, 0x90, 19);
        hdvlab_write64(f, 0, 0x98, 1 | back << 1);
        while (hdvlab_read64(f, 0, 0x98) & 1) {
            usleep(1000);
        }
    }
    puts((char *)big.data + BIG - 4096);
    hdvlab_dma_free(f, big);
    return hdvlab_dma_alloc(f, BIG).data ? 0 : 5;
}

static int crash(void)
{
    if (open_edu() || hdvlab_interrupt_enable(f, HDVLAB_MSI)) {
        return 1;
    }
    printf("%d\n", (hdvlab_config_read(f, PCI_COMMAND, 2) & PCI_COMMAND_MASTER) != 0);
    fflush(stdout);
    *(volatile int *)0 = 1;
    return 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} cases[] = {
    {"nobody", nobody},   {"place", place},     {"outside", outside}, {"no_bar", no_bar},
    {"no_msix", no_msix}, {"no_pin", no_pin},   {"not_on", not_on},   {"too_big", too_big},
    {"twice", twice},     {"dma", dma},         {"crash", crash},     {"interrupts", interrupts},
};

int main(int count, char **arguments)
{
    argument = count > 2 ? arguments[2] : "";
    for (size_t i = 0; count > 1 && i < sizeof cases / sizeof *cases; i++) {
        if (!strcmp(cases[i].name, arguments[1])) {
            int result = cases[i].run();
            hdvlab_close(f);
            return result;
        }
    }
    return 99;
}
