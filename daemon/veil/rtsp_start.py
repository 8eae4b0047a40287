"""`python -m veil.rtsp_start CONFIG`: becomes the RTSP server, for veil-rtsp.service.

The server runs under the distribution's Python, which has gi but none of our packages: the configuration is
read here, and the process then turns into the server.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from veil.config_load import load_config
from veil.errors import UsageError, VeilError
from veil.up import rtsp_service


def main() -> None:
    """Does not return when all is well; ends with the codes of docs/errors.md otherwise."""
    try:
        if len(sys.argv) != 2:
            raise UsageError("One argument is needed.", hint="python -m veil.rtsp_start CONFIG")
        config = load_config(Path(sys.argv[1]), os.environ)
        service = rtsp_service(config)
        os.execve(service.command[0], list(service.command), {**os.environ, **service.environ})  # noqa: S606
    except VeilError as error:
        print(f"veil: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
