/* The registers of a register file as one description gives them, with their stored values. */
#include <stdlib.h>
#include <string.h>

#include "register_file.h"

int layout_is_sound(const HDVLAB_DEVICE_DESCRIPTION *d) {
    for (uint32_t i = 0; i < d->register_count; i++) {
        const HDVLAB_REGISTER *r = &d->registers[i], *before = i ? r - 1 : NULL;
        if (r->bar >= HDV_PCI_BAR_COUNT || (r->size != 1 && r->size != 2 && r->size != 4 && r->size != 8) ||
            r->offset % r->size || d->bar_size[r->bar] < r->size || r->offset > d->bar_size[r->bar] - r->size)
            return 0;
        if (before && (before->bar > r->bar || (before->bar == r->bar && before->offset + before->size > r->offset)))
            return 0;
    }
    return 1;
}

struct register_layout *layout_create(const HDVLAB_DEVICE_DESCRIPTION *d) {
    struct register_layout *layout = calloc(1, sizeof *layout);
    if (!layout)
        return NULL;
    layout->count = d->register_count;
    memcpy(layout->bar_flags, d->bar_flags, sizeof layout->bar_flags);
    layout->registers = calloc(d->register_count + 1u, sizeof *layout->registers);
    layout->values = calloc(d->register_count + 1u, sizeof *layout->values);
    if (!layout->registers || !layout->values) {
        layout_destroy(layout);
        return NULL;
    }
    if (d->register_count) /* nothing may come as NULL */
        memcpy(layout->registers, d->registers, d->register_count * sizeof *d->registers);
    for (uint32_t bar = 0, i = 0; bar <= HDV_PCI_BAR_COUNT; bar++) {
        while (i < layout->count && layout->registers[i].bar < bar)
            i++;
        layout->first[bar] = i;
    }
    layout_reset(layout);
    return layout;
}

void layout_destroy(struct register_layout *layout) {
    while (layout) {
        struct register_layout *before = layout->before;
        free(layout->registers);
        free((void *)layout->values);
        free(layout);
        layout = before;
    }
}

void layout_reset(struct register_layout *layout) {
    for (uint32_t i = 0; i < layout->count; i++)
        atomic_store(&layout->values[i], layout->registers[i].reset);
}
