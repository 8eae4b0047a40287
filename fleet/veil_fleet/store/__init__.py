"""What the fleet manager keeps: SQLite as the embedded default, PostgreSQL beyond it."""
