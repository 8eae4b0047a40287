"""Commands of the fleet: who may ask, once, and what a box then does (docs/commands.md)."""

from veil.agent.commands.actions import Actions, Done
from veil.agent.commands.box import BoxActions
from veil.agent.commands.desk import CommandDesk
from veil.agent.commands.verify import Reason

__all__ = ["Actions", "BoxActions", "CommandDesk", "Done", "Reason"]
