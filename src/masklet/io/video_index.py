"""Which frames a video file holds, when each is shown, and where decoding can begin: found without decoding any."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import av

from masklet.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from av.container import InputContainer

MAX_UNEVENNESS = 1.0
"""In frames: by so much a frame is shown early or late in a video whose rate does not vary. Containers round times."""

_MATROSKA_SLACK = 0.25


@dataclass(frozen=True)
class VideoIndex:
    """The frames of one file.

    num_frames: how many it should have, more than can be decoded where it breaks off; fps: the mean, None if unknown;
    times: when each intact frame is shown, ascending, in the stream's time base of `tick` seconds, or None where only
    counting decoded frames tells their numbers; starts: the frames at which decoding can begin, ascending from 0.
    """

    num_frames: int
    fps: float | None
    times: Sequence[int] | None
    starts: Sequence[int]
    tick: float

    @property
    def uneven_times(self) -> list[float] | None:
        """When each frame is shown, in seconds from the first; None where that is as `fps` tells, or not known."""
        if self.times is None or not self.fps:
            return None
        seconds = [(time - self.times[0]) * self.tick for time in self.times]
        is_even = all(abs(time * self.fps - number) < MAX_UNEVENNESS for number, time in enumerate(seconds))
        return None if is_even else seconds

    def start_for(self, number: int) -> int:
        """The last frame not after `number` at which decoding can begin."""
        return self.starts[bisect_right(self.starts, number) - 1]

    def number_at(self, time: int | None) -> int | None:
        """The number of the frame shown at `time`, or None if there is none."""
        if self.times is None or time is None:
            return None
        place = bisect_left(self.times, time)
        return place if place < len(self.times) and self.times[place] == time else None


class _Packet(NamedTuple):
    time: int | None
    is_start: bool
    is_shown: bool


class _Scan(NamedTuple):
    """All packets of the video in the order they are stored, up to damage if there is any.

    end: seconds at which the last packet of any stream ends; ticks: of the video's time base up to its last packet.
    """

    packets: list[_Packet]
    damaged: bool
    end: float
    ticks: int


def index_video(path: str) -> VideoIndex:
    """Index the main video stream of a file. Raises `InputError` where there is none, `av.FFmpegError` for damage."""
    with av.open(path) as container:
        stream = video_stream(container, path)
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate else None
        tick = float(stream.time_base or 0)
        scan = _scan(container, stream)
        missing = _missing(path, container, stream, scan, fps)
        trusted = _trusts_times(container, stream, scan.packets)
    if trusted:
        times, starts = _shown(scan.packets)
        if times and times[0] == _first_time(path):
            return VideoIndex(len(times) + missing, fps, times, starts, tick)
    count, damaged = _count(path)
    return VideoIndex(count + max(missing, int(damaged)), fps, None, [0], tick)


def video_stream(container: InputContainer, path: str) -> av.VideoStream:
    """The stream that players would show, several threads at work on it. Raises `InputError` if there is none."""
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise InputError(f"cannot read {path} as a video: it has no pictures in it")
    stream.thread_type = "AUTO"
    return stream


def decode_stream(container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Decode from where the container stands, giving out every frame there is before raising `av.FFmpegError`."""
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise av.InvalidDataError(0, "a frame of it is cut off")
            yield from packet.decode()
    except av.FFmpegError:
        yield from stream.codec_context.decode(None)  # what the decoder's threads still held
        raise


def _scan(container: InputContainer, stream: av.VideoStream) -> _Scan:
    packets: list[_Packet] = []
    end, ticks = 0.0, 0
    try:
        for packet in container.demux():
            if packet.is_corrupt:
                return _Scan(packets, True, end, ticks)
            if not packet.size:  # the demuxer's word for the end
                continue
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index == stream.index:
                packets.append(_Packet(packet.pts, packet.is_keyframe, not packet.is_discard))
                ticks = len(packets) if packet.dts is None else packet.dts + 1
    except av.FFmpegError:
        return _Scan(packets, True, end, ticks)
    return _Scan(packets, False, end, ticks)


def _missing(path: str, container: InputContainer, stream: av.VideoStream, scan: _Scan, fps: float | None) -> int:
    """How many frames the file promises but does not hold; at least 1 where it is damaged."""
    kind = container.format.name
    promised = len(scan.packets)
    if "mov" in kind:
        if scan.damaged or _is_mp4_cut(path):  # else an edit list hides the others on purpose
            promised = max(stream.frames, len(scan.packets) + 1)
    elif kind == "avi":
        # A recorder that drops a frame writes an empty one, which counts as a tick and is not handed out.
        promised += max(stream.frames - scan.ticks, 0)
    elif "matroska" in kind and container.duration and fps:
        short = container.duration / av.time_base - scan.end
        promised += round(short * fps) if short > max(_MATROSKA_SLACK, 2 / fps) else 0
    elif kind == "gif":
        promised += not _has_gif_trailer(path)
    return max(promised - len(scan.packets), int(scan.damaged))


def _is_mp4_cut(path: str) -> bool:
    """Whether the last of the boxes that an mp4 or mov file consists of reaches past the end of the file."""
    with open(path, "rb") as file:
        end = file.seek(0, 2)
        place = 0
        while place < end:
            file.seek(place)
            header = file.read(16)
            if not header[4:8].strip().isalnum():  # what a recorder added behind the last box
                return False
            size = int.from_bytes(header[:4], "big")
            if size == 0:  # the last box, as long as the file
                return False
            if size == 1:
                size = int.from_bytes(header[8:], "big")
            place += max(size, 8)
    return place > end


def _has_gif_trailer(path: str) -> bool:
    """A gif does not say how long it is, but its last byte is a semicolon (some writers pad with zeros)."""
    with open(path, "rb") as file:
        file.seek(-min(64, file.seek(0, 2)), 2)
        return file.read().rstrip(b"\0").endswith(b";")


def _trusts_times(container: InputContainer, stream: av.VideoStream, packets: list[_Packet]) -> bool:
    """Whether each packet is one frame, shown at a time of its own."""
    times = [packet.time for packet in packets]
    if None in times or len(set(times)) < len(times):
        return False
    if container.format.name == "avi":  # it stores no times; FFmpeg guesses, wrongly where frames are reordered
        return all(packet.is_start for packet in packets)
    return stream.codec_context.name not in ("vp8", "libvpx")  # some of its packets are never shown


def _shown(packets: list[_Packet]) -> tuple[list[int], list[int]]:
    """Times of the frames that will be shown, ascending, and the numbers of those at which decoding can begin.

    A clip cut out of a longer one may begin with frames that need an earlier key frame: decoders leave them out.
    """
    first = next((place for place, packet in enumerate(packets) if packet.is_start), len(packets))
    usable = sorted((packet.time or 0, packet.is_start) for packet in packets[first:] if packet.is_shown)
    if usable:
        usable = [item for item in usable if item[0] >= (packets[first].time or 0)]
    starts = [number for number, (_, is_start) in enumerate(usable) if is_start]
    return [time for time, _ in usable], starts if starts[:1] == [0] else [0, *starts]


def _first_time(path: str) -> int | None:
    with av.open(path) as container:
        frame = next(decode_stream(container, video_stream(container, path)), None)
        return frame.pts if frame is not None else None


def _count(path: str) -> tuple[int, bool]:
    """Count frames by decoding them all; and whether that ended in damage."""
    count = 0
    with av.open(path) as container:
        try:
            for _ in decode_stream(container, video_stream(container, path)):
                count += 1
        except av.FFmpegError:
            return count, True
    return count, False
