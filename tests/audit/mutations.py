"""What somebody may do to a folder of evidence: one change at a time, with what is needed to see it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from audit.boxes import DEVICE, Files, MadeBox, MadeLog, heads_file, seeded_key
from veil.audit.canonical import dump
from veil.audit.checkpoint import Checkpoint, key_name_of
from veil.audit.event import Event, Kind, canonical_line, timestamp
from veil.audit.keyring import KeyRecord
from veil.audit.note import COSIGNATURE_V1, Note, cosign_note
from veil.audit.tree import leaf_hash


class Needs(Enum):
    """What the verifier must be given."""

    NOTHING = "nothing"
    KEY = "key"
    ANCHOR = "anchor"


@dataclass(frozen=True, slots=True)
class Mutation:
    """Files that change (None: gone), and what it takes to see that.

    Attributes:
        log: the one that the anchor is for.
    """

    what: str
    changes: dict[str, bytes | None]
    needs: Needs = Needs.NOTHING
    log: str = "front"


Maker = Callable[[MadeBox, Files, random.Random], Mutation | None]


def some_file(files: Files, rng: random.Random) -> str:
    # Longer files are changed more often, short ones not too rarely.
    names = sorted(files)
    return rng.choices(names, [len(files[name]) + 300 for name in names])[0]


def some_log(box: MadeBox, rng: random.Random) -> MadeLog:
    return box.logs[rng.choice(sorted(box.logs))]


def lines_file(files: Files, rng: random.Random) -> tuple[str, list[bytes]]:
    name = rng.choice([name for name in sorted(files) if name.endswith(".jsonl")])
    return name, files[name].splitlines()


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def bit_flip(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name = some_file(files, rng)
    data = bytearray(files[name])
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return Mutation("bit flip", {name: bytes(data)})


def byte_set(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name = some_file(files, rng)
    data = bytearray(files[name])
    data[rng.randrange(len(data))] = rng.choice((0, 10, 13, 32, 34, 48, 65, 92, 125, 255, rng.randrange(256)))
    return Mutation("byte set", {name: bytes(data)})


def bytes_inserted(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name = some_file(files, rng)
    data, at = files[name], rng.randrange(len(files[name]))
    piece = rng.choice(
        (b"\n", b"\r", b" ", b"\0", b"\xef\xbb\xbf", b"{}\n", rng.randbytes(rng.randrange(1, 20)))
    )
    return Mutation("bytes inserted", {name: data[:at] + piece + data[at:]})


def bytes_removed(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name = some_file(files, rng)
    data, at = files[name], rng.randrange(len(files[name]))
    return Mutation("bytes removed", {name: data[:at] + data[at + rng.randrange(1, 40) :]})


def truncation(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name = some_file(files, rng)
    return Mutation("truncation", {name: files[name][: rng.randrange(len(files[name]))]})


def file_removed(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    # A box that was never cosigned has no `cosigned`: that one may be missing.
    return Mutation(
        "file removed", {rng.choice([n for n in sorted(files) if not n.endswith("cosigned")]): None}
    )


def line_removed(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name, lines = lines_file(files, rng)
    del lines[rng.randrange(len(lines))]
    return Mutation("line removed", {name: joined(lines)})


def line_repeated(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name, lines = lines_file(files, rng)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return Mutation("line repeated", {name: joined(lines)})


def lines_swapped(box: MadeBox, files: Files, rng: random.Random) -> Mutation | None:
    name, lines = lines_file(files, rng)
    if len(lines) < 2:
        return None
    one, other = rng.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return Mutation("lines swapped", {name: joined(lines)})


def files_swapped(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    kind = rng.choice(("events.jsonl", "checkpoints.jsonl", "cosigned"))
    one, other = f"box/{kind}", f"front/{kind}"
    return Mutation("files swapped", {one: files[other], other: files[one]})


def file_of_the_other_log(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    kind = rng.choice(("events.jsonl", "checkpoints.jsonl", "cosigned"))
    return Mutation("file of the other log", {f"box/{kind}": files[f"front/{kind}"]})


def copied_log(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    names = ("events.jsonl", "checkpoints.jsonl")
    return Mutation("copied log", {f"back/{name}": files[f"front/{name}"] for name in names})


def edited(line: bytes, rng: random.Random) -> bytes:
    said = json.loads(line)
    key = rng.choice(sorted(said))
    values: tuple[object, ...] = (
        None,
        "",
        "x",
        0,
        -1,
        2**53,
        1.5,
        True,
        [],
        {},
        {"n": 1},
        said[key] + 1 if isinstance(said[key], int) else said[key],
        f"{said[key]}0",
        timestamp(rng.randrange(10**18)),
        rng.randbytes(32).hex(),
    )
    match rng.randrange(4):
        case 0:
            del said[key]
        case 1:
            said[rng.choice(("extra", "é", "zz", "A"))] = rng.choice(values)
        case _:
            said[key] = rng.choice(values)
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def field_edited(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name, lines = lines_file(files, rng)
    number = rng.randrange(len(lines))
    lines[number] = edited(lines[number], rng)
    return Mutation("field edited", {name: joined(lines)})


def rewritten(line: bytes, rng: random.Random) -> bytes:
    """The same object, written in another way."""
    said = json.loads(line)
    ways = (
        lambda: json.dumps(said, separators=(",", ": "), sort_keys=True, ensure_ascii=False).encode(),
        lambda: json.dumps(said, separators=(", ", ":"), sort_keys=True, ensure_ascii=False).encode(),
        lambda: b" " + line,
        lambda: line + rng.choice((b" ", b"\r", b"\t", b",", b"\0")),
        lambda: json.dumps(dict(reversed(said.items())), separators=(",", ":"), ensure_ascii=False).encode(),
        lambda: line.replace(b"e", b"\\u0065", 1),
        lambda: line.replace(b"/", b"\\/", 1),
        lambda: line.replace(b"\\n", b"\\u000a", 1),
        lambda: b"\xef\xbb\xbf" + line,
        lambda: line[:-1] + b',"zz":1}',
        lambda: line[:-1] + b"," + line[1:],
        lambda: b"[" + line + b"]",
    )
    return rng.choice(ways)()


def line_rewritten(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name, lines = lines_file(files, rng)
    number = rng.randrange(len(lines))
    lines[number] = rewritten(lines[number], rng)
    return Mutation("line written otherwise", {name: joined(lines)})


def chained(name: str, lines: list[bytes], first: int) -> list[bytes]:
    """Lines from `first` on, with sequence numbers and hashes as they would have to be."""
    done = lines[:first]
    for line in lines[first:]:
        said = json.loads(line)
        said["prev"] = leaf_hash(done[-1]).hex() if done else "0" * 64
        said["seq"] = len(done)
        said["log"] = name
        done.append(dump(said))
    return done


def history_rewritten(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """An edit, insertion, removal or swap by somebody who mends the chain and has no key."""
    log = some_log(box, rng)
    lines, at = list(log.lines), rng.randrange(len(log.lines))
    match rng.randrange(4):
        case 0:
            said = json.loads(lines[at])
            said["data"] = {"n": rng.randrange(10**6, 10**7)}
            lines[at] = dump(said)
        case 1:
            lines.insert(
                at, canonical_line(log.name, at, bytes(32), rng.randrange(10**18), Event(Kind.FAULT, {}))
            )
        case 2:
            del lines[at]
        case _:
            lines.insert(at, lines.pop(rng.randrange(len(lines))))
    return Mutation("history rewritten", {f"{log.name}/events.jsonl": joined(chained(log.name, lines, 0))})


def resigned(box: MadeBox, log: MadeLog, lines: list[bytes]) -> list[Note]:
    """The log's checkpoints over other lines, of the same sizes, by the same keys."""
    made = MadeLog(log.name)
    for line in lines:
        made.lines.append(line)
        if len(made.lines) in log.sizes:
            made.sign(log.signed_with[log.sizes.index(len(made.lines))], box.now_ns)
    return made.heads


