#!/usr/bin/env python3
"""Motion and crop-to-tensor done with OpenCV on one thread: what `opencv.rs` sets beside ours. One line each: name, milliseconds.

Needs `opencv-python-headless` (which brings NumPy); in an environment of its own, for example:
    python3 -m venv cv && cv/bin/pip install opencv-python-headless && PYTHON=cv/bin/python make bench
"""
import sys
import time

try:
    import cv2
    import numpy as np
except ImportError as error:
    sys.exit(f"{error}")

cv2.setNumThreads(1)


def best(name, work, rounds=150):
    least = float("inf")
    for n in range(rounds):
        start = time.perf_counter()
        work(n)
        least = min(least, time.perf_counter() - start)
    print(f"{name}\t{least * 1e3:.4f}", flush=True)


def scene(width, height, n):
    """The picture of the bench `motion`: texture, and two bars that move."""
    i = np.arange(width * height, dtype=np.uint64)
    texture = (i % width) * 7 // 16 + (i // width) * 3 // 8 + ((i * 2654435761) >> 24) % 16
    plane = ((texture % 256) // 2 + 40).astype(np.uint8).reshape(height, width)
    for person in range(2):
        x = (n * 8 + person * width // 2) % (width - 80)
        plane[height // 3 : height // 3 + height // 4, x : x + 60] = 230
    return plane


class Motion:
    """Shrink, stretch the contrast, blur, difference to the average, threshold, dilate, contours, average."""

    def __init__(self, width, height):
        self.size = (100 * width // height, 100)
        self.average = None
        self.contrast = np.zeros((50, 2))
        self.contrast[:, 1] = 255

    def step(self, plane, n):
        small = cv2.resize(plane, self.size, interpolation=cv2.INTER_NEAREST)
        # Percentiles by the histogram, which is many times faster than numpy.percentile.
        seen = np.cumsum(cv2.calcHist([small], [0], None, [256], [0, 256]))
        self.contrast[n % 50] = np.searchsorted(seen, (0.04 * small.size, 0.96 * small.size))
        low, high = self.contrast.mean(axis=0)
        scale = 255 / max(high - low, 1)
        small = cv2.convertScaleAbs(np.clip(small, int(low), int(high)), alpha=scale, beta=-low * scale)
        small = cv2.GaussianBlur(small, (3, 3), 1)
        if self.average is None:
            self.average = small.astype(np.float32)
        difference = cv2.absdiff(small, cv2.convertScaleAbs(self.average))
        changed = cv2.threshold(difference, 30, 255, cv2.THRESH_BINARY)[1]
        changed = cv2.dilate(changed, None, iterations=1)
        contours, _ = cv2.findContours(changed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        boxes = [cv2.boundingRect(c) for c in contours if cv2.contourArea(c) > 10]
        cv2.accumulateWeighted(small, self.average, 0.01)
        return boxes


for name, width, height in (("720p", 1280, 720), ("1080p", 1920, 1080)):
    frames = [scene(width, height, n) for n in range(16)]
    motion = Motion(width, height)
    best(f"motion {name}", lambda n: motion.step(frames[n % 16], n), 300)

rng = np.random.default_rng(7)
luma = rng.integers(0, 256, (1080, 1920), np.uint8)
chroma = rng.integers(0, 256, (2, 540, 960), np.uint8)
SIDE = 416


def pixels(side):
    """The square of the picture as 416x416 pixels of BGR bytes: planes cut, turned into BGR, resized."""
    x = min(200, 1920 - side)
    yuv = np.empty((side * 3 // 2, side), np.uint8)
    yuv[:side] = luma[:side, x : x + side]
    half = slice(x // 2, (x + side) // 2)
    yuv[side : side + side // 4] = chroma[0, : side // 2, half].reshape(-1, side)
    yuv[side + side // 4 :] = chroma[1, : side // 2, half].reshape(-1, side)
    bgr = cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR_I420)
    return bgr if side == SIDE else cv2.resize(bgr, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


planes = np.empty((3, SIDE, SIDE), np.float32)


def split(side):
    """The cheapest way we know to planes of floats."""
    for plane, channel in zip(planes, cv2.split(pixels(side))):
        plane[:] = channel


for side in (320, 416, 640, 1080):
    best(f"f32 {side}", lambda _: cv2.dnn.blobFromImage(pixels(side)))
    best(f"f32 split {side}", lambda _: split(side))
    best(f"u8 {side}", lambda _: pixels(side))
print(f"version {cv2.__version__}\t0")
