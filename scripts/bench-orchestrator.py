#!/usr/bin/env python3
"""Measures watchpost as a whole and prints one table: processor time and memory per camera, the age of a detection, and the
times a camera takes to come, to come back and to go.

    scripts/bench-orchestrator.py [--binary target/release/watchpost] [--model FILE] [--quick] [PART...]

PART: cost, times, sixteen (default: all). Needs a release build, GStreamer's command-line tools and x264enc
(`make setup`), and Python 3 without packages. Cameras that play H.264 play files made here, at 5 frames per second:
"still" shows one grey picture for ever, "motion" a ball that never rests, "people" the clip given by --clip (if the shared one
is there, that).

Processor time is what the kernel accounts to the processes, so a busy machine changes it little; times and ages it does
change, so the load average is printed beside them. Everything is the median of several runs, with the smallest and the
largest in brackets.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 60
SIZES = {"768x432": None, "1920x1080": (1280, 720)}
ROWS = []


def row(what, value, target=""):
    ROWS.append((what, value, target))
    print(f"  {what}: {value}  {target}", file=sys.stderr, flush=True)


def several(values, unit, digits=2):
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} {unit} [{low:.{digits}f} .. {high:.{digits}f}]"


class Watchpost:
    """A running watchpost in a folder of its own."""

    def __init__(self, options, cameras, model=True):
        self.folder = tempfile.TemporaryDirectory(prefix="watchpost-bench-")
        folder = pathlib.Path(self.folder.name)
        config = {"http": {"listen": "127.0.0.1:0"}, "run_dir": str(folder / "run"), "data_dir": str(folder / "data")}
        if model and options.model:
            config["model"] = {"path": str(options.model)}
        config["cameras"] = cameras
        file = folder / "watchpost.yaml"
        file.write_text(json.dumps(config, indent=1))  # JSON is YAML.
        environment = dict(os.environ)
        library = ROOT / ".deps/onnxruntime/libonnxruntime.so"
        if library.exists():
            environment.setdefault("ORT_DYLIB_PATH", str(library))
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen(
            [options.binary, "run", "-c", file], stderr=self.log, stdout=subprocess.DEVNULL, env=environment)
        self.address = wait("watchpost listens", self.listens, self)

    def text(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def listens(self):
        if self.process.poll() is not None:
            raise SystemExit(f"watchpost ended:\n{self.text()}")
        found = re.search(r"listening on http://(\S+)", self.text())
        return found and found[1]

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)

    def cameras(self):
        return {camera["name"]: camera for camera in self.request("GET", "/api/cameras")}

    def camera(self, name):
        return self.request("GET", f"/api/cameras/{name}")

    def wait_analysed(self):
        return wait("all cameras are analysed", lambda: all(map(analysed, self.cameras().values())), self)

    def workers(self):
        """Process ids: supervisor, analysis, capture of each camera."""
        cameras = self.cameras().values()
        return self.process.pid, next(iter(cameras))["analysis_pid"], [camera["capture_pid"] for camera in cameras]

    def stop(self):
        """Seconds from SIGTERM to the end."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        seconds = time.monotonic() - began
        if code != 0:
            raise SystemExit(f"watchpost ended with {code}:\n{self.text()}")
        self.log.close()
        self.folder.cleanup()
        return seconds


def wait(what, condition, watchpost, pause=0.05):
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise SystemExit(f"never: {what}\n{watchpost.text()}")
        time.sleep(pause)


def analysed(camera):
    """Running means that a first frame has been analysed."""
    return camera["state"] == "streaming" and camera["analysis"]["state"] == "running"


