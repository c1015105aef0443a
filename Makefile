# Two commands for a newcomer: `make demo` and `make test`. A bare machine needs python3, pip, make, git.
# The first target of the day makes .venv (about 20 s); afterwards that step is instant.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check generate chart up down clean bench bench-quick bench-guard contract sim mutants chaos soak upgrade drill observe venv
.PHONY: lint wheel sbom licences checksums gate release

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | \
	  while IFS="$$(printf '\t')" read -r name says; do printf '  make %-12s %s\n' "$$name" "$$says"; done

venv:
	@$(PYTHON) ops/bootstrap.py

demo: venv ## start a private stack, run jobs through a crash, a retry and a question, show what happened
	@$(BIN)/orch demo $(ARGS)

test: venv ## the tests, by WORKERS=2 processes; ARGS='-k claim' selects, ARGS=tests/core is one process, ARGS=--thorough all
	@$(BIN)/python -m pytest $(if $(findstring tests/,$(ARGS)),,-n $(WORKERS)) $(ARGS)

lint: venv ## the quick half of check: format, lint, imports, types, spelling
	@echo "== format: ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "== lint: ruff check"
	@$(BIN)/ruff check .
	@echo "== imports: import-linter"
	@$(BIN)/lint-imports --no-logo
	@echo "== types: mypy"
	@$(BIN)/python -m mypy
	@echo "== spelling: codespell"
	@$(BIN)/codespell

check: lint ## everything CI runs: format, lint, imports, types, spelling, tests
	@echo "== tests: pytest"
	@$(MAKE) --no-print-directory test ARGS=--thorough

generate: venv ## write the generated files (schemas, OpenAPI, events.md, state table, configuration pages)
	@$(BIN)/python -m ops.generate

chart: venv ## pack the Helm chart into dist/, the same bytes each time; ARGS='--out folder'
	@$(BIN)/python -m ops.chart $(ARGS)

up: venv ## start the local stack in the background and wait until it is ready
	@$(BIN)/orch up --detach --wait $(ARGS)

down: venv ## stop the local stack
	@$(BIN)/orch down $(ARGS)

clean: ## remove .venv, caches and build results; a running stack's home is not touched
	@$(PYTHON) ops/bootstrap.py --remove
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

bench: venv ## Orch beside its peers in one run, within an hour; writes bench/results; ARGS='--only arq'
	@$(BIN)/python -m bench $(ARGS)

bench-quick: venv ## the same, small: about three minutes once the peers' environments stand
	@$(BIN)/python -m bench --quick $(ARGS)

bench-guard: venv ## fails when a ratio of the last bench got worse than the kept one (perf/ratios.json); ARGS=--accept keeps them
	@$(BIN)/python -m bench.guard $(ARGS)

contract: venv ## the running system against its OpenAPI document and golden event streams; EXAMPLES=300 for a night, RECORD=1 writes the streams
	@$(if $(EXAMPLES),ORCH_CONTRACT_EXAMPLES=$(EXAMPLES)) $(if $(RECORD),ORCH_CONTRACT_RECORD=1) \
	  $(BIN)/python -m pytest tests/contract $(ARGS)

sim: venv ## seeded simulation of all actors; FAST= LUA= SEED=, ONE=lua|fast for one seed, SHRINK=1
	@$(BIN)/python -m tests.sim $(if $(FAST),--fast $(FAST)) $(if $(LUA),--lua $(LUA)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(ONE),--one --tier $(ONE)) $(if $(SHRINK),--shrink) $(ARGS)

mutants: venv ## plants known faults in Orch and shows that the simulation notices each; ARGS='--only fence_off'
	@$(BIN)/python -m tests.sim.mutants $(ARGS)

chaos: venv ## faults on real processes and servers, five minutes; MINUTES= SEED=, writes build/chaos.json
	@$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: venv ## a stack under a steady load for an hour: fails when something grows; MINUTES=, writes build/soak.json
	@$(BIN)/python -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

upgrade: venv ## two versions change places on one server under load, there and back; OLD=<commit>, else the last tag, else this code twice
	@$(BIN)/python -m tests.upgrade $(if $(OLD),--old $(OLD)) $(ARGS)

wheel: venv ## dist/orch-*.whl, the same bytes wherever this commit is built
	@$(BIN)/python -m ops.release.wheel

sbom: venv ## dist/orch.cdx.json: every package that we ship, with hashes and licence (CycloneDX 1.6)
	@$(BIN)/python -m ops.release.sbom

licences: venv ## the licence of every package that we ship; fails on one that ops/licences.toml does not allow
	@$(BIN)/python -m ops.release.licences

checksums: venv ## dist/SHA256SUMS over all that lies in dist/
	@$(BIN)/python -m ops.release.checksums

gate: venv ## is what lies in dist/ the release of this commit? TAG=v1.2.3 for a real one
	@$(BIN)/python -m ops.release.gate $(if $(TAG),--tag '$(TAG)')

release: ## licences, wheel, sbom, checksums and gate, in this order; TAG=v1.2.3 for a real one
	@for step in licences wheel sbom checksums gate; do $(MAKE) --no-print-directory $$step || exit; done

observe: venv ## the local stack under a real Prometheus, and Grafana where installed, until Ctrl-C
	@$(BIN)/python -m ops.observe $(ARGS)

drill: venv ## exercises of the runbooks, each on a stack of its own: a list; NAME=restore plays one
	@$(BIN)/python -m ops.drills $(NAME)
