#include "guid_name.h"

#include <stdint.h>
#include <string.h>

static int digit(WCHAR c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* From the 16 bytes as they are written, most significant first. */
static GUID from_bytes(const uint8_t *b) {
    GUID guid = {(uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3],
                 (uint16_t)(b[4] << 8 | b[5]), (uint16_t)(b[6] << 8 | b[7]), {0}};
    memcpy(guid.Data4, b + 8, 8);
    return guid;
}

int guid_parse(const WCHAR *text, size_t length, GUID *guid) {
    uint8_t bytes[16];
    size_t at = 0;
    if (length != 36)
        return 0;
    for (int i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && text[at++] != '-')
            return 0;
        int high = digit(text[at]), low = high < 0 ? -1 : digit(text[at + 1]);
        if (low < 0)
            return 0;
        bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *guid = from_bytes(bytes);
    return 1;
}

/* SHA-1 (FIPS 180-4, section 6.1), fed byte by byte. */
struct sha1 {
    uint32_t h[5];
    uint64_t bytes;
    uint8_t block[64];
};

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1_block(struct sha1 *s) {
    uint32_t w[80];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)s->block[4 * i] << 24 | (uint32_t)s->block[4 * i + 1] << 16 |
               (uint32_t)s->block[4 * i + 2] << 8 | s->block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = s->h[0], b = s->h[1], c = s->h[2], d = s->h[3], e = s->h[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5A827999u
                     : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1u
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDCu
                              : (b ^ c ^ d) + 0xCA62C1D6u;
        uint32_t next = rotate(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    s->h[0] += a;
    s->h[1] += b;
    s->h[2] += c;
    s->h[3] += d;
    s->h[4] += e;
}

static void sha1_byte(struct sha1 *s, uint32_t byte) {
    s->block[s->bytes++ % 64] = (uint8_t)byte;
    if (s->bytes % 64 == 0)
        sha1_block(s);
}

static void sha1_code_point(struct sha1 *s, uint32_t c) { /* as UTF-8 */
    if (c < 0x80) {
        sha1_byte(s, c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    sha1_byte(s, (0xFF00u >> (more + 1) & 0xFF) | c >> 6 * more);
    while (more--)
        sha1_byte(s, 0x80 | (c >> 6 * more & 0x3F));
}

GUID guid_of_name(const GUID *space, const WCHAR *text, size_t length) {
    struct sha1 s = {.h = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u, 0xC3D2E1F0u}};
    for (int shift = 24; shift >= 0; shift -= 8)
        sha1_byte(&s, space->Data1 >> shift & 0xFF);
    for (int shift = 8; shift >= 0; shift -= 8)
        sha1_byte(&s, space->Data2 >> shift & 0xFFu);
    for (int shift = 8; shift >= 0; shift -= 8)
        sha1_byte(&s, space->Data3 >> shift & 0xFFu);
    for (int i = 0; i < 8; i++)
        sha1_byte(&s, space->Data4[i]);
    for (size_t i = 0; i < length; i++) {
        uint32_t c = text[i];
        if (c >= 0xD800 && c < 0xDC00 && i + 1 < length)
            c = 0x10000 + ((c - 0xD800) << 10) + (uint32_t)(text[++i] - 0xDC00);
        sha1_code_point(&s, c);
    }
    uint64_t bits = s.bytes * 8;
    sha1_byte(&s, 0x80);
    while (s.bytes % 64 != 56)
        sha1_byte(&s, 0);
    for (int shift = 56; shift >= 0; shift -= 8)
        sha1_byte(&s, (uint32_t)(bits >> shift) & 0xFF);
    uint8_t digest[16];
    for (int i = 0; i < 16; i++)
        digest[i] = (uint8_t)(s.h[i / 4] >> (24 - 8 * (i % 4)));
    digest[6] = (digest[6] & 0x0F) | 0x50;
    digest[8] = (digest[8] & 0x3F) | 0x80;
    return from_bytes(digest);
}
