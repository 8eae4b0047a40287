"""Pure values: no I/O, no threads, no imports of ours outside this package."""