def fork(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """Another history by who has the keys: only what was kept elsewhere tells."""
    log = some_log(box, rng)
    lines, at = list(log.lines), rng.randrange(len(log.lines))
    said = json.loads(lines[at])
    said["data"] = {"n": rng.randrange(10**6, 10**7)}
    lines[at] = dump(said)
    lines = chained(log.name, lines, at)
    changes: dict[str, bytes | None] = {
        f"{log.name}/events.jsonl": joined(lines),
        f"{log.name}/checkpoints.jsonl": heads_file(resigned(box, log, lines)),
    }
    if rng.random() < 0.5:
        # What the fleet manager cosigned is still there.
        return Mutation("fork beside the cosigned checkpoint", changes)
    changes[f"{log.name}/cosigned"] = None
    return Mutation("fork", changes, Needs.ANCHOR, log.name)


def cut_back(box: MadeBox, files: Files, rng: random.Random) -> Mutation | None:
    """The log as it was at an earlier checkpoint."""
    log = some_log(box, rng)
    if len(log.heads) < 2:
        return None
    kept = rng.randrange(1, len(log.heads))
    changes: dict[str, bytes | None] = {
        f"{log.name}/events.jsonl": joined(log.lines[: log.sizes[kept - 1]]),
        f"{log.name}/checkpoints.jsonl": heads_file(log.heads[:kept]),
    }
    if rng.random() < 0.3:
        return Mutation("cut back beside the cosigned checkpoint", changes)
    older = rng.choice((None, cosign_note(log.heads[kept - 1], box.witness, 1).encode().encode()))
    return Mutation("cut back", {**changes, f"{log.name}/cosigned": older}, Needs.ANCHOR, log.name)


def log_removed(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    name = rng.choice(sorted(box.logs))
    gone = {path: None for path in files if path.startswith(f"{name}/")}
    return Mutation("log removed", dict(gone), Needs.ANCHOR, name)


def made_anew(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """Everything again, with keys of one's own: only the pinned key tells."""
    other = MadeBox(rng.randrange(1 << 60) + 1_000_000)
    for name, log in box.logs.items():
        lines = list(log.lines)
        if rng.random() < 0.5:
            del lines[rng.randrange(len(lines))]
        other.logs[name] = MadeLog(name, chained(name, lines, 0))
        other.sign(name)
        other.cosign(name)
    new = other.files()
    changes: dict[str, bytes | None] = {name: new.get(name) for name in {*files, *new}}
    return Mutation("made anew with another key", changes, Needs.KEY)


def keys_swapped(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """Another key in the place of the box's or the witness's."""
    if rng.random() < 0.5:
        other = seeded_key(rng, "fleet", COSIGNATURE_V1)
        return Mutation("witness swapped", {"witness.vkeys": f"{other.verifier}\n".encode()})
    key = seeded_key(rng, key_name_of(DEVICE))
    record = KeyRecord.make(DEVICE, key, None, {}, box.records[0].time)
    return Mutation("keys swapped", {"keys.jsonl": record.line() + b"\n"})


def rotation_forged(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """A key of one's own behind the box's, without the box's key."""
    new, wrong = seeded_key(rng, key_name_of(DEVICE)), seeded_key(rng, key_name_of(DEVICE))
    honest = KeyRecord.make(DEVICE, new, box.keys[-1], box.sizes_under(box.keys[-1]), timestamp(box.now_ns))
    forged = KeyRecord(
        DEVICE,
        new.verifier,
        honest.old,
        honest.sizes,
        honest.time,
        honest.signed_by_new,
        wrong.sign(honest.message),
    )
    return Mutation("rotation forged", {"keys.jsonl": files["keys.jsonl"] + forged.line() + b"\n"})


def rotation_with_other_sizes(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """A rotation by who has the key, that does not say where the old one ended."""
    sizes = dict(box.sizes_under(box.keys[-1]))
    log = rng.choice(sorted(sizes))
    match rng.randrange(4):
        case 0:
            sizes[log] += 1
        case 1:
            sizes[log] = max(1, sizes[log] - 1) if sizes[log] > 1 else 2
        case 2:
            del sizes[log]
        case _:
            sizes["gone"] = 5
    record = KeyRecord.make(
        DEVICE, seeded_key(rng, key_name_of(DEVICE)), box.keys[-1], sizes, timestamp(box.now_ns)
    )
    return Mutation("rotation with other sizes", {"keys.jsonl": files["keys.jsonl"] + record.line() + b"\n"})


def retired_key_used(box: MadeBox, files: Files, rng: random.Random) -> Mutation | None:
    """Who has an old key goes on with the log."""
    if len(box.keys) < 2:
        return None
    log = some_log(box, rng)
    made = MadeLog(log.name, list(log.lines), list(log.heads), list(log.signed_with), list(log.sizes))
    made.append(Event(Kind.FAULT, {"forged": 1}), box.now_ns)
    made.sign(box.keys[0], box.now_ns)
    return Mutation(
        "retired key used",
        {
            f"{log.name}/events.jsonl": joined(made.lines),
            f"{log.name}/checkpoints.jsonl": heads_file(made.heads),
        },
    )


def checkpoint_replayed(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """An honest checkpoint at another place, or one that skips what was there."""
    log = some_log(box, rng)
    heads = list(log.heads)
    if len(heads) > 2 and rng.random() < 0.5:
        del heads[rng.randrange(len(heads) - 1)]
    else:
        heads.append(rng.choice(heads))
    return Mutation("checkpoint replayed", {f"{log.name}/checkpoints.jsonl": heads_file(heads)})


def checkpoint_of_another_time(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """A second signed head of the same size, other than the one that was cosigned."""
    log = some_log(box, rng)
    last = Checkpoint.parse(log.heads[-1].text)
    other = Checkpoint(last.origin, last.size, last.root, timestamp(rng.randrange(10**18)), last.previous)
    heads = [*log.heads[:-1], other.sign(log.signed_with[-1])]
    return Mutation("checkpoint of another time", {f"{log.name}/checkpoints.jsonl": heads_file(heads)})


def signatures_exchanged(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """A note with the signature of another, with two, or with none of a witness."""
    log, other = box.logs["front"], box.logs["box"]
    heads = list(log.heads)
    number = rng.randrange(len(heads))
    note, foreign = heads[number], rng.choice(other.heads).signatures[0]
    signatures = rng.choice(((foreign,), (*note.signatures, foreign), (foreign, *note.signatures)))
    heads[number] = Note(note.text, signatures)
    if rng.random() < 0.5:
        return Mutation("signatures exchanged", {"front/checkpoints.jsonl": heads_file(heads)})
    cosigned = Note(log.heads[-1].text, rng.choice((note.signatures, (foreign, *log.heads[-1].signatures))))
    return Mutation("signatures exchanged", {"front/cosigned": cosigned.encode().encode()})


def base64_written_otherwise(box: MadeBox, files: Files, rng: random.Random) -> Mutation | None:
    """Padding and stray bits: the same bytes for a careless reader."""
    name = rng.choice([name for name in sorted(files) if not name.endswith("events.jsonl")])
    data = files[name]
    places = [at for at in range(1, len(data)) if data[at] == ord("=") and data[at - 1] != ord("=")]
    if not places:
        return None
    at = rng.choice(places)
    match rng.randrange(3):
        case 0:
            end = data[:at] + data[at + 1 :]
        case 1:
            end = data[:at] + b"=" + data[at:]
        case _:
            alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            end = data[: at - 1] + bytes([alphabet[alphabet.index(data[at - 1]) ^ 1]]) + data[at:]
    return Mutation("base64 written otherwise", {name: end})


MAKERS: tuple[tuple[Maker, int], ...] = (
    (bit_flip, 30),
    (byte_set, 10),
    (bytes_inserted, 8),
    (bytes_removed, 8),
    (truncation, 8),
    (file_removed, 2),
    (line_removed, 5),
    (line_repeated, 5),
    (lines_swapped, 5),
    (files_swapped, 1),
    (file_of_the_other_log, 1),
    (copied_log, 1),
    (field_edited, 10),
    (line_rewritten, 10),
    (history_rewritten, 10),
    (fork, 5),
    (cut_back, 5),
    (log_removed, 1),
    (made_anew, 2),
    (keys_swapped, 2),
    (rotation_forged, 2),
    (rotation_with_other_sizes, 2),
    (retired_key_used, 2),
    (checkpoint_replayed, 4),
    (checkpoint_of_another_time, 2),
    (signatures_exchanged, 4),
    (base64_written_otherwise, 4),
)


def mutation_of(box: MadeBox, files: Files, rng: random.Random) -> Mutation:
    """One that changes something."""
    makers, weights = zip(*MAKERS, strict=True)
    while True:
        mutation = rng.choices(makers, weights)[0](box, files, rng)
        if mutation is not None and any(files.get(name) != data for name, data in mutation.changes.items()):
            return mutation
