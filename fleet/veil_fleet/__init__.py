"""The fleet manager: receives, checks, keeps and shows what boxes report (`veil-fleet`)."""
