/* CRC-32C (Castagnoli), as in RFC 3720, section B.4. */
#ifndef HDVLAB_CRC32C_H
#define HDVLAB_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
