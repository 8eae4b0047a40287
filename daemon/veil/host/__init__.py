"""The machine: systemd notification, thermal state, disk, clock."""
