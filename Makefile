# From a fresh clone: `make train` or `make test`. Wanted: make and Python 3.10 or newer with venv, nothing else.
#
#   PYTHON=python3.12            the Python that the environment is made with
#   PIP_ARGS="..."               more options for pip. On Linux, torch's default wheel brings gigabytes of CUDA;
#                                PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" does without
#   TRAIN_ARGS="--epochs 1"      more options for `rheobase train`
#   PYTEST_ARGS="-n 8 -k lif"    options for pytest instead of -n 2 --dist worksteal
#   BENCH_ARGS="w1 --repeats 20" options for the arena

PYTHON ?= python3
TASK ?= mnist
PYTEST_ARGS ?= -n 2 --dist worksteal

VENV := .venv
BIN := $(VENV)/bin
# Progress is for people: make sets MAKE_TERMOUT where it writes to a terminal.
QUIET := $(if $(MAKE_TERMOUT),,--quiet)
# Python compiles what it imports; to compile all of torch beforehand takes a minute.
PIP_INSTALL := $(BIN)/python -m pip install $(QUIET) --no-compile -c constraints.txt $(PIP_ARGS)
PINS := pyproject.toml constraints.txt

# The report's test opens it in Chromium; where there is none, pytest's summary says that it was skipped.
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
ifeq ($(CHROMIUM),)
export RHEOBASE_NO_BROWSER ?= 1
endif

.DELETE_ON_ERROR:
.PHONY: help train test lint bench clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /|/' | awk -F'|' '{printf "make %-8s%s\n", $$1, $$2}'

train: $(VENV)/installed ## environment, install, then train on real digits
	$(BIN)/rheobase train $(TASK) $(TRAIN_ARGS)

test: $(VENV)/installed-dev ## environment, install with the dev extra, all tests and doctests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/installed-dev ## ruff (check and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-bench ## the arena: this library, its peers and the hardware's floor, in one run
	$(BIN)/python benchmarks/arena.py $(BENCH_ARGS)

clean: ## remove the environment, caches and built packages (never runs/)
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv installs, so half an environment is made again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 10) and \
	  f"rheobase needs Python 3.10 or newer; $(PYTHON) is {v}. Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP_INSTALL) --upgrade pip

# One stamp per set of packages; a change of versions installs anew, into the same environment.
$(VENV)/installed: $(PINS) | $(BIN)/pip
	@echo "Installing rheobase into $(VENV); the first time, this fetches torch and takes a while."
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/installed-dev: $(PINS) | $(BIN)/pip
	@echo "Installing rheobase and its development tools into $(VENV)."
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/installed

# Norse without its dependencies: see the extra "bench" in pyproject.toml.
$(VENV)/installed-bench: $(PINS) | $(BIN)/pip
	@echo "Installing rheobase and the peers it is compared with into $(VENV)."
	$(PIP_INSTALL) --editable '.[bench]'
	$(PIP_INSTALL) --no-deps norse
	@touch $@ $(VENV)/installed
