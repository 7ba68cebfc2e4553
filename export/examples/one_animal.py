"""Print the keypoints of one animal in a picture: python one_animal.py GRAPH PICTURE."""

import json
import sys

import cv2
import onnxruntime

graph = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
contract = graph.get_modelmeta().custom_metadata_map
image = cv2.imread(sys.argv[2])  # uint8, (height, width, 3), blue green red
unit = [1.0, 1.0]  # pixels of the frame per pixel of the input, across and down

for step in json.loads(contract["rigpose.steps"]):
    h, w = image.shape[:2]
    if step["step"] == "pad":  # mirrored, to the next multiple
        image = cv2.copyMakeBorder(
            image, 0, -h % step["multiple_of"], 0, -w % step["multiple_of"], cv2.BORDER_REFLECT_101
        )
    elif step["step"] == "fill":  # black
        image = cv2.copyMakeBorder(image, 0, step["height"] - h, 0, step["width"] - w, cv2.BORDER_CONSTANT)
    else:
        fit = min(step.get("width", 0) / w, step.get("height", 0) / h) or step.get("longest_side", 0) / max(h, w)
        size = (step["width"], step["height"]) if step["step"] == "stretch" else (round(w * fit), round(h * fit))
        image = cv2.resize(image, size)
        unit = [w / size[0], h / size[1]]

(keypoints,) = graph.run(["keypoints"], {"frames": image[None]})[0]
for name, (x, y, score) in zip(json.loads(contract["rigpose.keypoints"]), keypoints, strict=True):
    print(f"{name}\t{x * unit[0]:.4f}\t{y * unit[1]:.4f}\t{score:.6f}")
