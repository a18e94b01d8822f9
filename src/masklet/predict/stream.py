"""Tracking a camera, or anything else without an end, in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from masklet.errors import PromptError
from masklet.io.frame_source import FrameSource
from masklet.io.images import read_own_image
from masklet.model.network import Network, expect_model
from masklet.predict.video import VideoSession
from masklet.tracking.policy import DEFAULT, TrackingPolicy, expect_policy
from masklet.types import FrameMasks, Size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Stream:
    """Frames in, masks out, for ever.

    The same tracking as `VideoSession`, frame for frame, for the same prompts in the same order. A stream has no known
    length, so it treats object pointers as in a video of 16 frames or more. Each frame prompted later than an object's
    first adds one memory, unless `TrackingPolicy(max_conditioning=...)` bounds how many are kept.
    """

    def __init__(self, model: Network, *, policy: TrackingPolicy = DEFAULT) -> None:
        expect_model(model)
        expect_policy(policy)
        self.model = model
        self._policy = policy
        self._session: VideoSession | None = None
        self._frames: LatestFrame | None = None

    @property
    def policy(self) -> TrackingPolicy:
        """What may differ in tracking; a stream keeps the one that it was made with."""
        return self._policy

    @property
    def frame(self) -> int:
        """Number of the frame last stepped, from 0; -1 before the first."""
        return -1 if self._frames is None else self._frames.number

    @property
    def object_ids(self) -> tuple[int, ...]:
        """All objects, in the order they were first prompted."""
        return () if self._session is None else self._session.object_ids

    @property
    def history_bytes(self) -> int:
        """Bytes held to remember all objects, exactly."""
        return 0 if self._session is None else self._session.history_bytes

    def step(self, frame: Any) -> FrameMasks:
        """Take the next frame, anything `read_image` takes (arrays are RGB), and return the masks on it.

        Raises `InputError` for a frame that is not a picture, or of another size than the first. A frame on which
        anything is raised counts as never handed in: the stream goes on with it, or with another in its place.
        """
        image = read_own_image(frame)
        if self._session is None or self._frames is None:
            frames = LatestFrame(image)
            session = VideoSession(self.model, frames, keep="window", policy=self._policy)
            masks = session.advance(frames.number)
            self._frames, self._session = frames, session
            return masks
        self._session.settle()  # needs the frame that was prompted, which is about to go
        return self._advance(self._session, self._frames, image)

    def _advance(self, session: VideoSession, frames: LatestFrame, image: NDArray[np.uint8]) -> FrameMasks:
        """Track one frame, or leave everything at the one before."""
        number, latest = frames.number, frames.image
        try:
            frames.put(number + 1, image)
            return session.advance(number + 1)
        except BaseException:  # out of memory, Ctrl-C
            session.features.pop(number + 1, None)
            frames.put(number, latest)
            raise

    def add(
        self,
        object_id: int,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        replace: bool = False,
    ) -> FrameMasks:
        """Prompt an object, new or known, on the frame last stepped, and return the masks on it.

        Arguments as of `VideoSession.add`. Raises `PromptError`.
        """
        session = self._stepped()
        return session.add(object_id, self.frame, points=points, labels=labels, box=box, mask=mask, replace=replace)

    def clear(self, object_id: int) -> FrameMasks:
        """Take back an object's prompts on the frame last stepped, and return the masks on it. Raises `PromptError`."""
        return self._stepped().clear(object_id, self.frame)

    def remove(self, object_id: int) -> None:
        """Forget an object; the others are not touched. Raises `PromptError` for an unknown one."""
        self._stepped().remove(object_id)

    def _stepped(self) -> VideoSession:
        if self._session is None:
            raise PromptError("a stream is prompted on the frame last stepped; call step(frame) first")
        return self._session


class LatestFrame(FrameSource):
    """A source that knows only the frame put in last."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        super().__init__("the stream", Size(*image.shape[:2]), fps=None)
        self.number = 0
        self.image = image

    def put(self, number: int, image: NDArray[np.uint8]) -> None:
        """Hold another frame. Raises `InputError` where its size is not the first one's."""
        self._check_size(image, f"frame {number}")
        self.number, self.image = number, image
        self._cache.clear()

    def __len__(self) -> int:
        raise TypeError("a stream has no length")

    def _read(self, number: int) -> NDArray[np.uint8]:
        if number != self.number:
            raise IndexError(f"a stream holds only its latest frame, {self.number}; not {number}")
        return self.image
