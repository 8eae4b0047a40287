"""One camera as viewers see it: its packets, or its slate while none come. No I/O, times are given."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, Protocol

from veil.rtsp_server.timeline import Timeline
from veil.rtsp_server.wire import Hello, Packet

# Often enough for players that count pictures before they show the first one.
SLATE_INTERVAL_NS: Final = 250_000_000
KEYFRAME_REQUEST_INTERVAL_NS: Final = 500_000_000


class Viewer(Protocol):
    """Somebody who watches."""

    def show(self, data: bytes, at_ns: int, *, keyframe: bool) -> None:
        """Takes one access unit or drops it; never blocks."""
        ...

    def disconnect(self) -> None:
        """The stream ends for this viewer."""
        ...


class CameraState(StrEnum):
    """What viewers see."""

    LIVE = "live"
    SLATE = "slate"


class Camera:
    """From the first hello on there is always something to show. Not thread-safe: the caller holds a lock.

    Args:
        slate_after_ns: how long nothing may come before the slate is shown.
    """

    def __init__(self, hello: Hello, *, slate_after_ns: int, now_ns: int) -> None:
        self.hello = hello
        self.viewers: list[Viewer] = []
        self.packets = 0
        self.slates = 0
        self._slate_after_ns = slate_after_ns
        self._timeline = Timeline()
        # Until the first keyframe there is nothing to show but the slate, and it is shown at once.
        self.state = CameraState.SLATE
        self._request: Callable[[], None] | None = None
        self._slate_due_ns = now_ns + slate_after_ns
        self._asked_ns: int | None = None
        self._is_asking = False

    @property
    def is_connected(self) -> bool:
        return self._request is not None

    def connected(self, hello: Hello, request_keyframe: Callable[[], None]) -> list[Viewer]:
        """A camera process said hello. Returns the viewers whose stream ended, because it is another now."""
        ended: list[Viewer] = []
        is_same = (self.hello.width, self.hello.height, self.hello.parameter_sets) == (
            hello.width,
            hello.height,
            hello.parameter_sets,
        )
        if not is_same:
            ended, self.viewers = self.viewers, []
        self.hello = hello
        self._request = request_keyframe
        self._asked_ns, self._is_asking = None, False
        return ended

    def disconnected(self, now_ns: int) -> None:
        """The camera process is gone: the slate is due at once."""
        self._request = None
        self._slate_due_ns = min(self._slate_due_ns, now_ns)

    def add(self, viewer: Viewer, now_ns: int) -> None:
        """A new viewer; it starts at a keyframe, which is asked for, or at the slate."""
        self.viewers.append(viewer)
        if self.state is CameraState.SLATE:
            self._show_slate(now_ns)
        else:
            self.want_keyframe(now_ns)

    def remove(self, viewer: Viewer) -> None:
        if viewer in self.viewers:
            self.viewers.remove(viewer)

    def want_keyframe(self, now_ns: int) -> None:
        """Asks the camera for a keyframe, at most twice a second; a wish that comes too soon is kept."""
        self._is_asking = True
        is_too_soon = self._asked_ns is not None and now_ns - self._asked_ns < KEYFRAME_REQUEST_INTERVAL_NS
        if self._request is None or is_too_soon:
            return
        self._is_asking, self._asked_ns = False, now_ns
        self._request()

    def packet(self, packet: Packet, now_ns: int) -> None:
        """One access unit came. After a slate only a keyframe makes the stream live again."""
        self.packets += 1
        if self.state is CameraState.SLATE and not packet.keyframe:
            self.want_keyframe(now_ns)
            return
        if packet.keyframe:
            self.state, self._is_asking = CameraState.LIVE, False
        self._slate_due_ns = now_ns + self._slate_after_ns
        at_ns = self._timeline.place(packet.pts_ns, now_ns)
        for viewer in tuple(self.viewers):
            viewer.show(packet.data, at_ns, keyframe=packet.keyframe)

    def tick(self, now_ns: int) -> None:
        """To be called several times a second: shows the slate when it is due, repeats kept wishes."""
        if now_ns >= self._slate_due_ns:
            self._show_slate(now_ns)
        if self._is_asking and self.state is CameraState.LIVE:
            self.want_keyframe(now_ns)

    def _show_slate(self, now_ns: int) -> None:
        self.state = CameraState.SLATE
        self._slate_due_ns = now_ns + SLATE_INTERVAL_NS
        data = self.hello.slates[self.slates % 2]
        self.slates += 1
        at_ns = self._timeline.place_now(now_ns)
        for viewer in tuple(self.viewers):
            viewer.show(data, at_ns, keyframe=True)
