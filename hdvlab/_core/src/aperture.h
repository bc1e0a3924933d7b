/* Where a system keeps apertures that have died: their pages are zeros, their addresses not yet another's. */
#ifndef HDVLAB_APERTURE_H
#define HDVLAB_APERTURE_H

#include <pthread.h>
#include <stdint.h>

#include "WindowsTypes.h"

#define DEAD_APERTURES_MAX 1024u /* of a system; beyond it the oldest are unmapped for good */

struct aperture;
struct device;
struct memory_map;
struct system;

struct graveyard {
    pthread_mutex_t lock; /* held for nothing but the list */
    struct aperture *first, *last;
    uint32_t count;
};

struct window;

void graveyard_init(struct graveyard *dead);
void graveyard_destroy(struct graveyard *dead);
/* Lists an aperture that a machine elsewhere has given, so that its end is a row that says what ended. The window, if
 * there is one, is ours to unmap from here on, also when this fails (E_OUTOFMEMORY, ERROR_INVALID_STATE). */
HRESULT aperture_adopt(struct device *device, void *address, struct window *window, uint64_t gpa, uint32_t bytes);
/* Ends a device's apertures, each with its row. */
void apertures_drop(struct device *device);
/* The same for those whose range is not at the same place of the same file any more; `map` NULL: all that are of a map. */
void apertures_end_moved(struct device *device, struct memory_map *map);
/* The same for all apertures of a system that touch the range. The memory map is held for writing. */
void apertures_end_in(struct system *system, uint64_t first, uint64_t last);

#endif
