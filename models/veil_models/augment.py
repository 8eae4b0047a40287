"""What cameras do to pictures: geometry first, then light, weather, motion, noise and coding."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np

from veil_models.assign import PLATE, Boxes, Floats
from veil_models.pack import Pixels

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a crop lies in its picture: crop pixel = scale * R(angle) * (picture pixel - centre) + size / 2,
    mirrored first where asked."""

    centre_x: float
    centre_y: float
    scale: float
    angle: float
    mirrored: bool

    def matrix(self, width: int, height: int) -> Floats:
        """The 2x3 affine matrix from picture to a crop of `width` x `height`."""
        c, s = np.cos(self.angle) * self.scale, np.sin(self.angle) * self.scale
        flip = -1.0 if self.mirrored else 1.0
        m = np.array([[c * flip, -s], [s * flip, c]])
        shift = np.array([width / 2, height / 2]) - m @ np.array([self.centre_x, self.centre_y])
        return np.concatenate([m, shift[:, None]], 1).astype(np.float32)


def place(rgb: Pixels, boxes: Boxes, where: Placement, width: int, height: int) -> tuple[Pixels, Boxes]:
    """Cut a crop; what lies outside the picture is grey.

    Faces and heads turn as ellipses, plates as rectangles. Boxes less than 40 % inside become ignore regions,
    boxes outside vanish; the others are clipped.
    """
    m = where.matrix(width, height)
    shrink = 1
    while where.scale * shrink <= 0.5 and shrink < 8:
        shrink *= 2
    source = rgb
    if shrink > 1:  # averaging first: a plain affine warp would alias
        corners = cv2.invertAffineTransform(m) @ np.array(
            [[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], np.float32
        )
        x0, y0 = (int(max(0, np.floor(v))) // shrink * shrink for v in corners.min(1))
        x1, y1 = (
            int(min(lim, np.ceil(v) + shrink))
            for v, lim in zip(corners.max(1), rgb.shape[1::-1], strict=True)
        )
        part = rgb[y0 : max(y1, y0 + shrink), x0 : max(x1, x0 + shrink)]
        small = (max(1, part.shape[1] // shrink), max(1, part.shape[0] // shrink))
        part = part[: small[1] * shrink, : small[0] * shrink]
        source = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), np.uint8)
        lift = np.array([[shrink, 0, x0 + (shrink - 1) / 2], [0, shrink, y0 + (shrink - 1) / 2], [0, 0, 1]])
        warp = np.concatenate([m, [[0, 0, 1]]]) @ lift
    else:
        warp = np.concatenate([m, [[0, 0, 1]]])
    # box edges lie between pixels, the warp counts pixel centres
    half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]) @ warp
    if shrink == 1:
        half = half @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    else:
        half = half @ np.array([[1, 0, 0.5 / shrink], [0, 1, 0.5 / shrink], [0, 0, 1]])
    crop = cv2.warpAffine(
        source,
        half[:2].astype(np.float32),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(114, 114, 114),
    )
    return np.asarray(crop, np.uint8), move(boxes, m, width, height)


def move(boxes: Boxes, m: Floats, width: int, height: int) -> Boxes:
    """Boxes of the picture in the crop that matrix `m` cuts."""
    if len(boxes.xyxy) == 0:
        return boxes
    centre = (boxes.xyxy[:, :2] + boxes.xyxy[:, 2:]) / 2 @ m[:, :2].T + m[:, 2]
    size = (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]) / 2
    as_ellipse = np.sqrt((size**2) @ (m[:, :2] ** 2).T)
    as_rectangle = size @ np.abs(m[:, :2]).T
    half = np.where((boxes.category == PLATE)[:, None], as_rectangle, as_ellipse)
    whole = np.concatenate([centre - half, centre + half], 1)
    limit = np.array([width, height, width, height])
    inside = np.clip(whole, 0, limit).astype(np.float32)
    area = np.clip(inside[:, 2:] - inside[:, :2], 0, None).prod(1)
    share = area / np.maximum((whole[:, 2:] - whole[:, :2]).prod(1), 1e-6)
    longest = (inside[:, 2:] - inside[:, :2]).max(1)
    # what is too small to tell counts little, what is hardly there not at all
    weight = boxes.weight * np.clip((longest - 3) / 7, 0.15, 1)
    weight[(share < 0.4) | (longest < 5)] = 0
    keep = (share > 0.02) & (area > 1)
    return Boxes(inside[keep], boxes.category[keep], boxes.score[keep], weight[keep].astype(np.float32))


