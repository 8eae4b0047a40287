"""Who may do what on the fleet's page."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """What a request may need."""

    VIEW = "view"
    """Boxes, cameras, alarms."""
    OPERATE = "operate"
    """Close alarms, send commands."""
    AUDIT = "audit"
    """Search and export evidence, read who looked at what."""


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    AUDITOR = "auditor"

    @property
    def permissions(self) -> frozenset[Permission]:
        match self:
            case Role.VIEWER:
                return frozenset({Permission.VIEW})
            case Role.OPERATOR:
                return frozenset({Permission.VIEW, Permission.OPERATE})
            case Role.AUDITOR:
                return frozenset({Permission.VIEW, Permission.AUDIT})
