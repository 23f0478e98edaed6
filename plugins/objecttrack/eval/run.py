#!/usr/bin/env python3
"""Scores the tracker on the seeded scenes and on TUD-Campus and prints one table.

    run.py [--tools DIR] [--clips DIR] [--seeds N]

DIR holds evalmot.py, synth.py, subsample.py and proto.py (default: shared/tools/mot beside the project). --seeds N also
scores N further seeds of each scene, which nobody tuned to. Python 3.11+ with numpy and scipy; without them, or without
the tools, it says so and ends well.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parents[3]

# Name: (scene, objects, frames, fps, seed, keep every, target HOTA)
SCENES = {
    "street5": ("street", 12, 600, 5, 4, 1, 85),
    "street25": ("street", 12, 750, 25, 4, 1, 87),
    "cross25": ("cross", 20, 750, 25, 3, 1, 75),
    "cross5": ("cross", 20, 750, 25, 3, 5, 71),
    "nvr5": ("nvr", 5, 1500, 5, 5, 1, 84),
}
LINEAR = (10, 40, 100, 1000)

# Published figures of public trackers on the same detections: HOTA on TUD-Campus at 25 fps, at 5 fps (mean of five
# phases); microseconds per frame at 10, 100, 1000 objects.
PUBLIC = [
    ("SORT", 45.3, 42.7, 592, 5959, 87827),
    ("ByteTrack", 51.4, 42.0, 602, 4902, 79989),
    ("OC-SORT", 49.9, None, 922, 7160, 115630),
    ("BoT-SORT without ReID", 53.4, None, None, None, None),
    ("C-BIoU", 53.3, 43.7, 537, 5325, 63899),
    ("norfair as Frigate uses it", 37.8, 36.5, 1048, 52252, 4743496),
]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tools", type=pathlib.Path, default=PROJECT.parent / "shared/tools/mot")
    p.add_argument("--clips", type=pathlib.Path, default=PROJECT.parent / "shared/mot")
    p.add_argument("--seeds", type=int, default=0)
    a = p.parse_args()
    try:
        import numpy  # noqa: F401
        import scipy  # noqa: F401
    except ImportError as missing:
        print(f"eval: skipped: {missing} (install python3-numpy and python3-scipy)")
        return
    if not (a.tools / "evalmot.py").exists():
        print(f"eval: skipped: no evaluation tools in {a.tools}")
        return
    sys.path.insert(0, str(a.tools))
    with tempfile.TemporaryDirectory() as work:
        Eval(a, pathlib.Path(work)).run()


class Eval:
    def __init__(self, args, work):
        import evalmot
        import numpy
        import proto

        self.evalmot, self.numpy, self.proto = evalmot, numpy, proto
        self.tools, self.clips, self.seeds, self.work = args.tools, args.clips, args.seeds, work
        subprocess.run(
            ["cargo", "build", "--quiet", "--release", "--locked", "-p", "objecttrack-core", "--example", "mot"],
            cwd=PROJECT, check=True,
        )
        target = subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"],
            cwd=PROJECT, check=True, capture_output=True, text=True,
        ).stdout
        self.mot = pathlib.Path(re.search(r'"target_directory":"([^"]+)"', target)[1]) / "release/examples/mot"

    def tool(self, name, *args):
        subprocess.run([sys.executable, self.tools / name, *map(str, args)], check=True)

    def scene(self, scene, n, frames, fps, seed, every):
        out = self.work / f"{scene}{n}-{fps}-{seed}-{every}"
        if out.exists():
            return out
        source = out if every == 1 else self.work / f"{scene}{n}-{fps}-{seed}-1"
        if not source.exists():
            self.tool("synth.py", scene, source, "--n", n, "--frames", frames, "--fps", fps, "--seed", seed)
        if every > 1:
            out.mkdir()
            for name in ("det.txt", "gt.txt"):
                self.tool("subsample.py", source / name, out / name, every)
        return out

    def score(self, folder, fps, min_vis, regions=False):
        out = folder / "ours.txt"
        extra = ["--regions", folder / "regions.txt"] if regions else []
        said = subprocess.run(
            [self.mot, folder / "det.txt", out, "--fps", str(fps), *extra], check=True, capture_output=True, text=True
        ).stdout
        us = float(re.search(r"([\d.]+) us per frame", said)[1])
        m = self.evalmot.evaluate(self.evalmot.load(folder / "gt.txt"), self.evalmot.load(out), min_vis)
        return m, us

    def prototype(self, folder, fps, min_vis, regions=False):
        """The same scene through proto.py."""
        np = self.numpy
        det = self.evalmot.load(folder / "det.txt")
        look = self.regions(folder) if regions else {}
        last = int(max([det[:, 0].max(initial=0), *look]))
        tracker, rows = self.proto.Proto(fps), []
        for f in range(1, last + 1):
            d = det[det[:, 0] == f]
            boxes = np.column_stack([d[:, 2], d[:, 3], d[:, 2] + d[:, 4], d[:, 3] + d[:, 5], d[:, 6]])
            for i, x1, y1, x2, y2 in tracker.update(boxes, look.get(f, []) if regions else None):
                rows.append([f, i, x1, y1, x2 - x1, y2 - y1, 1, 1, -1])
        result = np.array(rows, dtype=float).reshape(-1, 9)
        return self.evalmot.evaluate(self.evalmot.load(folder / "gt.txt"), result, min_vis)

    def regions(self, folder):
        look = {}
        for line in open(folder / "regions.txt"):
            f, x, y, w, h = map(float, line.split(","))
            look.setdefault(int(f), []).append((x, y, x + w, y + h))
        return look

    def row(self, name, m, us=None, target=None, proto=None):
        cells = [f"{100 * m[c]:6.2f}" for c in ("HOTA", "DetA", "AssA", "MOTA", "IDF1")] + [f"{m['IDSW']:5d}"]
        cells.append(f"{us:8.1f}" if us is not None else " " * 8)
        cells.append(f"{target:6.1f}" if target else " " * 6)
        cells.append(f"{100 * proto['HOTA']:6.2f}" if proto else " " * 6)
        print(f"{name:<22}" + "  ".join(cells))

    def campus(self):
        clip = self.clips / "TUD-Campus"
        if not clip.exists():
            print(f"TUD-Campus: skipped: no clip in {clip}")
            return
        mean = self.numpy.mean
        whole = self.work / "campus"
        whole.mkdir()
        for name in ("det.txt", "gt.txt"):
            (whole / name).write_text((clip / name).read_text())
        self.row("TUD-Campus 25 fps", *self.score(whole, 25, 0.0), 52, self.prototype(whole, 25, 0.0))
        phases, protos, times = [], [], []
        for first in range(1, 6):
            part = self.work / f"campus{first}"
            part.mkdir()
            for name in ("det.txt", "gt.txt"):
                self.tool("subsample.py", clip / name, part / name, 5, "--first", first)
            m, us = self.score(part, 5, 0.0)
            phases.append(m)
            times.append(us)
            protos.append(self.prototype(part, 5, 0.0))
        whole5 = {k: mean([m[k] for m in phases]) for k in phases[0]}
        whole5["IDSW"] = int(round(whole5["IDSW"]))
        self.row("TUD-Campus 5 fps", whole5, mean(times), 48, {"HOTA": mean([m["HOTA"] for m in protos])})

    def run(self):
        print(f"{'':<22}" + "  ".join(["  HOTA", "  DetA", "  AssA", "  MOTA", "  IDF1", " IDSW", "us/frame", "target", " proto"]))
        self.campus()
        for name, (scene, n, frames, fps, seed, every, target) in SCENES.items():
            folder = self.scene(scene, n, frames, fps, seed, every)
            regions = scene == "nvr"
            m, us = self.score(folder, fps / every, 0.3, regions)
            self.row(name, m, us, target, self.prototype(folder, fps / every, 0.3, regions))
        for k in range(self.seeds):
            for name, (scene, n, frames, fps, seed, every, target) in SCENES.items():
                folder = self.scene(scene, n, frames, fps, seed + 1000 * (k + 1), every)
                m, us = self.score(folder, fps / every, 0.3, scene == "nvr")
                self.row(f"{name} seed {seed + 1000 * (k + 1)}", m, us, target)
        times = {}
        for n in LINEAR:
            folder = self.scene("linear", n, 300 if n < 1000 else 100, 25, 1, 1)
            m, times[n] = self.score(folder, 25, 0.3)
            self.row(f"linear, {n} objects", m, times[n])
        print(f"\ngrowth from 100 to 1000 objects: {times[1000] / times[100]:.1f} times\n")
        print(f"{'public trackers':<28}{'Campus 25':>10}{'Campus 5':>10}{'us at 10':>10}{'100':>8}{'1000':>10}")
        for name, *values in PUBLIC:
            print(f"{name:<28}" + "".join(f"{'-' if v is None else v:>{w}}" for v, w in zip(values, (10, 10, 10, 8, 10))))
        print("(HOTA and microseconds as published for the same detections; not measured in this run)")


if __name__ == "__main__":
    main()
