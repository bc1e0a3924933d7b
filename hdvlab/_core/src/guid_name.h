/* GUIDs as text, and the GUID that a name stands for. */
#ifndef HDVLAB_GUID_NAME_H
#define HDVLAB_GUID_NAME_H

#include <stddef.h>

#include "WindowsTypes.h"

/* Whether `text` is a GUID: 8-4-4-4-12 hexadecimal digits, no braces. */
int guid_parse(const WCHAR *text, size_t length, GUID *guid);
/* UUID version 5 (RFC 9562, section 5.5) of the text's UTF-8 in the namespace `space`. HCS names its SCSI controllers so,
 * in the namespace of their device class. */
GUID guid_of_name(const GUID *space, const WCHAR *text, size_t length);

#endif
