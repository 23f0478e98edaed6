#!/usr/bin/env python3
"""Microseconds per frame at 10, 40, 100 and 1000 objects: this tracker, norfair and ByteTrack in one run.

    speed.py [--frames N] [--seconds S]

Medians; of the Python trackers for at most S seconds (8) for each number of objects, so that the whole takes two or three
minutes at most. norfair and ByteTrack (package `supervision`) are measured only where they are installed; otherwise it says so.
"""
import argparse
import math
import pathlib
import random
import re
import statistics
import subprocess
import tempfile
import time

PROJECT = pathlib.Path(__file__).resolve().parents[3]
COUNTS = (10, 40, 100, 1000)


def scene(n, frames):
    """Objects on straight paths at the density of 50 in 1920x1080, 2% box noise, 5% misses, bouncing off the edges."""
    rng = random.Random(n)
    side = math.sqrt(max(n, 50) / 50)
    width, height = 1920 * side, 1080 * side
    objs = []
    for _ in range(n):
        h = rng.uniform(80, 160)
        w = h * rng.uniform(0.35, 0.6)
        speed, way = rng.uniform(30, 160) / 25, rng.uniform(0, 2 * math.pi)
        objs.append([rng.uniform(0, width - w), rng.uniform(0, height - h), speed * math.cos(way), speed * math.sin(way), w, h])
    out = []
    for _ in range(frames):
        rows = []
        for o in objs:
            o[0] += o[2]
            o[1] += o[3]
            if not 0 < o[0] < width - o[4]:
                o[2] = -o[2]
            if not 0 < o[1] < height - o[5]:
                o[3] = -o[3]
            if rng.random() < 0.05:
                continue
            g = [rng.gauss(0, 0.02) for _ in range(4)]
            w, h = o[4] * math.exp(g[2]), o[5] * math.exp(g[3])
            rows.append((o[0] + g[0] * w, o[1] + g[1] * h, w, h, min(0.99, rng.gauss(0.85, 0.05))))
        out.append(rows)
    return out


def ours(frames, work):
    det = work / "det.txt"
    with open(det, "w") as f:
        for k, rows in enumerate(frames, 1):
            for x, y, w, h, s in rows:
                f.write(f"{k},-1,{x:.2f},{y:.2f},{w:.2f},{h:.2f},{s:.3f},-1,-1,-1\n")
    said = subprocess.run(
        ["cargo", "run", "--quiet", "--release", "--locked", "-p", "objecttrack-core", "--example", "mot", "--", det, work / "out.txt"],
        cwd=PROJECT, check=True, capture_output=True, text=True,
    ).stdout
    return float(re.search(r"([\d.]+) us per frame", said)[1])


def timed(frames, step, limit):
    """Median of the frames that can be measured in `limit` seconds; the first, without anything to match, does not count."""
    spent, end = [], time.perf_counter() + limit
    for k, rows in enumerate(frames):
        start = time.perf_counter()
        step(rows)
        now = time.perf_counter()
        if k:
            spent.append(now - start)
        if spent and now > end:
            break
    return statistics.median(spent) * 1e6


def norfair():
    import numpy as np
    from norfair import Detection, Tracker

    def distance(d, t):
        # Relative shift of the lower edge's middle and of the sizes, after Frigate's description.
        dw, dh = np.diff(d.points, axis=0)[0]
        tw, th = np.diff(t.estimate, axis=0)[0]
        if min(dw, dh, tw, th) <= 0:
            return float("inf")
        dx = (d.points[:, 0].mean() - t.estimate[:, 0].mean()) / tw
        dy = (d.points[1, 1] - t.estimate[1, 1]) / th
        return math.sqrt(dx**2 + dy**2 + (max(dw / tw, tw / dw) - 1) ** 2 + (max(dh / th, th / dh) - 1) ** 2)

    def run(frames, limit):
        tracker = Tracker(distance_function=distance, distance_threshold=2.5, initialization_delay=2, hit_counter_max=25)
        make = lambda r: Detection(points=np.array([[r[0], r[1]], [r[0] + r[2], r[1] + r[3]]]))
        return timed(frames, lambda rows: tracker.update([make(r) for r in rows]), limit)

    return run


def bytetrack():
    import numpy as np
    import supervision as sv
    from supervision import ByteTrack  # newer releases are without it: pip install 'supervision<0.27'

    def run(frames, limit):
        tracker = ByteTrack(frame_rate=25)

        def step(rows):
            a = np.array(rows).reshape(-1, 5)
            boxes = np.column_stack([a[:, 0], a[:, 1], a[:, 0] + a[:, 2], a[:, 1] + a[:, 3]])
            tracker.update_with_detections(sv.Detections(xyxy=boxes, confidence=a[:, 4], class_id=np.zeros(len(a), int)))

        return timed(frames, step, limit)

    return run


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--frames", type=int, default=100)
    p.add_argument("--seconds", type=float, default=8)
    a = p.parse_args()
    others = {}
    for name, make in (("norfair", norfair), ("ByteTrack (supervision)", bytetrack)):
        try:
            others[name] = make()
        except ImportError as missing:
            print(f"{name}: skipped: {missing} (pip install norfair 'supervision<0.27')")
    print(f"{'us per frame':<26}" + "".join(f"{n:>12}" for n in COUNTS))
    with tempfile.TemporaryDirectory() as work:
        mine = {n: ours(scene(n, a.frames), pathlib.Path(work)) for n in COUNTS}
    print(f"{'objecttrack':<26}" + "".join(f"{mine[n]:>12.1f}" for n in COUNTS))
    for name, run in others.items():
        # A Python tracker may take ten seconds per frame at 1000 objects: two frames are the least.
        us = {n: run(scene(n, a.frames), a.seconds) for n in COUNTS}
        print(f"{name:<26}" + "".join(f"{us[n]:>12.1f}" for n in COUNTS), flush=True)
        print(f"{'  times ours':<26}" + "".join(f"{us[n] / mine[n]:>12.0f}" for n in COUNTS), flush=True)


if __name__ == "__main__":
    main()
