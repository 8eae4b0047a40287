"""The box in its fleet: signs, sends, reports, obeys. No pixels but masked ones, no keys of cameras."""
