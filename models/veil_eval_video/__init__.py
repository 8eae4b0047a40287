"""Measures on video what hides faces and plates: clips with exact truth, coverage, what is still found."""
