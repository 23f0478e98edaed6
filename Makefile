# Two commands do everything on a fresh machine: `make run` and `make test`.
# Each target first installs what it needs (scripts/setup.sh) and is quick when nothing is missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

CARGO ?= cargo
FEATURES = $$(scripts/gst-features.sh)

CONFIG ?= pipelines/examples/demo.yaml

.PHONY: help
help: ## What can be made
	@grep -hE '^[a-z0-9.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.PHONY: setup
setup: ## Install what building and testing needs
	@scripts/setup.sh build test meson

.PHONY: run
run: ## Build and start the demo (or CONFIG=your.yaml)
	@scripts/setup.sh build
	$(CARGO) build --release --locked --package watchpost $$(scripts/gst-features.sh watchpost)
	target/release/watchpost run -c $(CONFIG)

.PHONY: demo-model
demo-model: ## Train the demo model anew, in its own Python environment; ten CPU minutes, never needed to run or test
	@scripts/setup.sh build
	$(CARGO) build --release --locked --package gst-plugin-testscene --example render
	test -x .deps/demo-model/bin/pip || python3 -m venv .deps/demo-model
	.deps/demo-model/bin/pip install --quiet --requirement pipelines/demo-model/requirements.txt
	.deps/demo-model/bin/python pipelines/demo-model/train.py

.PHONY: plugins
plugins: ## Release build of the four plugins in target/gst-plugins, a valid GST_PLUGIN_PATH
	@scripts/setup.sh build
	@scripts/build-plugins.sh

.PHONY: check
check: ## Format, lints, docs, the minimum Rust version, and the dependencies' licences and sources
	@scripts/setup.sh build test deny
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked $(FEATURES) -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked $(FEATURES)
	@scripts/check-rust-version.py
	@scripts/deny.sh

.PHONY: test
test: ## Everything that is tested on every change
	@scripts/setup.sh build test meson
	@scripts/test.sh

.PHONY: bench
bench: plugins ## Benchmarks, each beside its alternative where there is one (many minutes; best on a quiet machine)
	@scripts/setup.sh build test
	$(CARGO) run --release --locked --package gst-plugin-shmring --example ring_bench
	$(CARGO) bench --locked --package shmring-core --package regiondetect-core --package objecttrack-core
	$(CARGO) bench --locked --package gst-plugin-regiondetect
	python3 plugins/objecttrack/eval/speed.py
	@scripts/bench-orchestrator.sh

.PHONY: eval
eval: ## Tracking quality, and inferences per frame with recall (needs ../shared)
	@scripts/setup.sh build test
	python3 plugins/objecttrack/eval/run.py
	$(CARGO) run --release --locked --package gst-plugin-regiondetect --example eval

.PHONY: deb
deb: ## Debian packages of this distribution in target/deb (SUITE=trixie: of Debian 13, in its root)
	@if [ "$(SUITE)" = trixie ] && ! grep -q trixie /etc/os-release; then scripts/setup.sh debian13; scripts/test-debian13.sh scripts/deb.sh; \
	else scripts/setup.sh build deb; scripts/deb.sh; fi

.PHONY: test-packages
test-packages: ## Install, start, upgrade and purge the packages of SUITE in a fresh root; needs root and `make deb`
	@scripts/setup.sh debian13
	@scripts/test-packages.sh $(SUITE)

.PHONY: soak
soak: ## Cameras come, change and go while workers are killed; SOAK_CYCLES=1000, SOAK_MINUTES=10
	@scripts/setup.sh build test
	@scripts/soak.sh

.PHONY: test-libcamera
test-libcamera: ## The camera tests on the real libcamera, built once into .deps (two minutes), and on its stand-in
	@scripts/setup.sh build test
	@scripts/libcamera.sh
	$(CARGO) nextest run --locked --package watchpost-pipelines --test libcamera

.PHONY: test-1.26
test-1.26: ## The same tests in a Debian 13 root (GStreamer 1.26), for what is behind v1_24; needs root
	@scripts/setup.sh debian13
	@scripts/test-debian13.sh

.PHONY: test-1.26-half0 test-1.26-half1
test-1.26-half0: ## In the Debian 13 root, the tests of the plugins and of what they are made of
test-1.26-half1: ## In the Debian 13 root, the tests of the pipelines and the orchestrator
test-1.26-half0 test-1.26-half1:
	@scripts/setup.sh debian13
	@scripts/test-debian13.sh scripts/test.sh $(subst test-1.26-,,$@)

.PHONY: check-arm64
check-arm64: ## Type-check for aarch64 and run the cores' tests there under qemu-user
	@scripts/setup.sh build arm64
	@scripts/check-arm64.sh

.PHONY: fuzz
fuzz: ## Fuzz the parsers of untrusted input (needs a nightly toolchain and cargo-fuzz); SECONDS_EACH=60
	@scripts/fuzz.sh

.PHONY: audit
audit: ## Known vulnerabilities in the dependencies (needs the internet)
	@scripts/setup.sh deny
	PATH=$(CURDIR)/.deps/tools/bin:$$PATH $(CARGO) deny --locked check advisories
