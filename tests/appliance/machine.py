"""A virtual machine with the image of `build-image`: started, asked over SSH, ended; the image stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from veil.demo.ports import free_port

RTSP_PORT = 8554
SSH_PORT = 22
_BOOT_S = 300.0


class Machine:
    """Runs from entry to exit.

    QEMU emulates the processor (there need be no KVM), many times slower than the one it runs on: whoever
    waits has to be patient.

    Args:
        image: the folder that build-image filled.
        folder: for the console's text and the socket of the connection.
    """

    def __init__(self, image: Path, folder: Path) -> None:
        self._image, self._folder = image, folder
        self._ssh_port, self.rtsp_port = free_port(0), free_port(0)
        self._qemu: subprocess.Popen[bytes] | None = None

    @property
    def console(self) -> str:
        path = self._folder / "console.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def __enter__(self) -> Self:
        ports = {self._ssh_port: SSH_PORT, self.rtsp_port: RTSP_PORT}
        forwards = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in ports.items())
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"]
        command += ["-smp", "2", "-m", "2048"]
        command += ["-kernel", str(self._image / "vmlinuz"), "-initrd", str(self._image / "initrd.img")]
        command += ["-append", "root=/dev/vda rw console=ttyS0 quiet"]
        command += ["-drive", f"file={self._image / 'root.ext4'},if=virtio,format=raw,snapshot=on"]
        command += ["-nic", f"user,model=virtio-net-pci,{forwards}", "-device", "virtio-rng-pci"]
        command += ["-display", "none", "-serial", f"file:{self._folder / 'console.log'}", "-no-reboot"]
        # Whatever ends the tests ends it.
        leash = [sys.executable, "-m", "veil.host.leash", "nice", "-n", "5"]
        self._qemu = subprocess.Popen(
            [*leash, *command],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "VEIL_DIES_WITH": str(os.getpid()), "TMPDIR": str(self._folder)},
        )
        try:
            self.until(lambda: self.run("true", timeout_s=30).returncode == 0, "the machine answers", _BOOT_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self, command: str, *, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """A command of bash as root; what it prints on both outputs is in `stdout`."""
        try:
            return subprocess.run(
                [*self._ssh(), f"exec 2>&1; {command}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = error.stdout.decode("utf-8", "replace") if isinstance(error.stdout, bytes) else ""
            return subprocess.CompletedProcess(command, 124, said, f"no end within {timeout_s:.0f} s")

    def ask(self, command: str, *, timeout_s: float = 300) -> str:
        """What a command prints, which has to end with 0."""
        done = self.run(command, timeout_s=timeout_s)
        assert done.returncode == 0, f"{command}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        subprocess.run([*self._ssh(), f"cat >{path}"], input=text, text=True, timeout=60, check=True)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._qemu is not None
            assert self._qemu.poll() is None, f"QEMU ended\n{self.console[-3000:]}"
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{self.console[-3000:]}"
            time.sleep(1)

    def _ssh(self) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "20",
            "ControlMaster": "auto",
            "ControlPath": str(self._folder / "ssh"),
            "ControlPersist": "60",
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return [
            "ssh",
            *flags,
            "-i",
            str(self._image / "key"),
            "-p",
            str(self._ssh_port),
            "root@127.0.0.1",
        ]

    def _end(self) -> None:
        if self._qemu is None:
            return
        self._qemu.terminate()
        try:
            self._qemu.wait(20)
        except subprocess.TimeoutExpired:
            self._qemu.kill()
            self._qemu.wait()
