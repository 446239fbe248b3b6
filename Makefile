# `make demo` and `make test` do all set-up themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
EXTRAS := static,train,preference,onnx,gguf,ray,mlflow,postgres,s3,pii,analytics,worker,otel,demo,bench,dev
export OMP_WAIT_POLICY = passive

.PHONY: setup demo test check serve clean

setup: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

demo: setup
	$(BIN)/sartor demo

test: setup .sartor/bases/.fetched
	$(BIN)/python -m pytest

# The real encoder that a few tests tune; after this they run offline.
.sartor/bases/.fetched: .venv/.installed
	$(BIN)/sartor --home .sartor/bases --quiet hub fetch minilm
	touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m sartor.interfaces.reference --check

clean:
	rm -rf .venv .sartor
