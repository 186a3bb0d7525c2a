# Two commands on a fresh machine with Python >= 3.11: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BENCH_VENV ?= .venv-bench
DIGITS = examples/digits
OUT = out/digits-edgetpu
CASES ?= 2000
SEED ?= 0

.PHONY: help demo test sweep fuzz faults install lint docs docs-check picture bench bench-few-bits startup clean goldens

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/\1\t\2/p' Makefile

demo: $(VENV)/demo  ## deploy the bundled example for the Edge TPU and print the report
	$(BIN)/qhal deploy $(DIGITS)/digits.onnx --target edgetpu --data $(DIGITS)/calibration.npz \
		--eval $(DIGITS)/evaluation.npz --out $(OUT) --force

test: install  ## run the whole test suite
	$(BIN)/python -m pytest

sweep: install  ## try every operator with every attribute value on every target; long
	$(BIN)/python -m pytest -n auto --whole-sweep tests/operators tests/backends/test_sweep.py

fuzz: install  ## run malformed models, data and files; CASES and SEED choose which
	$(BIN)/python -m fuzz onnx --cases $(CASES) --seed $(SEED)
	$(BIN)/python -m fuzz data targets records cache --cases $$(( $(CASES) / 4 )) --seed $(SEED)

faults: install  ## kill 200 deployments; run 200 without disk space, memory or rights
	$(BIN)/python -m fuzz kills machines --cases 200 --seed $(SEED)

goldens: install  ## rewrite the golden texts in tests/golden; review the diff
	$(BIN)/python -m pytest --update-goldens -k golden

install: $(VENV)/dev  ## make a virtual environment with all that tests and checks need

lint: install  ## check formatting, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: install  ## write the generated pages
	$(BIN)/python docs/generate.py

docs-check: install  ## fail if a generated page is stale
	$(BIN)/python docs/generate.py --check

picture: $(VENV)/demo  ## redraw the picture in the README
	$(BIN)/python docs/picture.py

startup: $(VENV)/demo  ## time `import qhal` and `qhal --help`
	$(BIN)/python benchmarks/startup.py

bench-few-bits: $(VENV)/dev  ## what weights of few bits lose, rounded alone and fitted
	$(BIN)/python benchmarks/few_bits.py

bench: $(BENCH_VENV)/done  ## compare qhal with ONNX Runtime's quantizer and NNCF on the zoo
	$(BENCH_VENV)/bin/python benchmarks/peers.py

$(VENV)/made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "qhal needs Python 3.11+")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[tflite]'
	touch $@

$(VENV)/dev: $(VENV)/made pyproject.toml plugins/qhal-example-npu/pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --editable plugins/qhal-example-npu
	touch $@

$(BENCH_VENV)/done: pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --editable '.[tflite]' \
		'nncf==3.4.*' 'openvino==2026.4.*'
	touch $@

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(BENCH_VENV) out
