/* Ref: Windows SDK, ComputeDefs.h: the part HDV needs. */
#ifndef HDVLAB_COMPUTE_DEFS_H
#define HDVLAB_COMPUTE_DEFS_H

#include "WindowsTypes.h"

typedef void *HCS_SYSTEM;

#endif
