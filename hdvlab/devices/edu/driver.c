/* A driver for edu in user space, for the VM's guest: the steps of driver.py.

   Ref: QEMU, docs/specs/edu.rst.
   Usage: driver [auto|msi|intx] [n] */

#include <hdvlab_guest.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDENTIFICATION = 0x00,
    LIVENESS = 0x04,
    FACTORIAL = 0x08,
    STATUS = 0x20,
    IRQ_STATUS = 0x24,
    IRQ_RAISE = 0x60,
    IRQ_ACKNOWLEDGE = 0x64,
    DMA_SOURCE = 0x80,
    DMA_DESTINATION = 0x88,
    DMA_COUNT = 0x90,
    DMA_COMMAND = 0x98,
};
enum { STATUS_IRQ_ON_FACTORIAL = 0x80, IRQ_FACTORIAL = 0x001, IRQ_DMA = 0x100 };
enum { DMA_RUN = 1, DMA_FROM_DEVICE = 2, DMA_IRQ = 4 };
enum { BUFFER_ADDRESS = 0x40000, PATIENCE_MS = 10000 };
static const uint64_t dma_limit = 1ull << 28; /* edu has 28 address lines */

static HdvlabFunction *edu;

static void fail(const char *what, uint32_t value)
{
    printf("%s is 0x%x\n", what, value);
    hdvlab_close(edu);
    exit(1);
}

static void acknowledge(uint32_t cause)
{
    if (hdvlab_interrupt_wait(edu, 0, PATIENCE_MS) != 1) {
        fail("no interrupt came; expected cause", cause);
    }
    uint32_t raised = hdvlab_read32(edu, 0, IRQ_STATUS);
    hdvlab_write32(edu, 0, IRQ_ACKNOWLEDGE, raised);
    if (!(raised & cause)) {
        fail("the interrupt's cause", raised);
    }
}

static void dma(uint64_t source, uint64_t destination, uint64_t count, unsigned direction)
{
    hdvlab_write64(edu, 0, DMA_SOURCE, source);
    hdvlab_write64(edu, 0, DMA_DESTINATION, destination);
    hdvlab_write64(edu, 0, DMA_COUNT, count);
    hdvlab_write64(edu, 0, DMA_COMMAND, DMA_RUN | direction | DMA_IRQ);
    acknowledge(IRQ_DMA);
}

int main(int count, char **arguments)
{
    const char *how = count > 1 ? arguments[1] : "auto";
    HdvlabInterrupt kind = !strcmp(how, "msi") ? HDVLAB_MSI : !strcmp(how, "intx") ? HDVLAB_INTX : HDVLAB_ANY;
    uint32_t n = count > 2 ? (uint32_t)strtoul(arguments[2], NULL, 0) : 10;
    if (hdvlab_open(&edu, 0x1234, 0x11e8) || hdvlab_interrupt_enable(edu, kind)) {
        return 1;
    }

    uint32_t identification = hdvlab_read32(edu, 0, IDENTIFICATION);
    if ((identification & 0xFF) != 0xED) {
        fail("identification", identification);
    }
    printf("edu %u.%u at %s\n", identification >> 24, identification >> 16 & 0xFF, hdvlab_place(edu));

    hdvlab_write32(edu, 0, LIVENESS, 0x12345678);
    uint32_t answer = hdvlab_read32(edu, 0, LIVENESS);
    if (answer != ~0x12345678u) {
        fail("liveness", answer);
    }

    hdvlab_write32(edu, 0, STATUS, STATUS_IRQ_ON_FACTORIAL);
    hdvlab_write32(edu, 0, FACTORIAL, n);
    acknowledge(IRQ_FACTORIAL);
    printf("%u! = %u modulo 2^32\n", n, hdvlab_read32(edu, 0, FACTORIAL));

    hdvlab_write32(edu, 0, IRQ_RAISE, 0x5);
    acknowledge(0x5);

    HdvlabDma out = hdvlab_dma_alloc_below(edu, 256, dma_limit), back = hdvlab_dma_alloc_below(edu, 256, dma_limit);
    if (!out.data || !back.data) {
        return 1;
    }
    for (unsigned i = 0; i < out.size; i++) {
        ((unsigned char *)out.data)[i] = (unsigned char)i;
    }
    dma(out.address, BUFFER_ADDRESS, out.size, 0);
    dma(BUFFER_ADDRESS, back.address, back.size, DMA_FROM_DEVICE);
    if (memcmp(out.data, back.data, out.size)) {
        fail("the first byte that came back by DMA", *(unsigned char *)back.data);
    }
    printf("%zu bytes went to the device and came back\n", out.size);
    hdvlab_close(edu);
    return 0;
}
