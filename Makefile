PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
# With /bin/sh, make 3.81 of macOS starts simple commands itself, and not from this PATH.
SHELL := /bin/bash
LOCK := uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock"

.PHONY: help repro gate report pr-report exp-show search serve test test-unit test-all check check-cpu \
	architecture lock

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: .venv/installed  ## run what changed of the pipeline
	dvc repro

gate: repro  ## fail when the run misses a rule of gate in params.yaml; BASE=main compares with main
	python -m stages.gate --metrics metrics --fail $(if $(BASE),"$(BASE)")

report: .venv/installed  ## write report.html: the run beside the last commit's, or beside BASE=
	python -m commands.report $(if $(BASE),"$(BASE)")

pr-report: repro  ## write pr.md: what the run changes against BASE=main, and whether it repeats
	python -m commands.pr_report "$(or $(BASE),main)"

exp-show: .venv/installed  ## show what each experiment on the last commit changed, and its scores
	python -m commands.exp_show

search: .venv/installed  ## look for better values of train; TRIALS=30
	python -m commands.search $(if $(TRIALS),--trials $(TRIALS))

serve: .venv/installed-serve  ## answer POST /predict on 127.0.0.1:8000
	python -m commands.serve

# Files go to the workers in their order: the README first, which takes longest. MARKED= takes the
# slow ones too.
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder
MARKED ?= not slow

test-unit: .venv/installed-dev  ## functions alone: half a minute
	$(PYTEST) tests/unit

test: check  ## make check, and what a user relies on: three minutes
	$(PYTEST) -m "$(MARKED)"

test-all: check  ## everything, with the sweeps of the nightly run
	$(PYTEST) -m "" tests/test_readme.py tests/nightly tests/pipeline tests/faults tests/unit

check: .venv/installed-dev  ## format, types, imports between packages, the workflow
	ruff check
	ruff format --check
	mypy
	lint-imports --no-logo
	zizmor --offline --quiet .github

# Of a baseline's last digit nothing is claimed; it hangs on the kernels that OpenBLAS takes.
check-cpu: .venv/installed-dev  ## the stages on one core and on an emulated Haswell: the same bytes; TASKS=binary
	@if [ "$$(uname -m)" != x86_64 ] || ! command -v qemu-x86_64 > /dev/null; then \
		echo "not checked: no x86-64, or no qemu-x86_64 (Debian: apt install qemu-user)"; exit 0; fi; \
	set -e; folder=$$(mktemp -d); trap 'kill $$! 2> /dev/null || true; rm -rf "$$folder"' EXIT; \
	export OPENBLAS_CORETYPE=Haswell; \
	taskset -c 0 python -m tests.same_bytes $(TASKS) > $$folder/here & \
	qemu-x86_64 -cpu Haswell $(BIN)/python -m tests.same_bytes $(TASKS) > $$folder/emulated; \
	wait $$!; diff $$folder/here $$folder/emulated; echo "the same bytes on both"

architecture: .venv/installed-dev  ## draw docs/architecture.svg from the imports
	python -m docs.draw_architecture docs/architecture.svg

lock:  ## write requirements*.txt for pyproject.toml (needs uv)
	$(LOCK) pyproject.toml --output-file requirements.txt
	for group in dev benchmarks ray serve; do $(LOCK) --group $$group --constraint requirements.txt \
		--output-file requirements-$$group.txt; done

# Bytecode is compiled here, once: without it TensorFlow starts three times slower.
INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check --compile \
	--require-hashes

# DVC unpickles what it finds in its site cache, which lies in a folder for all users: CVE-2025-69872.
SITE_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dvc-site

.venv/installed: requirements.txt
	@echo "Installing the packages of requirements.txt into .venv: a minute or two, once"
	@$(PYTHON) -c "import sys; sys.version_info < (3, 11) and sys.exit('Python 3.11 or later is needed: make repro PYTHON=python3.11')"
	@! test -L .venv || { echo ".venv is a link; expected a folder that may be emptied"; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@$(INSTALL) -r requirements.txt
	@mkdir -p -m 700 "$(SITE_CACHE)"
	@dvc config --local core.site_cache_dir "$(SITE_CACHE)"
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	@echo "Installing what tests and checks need"
	@$(INSTALL) -r requirements.txt -r requirements-dev.txt
	@touch $@

.venv/installed-serve: .venv/installed requirements-serve.txt
	@echo "Installing what serving needs"
	@$(INSTALL) -r requirements.txt -r requirements-serve.txt
	@touch $@

.venv/installed-ray: .venv/installed requirements-ray.txt
	@echo "Installing Ray"
	@$(INSTALL) -r requirements.txt -r requirements-ray.txt
	@touch $@
