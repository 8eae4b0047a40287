"""The doctor finds what is wrong, says what to do, and nothing secret."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from detect.bundles import MANIFEST, YUNET, spot_model, write_bundle
from media import Clip, write_clip
from veil.doctor import Finding, Level, exit_code, is_well, render, run_checks

Examine = Callable[..., dict[str, Finding]]
SECRET = "hunter2-geheim"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def listener(answer: bytes) -> Iterator[int]:
    """A TCP server that says `answer` to whoever asks, and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    client = server.accept()[0]
                except OSError:
                    return
                kept.append(client)
                if answer:
                    client.recv(100)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for client in kept:
            client.close()


@pytest.fixture
def examine(tmp_path: Path) -> Examine:
    def examine(text: str, *, rtsp_port: int | None = None, **environ: str) -> dict[str, Finding]:
        path = tmp_path / "veil.toml"
        path.write_text(
            f"[box]\nstate_dir = '{tmp_path}/state'\nruntime_dir = '{tmp_path}/run'\n"
            f"[rtsp]\naddress = '127.0.0.1'\nport = {rtsp_port or free_port()}\n{text}"
        )
        worst: dict[str, Finding] = {}
        order = [Level.OK, Level.WARN, Level.FAIL]
        for finding in run_checks(path, environ):
            if finding.name not in worst or order.index(finding.level) > order.index(
                worst[finding.name].level
            ):
                worst[finding.name] = finding
        return worst

    return examine


def test_a_configuration_that_does_not_verify_is_the_only_finding(tmp_path: Path) -> None:
    path = tmp_path / "veil.toml"
    path.write_text("[detector]\nthraeds = 1\n")
    (finding,) = run_checks(path, {})
    assert (finding.name, finding.level) == ("config", Level.FAIL)
    assert "threads" in finding.what
    assert exit_code([finding]) == 1


