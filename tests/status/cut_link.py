"""A box behind a network link of its own (a network namespace), which can be cut without a word."""

from __future__ import annotations

import functools
import os
import random
import shutil
import subprocess
from types import TracebackType
from typing import Self


@functools.cache
def link_is_missing() -> str | None:
    """Why there can be no such link here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "ip is not installed (Debian: iproute2)"
    try:
        with CutLink():
            return None
    except subprocess.CalledProcessError as error:
        return f"this machine has no network namespaces: {error.stderr.strip()[:200]}"


class CutLink:
    """A context manager. `broker_host` is this side's address; programs run on the other with `prefix`."""

    def __init__(self) -> None:
        chance = random.SystemRandom()
        self._id = f"{chance.randrange(16**6):06x}"
        # 198.18.0.0/15 is for benchmarks of networks: nobody's.
        self._net = f"198.{chance.choice((18, 19))}.{chance.randrange(256)}"
        self._low = chance.randrange(0, 63) * 4
        self._ours, self._theirs = f"veil{self._id}a", f"veil{self._id}b"
        self.name = f"veil{self._id}"

    @property
    def broker_host(self) -> str:
        return f"{self._net}.{self._low + 1}"

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)

    def __enter__(self) -> Self:
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs)
            _ip("link", "set", self._theirs, "netns", self.name)
            _ip("addr", "add", f"{self.broker_host}/30", "dev", self._ours)
            _ip("link", "set", self._ours, "up")
            _ip("-n", self.name, "addr", "add", f"{self._net}.{self._low + 2}/30", "dev", self._theirs)
            for device in ("lo", self._theirs):
                _ip("-n", self.name, "link", "set", device, "up")
        except BaseException:
            self._remove()
            raise
        return self

    def cut(self) -> None:
        """Nothing passes, in both directions, and nobody is told: no FIN, no RST."""
        _ip("link", "set", self._ours, "down")

    def mend(self) -> None:
        _ip("link", "set", self._ours, "up")

    def _remove(self) -> None:
        subprocess.run(["ip", "link", "del", self._ours], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)
