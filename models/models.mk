# Training, release and evaluation of the detectors. DATA is a folder with train.json.gz, val.json.gz and images/
# (COCO; docs/models.md says which keys), TEACHERS a folder with yunet_n_640_640.onnx. Everything made on the way is
# kept in MODELS_WORK and is not made twice: stop at any moment, call again.
.PHONY: models eval

DATA ?=
TEACHERS ?= $(DATA)/../teachers
MODELS_WORK ?= build/models
MODELS_ENV ?= .venv-models
MODELS_VERSION ?= 0.7.0
# teachers: ask them at several scales (hours); own: our net and what the data set says (docs/models.md)
MODELS_LABELS ?= teachers
MODELS_STEPS ?= 80000
MODELS_PYTHON = PYTHONPATH=models $(MODELS_ENV)/bin/python -m veil_models
MODELS_FROM = --data $(DATA) --work $(MODELS_WORK)
YUNET = $(TEACHERS)/yunet_n_640_640.onnx

$(MODELS_ENV)/ready: models/requirements-train.txt requirements.lock
	python3 -m venv $(MODELS_ENV)
	$(MODELS_ENV)/bin/pip install -q -r requirements.lock
	$(MODELS_ENV)/bin/pip install -q -r models/requirements-train.txt
	touch $@

models: $(MODELS_ENV)/ready  ## train and release the detectors; DATA=folder, TEACHERS=folder (hours)
	@test -n "$(DATA)" || { echo "make models DATA=folder with train.json.gz" >&2; exit 2; }
	$(MODELS_PYTHON) pack $(MODELS_FROM)
	if test "$(MODELS_LABELS)" = own; then \
	    test -e $(MODELS_WORK)/train.mined.json.gz || \
	        $(MODELS_PYTHON) mine $(MODELS_FROM) --bundle models/bundles/veil-s --faces; \
	else \
	    $(MODELS_PYTHON) label $(MODELS_FROM) --yunet $(YUNET) && \
	    $(MODELS_PYTHON) fuse $(MODELS_FROM) && \
	    { test -e $(MODELS_WORK)/train.mined.json.gz || \
	        $(MODELS_PYTHON) mine $(MODELS_FROM) --bundle models/bundles/veil-s; }; \
	fi
	test -e $(MODELS_WORK)/train.alarms.npz || $(MODELS_PYTHON) alarms $(MODELS_FROM) --bundle models/bundles/veil-s
	$(MODELS_PYTHON) train $(MODELS_FROM) --steps $(MODELS_STEPS) --start models/checkpoints
	for name in veil-s veil-n; do \
	    $(MODELS_PYTHON) release $(MODELS_FROM) --checkpoint $(MODELS_WORK)/run/$$name.pt \
	        --bundle models/bundles/$$name --version $(MODELS_VERSION) || exit; \
	done

eval: $(MODELS_ENV)/ready  ## all figures of the released detectors beside YuNet-n and CenterFace; DATA=folder
	@test -n "$(DATA)" || { echo "make eval DATA=folder with train.json.gz" >&2; exit 2; }
	for name in veil-s veil-n; do \
	    $(MODELS_PYTHON) eval $(MODELS_FROM) --bundle models/bundles/$$name --yunet $(YUNET) \
	        --checkpoint models/checkpoints/$$name.pt --out $(MODELS_WORK)/eval/$$name || exit; \
	done
