"""Where a box keeps its things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from veil.config import Config


@dataclass(frozen=True, slots=True)
class CameraPlaces:
    """Paths of one camera. `log` and `recordings` outlive a restart; the others belong in memory."""

    log: Path
    recordings: Path
    state: Path
    stream: Path
    snapshot: Path
    rtsp_socket: Path
    restart: Path
    """While it is there, the camera's process is asked to end, for its supervisor to start it again."""

    @classmethod
    def of(cls, config: Config, camera: str) -> CameraPlaces:
        runtime = config.box.runtime_dir / "cameras" / camera
        return cls(
            log=config.box.state_dir / "log" / camera / "events.jsonl",
            recordings=config.recordings(camera),
            state=runtime / "state.json",
            stream=runtime / "stream.json",
            snapshot=runtime / "snapshot.jpg",
            rtsp_socket=config.box.runtime_dir / "rtsp.sock",
            restart=config.box.runtime_dir / "restart" / camera,
        )
