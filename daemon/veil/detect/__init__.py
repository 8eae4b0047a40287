"""Bundles, runtimes and the schedule of tiles: RawFrame in, DetectionReport out."""
