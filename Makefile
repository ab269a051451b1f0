# Two commands on a machine with Python 3.11, make and git: `make reproduce` and `make test`.

PYTHON := $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv
COMPILE := $(UV) pip compile --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links $(UPGRADE)

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help env env-extras reproduce restore test lint types unit test-long test-extras test-cluster lock clean

help:
	@echo "make reproduce   the default study, from nothing to its report"
	@echo "make restore     a recorded study from the DVC remote (STUDY=scenes)"
	@echo "make test        all checks"
	@echo "make env         the environment in .venv, from requirements.lock"
	@echo "make lint types unit   the parts of make test"
	@echo "make env-extras  the environment in .venv-extras: all optional extras, those of clusters too"
	@echo "make test-long   the tests that take an hour and more"
	@echo "make test-extras the tests of the optional extras, in .venv-extras"
	@echo "make test-cluster   a study through a Slurm of this machine's own, and remotes (root; docs/clusters.md)"
	@echo "make lock        pin anew what pyproject.toml asks for (UPGRADE=--upgrade for newer versions)"
	@echo "make clean       remove logs, caches and resumable work; data and results stay"

# Environments: a stamp file says which locks the environment was made from.

env: .venv/.made

$(UV): requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.lock
	@touch $@

.venv/.made: $(UV) requirements.lock pyproject.toml
	$(UV) pip sync --python $(BIN)/python --require-hashes --compile-bytecode \
		requirements-uv.lock requirements.lock
	$(UV) pip install --python $(BIN)/python --no-deps --editable .
	@touch $@

# snakefmt pins versions that clash with the pipeline's own.
.venv-lint/.made: $(UV) requirements-lint.lock
	$(UV) venv --quiet --clear --python $(BIN)/python .venv-lint
	$(UV) pip sync --python .venv-lint/bin/python --require-hashes requirements-lint.lock
	@touch $@

# Everything, and the optional extras.
env-extras: .venv-extras/.made

.venv-extras/.made: $(UV) requirements-extras.lock pyproject.toml
	$(UV) venv --quiet --clear --python $(BIN)/python .venv-extras
	$(UV) pip sync --python .venv-extras/bin/python --require-hashes --compile-bytecode \
		requirements-extras.lock
	$(UV) pip install --python .venv-extras/bin/python --no-deps --editable .
	@touch $@

# The study

reproduce: env
	snakemake --cores all
	@echo "The report: results/scenes/report.html"

# A recorded study from the DVC remote: after it, a run does nothing.
restore: env
	python -m mmrobust restore --configfile config/$(or $(STUDY),scenes).yaml

# Checks

test: lint types unit

lint: env .venv-lint/.made
	ruff check .
	ruff format --check .
	.venv-lint/bin/snakefmt --check Snakefile workflow/rules tests/cluster/jobs.smk
	snakemake --lint
	nbstripout --verify notebooks/*.ipynb

types: env
	mypy

unit: env
	pytest -m "not long" -n logical --durations 25

test-long: env
	pytest -m long

test-extras: .venv-extras/.made
	PATH="$(CURDIR)/.venv-extras/bin:$$PATH" pytest tests/extras

test-cluster: .venv-extras/.made
	PATH="$(CURDIR)/.venv-extras/bin:$$PATH" pytest tests/cluster

# Upkeep

# The extras take all versions of the study's own lock but one: what speaks to S3 wants an older
# python-dateutil.
lock: $(UV)
	$(COMPILE) requirements-uv.in -o requirements-uv.lock
	$(COMPILE) pyproject.toml --extra dev -o requirements.lock
	sed -n 's/^\([^ ]*==[^ ]*\).*/\1/p' requirements.lock | grep -v '^python-dateutil==' \
		| $(COMPILE) pyproject.toml --all-extras --constraint - -o requirements-extras.lock
	$(COMPILE) requirements-lint.in -o requirements-lint.lock

clean:
	rm -rf logs work .mypy_cache .pytest_cache .ruff_cache .hypothesis
