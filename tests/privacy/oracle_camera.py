"""`python -m privacy.oracle_camera CONFIG NAME`: a camera's process as shipped, but for its detector."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from oracle import OracleDetector
from veil.camera import run_camera
from veil.config_load import load_config
from veil.errors import VeilError
from veil.host.lifeline import die_with_parent


def main() -> None:
    die_with_parent()
    try:
        config = load_config(Path(sys.argv[1]), os.environ)
        run_camera(config, config.cameras[sys.argv[2]], detector=OracleDetector())
    except VeilError as error:
        print(f"veil: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
