"""The fleet manager's settings: one TOML file, and VEIL_FLEET_* of the environment, which wins.

`VEIL_FLEET_DATABASE__URL` is `url` of `[database]`, `VEIL_FLEET_FOLDER` is `folder` outside of the sections.
"""

from __future__ import annotations

import os
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from veil.errors import ConfigError

DEFAULT_PATH = Path("/etc/veil-fleet/fleet.toml")
DEFAULT_FOLDER = Path("/var/lib/veil-fleet")
ENVIRONMENT_PATH = "VEIL_FLEET_CONFIG"
"""Names another settings file."""

COLLECTOR_IDENTITY = "fleet-collector"
"""Common name of the collector's certificate, and so its user name at the broker."""

Port = Annotated[int, Field(ge=1, le=65535)]
ClientId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Section(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


class DatabaseSettings(Section):
    """`[database]`.

    Attributes:
        url: SQLAlchemy's form; empty: SQLite, `fleet.db` in the folder. PostgreSQL: `postgresql://USER@HOST/NAME`.
        patience_s: seconds that a statement may wait for another process's lock.
    """

    url: Annotated[str, Field(repr=False)] = ""
    patience_s: Annotated[float, Field(ge=0.1, le=120)] = 10.0

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        if not url:
            return url
        try:
            made = make_url(url)
        except ArgumentError:
            raise ValueError("not a database URL: sqlite:///FILE or postgresql://USER@HOST/NAME") from None
        if made.get_backend_name() == "postgresql":
            return made.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        if made.drivername != "sqlite":
            raise ValueError("the database is SQLite or PostgreSQL")
        return url


class BrokerSettings(Section):
    """`[broker]`: the link to Mosquitto.

    Attributes:
        tls: `off` is for a broker on this machine.
        ca, certificate, key: PEM files; unset: as `veil-fleet init` wrote them into the folder.
        client: client identifier, another one for each collector that runs; unset: from the host's name.
        session_expiry_s: how long the broker keeps messages for a collector that went away.
        receive_maximum: messages that the broker may send before we have stored the first of them.
    """

    host: str = "localhost"
    port: Port = 8884
    tls: Literal["on", "off"] = "on"
    ca: Path = Path("ca.pem")
    certificate: Path = Path(f"{COLLECTOR_IDENTITY}.pem")
    key: Path = Path(f"{COLLECTOR_IDENTITY}.key")
    client: ClientId | None = None
    session_expiry_s: Annotated[int, Field(ge=0, le=86_400)] = 120
    receive_maximum: Annotated[int, Field(ge=10, le=65_535)] = 2000
    keepalive_s: Annotated[int, Field(ge=5, le=300)] = 15

    @property
    def client_id(self) -> str:
        return self.client or f"{COLLECTOR_IDENTITY}-{socket.gethostname()[:40]}"


class WitnessSettings(Section):
    """`[witness]`.

    Attributes:
        key_file: made at first start, mode 0600; unset: `witness.key` in the folder. Collectors that share a
            database share the file's content too.
        name: of a key that is made; a host name of the operator is a good one.
    """

    key_file: Path | None = None
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$")] = "veil-fleet"


class RetentionSettings(Section):
    """`[retention]`: what is thrown away. Log lines, checkpoints and segments never are.

    Attributes:
        health_full_days: one point a minute for so long, then one every ten minutes.
        health_days: then none.
        alarm_days: of alarms that are closed.
        access_days: of the list of who looked at what.
    """

    health_full_days: Annotated[int, Field(ge=1, le=3660)] = 2
    health_days: Annotated[int, Field(ge=1, le=3660)] = 30
    alarm_days: Annotated[int, Field(ge=1, le=3660)] = 730
    access_days: Annotated[int, Field(ge=1, le=3660)] = 730


class WebSettings(Section):
    """`[web]`.

    Attributes:
        address: to listen on; behind a proxy with TLS, or with `certificate` and `key`.
        url: how people reach it, for links and cookies; empty: from address and port.
        session_hours: until a login ends.
    """

    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8600
    url: str = ""
    certificate: Path | None = None
    key: Path | None = None
    session_hours: Annotated[int, Field(ge=1, le=720)] = 12

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both or neither")
        return self


class FleetSettings(BaseSettings):
    """Everything. Relative paths are relative to `folder`.

    Attributes:
        folder: what must outlive a restart: SQLite's file, the witness key, the certificate authority.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="VEIL_FLEET_",
        env_nested_delimiter="__",
        validate_default=True,
        hide_input_in_errors=True,
    )
    TOML: ClassVar[Path | None] = None

    folder: Path = DEFAULT_FOLDER
    database: DatabaseSettings = DatabaseSettings()
    broker: BrokerSettings = BrokerSettings()
    witness: WitnessSettings = WitnessSettings()
    retention: RetentionSettings = RetentionSettings()
    web: WebSettings = WebSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, cls.TOML) if cls.TOML else None
        return (init_settings, env_settings, *([toml] if toml else []))

    @property
    def database_url(self) -> str:
        """With the driver's name; may hold a password."""
        return self.database.url or f"sqlite:///{self.folder / 'fleet.db'}"

    @property
    def witness_key_file(self) -> Path:
        return self.folder / (self.witness.key_file or "witness.key")

    def resolved(self, path: Path) -> Path:
        """A path of the settings, relative to the folder."""
        return self.folder / path


def load_settings(path: Path | None = None, **given: Any) -> FleetSettings:
    """From `path`, VEIL_FLEET_CONFIG or `DEFAULT_PATH` where it exists; the environment wins, then `given`.

    Raises ConfigError with one message that names each key that is wrong.
    """
    if path is None and (named := os.environ.get(ENVIRONMENT_PATH)):
        path = Path(named)
    if path is None and DEFAULT_PATH.exists():
        path = DEFAULT_PATH
    if path is not None and not path.is_file():
        raise ConfigError(f"There is no settings file {path}.", hint="Name another with --config.")
    loader = type("FleetSettings", (FleetSettings,), {"TOML": path, "__module__": __name__})
    try:
        settings: FleetSettings = loader(**given)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        told = "\n".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise ConfigError(f"The fleet manager's settings do not verify:\n{told}") from None
    return settings
