# Everything below needs make and Python 3.11 or newer; the rest is installed into .venv from requirements.lock.
#   make demo   the whole loop on built-in data            make test   all tests (minutes)
#   make test-fast   the quick tests, to be run after each change (about a minute)
#   make lint   style and types                            make clean  removes .venv and build leftovers
#   make web    builds the annotation page (Node 20)       make web-test  tests of its drawing
#   make test-extras   tests beside open_clip, timm, Ray and S3, in an environment of their own (.venv-extras)
# Another interpreter: make test PYTHON=/path/to/python3.12
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-extras web web-test lint clean
SHELL := /bin/sh

PYTHON ?=
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11 python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := .venv-extras
EXTRAS_READY := $(EXTRAS)/.ready
JOBS ?= 2

help:
	@sed -n '1,8s/^# \{0,1\}//p' Makefile

setup: $(READY)

# The stamp is written last, so an interrupted installation starts again and a finished one costs nothing.
$(READY): requirements.lock pyproject.toml
	@python=; \
	for name in $(CANDIDATES); do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "aczerots needs Python 3.11 or newer, and none of these is one: $(CANDIDATES)." >&2; \
	  echo "Install one, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$python (once; a few minutes, most of it torch)" >&2; \
	"$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: $(READY)
	@$(BIN)/aczerots demo

test: $(READY)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-fast: $(READY)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

# Made with the interpreter of .venv; --no-deps because torchvision would ask for another build of torch.
$(EXTRAS_READY): requirements-extras.lock requirements.lock pyproject.toml $(READY)
	@echo "Installing into $(EXTRAS) (once; a few minutes)" >&2
	@$(BIN)/python -m venv $(EXTRAS)
	@$(EXTRAS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(EXTRAS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-extras.lock
	@$(EXTRAS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

test-extras: $(EXTRAS_READY)
	@$(EXTRAS)/bin/python -m pytest tests_extras -n $(JOBS)

web/node_modules: web/package.json web/package-lock.json
	@cd web && npm ci --no-audit --no-fund
	@touch $@

web: web/node_modules
	@cd web && npm run build

web-test:
	@cd web && npm test

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:
	rm -rf $(VENV) $(EXTRAS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
