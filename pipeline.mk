# What a project of a table does, in this repository and in those that are made from it.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
# With /bin/sh, make 3.81 of macOS starts simple commands itself, and not from this PATH.
SHELL := /bin/bash
LOCK := uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock"

GROUPS ?= copier ray serve

.PHONY: help repro pull gate report pr-report exp-show search serve lock update

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: .venv/installed  ## run what changed of the pipeline
	dvc repro

pull: .venv/installed  ## get the outputs of dvc.lock, and tables, from the remote, if there is one
	[ -z "$$(dvc remote list)" ] || dvc pull --allow-missing

gate: repro  ## fail when the run misses a rule of gate in params.yaml; BASE=main compares with main
	python -m stages.gate --metrics metrics --fail $(if $(BASE),"$(BASE)")

report: .venv/installed  ## write report.html: the run beside the last commit's, or beside BASE=
	python -m keras_tabular report $(if $(BASE),"$(BASE)")

pr-report: repro  ## write pr.md: what the run changes against BASE=main, and whether it repeats
	python -m keras_tabular pr-report "$(or $(BASE),main)"

exp-show: .venv/installed  ## show what each experiment on the last commit changed, and its scores
	python -m keras_tabular exp-show

search: .venv/installed  ## look for better values of train; TRIALS=30
	python -m keras_tabular search $(if $(TRIALS),--trials $(TRIALS))

serve: .venv/installed-serve  ## answer POST /predict on 127.0.0.1:8000
	python -m keras_tabular serve

lock:  ## write requirements*.txt for pyproject.toml (needs uv)
	$(LOCK) pyproject.toml --output-file requirements.txt
	for group in $(GROUPS); do $(LOCK) --group $$group --constraint requirements.txt \
		--output-file requirements-$$group.txt; done

update: .venv/installed-copier  ## merge a later version of the template into this project
	copier update --defaults $(if $(VERSION),--vcs-ref "$(VERSION)")

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

.venv/installed-serve: .venv/installed requirements-serve.txt
	@echo "Installing what serving needs"
	@$(INSTALL) -r requirements.txt -r requirements-serve.txt
	@touch $@

.venv/installed-ray: .venv/installed requirements-ray.txt
	@echo "Installing Ray"
	@$(INSTALL) -r requirements.txt -r requirements-ray.txt
	@touch $@

.venv/installed-copier: .venv/installed requirements-copier.txt
	@echo "Installing Copier"
	@$(INSTALL) -r requirements.txt -r requirements-copier.txt
	@touch $@
