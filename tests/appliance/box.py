"""Veil in the machine, as docs/install.md installs it, with the kernel's `vivid` driver as its camera."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from appliance.commands_of_page import paragraphs
from appliance.machine import Machine

VEIL: Final = "/opt/veil/bin/veil"
CAMERA: Final = "entrance"
UNITS: Final = ("veil-rtsp", "veil-agent", f"veil-camera@{CAMERA}")
_PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "install.md"
_VIVID: Final = "n_devs=1 node_types=0x1"

# An emulated processor: a small picture, a small model, patience. What is promised stays as it is.
CONFIG: Final = f"""
[box]
name = "vm"
[detector]
bundle = "veil-n"
input_width = 160
input_height = 160
tiles_per_frame = 0
deadline_ms = 5000
stuck_after_s = 30
[capture]
width = 320
height = 180
frame_rate = 2
reconnect_max_s = 5
[encoder]
preset = "ultrafast"
bit_rate = 500_000
[recorder]
segment_s = 20
keep_gib = 1
min_free_mib = 100
[camera.{CAMERA}]
source = "/dev/video0"
"""
# Times of the units that an emulated processor cannot keep.
_PATIENCE: Final = """
[Service]
TimeoutStartSec=900
WatchdogSec=90
TimeoutStopSec=120
"""


class Box:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._page = paragraphs(_PAGE.read_text("utf-8"))

    def install(self) -> None:
        """What the page says after the packages: units, users, folders, a configuration."""
        for commands in self._page[1:3]:
            self.machine.ask(f"cd /root/veil\nset -e\n{commands}")
        self.machine.ask("rm /etc/veil/secrets/entrance.password")
        self.machine.ask(f"printf '%s' '{CONFIG}' >/etc/veil/veil.toml")
        for unit in (*UNITS[:2], "veil-camera@"):
            folder = f"/etc/systemd/system/{unit}.service.d"
            self.machine.ask(f"mkdir -p {folder}; printf '%s' '{_PATIENCE}' >{folder}/emulated.conf")
        self.machine.ask("systemctl daemon-reload")

    def enable(self) -> None:
        """The last command of the page."""
        self.machine.ask(self._page[3].splitlines()[-1], timeout_s=1500)

    def plug_in(self) -> None:
        self.machine.ask(f"modprobe vivid {_VIVID}; udevadm settle; test -e /dev/video0")

    def pull_out(self) -> None:
        """As a pulled USB plug: the device is gone while it is read."""
        self.machine.ask("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind")

    def put_back(self) -> None:
        self.machine.ask("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind; udevadm settle")

    def remove_driver(self) -> None:
        """With all that it brought: as on a box that never saw a camera."""
        unused = "lsmod | awk '/^(video|v4l2|cec|mc |tpg)/ && $3 == 0 {print $1}'"
        self.machine.ask(
            f"modprobe -r vivid; for i in 1 2 3 4; do for m in $({unused}); do rmmod $m; done; done"
        )

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The lines of one kind in the camera's log, oldest first."""
        said = self.machine.ask(f"cat /var/lib/veil/log/{CAMERA}/events.jsonl")
        return [event for event in map(json.loads, said.splitlines()) if event["kind"] == kind]

    def state(self) -> dict[str, Any]:
        """What the camera's process says of itself; empty while there is none."""
        done = self.machine.run(f"cat /run/veil/cameras/{CAMERA}/state.json")
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    def show(self, unit: str, name: str) -> str:
        return self.machine.ask(f"systemctl show --value -p {name} {unit}")

    def journal(self, unit: str, lines: int = 40) -> str:
        return self.machine.run(f"journalctl --no-pager -o cat -n {lines} -u {unit}").stdout

    def modes(self, folder: str) -> Counter[str]:
        """Owner and mode of everything in a folder."""
        return Counter(self.machine.ask(f"find {folder} -printf '%u:%g %m\\n'").splitlines())
