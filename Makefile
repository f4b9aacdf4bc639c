# The commands of a day's work. Each is a line or two: read it, or run it by hand.

# Outside the tree, so that a fresh clone finds its dependencies compiled.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/papo/target

.DEFAULT_GOAL := help
.PHONY: help run build test conformance lint fuzz bench bench-zmq bench-publish bench-history simulate clean images cluster cluster-down install

help: ## This list.
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: ## A whole ChatCluster on this machine, and you in it, chatting. Data stays in ./papo-data.
	@hack/deps build
	@cargo run --package papo -- local -f manifests/minimal.yaml --chat

build: ## The optimised program.
	@hack/deps build
	@cargo build --release --package papo
	@echo "$(CARGO_TARGET_DIR)/release/papo"

test: ## Everything: lint, Rust tests, and foreign clients against a real cluster.
	@hack/test

conformance: ## Every row of the exercise, with the outcome of the tests that name it: see tests/conformance/rows.md.
	@hack/deps
	@cargo build --workspace --bins --examples
	@PAPO_BIN="$(CARGO_TARGET_DIR)/debug/papo" tests/conformance/run

lint: ## Formatting and clippy, without mercy.
	@cargo fmt --all --check
	@cargo clippy --quiet --workspace --all-targets -- -D warnings

images: ## The two images, as archives in dist/ that kind, minikube and docker load.
	@hack/images

cluster: ## A real Kubernetes on this machine (root, Linux), with the images in it. With KUBECONFIG set: that cluster.
	@hack/kube/up
	@hack/images
	@hack/kube/load dist/papo.tar dist/papo-operator.tar

install: ## The operator into that cluster, by its chart.
	@hack/kube/exec helm upgrade --install papo charts/papo --namespace papo-system --create-namespace --wait

cluster-down: ## Stops what `make cluster` booted.
	@hack/kube/down

bench: build ## Figures of this machine: start, memory, requests a second.
	@PAPO_BIN="$(CARGO_TARGET_DIR)/release/papo" bench/figures

bench-zmq: build ## papo's broker and proxy beside libzmq's own proxy: speed, processor time, memory.
	@cargo build --release --package papo-bench-load
	@PAPO_BIN="$(CARGO_TARGET_DIR)/release/papo" PAPO_BENCH_LOAD="$(CARGO_TARGET_DIR)/release/papo-bench-load" bench/zmq

bench-publish: build ## papo's posts beside NATS JetStream, and how soon every server shows a post (row H13).
	@hack/deps bench
	@cargo build --release --package papo-bench-load
	@PAPO_BIN="$(CARGO_TARGET_DIR)/release/papo" PAPO_BENCH_LOAD="$(CARGO_TARGET_DIR)/release/papo-bench-load" bench/publish

bench-history: build ## A million operations: start, memory, pages of 100, and newcomers that catch up.
	@PAPO_BIN="$(CARGO_TARGET_DIR)/release/papo" bench/history

fuzz: ## Everything that reads what a peer sends, guided by coverage. FUZZ_RUNS=200000 each.
	@fuzz/run

simulate: ## More worlds of the simulator, SEEDS=100000 of them, for the record in crates/sim/campaign.tsv.
	@cargo build --profile sim --package papo-sim
	@"$(CARGO_TARGET_DIR)/sim/papo-sim" --campaign crates/sim/campaign.tsv --commit "$$(git describe --always --dirty)" --seeds $(or $(SEEDS),100000)

clean: ## Forgets what was compiled. Conversations in ./papo-data stay.
	@cargo clean --quiet
