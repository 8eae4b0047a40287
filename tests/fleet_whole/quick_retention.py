"""`python -m fleet_whole.quick_retention CONFIG NAME`: a camera that looks for old recordings each second."""

from __future__ import annotations

from privacy import oracle_camera
from veil.sinks import housekeeping

if __name__ == "__main__":
    housekeeping._INTERVAL_S = 1.0
    oracle_camera.main()
