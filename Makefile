# Every target sets up .venv by itself; nothing is done twice. PYTHON picks the interpreter (3.11 or 3.12).
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run-all test lint bench gpu clean

run-all: $(VENV)/.installed
	$(BIN)/fgq-bench run-all --preset quick

test: $(VENV)/.installed
	$(BIN)/pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/python -m tests.audit_packages

bench: $(VENV)/.installed
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest tests/benchmarks --benchmark-only

# Check and measure this machine's NVIDIA GPU (15 minutes; BUDGET=seconds, ONLY="steps", OUT=folder).
gpu: $(VENV)/.installed
	$(BIN)/python -m tests.gpu

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
