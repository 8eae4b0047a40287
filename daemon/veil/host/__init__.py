"""The machine: systemd notification, disk, clock, temperatures, use of a process."""
