#!/usr/bin/env python3
"""One `cargo build` for Meson: builds packages and puts what came of it where Meson expects its outputs.

Cargo itself tells which files it made and what they depend on, so no path inside its target folder is guessed.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cargo", required=True)
    parser.add_argument("--workspace", required=True, type=pathlib.Path)
    parser.add_argument("--target-dir", required=True)
    parser.add_argument("--depfile", required=True, type=pathlib.Path, help="written for Ninja")
    parser.add_argument("--packages", required=True, nargs="+")
    parser.add_argument("--outputs", required=True, nargs="+", type=pathlib.Path)
    parser.add_argument("cargo_args", nargs="*")
    return parser.parse_args()


def cargo_build(args):
    """Runs cargo and returns the files it made, by name."""
    command = [
        args.cargo,
        "build",
        f"--manifest-path={args.workspace / 'Cargo.toml'}",
        f"--target-dir={args.target_dir}",
        "--message-format=json-render-diagnostics",
        *(f"--package={package}" for package in args.packages),
        *args.cargo_args,
    ]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if finished.returncode != 0:
        sys.exit(finished.returncode)
    products = {}
    for message in map(json.loads, finished.stdout.splitlines()):
        if message["reason"] == "compiler-artifact":
            for filename in message["filenames"]:
                path = pathlib.Path(filename)
                products[path.name] = path
    return products


def main():
    args = arguments()
    products = cargo_build(args)
    sources = {str(args.workspace / name) for name in ("Cargo.toml", "Cargo.lock")}
    for output in args.outputs:
        if output.name not in products:
            sys.exit(f"cargo made no {output.name}; it made {', '.join(sorted(products))}")
        product = products[output.name]
        shutil.copy(product, output)
        _, _, dependencies = product.with_suffix(".d").read_text().partition(": ")
        sources.update(dependencies.split())
    targets = " ".join(map(str, args.outputs))
    args.depfile.write_text(f"{targets}: {' '.join(sorted(sources))}\n")


if __name__ == "__main__":
    main()
