from __future__ import annotations

from ..labs import lab as lab
from ..labs import no_handle_is_left as no_handle_is_left