def test_a_source_that_works_is_shown_with_its_size(examine: Examine, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", Clip(width=322, height=242, rate=25))
    found = examine(f"[camera.clip]\nsource = '{clip}'\n")
    assert found["camera (clip)"].level is Level.OK
    assert "322x242, 25 frames/s" in found["camera (clip)"].what
    assert found["encoder (clip)"].level is Level.OK
    assert found["state"].level is not Level.FAIL
    assert found["rtsp port"].level is Level.OK


def test_a_camera_that_refuses_is_told_at_once(examine: Examine) -> None:
    found = examine(f"[camera.gone]\nsource = 'rtsp://admin:{SECRET}@127.0.0.1:{free_port()}/x'\n")
    assert found["camera (gone)"].level is Level.FAIL
    assert found["camera (gone)"].todo
    assert SECRET not in repr(found)


def test_a_camera_that_says_nothing_does_not_hold_the_doctor(examine: Examine) -> None:
    with listener(b"") as port:
        found = examine(
            f"[capture]\nconnect_timeout_s = 0.5\nstall_timeout_s = 0.5\n"
            f"[camera.mute]\nsource = 'rtsp://127.0.0.1:{port}/x'\n"
        )
    assert found["camera (mute)"].level is Level.FAIL


def test_an_encoder_that_is_missing_fails(examine: Examine) -> None:
    assert examine("[encoder]\ncodec = 'h264_vaapi'\n")["encoder (defaults)"].level is Level.FAIL


def test_a_bundle_is_verified(examine: Examine, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "spot", MANIFEST, {"model.onnx": spot_model()})
    with (folder / "model.onnx").open("ab") as model:
        model.write(b"x")
    found = examine(f"[detector]\nbundle = '{folder}'\n")["detector (defaults)"]
    assert found.level is Level.FAIL
    assert "model.onnx" in found.what


def test_what_a_bundle_never_finds_is_told(examine: Examine, tmp_path: Path) -> None:
    write_bundle(tmp_path / "spot", MANIFEST, {"model.onnx": spot_model()})
    write_bundle(tmp_path / "yunet", YUNET, {"model.onnx": spot_model()})
    found = examine(f"[detector]\nbundle_dir = '{tmp_path}'\nbundle = 'yunet'\n")["hidden (defaults)"]
    assert found.level is Level.WARN
    assert "no plates" in found.what
    spot = f"[detector]\nbundle_dir = '{tmp_path}'\nbundle = 'spot'\n"
    assert "hidden (defaults)" not in examine(spot)
    heads = examine(f"{spot}[mask.head]\noperator = 'solid'\n")["hidden (defaults)"]
    assert "no heads:" in heads.what


def test_the_bundle_that_ships_is_well(examine: Examine) -> None:
    assert examine("")["detector (defaults)"].level is not Level.FAIL


def test_a_provider_that_is_missing_fails(examine: Examine, tmp_path: Path) -> None:
    write_bundle(tmp_path / "spot", MANIFEST, {"model.onnx": spot_model()})
    found = examine(f"[detector]\nbundle = 'spot'\nbundle_dir = '{tmp_path}'\nprovider = 'tensorrt'\n")
    assert "tensorrt" in found["detector (defaults)"].what.lower()
    assert found["detector (defaults)"].level is Level.FAIL


def test_a_port_of_somebody_else_fails_and_our_own_server_does_not(examine: Examine, tmp_path: Path) -> None:
    rtsp = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"
    with listener(rtsp) as port:
        assert examine("", rtsp_port=port)["rtsp port"].level is Level.FAIL
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as cameras:
        cameras.bind(str(tmp_path / "run" / "rtsp.sock"))
        with listener(rtsp) as port:
            # The socket of a server that has ended.
            assert examine("", rtsp_port=port)["rtsp port"].level is Level.FAIL
            cameras.listen()
            assert examine("", rtsp_port=port)["rtsp port"].level is Level.OK
        with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
            assert examine("", rtsp_port=port)["rtsp port"].level is Level.FAIL


def test_a_disk_that_is_too_small_fails(examine: Examine, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", Clip(frames=5))
    found = examine(f"[recorder]\nmin_free_mib = 1e6\n[camera.clip]\nsource = '{clip}'\n")
    assert found["recordings"].level is Level.FAIL
    assert "min_free_mib" in found["recordings"].todo


def test_a_folder_that_cannot_be_written_fails(tmp_path: Path) -> None:
    path = tmp_path / "veil.toml"
    path.write_text("[box]\nstate_dir = '/proc/veil'\n")
    found = {finding.name: finding for finding in run_checks(path, {})}
    assert found["state"].level is Level.FAIL


@pytest.mark.parametrize("below", ["", "/veil/deep"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("state", "[box]\nstate_dir = '{}'"),
        ("runtime", "[box]\nruntime_dir = '{}'"),
        ("recordings", "[recorder]\ndirectory = '{}'\n[camera.a]\nsource = '/nowhere'"),
    ],
)
def test_a_file_in_place_of_a_folder_fails(tmp_path: Path, name: str, text: str, below: str) -> None:
    wrong, path = tmp_path / "file", tmp_path / "veil.toml"
    wrong.touch()
    path.write_text(text.format(f"{wrong}{below}"))
    found = [finding for finding in run_checks(path, {}) if finding.name == name]
    assert [(finding.level, f"{wrong} is no folder" in finding.what) for finding in found] == [
        (Level.FAIL, True)
    ]


def test_a_runtime_folder_that_takes_no_files_fails_and_another_is_named(
    examine: Examine, tmp_path: Path
) -> None:
    assert examine("")["runtime"] == Finding("runtime", Level.OK, f"{tmp_path}/run")
    path = tmp_path / "veil.toml"
    path.write_text("[box]\nruntime_dir = '/proc/veil'\n")
    found = {finding.name: finding for finding in run_checks(path, {})}
    assert found["runtime"].level is Level.FAIL
    assert "/proc" in found["runtime"].what


def test_a_secret_that_others_can_read_is_told(examine: Examine, tmp_path: Path) -> None:
    secret = tmp_path / "front.password"
    secret.write_text(SECRET)
    clip = write_clip(tmp_path / "clip.mp4", Clip(frames=5))
    text = f"[camera.front]\nsource = '{clip}'\ncapture.password_file = '{secret}'\n"
    secret.chmod(0o644)
    found = examine(text)
    assert found["secret (front)"].level is Level.WARN
    assert SECRET not in repr(found)
    secret.chmod(0o400)
    assert "secret (front)" not in examine(text)


def test_warnings_are_well_enough() -> None:
    assert is_well([Finding("a", Level.OK, "x"), Finding("b", Level.WARN, "y")])
    assert exit_code([Finding("b", Level.FAIL, "y", "z")]) == 1


def test_rendering_says_what_to_do_and_takes_words_as_they_are() -> None:
    out = io.StringIO()
    findings = [
        Finding("a", Level.OK, "fine"),
        Finding("b", Level.FAIL, "[detector] is off", "switch [it] on"),
    ]
    render(findings, Console(file=out, width=80))
    said = out.getvalue()
    assert "[detector] is off" in said
    assert "→ switch [it] on" in said
    assert said.strip().endswith("1 ok, 0 to look at, 1 that fail")
