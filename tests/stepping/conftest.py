from __future__ import annotations

from ..labs import _quick_collections as _quick_collections
from ..labs import lab as lab
from ..labs import no_handle_is_left as no_handle_is_left
