"""Evidence: events and the append-only log they are written to."""
