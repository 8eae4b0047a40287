"""What `veil anonymize` is asked to do: which files, what becomes of each, and what is left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import av
from av.video.stream import VideoStream

from veil.audit.event import Kind
from veil.audit.evidence_files import events_with
from veil.capture.file import ONLY_READ
from veil.errors import CaptureError, UsageError
from veil.folder import left_out, look_through
from veil.frames.still import FOREIGN_SUFFIXES
from veil.frames.still import ONLY_READ as STILL_ONLY_READ
from veil.frames.still import SUFFIXES as STILL_SUFFIXES
from veil.sinks.video_file import FORMATS

_STILLS = STILL_SUFFIXES | STILL_ONLY_READ | FOREIGN_SUFFIXES
_VIDEOS = FORMATS.keys() | ONLY_READ


@dataclass(frozen=True, slots=True)
class Job:
    """One file to anonymize."""

    source: Path
    output: Path

    @property
    def is_still(self) -> bool:
        return self.source.suffix.lower() in _STILLS


@dataclass(frozen=True, slots=True)
class Plan:
    """The files to do.

    Attributes:
        left_out: a sentence for each kind of what a folder holds and is not done.
        unreadable: an error for each folder that could not be looked into.
        made: how many files an earlier run has done, which are not done again.
    """

    jobs: tuple[Job, ...]
    left_out: tuple[str, ...] = ()
    unreadable: tuple[CaptureError, ...] = ()
    made: int = 0


def plan(
    source: Path, output: Path, *, overwrite: bool = False, resume: bool = False, evidence: Path | None = None
) -> Plan:
    """One file, or all pictures and videos of a folder and its subfolders.

    Names are kept; in a folder, kinds that are only read get `.mp4` (videos) or `.png` (pictures) behind.
    Where `output` lies in the folder, what is in it is not done.

    Args:
        overwrite: do all, whatever exists.
        resume: leave what an earlier run has done: the outputs that `evidence` names with these hashes.

    Raises UsageError where there is nothing to do, an output exists or is no file, two would be the same, or
    an output or the evidence would replace an input; CaptureError where nothing can be looked into.
    """
    if overwrite and resume:
        raise UsageError("--force does all again, --resume what is missing.", hint="Use one of them.")
    if resume and evidence is None:
        raise UsageError(
            "--resume needs the --evidence of the run before: nothing else says what is anonymized.",
            hint="Without it do all again with --force.",
        )
    try:
        planned = _folder(source, output) if source.is_dir() else Plan((_single(source, output),))
        for job in planned.jobs:
            _check(job, overwrite=overwrite or resume)
        _check_together(planned.jobs, evidence)
        if resume and evidence is not None:
            planned = _what_is_missing(planned, evidence)
    except OSError as error:
        raise UsageError(
            f"{error.filename or source}: {error.strerror}.", hint="Check the path and its permissions."
        ) from error
    return planned


def _single(source: Path, output: Path) -> Job:
    if not source.exists():
        raise UsageError(f"{source} does not exist.", hint="Check the path.")
    if not source.is_file():
        raise UsageError(f"{source} is not a file.", hint="For a camera use veil camera.")
    return Job(source, _named(output / source.name) if output.is_dir() else output)


def _folder(source: Path, output: Path) -> Plan:
    inside, outputs = source.resolve(), output.resolve()
    if inside == outputs:
        raise UsageError(
            f"The files in {source} would be overwritten by their own outputs.", hint="Name another folder."
        )
    known = _STILLS | _VIDEOS
    has_outputs = inside in outputs.parents

    def is_output(path: Path) -> bool:
        return has_outputs and outputs in (path, *path.parents)

    found = look_through(source, known, lambda folder: is_output(folder.resolve()))
    jobs = tuple(
        Job(path, _named(output / path.relative_to(source)))
        for path in found.files
        if not is_output(path.resolve())
    )
    if not jobs and found.unreadable:
        raise found.unreadable[0].error
    if not jobs:
        raise UsageError(
            f"{source} holds no pictures or videos.", hint=f"Looked for {', '.join(sorted(known))}."
        )
    said = found.left_out(source)
    if has_outputs:
        made = {job.output for job in jobs}
        others = [path for path in look_through(output, known).files if path not in made]
        if others:
            said.append(left_out(others, output, "the outputs' own folder"))
    return Plan(jobs, tuple(said), tuple(closed.error for closed in found.unreadable))


def _named(output: Path) -> Path:
    suffix = output.suffix.lower()
    added = ".mp4" if suffix in ONLY_READ else ".png" if suffix in STILL_ONLY_READ else ""
    return output.with_name(f"{output.name}{added}")


def _check(job: Job, *, overwrite: bool) -> None:
    if job.output.resolve() == job.source.resolve():
        raise UsageError(f"{job.source} would be overwritten by its own output.", hint="Name another output.")
    if job.output.exists():
        if not job.output.is_file():
            raise UsageError(f"{job.output} exists and is not a file.", hint="Name another output.")
        if not overwrite:
            raise UsageError(
                f"{job.output} exists.",
                hint="Use --force to replace it, --resume to leave what the evidence names, or another name.",
            )
    suffix = job.source.suffix.lower()
    if suffix in FOREIGN_SUFFIXES:
        # Its own error says what to do, and in a folder the others are done all the same.
        return
    written = STILL_SUFFIXES if job.is_still else FORMATS.keys()
    if job.output.suffix.lower() not in written:
        kind = (
            "is a picture" if job.is_still else "is a video" if suffix in _VIDEOS else "is taken for a video"
        )
        raise UsageError(
            f"{job.source.name} {kind} and cannot become {job.output.name}.",
            hint=f"Use one of {', '.join(sorted(written))}.",
        )


def _check_together(jobs: tuple[Job, ...], evidence: Path | None) -> None:
    doubled = [path for path, count in Counter(job.output for job in jobs).items() if count > 1]
    if doubled:
        raise UsageError(f"Two files would become {doubled[0]}.", hint="Rename one, or do them one by one.")
    sources = {job.source.resolve() for job in jobs}
    log = evidence.resolve() if evidence else None
    for job in jobs:
        if job.output.resolve() in sources:
            raise UsageError(
                f"{job.output} is one of the files to do and would be overwritten.",
                hint="Name another folder.",
            )
        if log in {job.source.resolve(), job.output.resolve()} or _is_same(evidence, job.source):
            raise UsageError(
                f"{evidence} is asked to be both the evidence and a file that is read or written.",
                hint="Name another file for --evidence.",
            )


def _is_same(evidence: Path | None, source: Path) -> bool:
    return evidence is not None and evidence.exists() and evidence.samefile(source)


def _what_is_missing(planned: Plan, evidence: Path) -> Plan:
    """Without the jobs whose output `evidence` names. Raises UsageError for any other file in the place of
    an output: nobody knows whether it is masked."""
    named = _named_in(evidence)
    missing = []
    for job in planned.jobs:
        if not job.output.exists():
            missing.append(job)
        elif (sha256_of(job.source), sha256_of(job.output)) not in named:
            raise UsageError(
                f"{job.output} exists, and {evidence} does not say that it was made from {job.source}.",
                hint="Move it away, or do all again with --force.",
            )
    return replace(planned, jobs=tuple(missing), made=len(planned.jobs) - len(missing))


def _named_in(evidence: Path) -> frozenset[tuple[object, object]]:
    """SHA-256 of source and output, in hexadecimal digits, of each file that the log says was anonymized."""
    if not evidence.exists():
        return frozenset()
    return frozenset(
        (data.get("source_sha256"), data.get("output_sha256"))
        for _, event in events_with(evidence, Kind.FILE_ANONYMIZED.encode())
        if event.get("kind") == Kind.FILE_ANONYMIZED and isinstance(data := event.get("data"), dict)
    )


def sha256_of(path: Path) -> str:
    """Of a file's content, in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def frames_of(job: Job) -> int | None:
    """How many frames a container says it has; None where it does not say. For progress only."""
    if job.is_still:
        return 1
    try:
        with av.open(f"file:{job.source}") as container:
            stream = container.streams.best("video")
            return (stream.frames or None) if isinstance(stream, VideoStream) else None
    except (av.FFmpegError, OSError):
        return None
