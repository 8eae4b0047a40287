"""What evidence costs: durable appends a second, and a verifier's time and memory for many events.

    python bench/audit.py --folder /var/tmp [--events 1000000] [--threads 1,8,32]

Prints one JSON object. Each verifier runs in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from veil.audit.canonical import dump
from veil.audit.checkpoint import FIRST_PREVIOUS, Checkpoint, origin_of
from veil.audit.event import Event, Kind, canonical_data, line_around, timestamp
from veil.audit.keyring import KeyRecord
from veil.audit.log import EventLog
from veil.audit.note import SigningKey
from veil.audit.signer import LogSigner
from veil.audit.tree import Frontier, leaf_hash
from veil.domain.clock import SystemClock

SEGMENT = {
    "file": "front-20261121T120000.000Z-000123.mp4",
    "sha256": "ab" * 32,
    "bytes": 12_345_678,
    "number": 123,
    "first_wall_us": 1_790_000_000_000_000,
    "last_wall_us": 1_790_000_060_000_000,
    "duration_us": 60_000_000,
    "frames_masked": 1500,
    "frames_slate": 0,
    "detections": {"face": 3210, "plate": 120},
    "tracks": {"face": 12, "plate": 3},
    "operators": {"solid": 3330},
    "whole_frames": {"detector_late": 2},
    "lowest_score_permille": 251,
}
EVENT = Event(Kind.SEGMENT_CLOSED, SEGMENT)
CHECKPOINT_EVERY = 100


def appends(folder: Path, threads: int, seconds: float) -> float:
    """Durable appends a second by so many threads."""
    count, until = [0] * threads, time.monotonic() + seconds
    with EventLog(folder / f"appends-{threads}" / "events.jsonl", "front", SystemClock()) as log:

        def work(number: int) -> None:
            while time.monotonic() < until:
                log.append(EVENT)
                count[number] += 1

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        began = time.monotonic()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return sum(count) / (time.monotonic() - began)


def bare_syncs(folder: Path, seconds: float) -> float:
    """What the disk does: writes of one line with fdatasync, a second."""
    line, count, until = b"x" * 700, 0, time.monotonic() + seconds
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT)
    while time.monotonic() < until:
        os.write(descriptor, line)
        os.fdatasync(descriptor)
        count += 1
    os.close(descriptor)
    return count / seconds


def make_log(state: Path, events: int) -> None:
    """A log with a checkpoint every 100 events, without waiting for the disk."""
    folder, key = state / "log" / "front", SigningKey.generate("veil/bench")
    folder.mkdir(parents=True)
    record = KeyRecord.make("bench", key, None, {}, timestamp(time.time_ns()))
    (state / "log" / "keys.jsonl").write_bytes(record.line() + b"\n")
    data, tree, leaf, before = canonical_data(EVENT), Frontier(), bytes(32), FIRST_PREVIOUS
    with (folder / "events.jsonl").open("wb") as lines, (folder / "checkpoints.jsonl").open("wb") as heads:
        for number in range(events):
            line = line_around(data, EVENT.kind, "front", number, leaf, 1_790_000_000_000_000_000 + number)
            lines.write(line + b"\n")
            leaf = leaf_hash(line)
            tree.append(leaf)
            if tree.size % CHECKPOINT_EVERY == 0 or tree.size == events:
                head = Checkpoint(
                    origin_of("bench", "front"), tree.size, tree.root(), timestamp(time.time_ns()), before
                )
                heads.write(dump({"note": head.sign(key).encode()}) + b"\n")
                before = head.digest()


def verified(command: list[str]) -> dict[str, object]:
    """Seconds and peak memory of a verifier."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    return {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": used.ru_maxrss // 1024,
        "exit_code": os.waitstatus_to_exitcode(status),
        "ok": json.loads(output)["ok"],
    }


def signer_starts(state: Path) -> dict[str, float]:
    """Seconds to go on with a signed log: without the index, then with it."""
    times = {}
    for name in ("start_without_index_s", "start_with_index_s"):
        began = time.monotonic()
        with LogSigner(state / "log" / "front", "front", "bench", SystemClock()) as signer:
            times[name] = round(time.monotonic() - began, 3)
            began = time.monotonic()
            signer.inclusion_proof(signer.size // 3, signer.size)
            times[name.replace("start", "first_proof")] = round(time.monotonic() - began, 3)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--threads", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="veil-bench-", dir=asked.folder))
    try:
        result: dict[str, object] = {
            "bare_fdatasync_a_second": round(bare_syncs(root, asked.seconds)),
            "appends_a_second": {
                int(threads): round(appends(root, int(threads), asked.seconds))
                for threads in asked.threads.split(",")
            },
        }
        make_log(root, asked.events)
        log = root / "log"
        result["events"] = asked.events
        result["megabytes"] = (log / "front" / "events.jsonl").stat().st_size // 10**6
        result["python"] = verified([sys.executable, "-m", "veil.cli", "log", "verify", str(log), "--json"])
        script = Path(__file__).parents[1] / "docs" / "verifier" / "verify.mjs"
        if (node := shutil.which("node")) and script.exists():
            result["javascript"] = verified([node, str(script), "--json", str(log)])
        result["signer"] = signer_starts(root)
        result["own_peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(result, indent=2))
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