BAD_CAMERA = 0.16
"""Share of the pictures that a bad camera took."""


def degrade(rgb: Pixels, rng: Rng) -> Pixels:
    """Light, weather, optics, sensor and coding, each with its own chance; or a bad camera, where much goes
    together."""
    if rng.random() < BAD_CAMERA:
        return _bad_camera(rgb, rng)
    image = rgb
    if rng.random() < 0.12:
        image = _grey(image, rng)
    if rng.random() < 0.45:
        image = _light(image, rng)
    if rng.random() < 0.03:
        image = _rain(image, rng)
    if rng.random() < 0.1:
        image = _motion(image, rng)
    if rng.random() < 0.06:
        sigma = float(rng.uniform(0.4, 1.6))
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if rng.random() < 0.05:
        image = _coarse(image, rng)
    if rng.random() < 0.08:
        image = _noise(image, rng)
    if rng.random() < 0.15:
        image = _coded(image, rng)
    return image


def _bad_camera(image: Pixels, rng: Rng) -> Pixels:
    """Night, infrared, a slow shutter or few bits: a dark picture is noisy, smeared and starved at once;
    chances of their own hardly ever make that."""
    kind = rng.choice(4, p=[0.45, 0.25, 0.2, 0.1])
    if kind == 0:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        colour = float(rng.uniform(0.1, 0.9))
        image = np.asarray(cv2.addWeighted(image, colour, grey, 1 - colour, 0), np.uint8)
    if kind == 1:
        image = _corners_lost(_grey(image, rng), rng)
    if rng.random() < (0.3, 0.3, 1.0, 0.2)[kind]:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.1))), np.uint8)
    if rng.random() < (0.6, 0.4, 0.8, 0.3)[kind]:
        image = _motion(image, rng)
    gain = rng.uniform(*((0.22, 0.75), (0.45, 1.0), (0.8, 1.1), (0.8, 1.1))[kind])
    image = np.asarray(cv2.convertScaleAbs(image, alpha=gain, beta=float(rng.uniform(0, 26))), np.uint8)
    if rng.random() < (1.0, 0.9, 0.3, 0.3)[kind]:
        image = _noise(image, rng)
    if rng.random() < (0.7, 0.7, 0.6, 1.0)[kind]:
        image = _coded(image, rng)
    return image


def _corners_lost(image: Pixels, rng: Rng) -> Pixels:
    """An infrared lamp lights the middle."""
    h, w = image.shape[:2]
    y, x = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)
    light = 1 - float(rng.uniform(0, 0.7)) * np.clip(x * x + y * y, 0, 1)
    return (image * light[..., None]).astype(np.uint8)


def _grey(image: Pixels, rng: Rng) -> Pixels:
    """A grey or infrared camera: one channel, any mix of the three."""
    mix = rng.dirichlet(np.ones(3)).astype(np.float32)
    mixed = np.clip(image @ mix, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(mixed, cv2.COLOR_GRAY2RGB), np.uint8)


