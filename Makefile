# The two commands: `make study` and `make test`. Each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: study test lint book lab fluidsynth clean

study: $(READY) fluidsynth
	$(BIN)/mer study --profile quick
	$(BIN)/mer book

test: $(READY) fluidsynth
	$(BIN)/pytest -n 2 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

book: $(READY)
	$(BIN)/mer book

lab: $(READY) fluidsynth
	$(BIN)/jupyter lab notebooks

# torch comes first, by itself and at its pinned version: where that is already here as a CPU
# build, nothing else pulls another in.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[study,cluster,book,test]'
	touch $(READY)

fluidsynth:
	@command -v fluidsynth >/dev/null || sh .ci/install-fluidsynth

clean:
	rm -rf _build $(VENV)
