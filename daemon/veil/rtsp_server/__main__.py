"""`python3 -m veil.rtsp_server --socket DIR/rtsp.sock --address A --port P`.

Says one line of JSON on standard output once it listens. Exit codes as in docs/errors.md: 2 usage, 7 cannot
listen or GStreamer is missing.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from veil.host.lifeline import die_with_parent

EXIT_SINK = 7


def _report(text: str) -> None:
    print(f"veil-rtsp: {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="veil-rtsp", description="Serves anonymized streams over RTSP.")
    parser.add_argument("--socket", type=Path, required=True, help="where cameras connect")
    parser.add_argument("--address", default="0.0.0.0", help="where clients connect")  # noqa: S104
    parser.add_argument("--port", type=int, default=8554, help="0 for any free one")
    parser.add_argument("--slate-after", type=float, default=0.7, metavar="SECONDS")
    return parser.parse_args()


def main() -> int:
    """Runs until SIGTERM or SIGINT."""
    arguments = _arguments()
    die_with_parent()
    try:
        from gi.repository import GLib

        from veil.rtsp_server.ingest import Ingest
        from veil.rtsp_server.server import RtspServer, initialize

        initialize()
    except (ImportError, ValueError, RuntimeError) as error:
        _report(
            f"GStreamer's RTSP server cannot be used: {error}. Install python3-gi, "
            "gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base, -good and -bad."
        )
        return EXIT_SINK

    from veil.host.sdnotify import Supervisor

    supervisor = Supervisor()
    loop = GLib.MainLoop()

    def stop() -> bool:
        loop.quit()
        return True

    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, stop)

    def alive() -> bool:
        supervisor.watchdog()
        return True

    try:
        with (
            RtspServer(arguments.address, arguments.port, arguments.slate_after, _report) as server,
            Ingest(arguments.socket, server, _report),
        ):
            if supervisor.watchdog_interval_s is not None:
                GLib.timeout_add(int(supervisor.watchdog_interval_s * 1000), alive)
            supervisor.ready()
            print(json.dumps({"port": server.port, "socket": str(arguments.socket)}), flush=True)
            loop.run()
            supervisor.stopping()
    except OSError as error:
        _report(
            f"cannot listen at {arguments.address}:{arguments.port} and {arguments.socket}: {error.strerror}."
            " Choose another rtsp.port or end what listens there, and check that the socket's folder exists."
        )
        return EXIT_SINK
    return 0


if __name__ == "__main__":
    sys.exit(main())
