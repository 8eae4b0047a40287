"""Faults at random moments: nothing readable leaves, something safe is shown, and it goes on by itself."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import pytest

from fault.catalogue import FAULTS, Fault
from fault.disk import FaultyOs
from fault.rig import Auditor, Rig
from veil.audit import log as log_module
from veil.sinks import segment_file

COUNT = int(os.environ.get("VEIL_FAULTS", "500"))
SEED = int(os.environ.get("VEIL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
RIGS = 4
SHOWN_WITHIN_S = 1.0
# What the scheduler of a busy machine may take on top.
ALLOWANCE_S = float(os.environ.get("VEIL_ALLOWANCE_S", "1.0"))
_RECOVERY_S = 30.0


class Campaign:
    """Faults at one rig, one after the other, each followed by recovery."""

    def __init__(self, rig: Rig, seed: int, budget: list[int], lock: threading.Lock) -> None:
        self.rig = rig
        self.done: Counter[str] = Counter()
        self.gaps: list[tuple[float, str]] = []
        self.recoveries: list[float] = []
        self.failure: str | None = None
        self._chance = random.Random(seed)
        self._budget, self._lock = budget, lock
        self.thread = threading.Thread(target=self._run, name=f"campaign-{rig.name}")

    def _take(self) -> bool:
        with self._lock:
            self._budget[0] -= 1
            return self._budget[0] >= 0

    def _run(self) -> None:
        if not self._recovered(time.monotonic(), "start"):
            return
        while self._take():
            fault = self._chance.choices(FAULTS, [one.weight for one in FAULTS])[0]
            begun = time.monotonic()
            time.sleep(self._chance.uniform(0, 0.04))
            fault.do(self.rig, self._chance)
            self._let_happen()
            healed = time.monotonic()
            self.rig.switches.clear()
            if not self._recovered(healed, fault.name):
                return
            self.recoveries.append(time.monotonic() - healed)
            self.done[fault.name] += 1
            self._note_gap(fault, begun)

    def _let_happen(self) -> None:
        before = sum(self.rig.switches.happened.values())
        deadline = time.monotonic() + self._chance.uniform(0.1, 0.4)
        while time.monotonic() < deadline and sum(self.rig.switches.happened.values()) < before + 3:
            time.sleep(0.01)

    def _recovered(self, since: float, what: str) -> bool:
        """Whether masked pictures of what the camera sees now flow again, also to the viewer."""
        deadline = since + _RECOVERY_S
        while time.monotonic() < deadline:
            masked = [at for at in tuple(self.rig.tap.masked_times) if at > since]
            shown = self.rig.server.viewer.times
            camera = self.rig.server.camera
            live = camera is not None and camera.state == "live"
            if len(masked) >= 2 and live and shown and shown[-1] > since:
                return True
            time.sleep(0.01)
        self.failure = f"{self.rig.name}: no recovery within {_RECOVERY_S:g} s after: {what}"
        return False

    def _note_gap(self, fault: Fault, begun: float) -> None:
        times = self.rig.server.viewer.times
        while len(times) > 2 and times[1] < begun:
            times.pop(0)
        if not fault.viewer_is_cut_off and fault.name != "two at once":
            self.gaps.append((max(b - a for a, b in itertools.pairwise(times)), fault.name))


@pytest.mark.timeout(0)
def test_no_fault_lets_anything_readable_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.setNumThreads(1)
    disk = FaultyOs()
    monkeypatch.setattr(segment_file, "os", disk)
    monkeypatch.setattr(log_module, "os", disk)
    threads_before = set(threading.enumerate())
    budget, lock = [COUNT], threading.Lock()
    started = time.monotonic()
    with Auditor() as auditor:
        rigs = []
        for index in range(RIGS):
            folder = tmp_path / f"cam{index}"
            folder.mkdir()
            rigs.append(Rig(f"cam{index}", folder, auditor, disk))
        campaigns = [Campaign(rig, SEED + index, budget, lock) for index, rig in enumerate(rigs)]
        for rig in rigs:
            rig.__enter__()
        for campaign in campaigns:
            campaign.thread.start()
        for campaign in campaigns:
            campaign.thread.join()
        for rig in rigs:
            rig.__exit__(None, None, None)
        auditor.wait()
        audit = auditor.audit
    took = time.monotonic() - started
    files = sum(rig.search_recordings(audit) for rig in rigs)
    gaps = sorted(gap for campaign in campaigns for gap, _ in campaign.gaps)
    done = sum((campaign.done for campaign in campaigns), Counter[str]())
    recoveries = sorted(one for campaign in campaigns for one in campaign.recoveries)
    with capsys.disabled():
        print(
            f"\nseed {SEED}: {sum(done.values())} faults of {len(done)} kinds in {took:.0f} s; "
            f"{sum(rig.runs for rig in rigs)} runs; {audit.pictures} pictures searched "
            f"({audit.searched} by all means), {files} recordings; longest without a picture "
            f"{gaps[-1] if gaps else 0:.2f} s (median {gaps[len(gaps) // 2] if gaps else 0:.2f}); "
            f"recovery median {recoveries[len(recoveries) // 2] if recoveries else 0:.2f} s, "
            f"longest {recoveries[-1] if recoveries else 0:.2f} s"
        )
        print(sum((rig.endings for rig in rigs), Counter[str]()))
    assert not [one.failure for one in campaigns if one.failure], f"seed {SEED}"
    assert not audit.found, f"seed {SEED}: {audit.found[:10]}"
    assert sum(done.values()) == COUNT
    assert audit.hidden > COUNT, "too few pictures with a marker in them to say anything"
    worst = max((gap for campaign in campaigns for gap in campaign.gaps), default=(0.0, ""))
    assert worst[0] <= SHOWN_WITHIN_S + ALLOWANCE_S, f"seed {SEED}: {worst}"
    _assert_nothing_leaks(rigs, threads_before)


def _assert_nothing_leaks(rigs: list[Rig], threads_before: set[threading.Thread]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        kept = [pool for rig in rigs for pool in rig.pools if pool.free != pool.count]
        threads = [one for one in threading.enumerate() if one not in threads_before]
        if not kept and not threads:
            return
        time.sleep(0.05)
    assert not kept, f"seed {SEED}: slots never came back: {[(pool.free, pool.count) for pool in kept]}"
    assert not threads, f"seed {SEED}: threads are left: {threads}"
