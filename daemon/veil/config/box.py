"""The box and its services: `[box]`, `[rtsp]`, `[page]`, `[agent]`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from veil.config.section import Name, Section

BOX_LOG = "box"
"""The name of the box's own log; no camera can have it."""


class BoxConfig(Section):
    """`[box]`: the device."""

    name: Name = Field("box", description="name of this device, in evidence and in MQTT topics")
    site: str = Field("", max_length=64, description="where it stands, free text, in evidence")
    state_dir: Path = Field(
        Path("/var/lib/veil"), description="what must outlive a restart: logs, recordings, model slots"
    )
    runtime_dir: Path = Field(
        Path("/run/veil"), description="sockets and snapshots; belongs on a memory file system"
    )


class RtspConfig(Section):
    """`[rtsp]`: the anonymized streams, `rtsp://box:PORT/NAME`."""

    enabled: bool = Field(default=True, description="whether streams are served")
    address: str = Field(
        "0.0.0.0",  # noqa: S104  VMSs pull from outside; what they get is masked
        description="address to listen at",
    )
    port: int = Field(8554, ge=1, le=65535, description="TCP port")
    slate_after_s: float = Field(
        0.7, ge=0.1, le=1.0, description="seconds without a masked frame until the slate is sent"
    )


class PageConfig(Section):
    """`[page]`: the small local page with the pictures of all cameras."""

    address: str = Field("127.0.0.1", description="address to listen at; the page asks for no password")
    port: int = Field(0, ge=0, le=65535, description="TCP port; 0: no page")


class AgentConfig(Section):
    """`[agent]`: what the box tells of itself, and how much evidence it keeps ready to send."""

    health_every_s: int = Field(
        30, ge=5, le=300, description="seconds between health messages; changes are told at once"
    )
    checkpoint_every_s: int = Field(
        60, ge=1, le=60, description="seconds at most until new log lines are signed"
    )
    outbox_max_mib: int = Field(
        1024,
        ge=16,
        le=65536,
        description="MiB of log lines kept ready until the fleet manager's receipt; others stay in the logs",
    )
    prometheus_port: int = Field(
        0, ge=0, le=65535, description="TCP port for metrics on this machine; 0: none"
    )
    home_assistant: bool = Field(
        default=False, description="whether Home Assistant is told of the cameras (MQTT discovery)"
    )
    home_assistant_prefix: str = Field(
        "homeassistant",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="first part of Home Assistant's discovery topics",
    )
