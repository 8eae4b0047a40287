"""What the host layer says of the machine."""

from __future__ import annotations

import errno
import mmap
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from veil.host.clock import StepDetector, clock_state
from veil.host.disk import MEBIBYTE, disk_space, file_system, nearest_existing, write_speed
from veil.host.resources import process_use
from veil.host.sdnotify import Supervisor
from veil.host.thermal import temperatures


class TestSupervisor:
    @pytest.fixture
    def messages(self, tmp_path: Path) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5)
        return channel

    def test_says_what_systemd_expects(self, messages: socket.socket, tmp_path: Path) -> None:
        supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        supervisor.ready()
        supervisor.watchdog()
        supervisor.status("two\nlines")
        supervisor.stopping()
        assert [messages.recv(100).decode() for _ in range(4)] == [
            "READY=1",
            "WATCHDOG=1",
            "STATUS=two lines",
            "STOPPING=1",
        ]
        messages.close()

    def test_own_environment_goes_through_libsystemd(
        self, messages: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("systemd.daemon")
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        Supervisor().ready()
        assert messages.recv(100) == b"READY=1"
        messages.close()

    def test_abstract_sockets_work(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            name = f"veil-test-{os.getpid()}"
            channel.bind(f"\0{name}")
            Supervisor({"NOTIFY_SOCKET": f"@{name}"}).ready()
            assert channel.recv(100) == b"READY=1"

    def test_without_a_supervisor_nothing_happens(self) -> None:
        supervisor = Supervisor({})
        supervisor.ready()
        assert supervisor.watchdog_interval_s is None

    def test_watchdog_is_fed_at_half_its_time(self) -> None:
        assert Supervisor({"WATCHDOG_USEC": "10000000"}).watchdog_interval_s == 5
        own = {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}
        assert Supervisor(own).watchdog_interval_s == 5
        assert Supervisor({**own, "WATCHDOG_PID": "1"}).watchdog_interval_s is None
        assert Supervisor({"WATCHDOG_USEC": "0"}).watchdog_interval_s is None


class TestDisk:
    def test_space_is_what_the_kernel_says(self, tmp_path: Path) -> None:
        space = disk_space(tmp_path)
        stat = os.statvfs(tmp_path)
        assert space.total == stat.f_blocks * stat.f_frsize
        assert 0 <= space.used_share <= 1

    def test_a_write_leaves_nothing_behind(self, tmp_path: Path) -> None:
        assert write_speed(tmp_path, MEBIBYTE) > 0
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_takes_nothing_raises(self) -> None:
        with pytest.raises(OSError, match="proc"):
            write_speed(Path("/proc"), MEBIBYTE)

    def test_the_innermost_mount_counts(self, tmp_path: Path) -> None:
        mounts = tmp_path / "mountinfo"
        inner = tmp_path / "a b"
        (inner / "deep").mkdir(parents=True)
        escaped = str(inner.resolve()).replace(" ", "\\040")
        mounts.write_text(
            "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
            f"22 21 8:2 / {escaped} rw,noatime shared:1 - xfs /dev/sdb1 rw\n"
            f"23 21 0:5 / {escaped}-other rw - tmpfs tmpfs rw\n"
        )
        assert file_system(inner / "deep", mounts) == "xfs"
        assert file_system(Path("/"), mounts) == "ext4"
        assert file_system(Path("/proc")) == "proc"

    def test_the_folder_above_stands_in_for_one_to_come(self, tmp_path: Path) -> None:
        assert nearest_existing(tmp_path / "x" / "y") == tmp_path

    def test_a_folder_that_may_not_be_entered_stands_in_for_what_is_below(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As veil-agent.service hides recordings; Python before 3.14 raises there."""
        look = Path.is_dir

        def refused(path: Path) -> bool:
            if path.parent == tmp_path / "hidden":
                raise PermissionError(errno.EACCES, "Permission denied")
            return look(path)

        (tmp_path / "hidden" / "entrance").mkdir(parents=True)
        monkeypatch.setattr(Path, "is_dir", refused)
        assert nearest_existing(tmp_path / "hidden" / "entrance") == tmp_path / "hidden"


class FakeClock:
    def __init__(self) -> None:
        self.monotonic = 0
        self.wall = 10**18

    def monotonic_ns(self) -> int:
        return self.monotonic

    def wall_ns(self) -> int:
        return self.wall

    def pass_time(self, elapsed_ns: int, stepped_ns: int = 0) -> None:
        self.monotonic += elapsed_ns
        self.wall += elapsed_ns + stepped_ns


class TestClock:
    def test_the_kernel_answers(self) -> None:
        assert clock_state().max_error_us >= 0

    def test_a_step_is_told_once_and_with_its_sign(self) -> None:
        clock = FakeClock()
        detector = StepDetector(clock)
        clock.pass_time(10**9)
        assert detector.step_ns() == 0
        clock.pass_time(10**9, stepped_ns=-3_600 * 10**9)
        assert detector.step_ns() == -3_600 * 10**9
        clock.pass_time(10**9)
        assert detector.step_ns() == 0

    def test_slewing_is_not_a_step(self) -> None:
        clock = FakeClock()
        detector = StepDetector(clock)
        clock.pass_time(60 * 10**9, stepped_ns=30 * 10**6)
        assert detector.step_ns() == 0


class TestThermal:
    def zone(self, root: Path, index: int, kind: str, temp: str, *trips: tuple[str, int]) -> None:
        folder = root / f"thermal_zone{index}"
        folder.mkdir()
        (folder / "type").write_text(kind + "\n")
        (folder / "temp").write_text(temp + "\n")
        for number, (name, limit) in enumerate(trips):
            (folder / f"trip_point_{number}_type").write_text(name + "\n")
            (folder / f"trip_point_{number}_temp").write_text(f"{limit}\n")

    def test_zones_of_a_jetson(self, tmp_path: Path) -> None:
        self.zone(
            tmp_path, 0, "CPU-therm", "96500", ("active", 50000), ("passive", 97000), ("critical", 104500)
        )
        self.zone(tmp_path, 1, "GPU-therm", "", ("critical", 104500))
        self.zone(tmp_path, 2, "PMIC-Die", "-256000")
        self.zone(tmp_path, 3, "x86_pkg_temp", "41000")
        hot, cool = temperatures(tmp_path)
        assert (hot.zone, hot.celsius, hot.limit_celsius, hot.is_hot) == ("CPU-therm", 96.5, 97.0, True)
        assert (cool.zone, cool.limit_celsius, cool.is_hot) == ("x86_pkg_temp", None, False)

    def test_a_machine_without_sensors_has_no_temperatures(self, tmp_path: Path) -> None:
        assert temperatures(tmp_path) == ()


class TestResources:
    def test_memory_that_is_used_shows(self) -> None:
        block = 64 * MEBIBYTE
        before = process_use()
        with mmap.mmap(-1, block) as held:  # the allocator may have that much left of an earlier test
            held.write(b"x" * block)
            after = process_use()
        assert after.resident_bytes - before.resident_bytes > block * 0.9
        assert after.peak_resident_bytes >= after.resident_bytes - MEBIBYTE

    def test_another_process_can_be_asked(self) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", "import sys; sum(range(10**6)); print('x', flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout
            child.stdout.readline()
            use = process_use(child.pid)
            child.communicate(b"")
        assert use.threads >= 1
        assert use.open_files >= 3
        with pytest.raises(OSError, match="No such"):
            process_use(child.pid)
