/* Guest RAM as a table of regions, each backed by part of a file, that may change while the guest runs.
 * Flags are what may be done to a region, by whomever: HDVLAB_MEMORY_READ, HDVLAB_MEMORY_WRITE. */
#ifndef HDVLAB_MEMORY_MAP_H
#define HDVLAB_MEMORY_MAP_H

#include "hdvlab.h"

#define MEMORY_MAP_SAME ((HRESULT)1)

struct memory_map;
struct system;

struct memory_place {
    HANDLE memory; /* good until memory_map_let_go */
    uint64_t offset;
    uint64_t file_id[2]; /* of platform_object_id */
    uint32_t flags;
    int stable; /* the file cannot shrink: its pages may be mapped */
};

/* may_span: a range may be located across regions that are side by side in one file, as a VM maps it. */
HRESULT memory_map_create(int may_span, struct memory_map **map);
/* Ends with its last reference, of which there is one to begin with. */
void memory_map_retain(struct memory_map *map);
void memory_map_release(struct memory_map *map);
/* The machine's own RAM, which stays its own and is not to be unmapped. `base` is where it is mapped here. */
HRESULT memory_map_add_own(struct memory_map *map, uint64_t gpa, uint64_t bytes, HANDLE memory, uint64_t offset,
                           uint8_t *base);
/* A region of somebody else's file, of which a copy is kept; file NO_HANDLE: bytes that nobody here can reach.
 * MEMORY_MAP_SAME: it was there already. */
HRESULT memory_map_add(struct memory_map *map, uint64_t gpa, uint64_t bytes, HANDLE file, uint64_t file_offset,
                       uint32_t flags);
/* Ends such a region, exactly as it was added; and the apertures of a system that touch it, unless NULL. */
HRESULT memory_map_remove(struct memory_map *map, uint64_t gpa, uint64_t bytes, struct system *apertures_of,
                          uint64_t *file_bytes);
void memory_map_remove_all(struct memory_map *map, struct system *apertures_of);
/* Copies out of (`to`) or into (`from`) regions that lie side by side, all or nothing. ERROR_NOACCESS: not wholly RAM,
 * or the file behind it has been cut; E_ACCESSDENIED: against a region's flags. A file that is cut, or whose disk is full,
 * in the very moment of a write may have got the bytes before that place. */
HRESULT memory_map_copy(struct memory_map *map, uint64_t gpa, uint64_t bytes, void *to, const void *from);
/* Whether a range is wholly of regions whose bytes nobody here can reach, and that allow what the flag says. */
int memory_map_is_remote(struct memory_map *map, uint64_t gpa, uint64_t bytes, uint32_t flag);
/* Whether there are regions besides the machine's own: a cheap look before a slow one. */
int memory_map_has_more(const struct memory_map *map);
/* Between these two no region ends. */
void memory_map_hold(struct memory_map *map);
void memory_map_let_go(struct memory_map *map);
/* Where a range is that is contiguous in one file; ERROR_NOACCESS when it is not. Held. */
HRESULT memory_map_locate(struct memory_map *map, uint64_t gpa, uint64_t bytes, struct memory_place *place);

#endif
