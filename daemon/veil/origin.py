"""With what a picture was hidden: what the evidence of all segments of a camera has in common."""

from __future__ import annotations

from collections.abc import Collection

from veil import __version__
from veil.audit.event import Value
from veil.config import CameraConfig, MaskConfig, PolicyConfig
from veil.detect.detector import BundleDetector, Detector


def origin_of(camera: CameraConfig, detector: Detector) -> dict[str, Value]:
    """Software, model, configuration and masks, as event data. Shares in thousandths. What is to be hidden
    (`policies`) is hidden only where the model finds it (`model.classes`)."""
    mask = camera.mask
    policies = policies_of(mask)
    return {
        "software": __version__,
        "model": _model(detector),
        "config_sha256": camera.digest,
        "lookback_ms": round(mask.lookback_s * 1000),
        "policies": {name: _policy(policy) for name, policy in policies.items()},
        "zones": {zone.name: {"mask": zone.mask, **_policy(zone.policy)} for zone in mask.zones},
    }


def never_found(camera: CameraConfig, detector: Detector) -> tuple[str, ...]:
    """What is to be hidden and this detector never finds."""
    return tuple(sorted(policies_of(camera.mask).keys() - set(detector.thresholds)))


def not_hidden(camera: CameraConfig, detector: Detector) -> tuple[str, str] | None:
    """What to tell of that, and what to do; None where everything is looked for."""
    missing = never_found(camera, detector)
    return not_found(detector.identity, missing) if missing else None


def not_found(bundle: str, classes: Collection[str]) -> tuple[str, str]:
    """What to tell of a bundle that never finds these classes, and what to do."""
    what = " and ".join(f"{name}s" for name in sorted(classes))
    return (
        f"bundle {bundle} finds no {what}: they stay visible.",
        "Choose a bundle that finds them, or hide where they appear by a privacy zone.",
    )


def policies_of(mask: MaskConfig) -> dict[str, PolicyConfig]:
    """By the class that is to be hidden so, zones aside."""
    each = {"face": mask.face, "plate": mask.plate, "head": mask.head}
    return {name: policy for name, policy in each.items() if policy is not None}


def _model(detector: Detector) -> dict[str, Value]:
    name, _, version = detector.identity.partition("@")
    sha256 = detector.bundle.sha256 if isinstance(detector, BundleDetector) else None
    runtime = detector.runtime if isinstance(detector, BundleDetector) else None
    classes = tuple(sorted(detector.thresholds))
    return {"name": name, "version": version, "sha256": sha256, "runtime": runtime, "classes": classes}


def _policy(policy: PolicyConfig) -> dict[str, Value]:
    """Operator, its strength (what it leaves at most; solid leaves nothing) and the margin."""
    said: dict[str, Value] = {
        "operator": policy.operator,
        "margin_permille": round(policy.margin * 1000),
        "min_size_px": policy.min_size,
    }
    match policy.operator:
        case "pixelate":
            said["cells"] = policy.cells
        case "blur":
            said["resolution"] = policy.resolution
        case "solid":
            pass
    return said
