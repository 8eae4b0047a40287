"""Recorder, RTSP, snapshot: they take MaskedPacket or MaskedFrame, nothing else."""
