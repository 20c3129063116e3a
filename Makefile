# Each target sets up what it needs; what is there already costs nothing.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test bench torture lint setup jars s3-jars classes lock clean check-python check-java check-maven

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUILD := $(or $(SLUICE_BUILD_DIR),build)
CLASSES := $(BUILD)/jars/service/classes.jsa
# The first one that is new enough; `make PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
JAVA := $(if $(JAVA_HOME),$(JAVA_HOME)/bin/java,java)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: check-python check-java check-maven setup jars ## Run Kafka, PostgreSQL, Debezium and the service, with live traffic (ARGS="--seconds 60")
	@$(BIN)/sluice demo $(ARGS)

test: check-python check-java check-maven setup classes ## Run the tests (ARGS="tests/deploy -k kafka")
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses 2 --dist loadfile --no-loadscope-reorder)

bench: check-python check-java check-maven setup classes ## Measure (ARGS="contract --events 100000"; without ARGS it lists what there is)
	@$(BIN)/python -m tests.bench $(ARGS)

torture: check-python check-java check-maven setup classes ## Break it at random and look for what is lost (ROUNDS=20 SEED=1)
	@$(BIN)/python -m tests.torture --rounds $(or $(ROUNDS),20) --seed $(or $(SEED),1) $(ARGS)

lint: setup ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(STAMP) ## Install the pinned Python packages into .venv

jars: check-java check-maven $(STAMP) ## Fetch the pinned jars into build/jars
	@$(BIN)/python -m deploy.jars service embedded > /dev/null

classes: jars $(CLASSES) ## Archive the classes that Spark loads, for faster starts

$(CLASSES): $(STAMP) | jars
	@$(BIN)/python -m streams.class_archive $(@D) > /dev/null

s3-jars: check-java check-maven $(STAMP) ## Fetch and build the jars that a lake on S3 needs beside them (needs a JDK)
	@$(BIN)/python -m deploy.jars s3 > /dev/null

lock: $(STAMP) ## Write the two lock files anew from pyproject.toml
	@command -v uv > /dev/null || test -x $(BUILD)/uv/bin/uv || \
		{ $(BIN)/python -m venv $(BUILD)/uv && $(BUILD)/uv/bin/pip install --quiet uv; }
	PATH="$$PATH:$(abspath $(BUILD))/uv/bin" && export PATH && \
	uv pip compile --quiet --generate-hashes --no-header --python-version 3.11 \
		pyproject.toml -o requirements.lock && \
	uv pip compile --quiet --generate-hashes --no-header --python-version 3.11 \
		--all-extras -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove what make has made: .venv, build and the tools' caches
	rm -rf $(VENV) $(BUILD)/jars $(BUILD)/postgresql $(BUILD)/uv *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The recipe runs if a lock or the project file is newer than the last complete installation.
$(STAMP): requirements-dev.lock pyproject.toml | check-python
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

check-python:
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
		2> /dev/null; then \
		echo "Missing: Python 3.11 or newer, with venv. Install it: apt-get install python3 python3-venv (Debian)," \
			"brew install python@3.12 (macOS)." >&2; exit 1; fi

check-java:
	@version=$$("$(JAVA)" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1); \
	if [ "$${version:-0}" -lt 17 ]; then \
		echo "Missing: Java 17 or newer. Install it: apt-get install default-jdk-headless (Debian)," \
			"brew install openjdk@17 (macOS)." >&2; exit 1; fi

check-maven:
	@command -v mvn > /dev/null || { \
		echo "Missing: Maven. Install it: apt-get install maven (Debian), brew install maven (macOS)." >&2; exit 1; }
