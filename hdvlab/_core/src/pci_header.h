/* The dwords of config space that are the machine's own, for the ops config_bits and config_keep of any machine. */
#ifndef HDVLAB_PCI_HEADER_H
#define HDVLAB_PCI_HEADER_H

#include "system.h"

/* Which bits of a dword the machine answers, and what they are. No interrupt pin: whose machine has lines shows it. */
void pci_header_bits(struct system *system, uint32_t slot, const struct device *device, uint32_t dword, uint32_t *mask,
                     uint32_t *bits);
/* True when what decodes, or who masters the bus, may have changed. */
int pci_header_keep(struct system *system, uint32_t slot, struct device *device, uint32_t dword, uint32_t value);

#endif
