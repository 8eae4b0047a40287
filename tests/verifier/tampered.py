"""Vectors that must not verify, or must not be taken."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verifier.evidence_made import WITNESS, Box, Key, b64, canonical
from verifier.honest import FLEET, large, limits, small, witnessed
from verifier.vector import Vector

VECTORS: dict[str, Callable[[], Vector]] = {}
Make = Callable[[], Vector]
STRANGER = Key("veil/box-17", "somebody else")


def vector(make: Make) -> Make:
    VECTORS[make.__name__] = make
    return make


def last_line(name: str, about: str, line: Callable[[Box], bytes], code: Any, log: str = "cam1") -> None:
    """A vector whose last line, not signed yet, is as given: nothing follows from it."""

    def make() -> Vector:
        box = small()
        box.log("cam1").lines.append(line(box))
        return Vector(about, box, [[code, log, 8]])

    VECTORS[name] = make


def raw(old: bytes, new: bytes) -> Callable[[Box], bytes]:
    """A good line in which one piece is written otherwise."""

    def line(box: Box) -> bytes:
        good = box.event("cam1", {"n": 7, "text": "A é 😀"})
        assert good.count(old) == 1, (good, old)
        return good.replace(old, new)

    return line


def fields(**changed: object) -> Callable[[Box], bytes]:
    return lambda box: box.event("cam1", {}, **changed)


def without(name: str) -> Callable[[Box], bytes]:
    def line(box: Box) -> bytes:
        event = json.loads(box.event("cam1", {}))
        del event[name]
        return canonical(event)

    return line


_RAW: dict[str, tuple[str, bytes, bytes]] = {
    "duplicate_key": ("A key that appears twice", b'"n":7', b'"n":7,"n":7'),
    "duplicate_key_outer": ("A key that appears twice", b'"kind":"tick"', b'"kind":"tick","kind":"tick"'),
    "duplicate_key_escaped": ("A key that appears twice, once escaped", b'"n":7', b'"\\u006e":7,"n":7'),
    "minus_zero": ("-0", b'"n":7', b'"n":-0'),
    "exponent": ("1e3", b'"n":7', b'"n":1e3'),
    "large_exponent": ("1e+21 is canonical, and no integer", b'"n":7', b'"n":1e+21'),
    "point_zero": ("1.0", b'"n":7', b'"n":1.0'),
    "fraction": ("1.5 is canonical, and not allowed", b'"n":7', b'"n":1.5'),
    "leading_zero": ("07", b'"n":7', b'"n":07'),
    "plus": ("+7", b'"n":7', b'"n":+7'),
    "two_to_53": ("2^53", b'"n":7', b'"n":9007199254740992'),
    "minus_two_to_53": ("-2^53", b'"n":7', b'"n":-9007199254740992'),
    "huge_integer": ("A number of 5,000 digits", b'"n":7', b'"n":' + b"7" * 5000),
    "boolean": ("true", b'"n":7', b'"n":true'),
    "nan": ("NaN", b'"n":7', b'"n":NaN'),
    "infinity": ("-Infinity", b'"n":7', b'"n":-Infinity'),
    "escaped_letter": ("A as \\u0041", b"A ", b"\\u0041 "),
    "escaped_slash": ("/ as \\/", b"A ", b"\\/ "),
    "escaped_newline_long": ("A newline as \\u000a", b"A ", b"\\u000a "),
    "escaped_upper_case": ("\\u001F, not \\u001f", b"A ", b"\\u001F "),
    "escaped_delete": ("\\u007f is not escaped in canonical form", b"A ", b"\\u007f "),
    "escaped_pair": ("A surrogate pair, escaped", "😀".encode(), b"\\ud83d\\ude00"),
    "lone_surrogate_escaped": ("A lone surrogate, escaped", "😀".encode(), b"\\ud83d"),
    "lone_surrogate_bytes": ("A lone surrogate in three bytes", "😀".encode(), b"\xed\xa0\xbd"),
    "pair_of_surrogates_bytes": ("CESU-8", "😀".encode(), b"\xed\xa0\xbd\xed\xb8\x80"),
    "overlong": ("An overlong sequence", "é".encode(), b"\xc1\xa9"),
    "overlong_zero": ("An overlong zero", "é".encode(), b"\xe0\x80\x80"),
    "over_unicode": ("U+110000", "😀".encode(), b"\xf4\x90\x80\x80"),
    "latin_1": ("Latin-1", "é".encode(), b"\xe9"),
    "cut_utf8": ("A sequence that is cut", "😀".encode(), b"\xf0\x9f\x98"),
    "raw_tab": ("A tab that is not escaped", b"A ", b"A\t"),
    "raw_zero": ("A zero byte", b"A ", b"A\x00"),
    "space": ("White space", b'"n":7', b'"n": 7'),
    "space_at_end": ("White space at the end", b'Z"}', b'Z"} '),
    "crlf": ("Lines that end as on Windows", b'Z"}', b'Z"}\r'),
    "bom": ("A byte order mark", b'{"data"', b'\xef\xbb\xbf{"data"'),
    "keys_not_in_order": (
        "Keys not in order",
        b'"n":7,"text":"A \xc3\xa9 \xf0\x9f\x98\x80"',
        b'"text":"","n":7',
    ),
    "key_not_ascii": ("A key that is not ASCII", b'"n":7', '"n":7,"é":7'.encode()),
    "keys_by_utf16": (
        "Keys in the order of UTF-16, so canonical, and not ASCII",
        b'"n":7,"text":"A \xc3\xa9 \xf0\x9f\x98\x80"',
        '"😀":1,"\ufb01":2'.encode(),
    ),
    "comma_at_end": ("A comma too many", b'"n":7', b'"n":[7,]'),
    "comment": ("A comment", b'"n":7', b'"n":7/**/'),
    "second_object": ("Two objects in one line", b'Z"}', b'Z"}{}'),
    "cut_line": ("A line without its end", b'Z"}', b"Z"),
    "deep": ("Brackets 100,000 deep that never close", b'"n":7', b'"n":' + b"[" * 100_000),
    "mismatched": ("A bracket closed by a brace", b'"n":7', b'"n":[7}'),
    "single_quotes": ("Single quotes", b'"n":7', b"'n':7"),
}
for _name, (_about, _old, _new) in _RAW.items():
    last_line(f"canonical_{_name}", _about, raw(_old, _new), "not_canonical")

last_line("canonical_empty_line", "An empty line", lambda box: b"", "not_canonical")
last_line("canonical_array", "A line that is no object", lambda box: b"[]", ["not_canonical", "bad_field"])
last_line("canonical_string", "A line that is no object", lambda box: b'"{}"', ["not_canonical", "bad_field"])
last_line("canonical_null", "A line that is no object", lambda box: b"null", ["not_canonical", "bad_field"])
last_line("canonical_garbage", "Bytes of chance", lambda box: bytes(range(128, 256)), "not_canonical")

for _name in ("data", "kind", "log", "prev", "seq", "time"):
    last_line(f"field_missing_{_name}", f"No {_name}", without(_name), "bad_field")
last_line("field_unknown", "A key too many", fields(extra=1), "bad_field")
last_line("field_none", "No key at all", lambda box: b"{}", "bad_field")
last_line("field_data_array", "data is no object", fields(data=[]), "bad_field")
last_line("field_data_null", "data is null", fields(data=None), "bad_field")
last_line("field_kind_upper", "kind in upper case", fields(kind="Tick"), "bad_field")
last_line("field_kind_empty", "An empty kind", fields(kind=""), "bad_field")
last_line("field_kind_newline", "A newline behind the kind", fields(kind="tick\n"), "bad_field")
last_line("field_kind_long", "A kind of 65 letters", fields(kind="k" * 65), "bad_field")
last_line("field_kind_digit", "A kind with a digit that is not ASCII", fields(kind="tick٣"), "bad_field")
last_line("field_seq_text", "seq as text", fields(seq="7"), "bad_field")
last_line("field_seq_null", "seq is null", fields(seq=None), "bad_field")
last_line("field_log_integer", "log is an integer", fields(log=1), "bad_field")
last_line("field_prev_upper", "prev in upper case", fields(prev="A" * 64), "bad_field")
last_line("field_prev_short", "prev of 63 digits", fields(prev="0" * 63), "bad_field")
last_line("field_prev_newline", "A newline behind prev", fields(prev="0" * 64 + "\n"), "bad_field")
last_line(
    "field_time_offset", "A time with an offset", fields(time="2026-11-21T12:00:00.000000+00:00"), "bad_field"
)
last_line("field_time_millis", "A time of milliseconds", fields(time="2026-11-21T12:00:00.000Z"), "bad_field")
last_line("field_time_space", "A time with a space", fields(time="2026-11-21 12:00:00.000000Z"), "bad_field")
last_line(
    "field_time_digits", "Digits that are not ASCII", fields(time="2026-11-2١T12:00:00.000000Z"), "bad_field"
)
last_line("field_time_day", "31 February", fields(time="2026-02-31T12:00:00.000000Z"), "bad_field")
last_line("wrong_log_other", "A line of another log", fields(log="cam2"), "wrong_log")
last_line("wrong_sequence_repeated", "A number twice", fields(seq=6), "wrong_sequence")
last_line("wrong_sequence_negative", "A negative number", fields(seq=-7), ["wrong_sequence", "bad_field"])
last_line("broken_chain_last", "prev of another line", fields(prev="1" * 64), "broken_chain")
last_line("broken_chain_zeros", "prev is zeros, not in the first line", fields(prev="0" * 64), "broken_chain")


# Lines that were signed


def edited(
    name: str, about: str, edit: Callable[[list[bytes]], None], finding: list[Any], *also: str
) -> None:
    def make() -> Vector:
        box = small()
        edit(box.log("cam1").lines)
        return Vector(about, box, [finding], list(also))

    VECTORS[name] = make


def _edit(lines: list[bytes]) -> None:
    lines[2] = lines[2].replace(b'"n":2', b'"n":3')


def _swap(lines: list[bytes]) -> None:
    lines[3], lines[4] = lines[4], lines[3]


edited("edited_line", "A line was edited", _edit, ["broken_chain", "cam1", 4], "wrong_root")
edited(
    "removed_first",
    "The first line is gone",
    lambda lines: lines.pop(0) and None,
    ["wrong_sequence", "cam1", 1],
    "missing_events",
    "wrong_root",
)
edited(
    "removed_line",
    "A line is gone",
    lambda lines: lines.pop(4) and None,
    ["wrong_sequence", "cam1", 5],
    "missing_events",
    "wrong_root",
)
edited(
    "added_line",
    "A line was put in",
    lambda lines: lines.insert(4, lines[3]),
    ["wrong_sequence", "cam1", 5],
    "wrong_root",
)
edited("swapped_lines", "Two lines changed places", _swap, ["wrong_sequence", "cam1", 4], "wrong_root")
edited("cut_log", "The log was cut", lambda lines: lines.pop() and None, ["missing_events", "cam1", 2])
edited("emptied_log", "All lines are gone", lambda lines: lines.clear(), ["missing_events", "cam1", 1])


@vector
def rewritten_log() -> Vector:
    box = small()
    notes = box.log("cam1").notes
    box.logs.clear()
    box.add("cam1", *({"n": n, "hidden": "nothing happened"} for n in range(7)))
    box.log("cam1").notes = notes
    return Vector("All lines were made anew, with a chain that holds", box, [["wrong_root", "cam1", 1]])


@vector
def rewritten_tail() -> Vector:
    box = small()
    log = box.log("cam1")
    del log.lines[5:]
    box.add("cam1", {"n": "x"}, {"n": "y"})
    return Vector("The last lines were made anew, with a chain that holds", box, [["wrong_root", "cam1", 2]])


@vector
def not_signed() -> Vector:
    box = small()
    box.fill("cam1", 2)
    return Vector(
        "Completeness is demanded, two lines are not signed",
        box,
        [["not_signed", "cam1", None]],
        call={"complete": True},
    )


@vector
def not_signed_at_all() -> Vector:
    box = Box()
    box.fill("cam1", 2)
    return Vector(
        "Completeness is demanded, nothing is signed",
        box,
        [["not_signed", "cam1", None]],
        call={"complete": True},
    )


# Keys


def with_keys(name: str, about: str, change: Callable[[Box], None], finding: list[Any], *also: str) -> None:
    def make() -> Vector:
        box = small()
        box.rotate()
        box.fill("cam1", 1)
        box.sign("cam1")
        change(box)
        return Vector(about, box, [finding], list(also))

    VECTORS[name] = make


FOLLOWS = ("unknown_key", "retired_key", "bad_signature", "wrong_origin")


def key_fields(line: int, **changed: object) -> Callable[[Box], None]:
    def change(box: Box) -> None:
        box.keys[line - 1] = canonical(json.loads(box.keys[line - 1]) | changed)

    return change


def other_new(new: Key) -> Callable[[Box], None]:
    """The second line makes a new key known that is not one; all signatures hold."""

    def change(box: Box) -> None:
        first = Key(box.key.name, f"{box.device} 0")
        box.keys[1] = box.key_line(first, {"cam1": 7}, new)
        box.log("cam1").notes.pop()

    return change


def _back(box: Box) -> None:
    box.rotate(Key(box.key.name, f"{box.device} 0"))


def _unpadded(box: Box) -> None:
    line = json.loads(box.keys[1])
    key_fields(2, signed_by_new=line["signed_by_new"].rstrip("="))(box)


def _loose_bits(box: Box) -> None:
    text = json.loads(box.keys[1])["signed_by_new"]
    assert text.endswith("==")
    letter = text[-3]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = text[:-3] + alphabet[alphabet.index(letter) + 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(text)
    key_fields(2, signed_by_new=other)(box)


def _id(key: Key) -> Key:
    key.text = key.text.replace(key.id.hex(), "00000000")
    return key


def _not_after(box: Box) -> None:
    line = json.loads(box.keys[1])
    key_fields(2, time=line["time"].replace("2026", "2027"))(box)


def _swap_signers(box: Box) -> None:
    line = json.loads(box.keys[1])
    key_fields(2, signed_by_new=line["signed_by_old"], signed_by_old=line["signed_by_new"])(box)


with_keys(
    "keys_none",
    "keys.jsonl is empty",
    lambda box: box.keys.clear(),
    [["bad_field", "bad_key", "unreadable", "not_canonical", "bad_rotation"], "", None],
    *FOLLOWS,
)
with_keys("keys_rotated_back", "A key comes back", _back, ["bad_key", "", 3], *FOLLOWS)
with_keys("keys_unpadded", "Base64 without padding", _unpadded, ["bad_field", "", 2], *FOLLOWS)
with_keys(
    "keys_loose_bits", "Base64 with bits that do not count", _loose_bits, ["bad_field", "", 2], *FOLLOWS
)
with_keys(
    "keys_short_signature",
    "A signature of 63 bytes",
    key_fields(2, signed_by_old=b64(bytes(63))),
    ["bad_field", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_field_missing",
    "A line with one key only",
    lambda box: box.keys.__setitem__(1, b'{"device":"box-17"}'),
    ["bad_field", "", 2],
    *FOLLOWS,
)
with_keys("keys_new_null", "new is null", key_fields(2, new=None), ["bad_field", "", 2], *FOLLOWS)
with_keys("keys_sizes_array", "sizes is no object", key_fields(2, sizes=[]), ["bad_field", "", 2], *FOLLOWS)
with_keys(
    "keys_sizes_text", "A size as text", key_fields(2, sizes={"cam1": "7"}), ["bad_field", "", 2], *FOLLOWS
)
with_keys(
    "keys_sizes_in_first",
    "sizes in the first line",
    key_fields(1, sizes={"cam1": 7}),
    [["bad_field", "bad_rotation"], "", 1],
    *FOLLOWS,
)
with_keys(
    "keys_time",
    "A time without microseconds",
    key_fields(2, time="2026-11-21T12:00:00Z"),
    ["bad_field", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_device_changes",
    "Another device in the second line",
    key_fields(2, device="box-18"),
    [["bad_field", "bad_key", "bad_rotation"], "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_old_in_first",
    "old in the first line",
    key_fields(1, old=STRANGER.text),
    ["bad_rotation", "", 1],
    *FOLLOWS,
)
with_keys(
    "keys_old_null",
    "old is null in the second line",
    key_fields(2, old=None),
    ["bad_rotation", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_old_other",
    "old is not the key before",
    key_fields(2, old=STRANGER.text),
    ["bad_rotation", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_signed_by_old_null",
    "No signature of the old key",
    key_fields(2, signed_by_old=None),
    [["bad_field", "bad_rotation"], "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_signed_by_old_in_first",
    "A signature of an old key in the first line",
    key_fields(1, signed_by_old=b64(bytes(64))),
    [["bad_field", "bad_rotation"], "", 1],
    *FOLLOWS,
)
with_keys(
    "keys_bad_signature",
    "The signature of the new key is of another text",
    _not_after,
    ["bad_rotation", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_swapped_signatures",
    "The signatures of old and new changed places",
    _swap_signers,
    ["bad_rotation", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_sizes_edited",
    "sizes was edited afterwards",
    key_fields(2, sizes={"cam1": 3}),
    ["bad_rotation", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_wrong_name",
    "A key of another box",
    other_new(Key("veil/box-18", "x")),
    ["bad_key", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_wrong_algorithm",
    "A key of a witness",
    other_new(Key("veil/box-17", "x", WITNESS)),
    ["bad_key", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_wrong_id",
    "An ID that is not the key's",
    other_new(_id(Key("veil/box-17", "x"))),
    ["bad_key", "", 2],
    *FOLLOWS,
)
with_keys(
    "keys_malformed",
    "No verifier key",
    key_fields(1, new="veil/box-17"),
    ["bad_key", "", 1],
    "bad_rotation",
    *FOLLOWS,
)
with_keys(
    "keys_line_removed",
    "The first key is gone",
    lambda box: box.keys.pop(0) and None,
    ["bad_rotation", "", 1],
    *FOLLOWS,
)
with_keys(
    "keys_rotation_removed",
    "The rotation is gone",
    lambda box: box.keys.pop() and None,
    ["unknown_key", "cam1", 3],
)
with_keys(
    "keys_not_canonical",
    "White space in keys.jsonl",
    lambda box: box.keys.__setitem__(1, box.keys[1].replace(b":", b": ")),
    ["not_canonical", "", 2],
    *FOLLOWS,
)
with_keys(
    "retired_size_over",
    "A checkpoint over the size at which its key was rotated away",
    lambda box: box.keys.__setitem__(1, box.key_line(Key(box.key.name, "box-17 0"), {"cam1": 3})),
    ["retired_key", "cam1", 2],
)
with_keys(
    "retired_size_under",
    "The last checkpoint of a rotated key is gone",
    lambda box: box.keys.__setitem__(1, box.key_line(Key(box.key.name, "box-17 0"), {"cam1": 9})),
    ["retired_key", "cam1", None],
)
with_keys(
    "retired_not_named",
    "sizes does not name a log that the old key signed",
    lambda box: box.keys.__setitem__(1, box.key_line(Key(box.key.name, "box-17 0"), {})),
    ["retired_key", "cam1", 1],
)


def on_disk(name: str, about: str, change: Callable[[Path], None], finding: list[Any], *also: str) -> None:
    VECTORS[name] = lambda: Vector(about, large(), [finding], list(also), on_disk=[change])


def _cut_newline(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / name
        path.write_bytes(path.read_bytes()[:-1])

    return change


def _append(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes() + data) and None


def _folder(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).unlink()
        (root / name).mkdir()
        (root / name / "kept").write_bytes(b"")

    return change


on_disk(
    "keys_cut_newline",
    "keys.jsonl without its last newline",
    _cut_newline("keys.jsonl"),
    ["not_canonical", "", 3],
    *FOLLOWS,
)
on_disk(
    "keys_torn",
    "Half a line in keys.jsonl",
    _append("keys.jsonl", b'{"dev'),
    ["not_canonical", "", 4],
    *FOLLOWS,
)
on_disk(
    "keys_missing",
    "keys.jsonl is gone",
    lambda root: (root / "keys.jsonl").unlink(),
    ["unreadable", "", 0],
    *FOLLOWS,
)
on_disk("keys_folder", "keys.jsonl is a folder", _folder("keys.jsonl"), ["unreadable", "", 0], *FOLLOWS)
on_disk(
    "events_folder",
    "events.jsonl is a folder",
    _folder("cam1/events.jsonl"),
    ["unreadable", "cam1", 0],
    "missing_events",
)
on_disk(
    "checkpoints_missing",
    "checkpoints.jsonl is gone",
    lambda root: (root / "cam1/checkpoints.jsonl").unlink(),
    ["unreadable", "cam1", 0],
    "retired_key",
    "bad_checkpoint",
)
on_disk(
    "checkpoints_folder",
    "checkpoints.jsonl is a folder",
    _folder("cam1/checkpoints.jsonl"),
    ["unreadable", "cam1", 0],
)
on_disk(
    "checkpoints_cut_newline",
    "checkpoints.jsonl without its last newline",
    _cut_newline("cam1/checkpoints.jsonl"),
    ["not_canonical", "cam1", 5],
)
on_disk(
    "checkpoints_torn",
    "Half a line in checkpoints.jsonl",
    _append("cam1/checkpoints.jsonl", b'{"note'),
    ["not_canonical", "cam1", 6],
)
on_disk(
    "checkpoints_bom",
    "A byte order mark",
    lambda root: (
        (root / "cam1/checkpoints.jsonl").write_bytes(
            b"\xef\xbb\xbf" + (root / "cam1/checkpoints.jsonl").read_bytes()
        )
        and None
    ),
    ["not_canonical", "cam1", 1],
)
on_disk(
    "checkpoints_emptied",
    "All checkpoints are gone; a rotation names the log",
    lambda root: (root / "cam1/checkpoints.jsonl").write_bytes(b"") and None,
    ["retired_key", "cam1", None],
    "bad_checkpoint",
)
on_disk("cosigned_folder", "cosigned is a folder", _folder("cam1/cosigned"), ["unreadable", "cam1", 0])


def _link_to_nothing(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).unlink()
        (root / name).symlink_to("gone")

    return change


on_disk(
    "cosigned_dangling",
    "cosigned is a link to nothing",
    _link_to_nothing("cam1/cosigned"),
    ["unreadable", "cam1", 0],
)
on_disk(
    "witnesses_dangling",
    "witness.vkeys is a link to nothing",
    _link_to_nothing("witness.vkeys"),
    ["unreadable", "", 0],
    "unknown_key",
)
on_disk(
    "cosigned_cut_newline",
    "cosigned without its last newline",
    _cut_newline("cam1/cosigned"),
    [["bad_checkpoint", "not_canonical"], "cam1", None],
)
on_disk(
    "cosigned_not_utf8",
    "cosigned is not UTF-8",
    _append("cam1/cosigned", b"\xff\n"),
    [["bad_checkpoint", "not_canonical"], "cam1", None],
)
on_disk(
    "cosigned_bom",
    "A byte order mark",
    lambda root: (
        (root / "cam1/cosigned").write_bytes(b"\xef\xbb\xbf" + (root / "cam1/cosigned").read_bytes()) and None
    ),
    [["wrong_origin", "bad_checkpoint", "not_canonical"], "cam1", None],
)
on_disk(
    "cosigned_empty",
    "cosigned is empty",
    lambda root: (root / "cam1/cosigned").write_bytes(b"") and None,
    ["bad_checkpoint", "cam1", None],
)
on_disk(
    "witness_missing",
    "witness.vkeys is gone",
    lambda root: (root / "witness.vkeys").unlink(),
    ["unknown_key", "cam1", None],
)
on_disk(
    "witness_malformed",
    "No verifier key in witness.vkeys",
    _append("witness.vkeys", b"fleet\n"),
    [["bad_key", "bad_field", "not_canonical"], "", None],
    "unknown_key",
)
on_disk(
    "witness_wrong_algorithm",
    "A box's key in witness.vkeys",
    _append("witness.vkeys", STRANGER.text.encode() + b"\n"),
    ["bad_key", "", None],
    "unknown_key",
)


@vector
def canonical_line_over() -> Vector:
    box = limits().box
    box.log("cam1").notes.clear()
    lines = box.log("cam1").lines
    lines[-1] = lines[-1].replace(b"x", b"xx", 1)
    return Vector("A line of 16,385 bytes", box, [["not_canonical", "cam1", 2]])


@vector
def canonical_deep_over() -> Vector:
    box = limits().box
    box.log("cam1").notes.clear()
    lines = box.log("cam1").lines
    lines[:] = [lines[0].replace(b"[]", b"[[]]")]
    return Vector("33 objects and arrays one in another", box, [["not_canonical", "cam1", 1]])


def of_witnessed(
    name: str, about: str, change: Callable[[Box], None], finding: list[Any], *also: str
) -> None:
    def make() -> Vector:
        box = witnessed(5, 17, 33).box
        change(box)
        return Vector(about, box, [finding], list(also))

    VECTORS[name] = make


def _notes(change: Callable[[list[str]], object]) -> Callable[[Box], None]:
    return lambda box: change(box.log("cam1").notes) and None


def _plain(note: str) -> str:
    text, _, signatures = note.partition("\n\n")
    return f"{text}\n\n{signatures.partition(chr(10))[0]}\n"


of_witnessed(
    "witnessed_one_without",
    "A note without a cosignature in a witnessed file",
    _notes(lambda notes: notes.__setitem__(1, _plain(notes[1]))),
    ["bad_checkpoint", "cam1", 2],
    "unreadable",
)
of_witnessed(
    "witnessed_first_without",
    "The first note has no cosignature, so the file is not a witnessed one",
    _notes(lambda notes: notes.__setitem__(0, _plain(notes[0]))),
    [["bad_checkpoint", "checkpoint_order", "retired_key"], "cam1", None],
)
of_witnessed(
    "witnessed_order",
    "Sizes that do not grow in a witnessed file",
    _notes(lambda notes: notes.insert(1, notes[0])),
    ["checkpoint_order", "cam1", 2],
)
of_witnessed(
    "witnessed_other_last",
    "cosigned is not the note of the last line",
    _notes(lambda notes: notes.pop()),
    ["bad_checkpoint", "cam1", None],
)
of_witnessed(
    "witnessed_stranger",
    "A cosignature of somebody unknown in a witnessed file",
    _notes(
        lambda notes: notes.__setitem__(
            1, _plain(notes[1]) + STRANGER.cosign_line(notes[1].partition("\n\n")[0], 7)
        )
    ),
    ["unknown_key", "cam1", 2],
)
of_witnessed(
    "witnessed_bad_signature",
    "A cosignature of another text in a witnessed file",
    _notes(lambda notes: notes.__setitem__(1, _plain(notes[1]) + FLEET.cosign_line("other", 7))),
    ["bad_signature", "cam1", 2],
)
of_witnessed(
    "witnessed_lines_edited",
    "A line was edited under a witnessed file",
    lambda box: box.log("cam1").lines.__setitem__(2, box.log("cam1").lines[2].replace(b'"n":2', b'"n":3')),
    ["broken_chain", "cam1", 4],
    "wrong_root",
)
of_witnessed(
    "witnessed_retired_over",
    "A checkpoint over a rotation's size in a witnessed file",
    lambda box: box.keys.__setitem__(
        1,
        box.key_line(
            Key(box.key.name, "box-17 0"), {"box": 5, "cam-2_b": 5, "cam1": 4}, Key(box.key.name, "box-17 1")
        ),
    ),
    ["retired_key", "cam1", 1],
    "retired_key",
)
of_witnessed(
    "witnessed_not_named",
    "A checkpoint of a log that the rotation does not name",
    lambda box: box.keys.__setitem__(
        1,
        box.key_line(Key(box.key.name, "box-17 0"), {"box": 5, "cam-2_b": 5}, Key(box.key.name, "box-17 1")),
    ),
    ["retired_key", "cam1", 1],
    "retired_key",
)


@vector
def keys_untrusted() -> Vector:
    return Vector(
        "The pinned key is of another box",
        small(),
        [["untrusted_key", "", None]],
        call={"key": STRANGER.text},
    )


@vector
def retired_still_signs() -> Vector:
    box = small()
    old = box.key
    box.rotate()
    box.fill("cam1", 1)
    box.sign("cam1", old)
    return Vector("A key signs after it was rotated away", box, [["retired_key", "cam1", 3]])


@vector
def retired_comes_back() -> Vector:
    box = small()
    old = box.key
    box.rotate()
    box.fill("cam1", 1)
    box.sign("cam1")
    box.fill("cam1", 1)
    box.sign("cam1", old)
    return Vector("After a checkpoint of the new key one of the old", box, [["retired_key", "cam1", 4]])


@vector
def retired_names_unsigned_log() -> Vector:
    box = small()
    box.fill("cam2", 4)
    old = box.key
    box.rotate()
    box.keys[1] = box.key_line(old, {"cam1": 7, "cam2": 4})
    return Vector("sizes names a log without checkpoints", box, [["retired_key", "cam2", None]])


@vector
def retired_names_missing_log() -> Vector:
    box = small()
    old = box.key
    box.rotate()
    box.keys[1] = box.key_line(old, {"cam1": 7, "cam2": 4})
    return Vector("sizes names a log that is not there", box, [["retired_key", "cam2", None]])


# Checkpoints


def last_note(name: str, about: str, note: Callable[[Box], str], finding: list[Any], *also: str) -> None:
    """The third checkpoint, over one more line, is as given."""

    def make() -> Vector:
        box = small()
        box.fill("cam1", 1)
        box.log("cam1").notes.append(note(box))
        return Vector(about, box, [finding], list(also))

    VECTORS[name] = make


def signed(**changed: str) -> Callable[[Box], str]:
    def note(box: Box) -> str:
        box.sign("cam1", **changed)
        return box.log("cam1").notes.pop()

    return note


def signed_text(change: Callable[[str], str]) -> Callable[[Box], str]:
    def note(box: Box) -> str:
        text = change(box.text("cam1"))
        return f"{text}\n{box.key.sign_line(text)}"

    return note


def changed_note(change: Callable[[str], str]) -> Callable[[Box], str]:
    return lambda box: change(signed()(box))


def _short(box: Box) -> str:
    text = box.text("cam1")
    return f"{text}\n— {box.key.name} {b64(box.key.id + box.key.private.sign(text.encode())[:63])}\n"


BAD = ["bad_checkpoint", "cam1", 3]
ORDER = ["checkpoint_order", "cam1", 3]
last_note(
    "note_long",
    "A note of over 8,192 bytes",
    changed_note(lambda note: note + "".join(STRANGER.sign_line(str(n)) for n in range(80))),
    BAD,
)
last_note("note_text", "No note", lambda box: "hello", BAD)
last_note("note_empty", "An empty note", lambda box: "", BAD)
last_note("note_no_signature", "No signature line", lambda box: box.text("cam1") + "\n", BAD)
last_note("note_no_gap", "No empty line", changed_note(lambda note: note.replace("\n\n", "\n")), BAD)
last_note("note_cut", "No newline at the end", changed_note(lambda note: note[:-1]), BAD)
last_note(
    "note_two_signatures", "Two signature lines", changed_note(lambda note: note + note.split("\n\n")[1]), BAD
)
last_note(
    "note_cosigned",
    "A cosignature in checkpoints.jsonl",
    lambda box: (note := signed()(box)) + FLEET.cosign_line(note.split("\n\n")[0] + "\n", 7),
    BAD,
)
last_note(
    "note_stranger_too",
    "A signature line of somebody else too",
    lambda box: (note := signed()(box)) + STRANGER.sign_line(note.split("\n\n")[0] + "\n"),
    BAD,
)
last_note("note_hyphen", "A hyphen for the dash", changed_note(lambda note: note.replace("—", "-")), BAD)
last_note(
    "note_crlf", "Lines that end as on Windows", signed_text(lambda text: text.replace("\n", "\r\n")), BAD
)
last_note(
    "note_unpadded", "Base64 without padding", changed_note(lambda note: note.replace("=\n", "\n")), BAD
)
last_note("note_six_lines", "A sixth line of text", signed_text(lambda text: text + "more\n"), BAD)
last_note(
    "note_four_lines", "Four lines of text", signed_text(lambda text: text[: text.index("previous")]), BAD
)
last_note("note_size_zero_first", "A leading zero", signed(size="08"), BAD)
last_note("note_size_plus", "A plus", signed(size="+8"), BAD)
last_note("note_size_text", "A size in words", signed(size="eight"), BAD)
last_note("note_size_digits", "Digits that are not ASCII", signed(size="٨"), BAD)
last_note("note_size_negative", "A negative size", signed(size="-8"), BAD)
last_note("note_size_space", "A space behind the size", signed(size="8 "), BAD)
last_note("note_root_short", "A root of 31 bytes", signed(root=b64(bytes(31))), BAD)
last_note(
    "note_root_loose", "A root with bits that do not count", signed(root=b64(bytes(32))[:-2] + "B="), BAD
)
last_note("note_root_url", "Base64 for addresses", signed(root=b64(b"\xff" * 32).replace("/", "_")), BAD)
last_note("note_time", "A time without microseconds", signed(time="time 2026-11-21T12:00:00Z"), BAD)
last_note("note_previous_hex", "previous in hex", signed(previous="previous " + "0" * 64), BAD)
last_note(
    "note_origin_device",
    "A checkpoint of another box",
    signed(origin="veil/box-18/cam1"),
    ["wrong_origin", "cam1", 3],
)
last_note(
    "note_origin_log",
    "A checkpoint of another log",
    signed(origin="veil/box-17/cam2"),
    ["wrong_origin", "cam1", 3],
)
last_note(
    "note_unknown_key",
    "Signed by somebody else",
    lambda box: box.sign("cam1", STRANGER) and box.log("cam1").notes.pop(),
    ["unknown_key", "cam1", 3],
)
last_note(
    "note_other_name",
    "A key's ID with another name",
    changed_note(lambda note: note.replace("— veil/box-17", "— veil/box-18")),
    ["unknown_key", "cam1", 3],
)
last_note(
    "note_bad_signature",
    "Text changed after it was signed",
    changed_note(lambda note: note.replace("time 2026", "time 2027")),
    ["bad_signature", "cam1", 3],
)
last_note(
    "note_short_signature",
    "A signature of 63 bytes",
    _short,
    [["bad_signature", "bad_checkpoint"], "cam1", 3],
)
last_note("note_size_0", "A size of 0", signed(size="0"), [["checkpoint_order", "bad_checkpoint"], "cam1", 3])
last_note("note_size_same", "The same size again", signed(size="7"), ORDER)
last_note("note_size_smaller", "A smaller size", signed(size="3"), ORDER)
last_note(
    "note_previous_other",
    "previous is not the checkpoint before",
    signed(previous=f"previous {b64(bytes(32))}"),
    ORDER,
)
last_note("note_repeated", "The checkpoint before again", lambda box: box.log("cam1").notes[-1], ORDER)
last_note("note_root_other", "Another root, signed", signed(root=b64(bytes(32))), ["wrong_root", "cam1", 3])
last_note("note_size_over", "A size over the lines", signed(size="9"), ["missing_events", "cam1", 3])
last_note(
    "note_size_huge",
    "A size of 20 digits",
    signed(size="9" * 20),
    ["bad_checkpoint", "cam1", 3],
)


@vector
def note_first_previous() -> Vector:
    box = Box()
    box.fill("cam1", 1)
    box.sign("cam1", previous=f"previous {b64(b'1' * 32)}")
    return Vector("previous of the first checkpoint is not zeros", box, [["checkpoint_order", "cam1", 1]])


@vector
def note_removed() -> Vector:
    box = small()
    box.fill("cam1", 1)
    box.sign("cam1")
    box.log("cam1").notes.pop(1)
    return Vector("A checkpoint is gone", box, [["checkpoint_order", "cam1", 2]])


def checkpoint_line(name: str, about: str, line: Callable[[str], bytes], code: str) -> None:
    def make() -> Vector:
        def change(root: Path) -> None:
            path = root / "cam1" / "checkpoints.jsonl"
            lines = path.read_bytes().splitlines()
            lines[1] = line(json.loads(lines[1])["note"])
            path.write_bytes(b"".join(each + b"\n" for each in lines))

        return Vector(about, small(), [[code, "cam1", 2]], on_disk=[change])

    VECTORS[name] = make


checkpoint_line(
    "checkpoint_line_extra", "A second key", lambda note: canonical({"note": note, "x": 1}), "bad_field"
)
checkpoint_line(
    "checkpoint_line_array", "The note in an array", lambda note: canonical({"note": [note]}), "bad_field"
)
checkpoint_line(
    "checkpoint_line_ascii",
    "The dash escaped",
    lambda note: json.dumps({"note": note}, separators=(",", ":")).encode(),
    "not_canonical",
)
checkpoint_line(
    "checkpoint_line_space", "White space", lambda note: canonical({"note": note}) + b" ", "not_canonical"
)
checkpoint_line("checkpoint_line_empty", "An empty line", lambda note: b"", "not_canonical")


# Cosigned and anchors


def cosigned(name: str, about: str, note: Callable[[Box], str], code: Any, *also: str) -> None:
    def make() -> Vector:
        box = large()
        box.log("cam1").cosigned = note(box)
        return Vector(about, box, [[code, "cam1", None]], list(also))

    VECTORS[name] = make


def _text(note: str) -> str:
    return note.split("\n\n", maxsplit=1)[0] + "\n"


def _never_written(box: Box) -> str:
    text = box.text("cam1", size=str(len(box.log("cam1").lines)))
    return f"{text}\n{box.key.sign_line(text)}{FLEET.cosign_line(text, 9)}"


def _root(box: Box) -> str:
    text = box.text("cam1", root=b64(bytes(32)))
    return f"{text}\n{box.key.sign_line(text)}{FLEET.cosign_line(text, 9)}"


def _over(box: Box) -> str:
    text = box.text("cam1", size="500")
    return f"{text}\n{box.key.sign_line(text)}{FLEET.cosign_line(text, 9)}"


def _note(box: Box) -> str:
    return box.log("cam1").notes[-1]


cosigned("cosigned_without", "cosigned has no cosignature", _note, "bad_checkpoint")
cosigned(
    "cosigned_only",
    "cosigned has no signature of the box",
    lambda box: f"{_text(_note(box))}\n{FLEET.cosign_line(_text(_note(box)), 7)}",
    ["bad_checkpoint", "unknown_key"],
)
cosigned(
    "cosigned_stranger",
    "Cosigned by somebody unknown",
    lambda box: _note(box) + Key("who", "who", WITNESS).cosign_line(_text(_note(box)), 7),
    "unknown_key",
)
cosigned(
    "cosigned_one_stranger",
    "One of two witnesses is unknown",
    lambda box: (
        (box.log("cam1").cosigned or "") + Key("who", "who", WITNESS).cosign_line(_text(_note(box)), 7)
    ),
    "unknown_key",
)
cosigned(
    "cosigned_other_time",
    "The time of a cosignature was changed",
    lambda box: (
        _note(box)
        + FLEET.cosign_line(_text(_note(box)), 7).replace(
            b64(FLEET.id + (7).to_bytes(8, "big"))[:16], b64(FLEET.id + (8).to_bytes(8, "big"))[:16]
        )
    ),
    "bad_signature",
)
cosigned(
    "cosigned_plain",
    "A witness signed as a box does",
    lambda box: _note(box) + FLEET.sign_line(_text(_note(box))),
    ["bad_signature", "bad_checkpoint"],
)
cosigned(
    "cosigned_box_signature",
    "The box's signature in cosigned does not verify",
    lambda box: (box.log("cam1").cosigned or "").replace("time 2026", "time 2027"),
    "bad_signature",
)
cosigned(
    "cosigned_never_written",
    "A good checkpoint that is not in checkpoints.jsonl",
    _never_written,
    ["bad_checkpoint", "missing_events", "checkpoint_order", "unknown_key", "wrong_root"],
)
cosigned(
    "cosigned_other_log", "cosigned of another log", lambda box: box.log("box").cosigned or "", "wrong_origin"
)
cosigned(
    "cosigned_wrong_root", "A cosigned checkpoint of other lines", _root, ["wrong_root", "bad_checkpoint"]
)
cosigned(
    "cosigned_rollback",
    "Log and checkpoints were cut back behind what was cosigned",
    _over,
    ["missing_events", "bad_checkpoint"],
)


def anchored(name: str, about: str, note: Callable[[Box], str], finding: list[Any]) -> None:
    def make() -> Vector:
        box = large()
        return Vector(about, box, [finding], anchor=note(box).encode(), call={"anchor": "anchor"})

    VECTORS[name] = make


def _foreign(box: Box) -> str:
    other = Box("box-18")
    other.fill("cam1", 2)
    return other.sign("cam1")


anchored("anchor_other_device", "An anchor of another device", _foreign, ["wrong_origin", None, None])
anchored("anchor_wrong_root", "An anchor of other lines", _root, ["wrong_root", "cam1", None])
anchored(
    "anchor_missing_events", "The log was cut back behind the anchor", _over, ["missing_events", "cam1", None]
)
anchored(
    "anchor_stranger",
    "An anchor by somebody else",
    lambda box: box.sign("cam1", STRANGER) and box.log("cam1").notes.pop(),
    ["unknown_key", "cam1", None],
)
anchored(
    "anchor_bad_signature",
    "An anchor that was changed",
    lambda box: _note(box).replace("time 2026", "time 2027"),
    ["bad_signature", "cam1", None],
)


@vector
def anchor_missing_log() -> Vector:
    box = large()
    box.fill("cam9", 1)
    anchor = box.sign("cam9").encode()
    del box.logs["cam9"]
    codes = ["missing_events", "wrong_origin", "unreadable"]
    return Vector(
        "The log of the anchor is gone", box, [[codes, None, None]], anchor=anchor, call={"anchor": "anchor"}
    )


@vector
def folder_bad_name() -> Vector:
    return Vector(
        "A log in a folder whose name is none",
        small(),
        [[["bad_field", "wrong_log", "unreadable"], None, None]],
        on_disk=[lambda root: (root / "cam1").rename(root / "Cam 1") and None],
    )


@vector
def folder_log_over_logs() -> Vector:
    """The outer log is honest, and named as the folder is; the one below is not."""
    box = small()
    box.fill("log", 2)
    box.sign("log")
    box.log("cam1").lines[1] = box.log("cam1").lines[1].replace(b"tick", b"tock")

    def raise_log(root: Path) -> None:
        for path in (root / "log").iterdir():
            path.rename(root / path.name)
        (root / "log").rmdir()

    return Vector(
        "The folder is a log and holds another, which was changed",
        box,
        [["bad_field", "", 0]],
        ["broken_chain", "wrong_root"],
        on_disk=[raise_log],
    )


@vector
def folder_renamed() -> Vector:
    return Vector(
        "The folder of a log was renamed",
        small(),
        [["wrong_log", "cam2", 1]],
        ["wrong_origin"],
        on_disk=[lambda root: (root / "cam1").rename(root / "cam2") and None],
    )


@vector
def two_logs_bad() -> Vector:
    box = large()
    box.log("box").lines.pop(0)
    box.log("cam1").notes.pop(0)
    return Vector(
        "Each log has a finding",
        box,
        [["wrong_sequence", "box", 1], ["checkpoint_order", "cam1", 1]],
        ["missing_events", "wrong_root"],
    )


# Calls that cannot be taken


def refused(name: str, about: str, **given: Any) -> None:
    VECTORS[name] = lambda: Vector(about, small(), exit=2, **given)


def _no_log(root: Path) -> None:
    for path in (root / "cam1").iterdir():
        path.unlink()
    (root / "cam1" / "notes.txt").write_bytes(b"")


refused("call_no_folder", "No such folder", call={"dir": "nowhere"})
refused("call_no_log", "No log in the folder", on_disk=[_no_log])
refused("call_bad_key", "The pinned key is malformed", call={"key": "veil/box-17+00000000+AQ=="})
refused("call_bad_anchor", "The anchor is no note", anchor=b"hello\n", call={"anchor": "anchor"})
refused("call_no_anchor", "There is no anchor file", call={"anchor": "nowhere"})
