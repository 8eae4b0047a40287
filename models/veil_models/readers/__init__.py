"""Readers: COCO, Pascal VOC, YOLO, WIDER FACE and CCPD, each into a list of `Picture`."""
