"""Any container, codec or raw PCM to float32 mono at the rate asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono samples in [-1, 1], shape `(samples,)` float32, `rate` of them per second; `source` names them in errors."""

    samples: NDArray[np.float32]
    rate: int
    source: str = "<memory>"

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate
