"""Signing keys of the fleet manager in files: the witness's and the one that signs commands."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from veil.audit.durable import split_lines, write_all
from veil.audit.keys import encode_private
from veil.audit.note import SigningKey, decode_base64
from veil.errors import KeyFormatError
from veil.host.disk import sync_directory

_PREFIX = "PRIVATE+KEY+"


def read_key(path: Path, algorithm: int) -> SigningKey:
    """The key in a file that `make_key` wrote. Raises KeyFormatError; its text repeats nothing of it."""
    hint = "Restore the file from its backup: boxes trust this key and no other."
    try:
        lines, tail = split_lines(path.read_bytes())
        name, identity, encoded = lines[0].decode("ascii").removeprefix(_PREFIX).split("+", 2)
        raw = decode_base64(encoded)
        key = SigningKey.from_seed(name, raw[1:], raw[0])
    except OSError as error:
        raise KeyFormatError(f"{path} cannot be read: {error.strerror}.", hint=hint) from None
    except (ValueError, IndexError, KeyFormatError):
        raise KeyFormatError(f"{path} is no private key.", hint=hint) from None
    if len(lines) != 1 or tail or key.verifier.id.hex() != identity:
        raise KeyFormatError(f"{path} is damaged.", hint=hint)
    if raw[0] != algorithm:
        raise KeyFormatError(f"{path} is a key for something else.", hint=hint)
    return key


def make_key(path: Path, name: str, algorithm: int) -> SigningKey:
    """The key in `path`; made there, durably and with mode 0600, where there is none.

    Several processes may try at once: all get the same one. Raises KeyFormatError, OSError.
    """
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}.{base64.b32encode(os.urandom(5)).decode()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, encode_private(SigningKey.generate(name, algorithm)).encode())
            os.fsync(descriptor)
            # Unlike a rename, a link never replaces a key that another process made meanwhile.
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            os.close(descriptor)
            part.unlink()
        sync_directory(path.parent)
    return read_key(path, algorithm)
