"""Print the keypoints of every animal in a picture: python top_down_pair.py BUNDLE PICTURE."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

files = [str(Path(sys.argv[1]) / name) for name in ("detector.onnx", "pose.onnx")]
detector, pose = (onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in files)
told, of_pose = (graph.get_modelmeta().custom_metadata_map for graph in (detector, pose))
frame = cv2.imread(sys.argv[2])  # uint8, (height, width, 3), blue green red
steps, (crop, *others) = json.loads(told["rigpose.steps"]), json.loads(of_pose["rigpose.steps"])
rule = json.loads(told["rigpose.animals"])
assert not steps and not others and crop["with_context"] and rule["max_overlap"] == 1, "see the contract's rules"

boxes, scores = (found[0] for found in detector.run(["boxes", "scores"], {"frames": frame[None]}))
boxes = boxes[(scores > 0) & (scores >= rule["min_score"])][: rule["max_animals"]]  # the best come first
windows, crops = [], []
for left, top, right, bottom in boxes:
    w, h = right - left, bottom - top
    x, y, ratio = left + w / 2, top + h / 2, crop["width"] / crop["height"]
    w, h = w + 2 * crop["margin"], h + 2 * crop["margin"]
    w, h = max(w, h * ratio), max(h, w / ratio)
    x1, y1, x2, y2 = round(x - w / 2), round(y - h / 2), round(x + w / 2), round(y + h / 2)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    shown = frame[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]  # black where the window leaves the frame
    across, down = max(-x1, 0), max(-y1, 0)
    edges = (down, y2 - y1 - down - len(shown), across, x2 - x1 - across - shown.shape[1])
    shown = cv2.copyMakeBorder(shown, *edges, cv2.BORDER_CONSTANT)
    crops.append(cv2.resize(shown, (crop["width"], crop["height"])))
    windows.append((x1, y1, x2, y2))

keypoints = pose.run(["keypoints"], {"frames": np.stack(crops)})[0] if crops else []
for animal, (of_animal, (x1, y1, x2, y2)) in enumerate(zip(keypoints, windows, strict=True)):
    for name, (x, y, score) in zip(json.loads(of_pose["rigpose.keypoints"]), of_animal, strict=True):
        x, y = x * (x2 - x1) / crop["width"] + x1, y * (y2 - y1) / crop["height"] + y1
        print(f"{animal}\t{name}\t{x:.4f}\t{y:.4f}\t{score:.6f}")
