"""Index masks: one picture of whole numbers in which each object has its own, and 0 is the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from masklet.errors import InputError
from masklet.ops.boxes import mask_areas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_OBJECT_ID = 65535
"""Index masks are uint16, as the PNGs made of them."""


def index_map(masks: NDArray[np.bool_], ids: Sequence[int]) -> NDArray[np.uint16]:
    """Masks [n, H, W] as one picture [H, W] of object ids, 0 where there is none.

    Where masks overlap the smaller one is on top: what lies within another object's outline is usually in front of it.
    Raises `InputError` for an id outside 1 to `MAX_OBJECT_ID`.
    """
    for object_id in ids:
        if not 1 <= object_id <= MAX_OBJECT_ID:
            raise InputError(f"an index mask numbers objects from 1 to {MAX_OBJECT_ID}; got {object_id}")
    index = np.zeros(masks.shape[-2:], np.uint16)
    for place in np.argsort(-mask_areas(masks), kind="stable"):
        index[masks[place]] = ids[place]
    return index
