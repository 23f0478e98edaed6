#!/usr/bin/env python3
"""The minimum Rust version is stated in several places: all agree, and no dependency needs a later one.

Clippy's lint `incompatible_msrv` checks the standard library's functions that our code calls.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Each file with a pattern for the version it states.
STATED = {
    "Cargo.toml": r'^rust-version = "([\d.]+)"',
    "scripts/setup.sh": r"^RUST_FLOOR=([\d.]+)",
    "meson-compat/meson.build": r"find_program\('cargo', version: '>= ([\d.]+)'\)",
    "README.md": r"\[Rust\]\(https://rustup\.rs\) ([\d.]+) or later",
}


def number(version):
    return tuple(int(part) for part in version.split("."))


def main():
    stated, problems = {}, []
    for file, pattern in STATED.items():
        found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
        if found:
            stated[file] = found[1]
        else:
            problems.append(f"{file} states no minimum Rust version (looked for {pattern})")
    floor = stated.get("Cargo.toml")
    if floor is None:
        sys.exit("\n".join(problems))
    for file, version in stated.items():
        if version != floor:
            problems.append(f"{file} states Rust {version}, Cargo.toml {floor}; make them equal")
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    for package in metadata["packages"]:
        needed = package["rust_version"]
        if needed and number(needed)[:2] > number(floor)[:2]:
            problems.append(f"{package['name']} {package['version']} needs Rust {needed}; the minimum is {floor}")
    if problems:
        sys.exit("rust-version: " + "\nrust-version: ".join(problems))
    print(f"rust-version: {floor} everywhere, and enough for {len(metadata['packages'])} packages")


main()
