# The commands of a day's work. Each is a line or two: read it, or run it by hand.

# Outside the tree, so that a fresh clone finds its dependencies compiled.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/papo/target

.DEFAULT_GOAL := help
.PHONY: help run build test lint bench clean

help: ## This list.
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: ## A whole ChatCluster on this machine, and you in it, chatting. Data stays in ./papo-data.
	@hack/deps build
	@cargo run --package papo -- local -f manifests/minimal.yaml --chat

build: ## The optimised program.
	@hack/deps build
	@cargo build --release --package papo
	@echo "$(CARGO_TARGET_DIR)/release/papo"

test: ## Everything: lint, Rust tests, and foreign clients against a real cluster.
	@hack/test

lint: ## Formatting and clippy, without mercy.
	@cargo fmt --all --check
	@cargo clippy --quiet --workspace --all-targets -- -D warnings

bench: build ## Figures of this machine: start, memory, requests a second.
	@PAPO_BIN="$(CARGO_TARGET_DIR)/release/papo" bench/figures

clean: ## Forgets what was compiled. Conversations in ./papo-data stay.
	@cargo clean --quiet
