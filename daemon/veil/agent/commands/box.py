"""What commands do on a box."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256

from veil import __version__
from veil.agent.commands.actions import Done
from veil.agent.commands.manifest import read_manifest
from veil.agent.commands.snapshot import newest_picture
from veil.audit.event import Event, Kind, Value
from veil.config import CameraConfig, Config
from veil.config_load import load_config
from veil.domain.clock import Clock
from veil.errors import CommandError, ConfigError
from veil.messages.command import Arguments, Command, CommandBody, Result
from veil.places import CameraPlaces
from veil.restart import request_restart

_OLDEST_PICTURE_S = 60.0


class BoxActions:
    """Carries commands out; see `Actions`.

    Args:
        adopt: takes a new configuration that verified, before any camera is restarted. Where it raises
            VeilError, the old one stays.
        environ: overrides the configuration, as at the agent's start.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        adopt: Callable[[Config], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._config = config
        self._clock = clock
        self._adopt = adopt
        self._environ = environ

    def run(self, body: CommandBody) -> Done:
        match body.command:
            case Command.PING:
                return Done(Result(version=f"veil {__version__}, Python {platform.python_version()}"))
            case Command.RELOAD:
                return self._reload()
            case Command.RESTART_CAMERA:
                return self._restart_camera(self._camera(body.arguments))
            case Command.SNAPSHOT:
                return self._snapshot(self._camera(body.arguments))
            case Command.MANIFEST:
                return self._manifest(self._camera(body.arguments), body.arguments)

    def _camera(self, arguments: Arguments) -> CameraConfig:
        camera = self._config.cameras.get(arguments.camera or "")
        if camera is None:
            names = ", ".join(self._config.cameras) or "none"
            raise CommandError(f"This box has no such camera; it has {names}.")
        return camera

    def _reload(self) -> Done:
        old = self._config
        try:
            new = load_config(old.path, self._environ)
        except ConfigError as error:
            # Its head says that nothing was started; here, what runs goes on.
            raise CommandError(f"The configuration is kept as it was: {error.message}") from error
        _check_reloadable(old, new)
        # Compared as they are: a digest leaves secrets out.
        changed = tuple(name for name in new.cameras if new.cameras[name] != old.cameras[name])
        self._adopt(new)
        self._config = new
        for name in changed:
            request_restart(CameraPlaces.of(new, name).restart)
        events: tuple[Event, ...] = ()
        if changed or old.digest != new.digest:
            data: dict[str, Value] = {
                "what": "in_use",
                "old": old.digest,
                "new": new.digest,
                "restarted": changed,
            }
            events = (Event(Kind.CONFIG_CHANGED, data),)
        return Done(Result(restarted=changed), events)

    def _restart_camera(self, camera: CameraConfig) -> Done:
        request_restart(CameraPlaces.of(self._config, camera.name).restart)
        return Done(Result(restarted=(camera.name,)))

    def _snapshot(self, camera: CameraConfig) -> Done:
        path = CameraPlaces.of(self._config, camera.name).snapshot
        most_s = min(_OLDEST_PICTURE_S, 5 + 2 * camera.preview.interval_s)
        picture = newest_picture(path, self._clock.wall_ns(), most_s)
        data: dict[str, Value] = {
            "what": "snapshot",
            "camera": camera.name,
            "sha256": sha256(picture.jpeg).hexdigest(),
            "bytes": len(picture.jpeg),
        }
        return Done(Result(jpeg=picture.base64()), (Event(Kind.RECORDING_ACCESSED, data),))

    def _manifest(self, camera: CameraConfig, arguments: Arguments) -> Done:
        start, end = arguments.start or "", arguments.end or ""
        log = CameraPlaces.of(self._config, camera.name).log
        manifest = read_manifest(log, _microseconds(start), _microseconds(end), arguments.after)
        data: dict[str, Value] = {
            "what": "manifest",
            "camera": camera.name,
            "start": start,
            "end": end,
            "segments": len(manifest.segments),
        }
        result = Result(segments=manifest.segments, more_after=manifest.more_after)
        return Done(result, (Event(Kind.RECORDING_ACCESSED, data),))


def _check_reloadable(old: Config, new: Config) -> None:
    """Raises CommandError for what running processes cannot take over; then nothing is changed."""
    parts = []
    if (old.box.name, old.box.state_dir, old.box.runtime_dir) != (
        new.box.name,
        new.box.state_dir,
        new.box.runtime_dir,
    ):
        parts.append("[box]")
    parts += [
        f"[{name}]" for name in ("rtsp", "page", "fleet", "agent") if getattr(old, name) != getattr(new, name)
    ]
    parts += [f"[camera.{name}] (new)" for name in new.cameras.keys() - old.cameras.keys()]
    parts += [f"[camera.{name}] (gone)" for name in old.cameras.keys() - new.cameras.keys()]
    if parts:
        raise CommandError(
            f"The configuration is kept as it was: {', '.join(sorted(parts))} changed.",
            hint="That needs the box's services restarted (systemctl restart veil.target).",
        )


def _microseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)