def _light(image: Pixels, rng: Rng) -> Pixels:
    """Exposure, contrast, gamma and white balance as one look-up table per channel; night one time in six."""
    night = rng.random() < 0.16
    gamma = rng.uniform(1.3, 2.6) if night else np.exp(rng.normal(0, 0.22))
    gain = rng.uniform(0.25, 0.9) if night else np.exp(rng.normal(0, 0.18))
    offset = rng.uniform(-0.08, 0.12)
    ramp = np.linspace(0, 1, 256)
    table = np.empty((256, 3), np.uint8)
    for channel in range(3):
        tint = np.exp(rng.normal(0, 0.08))
        table[:, channel] = np.clip((ramp**gamma * gain * tint + offset) * 255, 0, 255)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def _rain(image: Pixels, rng: Rng) -> Pixels:
    """Bright streaks, all falling one way."""
    h, w = image.shape[:2]
    layer = np.zeros((h, w), np.uint8)
    dx, length = rng.uniform(-0.4, 0.4), rng.integers(8, 30)
    for _ in range(int(rng.integers(60, 300))):
        x, y = int(rng.integers(0, w)), int(rng.integers(0, h))
        cv2.line(layer, (x, y), (x + int(dx * length), y + int(length)), int(rng.integers(60, 200)), 1)
    soft = cv2.GaussianBlur(layer, (3, 3), 0)
    return np.asarray(cv2.add(image, cv2.cvtColor(soft, cv2.COLOR_GRAY2RGB)), np.uint8)


def _motion(image: Pixels, rng: Rng) -> Pixels:
    """A camera or its subject moved in a straight line."""
    length = int(rng.integers(3, 13))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    centre, reach = (length - 1) / 2, (length - 1) / 2
    a = (round(centre - np.cos(angle) * reach), round(centre - np.sin(angle) * reach))
    b = (round(centre + np.cos(angle) * reach), round(centre + np.sin(angle) * reach))
    cv2.line(kernel, a, b, 1.0, 1)
    return np.asarray(cv2.filter2D(image, -1, kernel / max(float(kernel.sum()), 1.0)), np.uint8)


def _coarse(image: Pixels, rng: Rng) -> Pixels:
    """A picture that was stored small and blown up."""
    h, w = image.shape[:2]
    factor = rng.uniform(0.45, 0.9)
    small = cv2.resize(
        image, (max(8, int(w * factor)), max(8, int(h * factor))), interpolation=cv2.INTER_AREA
    )
    how = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(small, (w, h), interpolation=how), np.uint8)


def _noise(image: Pixels, rng: Rng) -> Pixels:
    """Sensor noise, grey or coloured, made once in small and tiled by chance offsets."""
    h, w = image.shape[:2]
    channels = 3 if rng.random() < 0.5 else 1
    strength = rng.uniform(2, 22)
    patch = rng.standard_normal((96, 96, channels), np.float32) * strength
    tiles = np.tile(patch, (h // 96 + 2, w // 96 + 2, 1))
    y, x = int(rng.integers(0, 96)), int(rng.integers(0, 96))
    return np.clip(image + tiles[y : y + h, x : x + w], 0, 255).astype(np.uint8)


def _coded(image: Pixels, rng: Rng) -> Pixels:
    """What a starved encoder leaves: half the time blocks and coarse colour of JPEG, of a camera that sends
    single pictures, half the time the smear of H.264."""
    if rng.random() < 0.5:
        return _h264(image, rng)
    quality = int(rng.integers(6, 55))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


_PICTURES = 3
"""How many are coded: the first says most, the last is predicted twice removed."""


def _h264(image: Pixels, rng: Rng) -> Pixels:
    """The last of a few pictures between which everything moved: it is predicted from the others, and few
    bits are left for what that misses."""
    h, w = (side // 2 * 2 for side in image.shape[:2])
    speed = rng.uniform(-3, 3, 2)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = w, h, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    preset = "ultrafast" if rng.random() < 0.5 else "superfast"
    crf = str(int(rng.integers(28, 46)))
    encoder.options = {"preset": preset, "tune": "zerolatency", "crf": crf, "x264-params": "log-level=none"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    shown: Pixels = image
    packets = []
    for before in range(_PICTURES - 1, -1, -1):
        dx, dy = np.round(speed * before).astype(int)
        moved = np.roll(image, (dy, dx), (0, 1))[:h, :w]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")
        frame.pts = _PICTURES - before
        packets += encoder.encode(frame)
    for packet in [*packets, *encoder.encode(None), None]:
        for decoded in decoder.decode(packet):
            shown = decoded.to_ndarray(format="rgb24")
    result = image.copy()
    result[:h, :w] = shown
    return result
