"""From a network in torch to ONNX files in every precision."""