def cpu(pid):
    """Processor seconds of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def unshared(pid):
    """Bytes that only this process has, the frames of the rings left out."""
    total, counts = 0, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counts = "/memfd:" not in line
        elif counts and line.startswith(("Private_Clean:", "Private_Dirty:")):
            total += int(line.split()[1]) * 1024
    return total


def h264(options, folder, size, kind):
    """A file of 30 seconds at 5 frames per second; None where it cannot be made."""
    width, height = size.split("x")
    raw = f"video/x-raw,width={width},height={height},framerate=5/1"
    if kind == "people":
        if not options.clip:
            return None
        source = f"filesrc location={options.clip} ! decodebin ! videoconvert ! videoscale add-borders=false ! videorate ! {raw}"
    else:
        pattern = {"still": "gradient", "motion": "ball"}[kind]
        source = f"videotestsrc num-buffers=150 pattern={pattern} ! {raw}"
    file = pathlib.Path(folder) / f"{kind}-{size}.mp4"
    line = f"{source} ! videoconvert ! video/x-raw,format=I420 ! x264enc speed-preset=veryfast key-int-max=25 ! h264parse ! mp4mux ! filesink location={file}"
    subprocess.run(["gst-launch-1.0", "-q", *line.split()], check=True, stdout=subprocess.DEVNULL)
    return file


def cost(options):
    """Processor time, memory and age with cameras that play H.264."""
    count = 8
    with tempfile.TemporaryDirectory(prefix="watchpost-bench-") as folder:
        for size, detect in SIZES.items():
            for kind in ("still", "motion", "people"):
                file = h264(options, folder, size, kind)
                if not file:
                    print(f"  {kind} is left out: no clip (--clip)", file=sys.stderr)
                    continue
                camera = {"source": {"file": {"path": str(file), "loop": True}}, "detect": {"fps": 5}}
                if detect:
                    camera["detect"] |= {"width": detect[0], "height": detect[1]}
                watchpost = Watchpost(options, {f"camera{n}": camera for n in range(count)})
                watchpost.wait_analysed()
                time.sleep(options.warm)
                pids = watchpost.workers()
                shares, analyses, ages, rates, inferences = [], [], [], [], []
                for _ in range(options.runs):
                    every = [pids[0], pids[1], *pids[2]]
                    before, began = [cpu(pid) for pid in every], time.monotonic()
                    time.sleep(options.window)
                    spent, seconds = [cpu(pid) - b for pid, b in zip(every, before)], time.monotonic() - began
                    shares.append(sum(spent) / seconds / count)
                    analyses.append(spent[1] / seconds / count)
                    cameras = watchpost.cameras().values()
                    ages += [camera["age"] for camera in cameras if camera["age"] is not None]
                    rates += [camera["process_fps"] for camera in cameras]
                    inferences += [camera["detection_fps"] for camera in cameras]
                if watchpost.workers() != pids:
                    print(f"warning: workers were restarted:\n{watchpost.text()}", file=sys.stderr)
                captures = [unshared(pid) for pid in pids[2]]
                memory = statistics.median(captures) + unshared(pids[1]) / count
                name = f"H.264 {size}, {kind}"
                row(f"{name}: cameras per core", several([1 / share for share in shares], "", 1))
                row(f"{name}: processor per camera (of it analysis)",
                    f"{several([100 * s for s in shares], '%')} ({100 * statistics.median(analyses):.2f} %)")
                row(f"{name}: frames and inferences analysed", f"{statistics.median(rates):.1f}/s, {statistics.median(inferences):.1f}/s")
                row(f"{name}: age of a detection", several([1000 * age for age in ages], "ms", 0))
                target = "<= 40 MB" if size == "768x432" else ""
                row(f"{name}: memory per camera (capture)", f"{memory / 1e6:.1f} MB ({statistics.median(captures) / 1e6:.1f} MB)", target)
                watchpost.stop()


def scene(width=320, height=180, fps=5):
    return {"source": {"test": {"scene": "walkers", "width": width, "height": height, "fps": fps}},
            "detect": {"width": width, "height": height, "fps": fps}}


def times(options):
    """How long a camera takes to come and to come back."""
    watchpost = Watchpost(options, {"first": scene(640, 360, 10), "second": scene(640, 360, 10)})
    watchpost.wait_analysed()
    time.sleep(options.warm)
    put = []
    for n in range(options.repeats):
        began = time.monotonic()
        watchpost.request("PUT", f"/api/cameras/new{n}", scene(640, 360, 10))
        wait("the new camera is analysed", lambda: analysed(watchpost.camera(f"new{n}")), watchpost, 0.01)
        put.append(time.monotonic() - began)
        watchpost.request("DELETE", f"/api/cameras/new{n}")
        wait("it is gone", lambda: f"new{n}" not in watchpost.cameras(), watchpost)
        time.sleep(1)
    row("PUT of a test camera to its first analysed frame", several(put, "s"), "<= 1 s")

    def killed(which, back):
        seconds = []
        for _ in range(options.repeats):
            before = watchpost.camera("first")
            began = time.monotonic()
            os.kill(before[which], signal.SIGKILL)

            def is_back():
                camera = watchpost.camera("first")
                return camera[which] not in (None, before[which]) and back(before, camera)

            wait(f"{which} comes back", is_back, watchpost, 0.01)
            seconds.append(time.monotonic() - began)
            # A minute of peace, and the next restart is the first one again.
            time.sleep(options.peace)
        return seconds

    # Streaming is what the supervisor calls a camera whose ring's head has moved.
    seconds = killed("capture_pid", lambda before, camera: camera["state"] == "streaming")
    row("kill -9 of a capture worker to new frames", several(seconds, "s"), "<= 2 s")
    seconds = killed("analysis_pid", lambda before, camera: analysed(camera))
    model = "model loaded" if options.model else "no model"
    row(f"kill -9 of the analysis worker to an analysed frame, {model}", several(seconds, "s"), "<= 3 s")
    watchpost.stop()


def sixteen(options):
    """The supervisor with sixteen cameras, and how they stop."""
    shares, stops = [], []
    for _ in range(options.runs):
        watchpost = Watchpost(options, {f"camera{n:02}": scene() for n in range(16)})
        watchpost.wait_analysed()
        time.sleep(options.warm)
        before, began = cpu(watchpost.process.pid), time.monotonic()
        time.sleep(options.window)
        shares.append(100 * (cpu(watchpost.process.pid) - before) / (time.monotonic() - began))
        stops.append(watchpost.stop())
    row("16 cameras: supervisor's share of a core", several(shares, "%"), "<= 1 %")
    row("16 cameras: SIGTERM to the end", several(stops, "s"), "<= 2 s")


def main():
    parts = {"cost": cost, "times": times, "sixteen": sixteen}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/watchpost")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "pipelines/demo-model/demo.onnx")
    parser.add_argument("--clip", type=pathlib.Path, help="footage with people for the rows called people")
    parser.add_argument("--quick", action="store_true", help="shorter windows and fewer repetitions")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no part {unknown}")
    if not options.binary.exists():
        parser.error(f"{options.binary} is not there: cargo build --release --package watchpost")
    shared = ROOT / "../shared/media/one-by-one-person-detection.mp4"
    if not options.clip and shared.exists():
        options.clip = shared.resolve()
    quick = options.quick
    options.warm, options.window, options.runs = (5, 8, 2) if quick else (15, 15, 3)
    options.repeats, options.peace = (3, 1) if quick else (5, 61)
    load = os.getloadavg()
    for name, part in parts.items():
        if not options.parts or name in options.parts:
            part(options)
    width = max(len(what) for what, _, _ in ROWS)
    print(f"\nwatchpost on {os.cpu_count()} cores, load average {load[0]:.1f} before and {os.getloadavg()[0]:.1f} after, "
          f"model {options.model.name if options.model else 'none'}; median [smallest .. largest]\n")
    for what, value, target in ROWS:
        print(f"{what:<{width}}  {value:<34} {target}".rstrip())


if __name__ == "__main__":
    main()
