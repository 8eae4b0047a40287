# Training, release and evaluation of the detectors. DATA is a folder with train.json.gz, val.json.gz and images/
# (COCO; docs/models.md says which keys), TEACHERS a folder with yunet_n_640_640.onnx. Everything made on the way is
# kept in MODELS_WORK and is made again only where what it was made from has changed: stop at any moment, call again.
.PHONY: models eval models-data models-teachers

DATA ?=
TEACHERS ?= $(DATA)/../teachers
MODELS_WORK ?= build/models
MODELS_ENV ?= .venv-models
# The bundles that are made, and measured: MODELS_BUNDLES/MODELS_NAME-s and -n. They are not ours: other weights, other
# terms. (Ours: MODELS_NAME=veil MODELS_BUNDLES=models/bundles MODELS_LICENSE=Apache-2.0, then card.)
MODELS_NAME ?= own
MODELS_BUNDLES ?= $(MODELS_WORK)/bundles
MODELS_VERSION ?= 1.0.0
MODELS_LICENSE ?=
# teachers: ask them at several scales (hours); own: our net and what the data set says (docs/models.md)
MODELS_LABELS ?= teachers
# The end, not how many more: the steps of MODELS_START count. Empty: begin from nothing.
MODELS_STEPS ?= 80000
MODELS_START ?= models/checkpoints
# The float nets that `make eval` shows beside the bundles.
MODELS_CHECKPOINTS ?= $(MODELS_WORK)/run
MODELS_PYTHON = PYTHONPATH=models:daemon $(MODELS_ENV)/bin/python -m veil_models
MODELS_FROM = --data "$(DATA)" --work "$(MODELS_WORK)"
YUNET = $(TEACHERS)/yunet_n_640_640.onnx

$(MODELS_ENV)/ready: models/requirements-train.txt requirements.lock
	python3 -m venv $(MODELS_ENV)
	$(MODELS_ENV)/bin/pip install -q -r requirements.lock
	$(MODELS_ENV)/bin/pip install -q -r models/requirements-train.txt
	touch $@

models-data:
	@test -e "$(DATA)/train.json.gz" || \
	    { echo "error: there is no $(DATA)/train.json.gz: DATA=folder that holds it" >&2; exit 2; }

models-teachers:
	@test "$(MODELS_LABELS)" = own || test -e "$(YUNET)" || \
	    { echo "error: there is no $(YUNET): TEACHERS=folder that holds it, or MODELS_LABELS=own," \
	    "which needs no teachers" >&2; exit 2; }

models: models-data models-teachers $(MODELS_ENV)/ready  ## train detectors of your own; DATA=folder, TEACHERS=folder or MODELS_LABELS=own (hours)
	$(MODELS_PYTHON) pack $(MODELS_FROM)
	if test "$(MODELS_LABELS)" = own; then \
	    $(MODELS_PYTHON) mine $(MODELS_FROM) --bundle models/bundles/veil-s --faces; \
	else \
	    $(MODELS_PYTHON) label $(MODELS_FROM) --yunet "$(YUNET)" && \
	    $(MODELS_PYTHON) fuse $(MODELS_FROM) && \
	    $(MODELS_PYTHON) mine $(MODELS_FROM) --bundle models/bundles/veil-s; \
	fi
	$(MODELS_PYTHON) alarms $(MODELS_FROM) --bundle models/bundles/veil-s
	$(MODELS_PYTHON) train $(MODELS_FROM) --steps $(MODELS_STEPS) $(if $(MODELS_START),--start "$(MODELS_START)")
	for kind in s n; do \
	    $(MODELS_PYTHON) release $(MODELS_FROM) --checkpoint "$(MODELS_WORK)/run/veil-$$kind.pt" \
	        --bundle "$(MODELS_BUNDLES)/$(MODELS_NAME)-$$kind" --version "$(MODELS_VERSION)" \
	        $(if $(MODELS_LICENSE),--license "$(MODELS_LICENSE)") || exit; \
	done

# What `make models` made, or else the released detectors; without teachers where there are none.
eval: models-data $(MODELS_ENV)/ready  ## all figures of your detectors, or else of ours, beside the teachers; DATA=folder
	for kind in s n; do \
	    name="$(MODELS_NAME)-$$kind" bundles="$(MODELS_BUNDLES)" checkpoints="$(MODELS_CHECKPOINTS)"; \
	    if ! test -e "$$bundles/$$name/bundle.toml"; then \
	        name=veil-$$kind bundles=models/bundles checkpoints=models/checkpoints; \
	    fi; \
	    teachers=(); test ! -e "$(YUNET)" || teachers=(--yunet "$(YUNET)"); \
	    echo "$$bundles/$$name"; \
	    $(MODELS_PYTHON) eval $(MODELS_FROM) --bundle "$$bundles/$$name" "$${teachers[@]}" \
	        --checkpoint "$$checkpoints/veil-$$kind.pt" --out "$(MODELS_WORK)/eval/$$name" || exit; \
	done
