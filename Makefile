# `make run` and `make test` are the two main commands. Each target installs into .venv first, once.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3.11
CONFIG ?= config/sample.yaml
CORES ?= 2
BENCH_THREADS ?= 1
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# For a machine with a card, PyTorch and NumPy, and no registry; `make cuda-wheels` fills WHEELS where there is one.
CUDA_PYTHON ?= python3
WHEELS ?= .whl
OUT ?= results-cuda
MINUTES ?= 8
CUDA_SITE := .cuda
ON_CARD = PYTHONPATH=$(CURDIR):$(CURDIR)/$(CUDA_SITE) timeout --signal=TERM --kill-after=20 530 $(CUDA_PYTHON) -m

.PHONY: run test bench lint format docs lock install clean cuda-wheels cuda-test cuda-bench cuda-train

run: install
	rdpipe run $(CONFIG) --cores $(CORES)

# A worker for each core and one more, because some tests wait. Each has one thread, and threads that tests start do not
# spin while they wait: with more threads than cores, that takes most of the time of the processor.
test: install
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive pytest -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder

# make bench [IMAGES=/folder/of/photographs] [ONLY="array store"]
bench: install
	OMP_NUM_THREADS=$(BENCH_THREADS) python -m benchmarks $(ONLY) $(if $(IMAGES),--images $(IMAGES))

# mypy is strict for the packages that pyproject.toml lists, and plain for the others.
lint: install
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint

format: install
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

# Any warning is an error. The site is docs/_build/html/index.html.
docs: install
	rm -rf docs/_build docs/reference/api
	sphinx-build -q -W --keep-going docs docs/_build/html

# For the Containerfile. Python 3.11 on Linux; hashes are those of the files that pip chooses.
# make lock TORCH_INDEX=URL: the index of PyTorch's builds without CUDA
lock: install
	python -m pip install -q --dry-run --ignore-installed --prefer-binary -c constraints.txt \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --report - '.[all]' \
	  | .ci/lock > requirements.lock.new && mv requirements.lock.new requirements.lock

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' || { \
	  echo "rdpipe needs Python 3.11 or 3.12; use: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

# make cuda-wheels [IMAGES=/folder/of/photographs]: as many images as fit are packed, too
cuda-wheels: install
	python -m benchmarks.card pack $(WHEELS) $(if $(IMAGES),--images $(IMAGES))

$(CUDA_SITE):
	PYTHONPATH=$(CURDIR) $(CUDA_PYTHON) -m benchmarks.card unpack $(WHEELS) $@

# Each ends by itself within 9 minutes; what it finds is in OUT.
cuda-test: $(CUDA_SITE)
	mkdir -p $(OUT)
	$(ON_CARD) pytest tests/cuda -rs -p no:cacheprovider --junitxml=$(OUT)/cuda-test.xml 2>&1 | tee $(OUT)/cuda-test.txt

cuda-bench: $(CUDA_SITE)
	mkdir -p $(OUT)
	$(ON_CARD) benchmarks training extraction --rounds 1 --images $(or $(IMAGES),$(WHEELS)/images) \
	  --out $(OUT)/cuda-bench.json 2>&1 | tee $(OUT)/cuda-bench.txt

cuda-train: $(CUDA_SITE)
	mkdir -p $(OUT)
	$(ON_CARD) benchmarks.card train --minutes $(MINUTES) --images $(or $(IMAGES),$(WHEELS)/images) --out $(OUT) 2>&1 \
	  | tee $(OUT)/cuda-train.txt

clean:
	rm -rf $(VENV) results results-* logs logs-* .snakemake build dist docs/_build docs/reference/api \
	  docs/reference/config.md .mypy_cache .ruff_cache $(CUDA_SITE) $(WHEELS)
