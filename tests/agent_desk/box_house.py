"""A box's folders and configuration for commands that act on them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agent_desk.house import HandClock, body_text
from veil.agent.commands import BoxActions, Done
from veil.config import Config
from veil.config_load import load_config
from veil.messages.command import CommandBody
from veil.places import CameraPlaces

CAMERAS = ("front", "yard")


@dataclass
class Box:
    """`root` holds veil.toml and all that a box has; `adopted` what the agent was given."""

    root: Path
    clock: HandClock = field(default_factory=HandClock)
    adopted: list[Config] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.file = self.root / "veil.toml"
        self.write()
        self.config = load_config(self.file, {})
        self.actions = BoxActions(self.config, self.clock, self.adopted.append, {})

    def write(self, *, extra: str = "", front: str = "", cameras: tuple[str, ...] = CAMERAS) -> None:
        """veil.toml anew; `extra` at its top, `front` inside [camera.front]."""
        text = f'{extra}\n[box]\nname = "box-7"\nstate_dir = "{self.root}/state"\n'
        text += f'runtime_dir = "{self.root}/run"\n[fleet]\n'
        for name in cameras:
            text += (
                f'[camera.{name}]\nsource = "rtsp://192.0.2.1/{name}"\n{front if name == "front" else ""}\n'
            )
        self.file.write_text(text)

    def places(self, camera: str = "front") -> CameraPlaces:
        return CameraPlaces.of(self.config, camera)

    def run(self, command: str, **arguments: Any) -> Done:
        text = body_text(command=command, arguments=arguments)
        return self.actions.run(CommandBody.decode(text.encode()))

    def show(self, content: bytes, *, age_s: float = 1.0, camera: str = "front") -> Path:
        """What the camera's process left as its newest picture."""
        path = self.places(camera).snapshot
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        at = self.clock.wall - int(age_s * 1_000_000_000)
        os.utime(path, ns=(at, at))
        return path


def jpeg(width: int, height: int, *, noise: int = 0, quality: int = 80) -> bytes:
    """A picture; with noise it is hard to compress."""
    pixels = np.full((height, width, 3), (40, 120, 200), np.uint8)
    if noise:
        pixels = np.random.default_rng(1).integers(0, noise, pixels.shape, np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()
