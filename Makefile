# The two commands: `make run` and `make test`. Both install first, once.

PYTHON ?= python3.11
CONFIG ?= config/sample.yaml
CORES ?= 2
BENCH_THREADS ?= 1
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: run test bench lint install clean

run: install
	snakemake --configfile $(CONFIG) --cores $(CORES) --rerun-incomplete --show-failed-logs

test: install
	pytest

# make bench [IMAGES=/folder/of/photographs] [ONLY="array store"]
bench: install
	OMP_NUM_THREADS=$(BENCH_THREADS) python -m benchmarks $(ONLY) $(if $(IMAGES),--images $(IMAGES))

lint: install
	snakemake --lint

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "rdpipe needs Python 3.11; say which with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e '.[slurm,test]'
	touch $@

clean:
	rm -rf $(VENV) results results-* logs logs-* .snakemake
