# Targets make .venv and install into it, once. `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

# A switch, unless it is 0 or no.
said     = $(if $(filter-out 0 no,$($(1))),$(2))
# Passed on where they are given: make figure1 PROFILE=paper NETWORKS=alexnet PHOTOS="a.jpg b.jpg" OUT=elsewhere
OPTIONS := $(if $(NETWORKS),--networks "$(NETWORKS)") $(if $(PHOTOS),--photos "$(PHOTOS)")
# One field, whatever its value holds: make figure6 SET='maps={rule: strongest, count: 4}'
FIELDS  := $(if $(SET),--set '$(subst ','\'',$(SET))')
METHOD  := $(if $(PROFILE),--profile "$(PROFILE)") $(if $(VARIANT),--variant "$(VARIANT)") \
           $(if $(SAMPLES),--samples "$(SAMPLES)") $(if $(STRIDE),--stride "$(STRIDE)") $(if $(SEED),--seed "$(SEED)") \
           $(if $(POOL),--pool "$(POOL)") $(if $(PROVIDER),--provider "$(PROVIDER)") $(if $(GPUS),--gpus "$(GPUS)") \
           $(if $(PRECISION),--precision "$(PRECISION)") $(if $(PALETTE),--palette "$(PALETTE)") \
           $(call said,FORCE,--force) $(if $(OUT),--out "$(OUT)")
SPREAD  := $(if $(SHARD),--shard "$(SHARD)") $(if $(DASK),--dask "$(DASK)")
PHOTO   ?= chelsea
NETWORK ?= efficientnet_lite0

.DEFAULT_GOAL := help
FIGURES := figure1 figure2 figure3 figure4 figure5 figure6
EXTRAS  := iclr_sampling iclr_window iclr_networks

.PHONY: help $(FIGURES) $(EXTRAS) figures extras verify report explain compare weights test fuzz chaos strangers docs lint format \
        audit benchmark proto clean

help: ## list the targets
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'
	@echo "  figure1 to figure6, $(subst $(space),$(comma) ,$(EXTRAS)) draw one figure each. They take NETWORKS, PHOTOS, PROFILE,"
	@echo "  VARIANT, SAMPLES, STRIDE, SEED, POOL, PROVIDER, GPUS, PRECISION, PALETTE, FORCE=1, OUT, SHARD, DASK, and SET, one"
	@echo "  field of the YAML, in quotes: SET='maps={rule: strongest, count: 4}'"

$(READY): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it with PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)

$(FIGURES) $(EXTRAS): $(READY)
	@$(BIN)/reproduce $@ $(OPTIONS) $(FIELDS) $(METHOD) $(SPREAD)

figures: $(FIGURES) ## draw all six figures of the paper into results/

extras: $(EXTRAS) ## draw the figures that the ICLR 2017 version adds

verify: $(READY) ## check every claim of the paper: CLAIMS=... IMAGENET=folder REFERENCES=folder
	@$(BIN)/reproduce verify $(if $(CLAIMS),--claims "$(CLAIMS)") $(if $(IMAGENET),--imagenet "$(IMAGENET)") \
	   $(if $(REFERENCES),--references "$(REFERENCES)") $(OPTIONS) $(METHOD)

report: $(READY) ## write all figures and claims into one page, results/report.html
	@$(BIN)/reproduce report $(OPTIONS) $(METHOD)

explain: $(READY) ## explain a photo of yours: PHOTO=cat.jpg NETWORK=efficientnet_lite0 TARGET=top PREVIEW=1
	@$(BIN)/reproduce explain "$(PHOTO)" --network "$(NETWORK)" $(if $(TARGET),--target "$(TARGET)") \
	   $(call said,PREVIEW,--preview) $(METHOD) $(SPREAD)

compare: $(READY) ## compare methods, their measures and cost: COMPARISON=yours.yaml METHODS=... MEASURES=... DRY=1
	@$(BIN)/reproduce compare $(if $(COMPARISON),"$(COMPARISON)") $(if $(METHODS),--methods "$(METHODS)") \
	   $(if $(MEASURES),--measures "$(MEASURES)") $(call said,DRY,--dry-run) $(OPTIONS) $(METHOD)

weights: $(READY) ## fetch the weights of the paper's networks (850 MB): NETWORKS="alexnet vgg16" MIRROR=...
	@$(BIN)/reproduce weights $(subst $(comma), ,$(NETWORKS)) $(if $(MIRROR),--mirror "$(MIRROR)")

test: $(READY) ## run the tests
	@$(BIN)/python -m pytest

fuzz: $(READY) ## convert 20,000 damaged files, or COUNT=... of another SEED=...
	@FUZZ_COUNT=$(COUNT) FUZZ_SEED=$(SEED) $(BIN)/python -m pytest -m fuzz

chaos: $(READY) ## stop, damage and repeat runs 100 times, or COUNT=... with another SEED=...
	@CHAOS_COUNT=$(COUNT) CHAOS_SEED=$(SEED) $(BIN)/python -m pytest -m chaos

strangers: $(READY) ## compare with others: another's conversion; captum and Quantus, where they are installed
	@$(BIN)/python -m pytest -m strangers -rP

lint: $(READY) ## check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# pip-audit calls what it could not ask about no vulnerability. So what it says of each package is looked at.
define AUDITED
import json, sys
said = sys.stdin.read()
try:
    found = [each for each in json.loads(said)["dependencies"] if each["name"] != "prediction-difference"]
except (ValueError, KeyError):
    found = []
asked = [each for each in found if "vulns" in each]
bad = [f"{each['name']} {each['version']}: {flaw['id']}" for each in asked for flaw in each["vulns"]]
print(*bad, sep="\n", end="\n" * bool(bad))
if not found or len(asked) < len(found):
    left = f"{len(found) - len(asked)} of {len(found)} packages" if found else "any package"
    bad = f"audit: the vulnerability service could not be asked about {left}; run it where it can be reached"
sys.exit(bad if isinstance(bad, str) else int(bool(bad)))
endef
export AUDITED

AUDIT_READY := $(VENV)/.audit_installed

$(AUDIT_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,audit]'
	@touch $(AUDIT_READY)

audit: $(AUDIT_READY) ## look for unsafe code, and for known vulnerabilities of the packages installed
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive predict_diff reproduce
	@$(BIN)/pip-audit --progress-spinner off --skip-editable --format json 2>$(VENV)/audit.log | $(BIN)/python -c "$$AUDITED"

format: $(READY) ## put the code into shape
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

benchmark: $(READY) ## measure both evaluators on every network, and how their cost grows
	@$(BIN)/reproduce benchmark $(if $(NETWORKS),--networks "$(NETWORKS)") $(if $(OUT),--out "$(OUT)")

docs: $(READY) ## build the documentation into results/docs, or OUT=...
	@$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet reproduce/docs "$(or $(OUT),results)/docs"
	@echo "$(or $(OUT),results)/docs/index.html"

# Any protobuf runtime from 4.25 on reads what this version generates.
proto: $(READY) ## generate caffe_pb2.py from caffe.proto
	$(BIN)/python -m venv $(VENV)/proto
	$(VENV)/proto/bin/pip install --quiet grpcio-tools==1.62.3
	$(VENV)/proto/bin/python -m grpc_tools.protoc -Ipredict_diff/caffe --python_out=predict_diff/caffe caffe.proto

clean: ## remove .venv, results and what the tools left behind
	rm -rf $(VENV) results build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

comma := ,
empty :=
space := $(empty) $(empty)
