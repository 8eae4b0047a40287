"""`make demo`: a made clip with a real face and rendered plates, served as a camera, anonymized by Veil."""
