"""What index masks can number."""

from __future__ import annotations

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.ops.index_masks import MAX_OBJECT_ID, index_map

MASK = np.eye(3, dtype=bool)[None]


@pytest.mark.parametrize("object_id", [0, -1, MAX_OBJECT_ID + 1])
def test_an_object_without_room_in_an_index_mask_is_an_error(object_id):
    with pytest.raises(InputError, match=f"from 1 to 65535; got {object_id}"):
        index_map(MASK, [object_id])


def test_the_last_number_has_room():
    assert index_map(MASK, [MAX_OBJECT_ID]).max() == 65535
