"""MaskedFrame in, MaskedPacket out."""
