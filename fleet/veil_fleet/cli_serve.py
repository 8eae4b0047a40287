"""`veil-fleet serve`, `collect`, `migrate`, `witness-key`: the programs that run, and what prepares them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file; else /etc/veil-fleet/fleet.toml."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command("serve")(_serve)
    app.command("collect")(_collect)
    app.command("migrate")(_migrate)
    app.command("witness-key")(_witness_key)


def _serve(config: ConfigOption = None) -> None:
    """Receive what boxes send and show it: collector and web page in one process."""
    from veil_fleet.serve import serve
    from veil_fleet.settings import load_settings

    serve(load_settings(config))


def _collect(config: ConfigOption = None) -> None:
    """Receive what boxes send; several may run beside each other on PostgreSQL."""
    from veil_fleet.serve import collect
    from veil_fleet.settings import load_settings

    collect(load_settings(config))


def _migrate(config: ConfigOption = None) -> None:
    """Bring the database's tables up to date."""
    from veil_fleet.serve import bring_up_to_date
    from veil_fleet.settings import load_settings

    bring_up_to_date(load_settings(config))


def _witness_key(config: ConfigOption = None) -> None:
    """Print the key that cosignatures verify with: one line for a box's witness.vkeys."""
    from veil_fleet.settings import load_settings
    from veil_fleet.witness import Witness

    print(Witness.open(load_settings(config)).verifier)
