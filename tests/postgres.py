"""A temporary PostgreSQL cluster: real, of this process alone, killed and started again at will."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_DATABASE = "veil"
_START_S = 60.0


def programs() -> Path | None:
    """The folder with initdb, of the newest version installed; None without one."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0])
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as: PostgreSQL refuses root. None: as we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("PostgreSQL refuses root, and there is neither `postgres` nor `nobody`")


class Postgres:
    """One cluster on a Unix socket of its own; made, started, and gone with its files afterwards."""

    def __init__(self, folder: Path, bin_folder: Path, user: pwd.struct_passwd | None) -> None:
        self._folder = folder
        self._bin = bin_folder
        self._user = user

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        name = self._user.pw_name if self._user else pwd.getpwuid(os.geteuid()).pw_name
        return f"postgresql+psycopg://{name}@/{_DATABASE}?host={self._folder}"

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return int((self._folder / "data/postmaster.pid").read_text().split()[0])

    def _run(self, program: str, *arguments: str) -> None:
        before: list[str] = []
        if self._user is not None:
            identity = (f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups")
            before = ["setpriv", *identity]
        done = subprocess.run(
            [*before, str(self._bin / program), *arguments],
            cwd=self._folder,
            env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_START_S * 2,
            check=False,
        )
        if done.returncode:
            log = self._folder / "log"
            told = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise RuntimeError(f"{program}: {done.stdout}\n{told}")

    def make(self) -> None:
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions")
        settings = (
            "listen_addresses = ''",
            f"unix_socket_directories = '{self._folder}'",
            "shared_buffers = 128MB",
            "max_wal_size = 512MB",
        )
        with (self._folder / "data/postgresql.auto.conf").open("a") as file:
            file.write("\n".join(settings) + "\n")

    def start(self) -> None:
        data, log = str(self._folder / "data"), str(self._folder / "log")
        self._run("pg_ctl", "-D", data, "-l", log, "-w", "-t", str(int(_START_S)), "start")

    def create(self) -> None:
        self._run("createdb", "-h", str(self._folder), _DATABASE)

    def kill(self) -> None:
        """As a power cut of the server: the postmaster and all of its processes, at once."""
        postmaster = self.pid
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in (postmaster, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(_alive(process) for process in (postmaster, *map(int, children))):
            if time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL's processes do not end")
            time.sleep(0.02)
        # Where nobody reaps the processes they look alive to PostgreSQL; what they held is free all the same.
        for lock in ("data/postmaster.pid", ".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (self._folder / lock).unlink(missing_ok=True)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A running cluster with an empty database. Skips where PostgreSQL is not installed."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not installed (apt: postgresql)")
    user = _server_user()
    # A socket's path has at most 107 bytes: not below pytest's long folders.
    folder = Path(tempfile.mkdtemp(prefix="veil-pg-"))
    try:
        folder.chmod(0o755)
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        server = Postgres(folder, bin_folder, user)
        server.make()
        server.start()
        try:
            server.create()
            yield server
        finally:
            if (folder / "data/postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
