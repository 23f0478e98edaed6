#!/usr/bin/env python3
"""Records tests/data/v0.1.0 with a watchpost binary of version 0.1.0: a data directory and the API's answers.

    scripts/record-v0.1.0.py BINARY

The first run makes events and media; the second one answers the requests below, so that the events of the first run are
closed. See tests/data/v0.1.0/README.md.
"""
import base64
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests/data/v0.1.0"
PATIENCE = 60
ADMIN = {"Authorization": "Bearer admin-token-of-the-test"}
READ_ONLY = {"Authorization": "Bearer read-only-token-of-the-test"}
USER = {"Authorization": "Basic " + base64.b64encode(b"reader:password-of-the-test").decode()}
JSON = {"Content-Type": "application/json"}


class Watchpost:
    """A running binary and its HTTP interface."""

    def __init__(self, binary, folder):
        environment = os.environ | {"ORT_DYLIB_PATH": str((ROOT / ".deps/onnxruntime/libonnxruntime.so").resolve())}
        self.log = open(folder / "log", "a+")
        start = self.log.tell()
        self.process = subprocess.Popen(
            [binary, "run", "-c", folder / "watchpost.yaml"], stderr=self.log, stdin=subprocess.DEVNULL, env=environment
        )
        self.address = wait("it listens", lambda: self.listening(folder / "log", start))

    @staticmethod
    def listening(log, start):
        found = re.search(r"listening on http://(\S+)", log.read_text()[start:])
        return found and found[1]

    def request(self, method, path, headers=ADMIN, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content_type = answer.getheader("Content-Type") or ""
        # The live picture has no end.
        data = b"" if content_type.startswith("multipart/") else answer.read()
        connection.close()
        return answer.status, content_type, data

    def get(self, path):
        status, _, data = self.request("GET", path)
        return json.loads(data) if status == 200 else None

    def start(self, camera, task, parameters=None):
        path = f"/api/cameras/{camera}/tasks/{task}"
        status, _, data = self.request("POST", path, ADMIN | JSON, json.dumps(parameters or {}))
        assert status == 200, (path, status, data)

    def stream(self, path, kinds):
        """The first event of each kind from the event stream."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        connection.request("GET", path, None, ADMIN)
        found, event, lines = {}, {}, connection.getresponse()
        while set(found) != kinds:
            key, _, value = lines.readline().decode().rstrip("\n").partition(":")
            if key == "event":
                event["kind"] = value.strip()
            elif key == "data":
                found.setdefault(event["kind"], json.loads(value))
        connection.close()
        return found

    def stop(self):
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0


def wait(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"record-v0.1.0: never: {what}")
        time.sleep(0.1)
    return found


def make_data(watchpost):
    """Events of one camera; photos, a series, a raw photo and a recording of the other."""
    wait("the cameras stream", lambda: watchpost.request("GET", "/readyz")[0] == 200)
    watchpost.start("front", "photo")
    watchpost.start("yard", "raw_photo")
    watchpost.start("yard", "series", {"interval": 0.5, "count": 3, "name": "garden"})
    watchpost.start("yard", "video", {"duration": 2})
    wait("all media", lambda: len(watchpost.get("/api/media")) == 6)
    wait("events", lambda: len(watchpost.get("/api/events?label=person&zone=street")) >= 3)
    # A series that goes on when watchpost starts again.
    watchpost.start("yard", "series", {"interval": 3600, "name": "hourly", "continue_on_start": True})
    wait("its first shot", lambda: watchpost.get("/api/media?series=hourly"))


def requests(watchpost):
    """The requests whose answers are recorded: method, path, headers, body."""
    events = [e["id"] for e in watchpost.get("/api/events?limit=1000") if e["end_time"] is not None]
    media = watchpost.get("/api/media")
    get = [
        "/healthz", "/readyz", "/metrics", "/api/status", "/api/cameras", "/api/cameras/front", "/api/cameras/yard",
        "/api/cameras/spare", "/api/cameras/nothing", "/api/config", "/api/openapi.json", "/api/cameras/front/grid",
        "/api/cameras/front/grid.svg", "/api/cameras/yard/tasks", "/api/cameras/yard/plan?tasks=live,video,photo",
        "/api/cameras/yard/snapshot.jpg", "/api/cameras/yard/live.mjpg",
        "/api/events", "/api/events?camera=front&label=person&zone=street&limit=2", "/api/events?limit=none",
        f"/api/events?before_id={events[0]}&limit=1000", "/api/events/999999", "/api/events/one",
        *(f"/api/events/{id}" for id in events),
        "/api/media", "/api/media?camera=yard&task=series&series=garden", "/api/media?task=dance", "/api/media/999999",
        *(path for item in media for path in (f"/api/media/{item['id']}", item["url"], item["thumbnail_url"]) if path),
    ]
    yield from (("GET", path, ADMIN, None) for path in get)
    camera = {"source": {"test": {"scene": "still", "width": 160, "height": 120, "fps": 5}}, "detect": {"enabled": False}}
    config = watchpost.get("/api/config")
    for headers in ({}, {"Authorization": "Bearer wrong"}, READ_ONLY, USER):
        yield "GET", "/api/cameras/yard", headers, None
    for method, path, headers, body in [
        ("PUT", "/api/cameras/new?dry_run=1", READ_ONLY | JSON, camera),
        ("PUT", "/api/cameras/new?dry_run=1", ADMIN, camera),
        ("PUT", "/api/cameras/new?dry_run=1", ADMIN | JSON, camera),
        ("PUT", "/api/cameras/new?dry_run=1", ADMIN | JSON, {"source": {"launch": "videotestsrc"}}),
        ("PUT", "/api/cameras/new?dry_run=1", ADMIN | JSON, {"source": {"test": "walkers"}, "detect": {"fsp": 5}}),
        ("PATCH", "/api/cameras/yard?dry_run=1", ADMIN | JSON, {"friendly_name": "Yard"}),
        ("PATCH", "/api/cameras/yard?dry_run=1", ADMIN | JSON, {"detect": {"fps": 3}}),
        ("DELETE", "/api/cameras/yard?dry_run=1", ADMIN | JSON, None),
        ("POST", "/api/config?dry_run=1", ADMIN | JSON, config),
        ("POST", "/api/cameras/front/moving", ADMIN | JSON, {"moving": True}),
        ("POST", "/api/cameras/front/moving", ADMIN | JSON, {"moving": False}),
        ("POST", "/api/cameras/front/grid/freeze", ADMIN | JSON, {"frozen": True}),
        ("DELETE", "/api/cameras/front/grid", ADMIN | JSON, None),
        ("PATCH", "/api/cameras/yard/tasks/series", ADMIN | JSON, {"state": "paused"}),
        ("PATCH", "/api/cameras/yard/tasks/series", ADMIN | JSON, {"state": "active"}),
        ("POST", "/api/cameras/yard/tasks/series", ADMIN | JSON, {"interval": 1}),
        ("POST", "/api/cameras/yard/tasks/series", ADMIN | JSON, {}),
        ("DELETE", "/api/cameras/yard/tasks/series", ADMIN | JSON, None),
        ("POST", "/api/cameras/spare/tasks/photo", ADMIN | JSON, {}),
        ("DELETE", f"/api/media/{media[-1]['id']}", ADMIN | JSON, None),
    ]:
        yield method, path, headers, json.dumps(body) if body is not None else None


def record(watchpost):
    wait("the cameras stream", lambda: watchpost.request("GET", "/readyz")[0] == 200)
    wait("an object", lambda: watchpost.get("/api/cameras/front")["objects"])
    answers = []
    for method, path, headers, body in requests(watchpost):
        status, content_type, data = watchpost.request(method, path, headers, body)
        answer = {"method": method, "path": path, "headers": headers, "body": body, "status": status, "type": content_type}
        if "json" in content_type:
            answer["json"] = json.loads(data)
            if path == "/api/openapi.json":
                # Which requests there are; the types show in the answers.
                paths = answer["json"]["paths"]
                answer["json"] = {"paths": {path: {method: {} for method in paths[path]} for path in paths}}
        elif "text" in content_type:
            # Only names and types count.
            answer["metrics"] = sorted(line[7:] for line in data.decode().splitlines() if line.startswith("# TYPE"))
        elif path.startswith("/api/media/"):
            answer["length"] = len(data)
        answers.append(answer)
    return answers


def commands(binary):
    """Each subcommand with its options, from its help."""
    def help_of(*command):
        return subprocess.run([binary, *command, "--help"], capture_output=True, text=True, check=True).stdout

    names = re.findall(r"^  ([a-z-]+)  ", help_of().split("Commands:")[1].split("Options:")[0], re.MULTILINE)
    return {name: sorted(set(re.findall(r"(?:--[a-z-]+|(?<= )-[a-z]\b)", help_of(name)))) for name in names if name != "help"}


def main():
    binary = Path(sys.argv[1]).resolve()
    folder = Path(tempfile.mkdtemp(prefix="watchpost-v0.1.0-"))
    hashed = subprocess.run(
        [binary, "hash-password"], input="password-of-the-test", capture_output=True, text=True, check=True
    ).stdout.strip()
    words = {"@FOLDER@": str(folder), "@MODEL@": str(ROOT / "pipelines/demo-model/demo.onnx"), "@PASSWORD_HASH@": hashed}
    text = (TARGET / "watchpost.yaml").read_text()
    for word, value in words.items():
        text = text.replace(word, value)
    (folder / "watchpost.yaml").write_text(text)

    first = Watchpost(binary, folder)
    make_data(first)
    first.stop()
    # The second run works on a copy, so that what is kept is what the first one left.
    shutil.rmtree(TARGET / "data", ignore_errors=True)
    shutil.copytree(folder / "data", TARGET / "data", ignore=shutil.ignore_patterns("*.lock", "lock"))
    second = Watchpost(binary, folder)
    stream = second.stream("/api/events/stream?after=0", {"track", "task", "media"})
    answers = record(second)
    second.stop()

    lines = ",\n".join(json.dumps(answer, ensure_ascii=False) for answer in answers)
    text = f'{{"commands": {json.dumps(commands(binary))},\n"stream": {json.dumps(stream)},\n"answers": [\n{lines}\n]}}'
    for word, value in words.items():
        text = text.replace(value, word)
    (TARGET / "answers.json").write_text(text + "\n")
    shutil.rmtree(folder)


main()
