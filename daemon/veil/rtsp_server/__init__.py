"""The process of veil-rtsp.service: anonymized streams for any RTSP client, through gst-rtsp-server.

It runs under the distribution's Python, whose `gi` belongs to it, so this package imports the standard
library and `gi` only. It never sees anything but encoded masked pictures.
"""
