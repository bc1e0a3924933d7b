/* A driver in user space, in the guest: what a program needs to drive a PCI device from there, as root.

   A function that returns int gives 0, or a negative errno after a line on stderr that says what to do. Reads and
   writes of BARs cannot fail; one outside of the BAR ends the program.

   When the program ends, however it ends, the function stops DMA and interrupts: the memory that it was given stays
   taken until then. */

#ifndef HDVLAB_GUEST_H
#define HDVLAB_GUEST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A PCI function. */
typedef struct HdvlabFunction HdvlabFunction;

/* Open the first function with these ids, enable its memory BARs, and take it for this program alone.
   -ENODEV: there is none. -EBUSY: a kernel driver or another program has it. */
int hdvlab_open(HdvlabFunction **function, uint16_t vendor, uint16_t device);

/* The same by place ("00:03.0", "0000:00:03.0"), or by the name that the lab calls the device. */
int hdvlab_open_at(HdvlabFunction **function, const char *place);

/* Give it back; NULL is fine. */
void hdvlab_close(HdvlabFunction *function);

/* Where it is: "0000:00:03.0". */
const char *hdvlab_place(const HdvlabFunction *function);

/* Bytes of a BAR; 0 if there is none. */
uint64_t hdvlab_bar_size(HdvlabFunction *function, int bar);

/* One access each, of that width, at an offset in bytes. */
uint8_t hdvlab_read8(HdvlabFunction *function, int bar, uint64_t offset);
uint16_t hdvlab_read16(HdvlabFunction *function, int bar, uint64_t offset);
uint32_t hdvlab_read32(HdvlabFunction *function, int bar, uint64_t offset);
uint64_t hdvlab_read64(HdvlabFunction *function, int bar, uint64_t offset);
void hdvlab_write8(HdvlabFunction *function, int bar, uint64_t offset, uint8_t value);
void hdvlab_write16(HdvlabFunction *function, int bar, uint64_t offset, uint16_t value);
void hdvlab_write32(HdvlabFunction *function, int bar, uint64_t offset, uint32_t value);
void hdvlab_write64(HdvlabFunction *function, int bar, uint64_t offset, uint64_t value);

/* Configuration space: 1, 2 or 4 bytes at an offset. Reads that fail give all ones. */
uint32_t hdvlab_config_read(HdvlabFunction *function, unsigned offset, unsigned size);
int hdvlab_config_write(HdvlabFunction *function, unsigned offset, unsigned size, uint32_t value);

/* Offset of the first capability of this kind (PCI_CAP_ID_…); 0 if there is none. */
unsigned hdvlab_find_capability(HdvlabFunction *function, unsigned id);

/* Memory that the device reaches. */
typedef struct HdvlabDma {
    void *data;       /* NULL: none could be had */
    uint64_t address; /* what the device is told: the guest-physical address */
    size_t size;
} HdvlabDma;

/* Memory of `size` bytes at most 2 MiB, zeroed, contiguous, on a page of its own; turns bus mastering on. */
HdvlabDma hdvlab_dma_alloc(HdvlabFunction *function, size_t size);

/* The same below `limit`, for a device with fewer address lines: 1ull << 28 for edu. */
HdvlabDma hdvlab_dma_alloc_below(HdvlabFunction *function, size_t size, uint64_t limit);
void hdvlab_dma_free(HdvlabFunction *function, HdvlabDma buffer);

typedef enum HdvlabInterrupt {
    HDVLAB_ANY,  /* MSI-X, MSI or INTx, the first of them that the function has */
    HDVLAB_INTX, /* through uio_pci_generic */
    HDVLAB_MSI,  /* vector 0 */
    HDVLAB_MSIX
} HdvlabInterrupt;

/* Turn interrupts on; MSI and MSI-X need bus mastering, and turn it on.
   Messages are aimed at this program's own memory (see interrupt.c), so no kernel driver is needed for them. */
int hdvlab_interrupt_enable(HdvlabFunction *function, HdvlabInterrupt kind);

/* Wait for an interrupt: 1 = it came (several may have become one), 0 = not in `timeout_ms` milliseconds.
   `vector` is 0 but for MSI-X. */
int hdvlab_interrupt_wait(HdvlabFunction *function, unsigned vector, int timeout_ms);
int hdvlab_interrupt_disable(HdvlabFunction *function);

#ifdef __cplusplus
}
#endif

#endif
