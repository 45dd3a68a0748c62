"""The model as the peers run it: Ultralytics' preparation with Pillow, ONNX Runtime with one thread."""

import ast
import io
import os

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

Image.MAX_IMAGE_PIXELS = None


class Classifier:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = os.environ["MODEL"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = ast.literal_eval(self.session.get_modelmeta().custom_metadata_map["names"])
        self.input = self.session.get_inputs()[0].name
        self.size = self.session.get_inputs()[0].shape[2]

    def prepare(self, file: bytes) -> np.ndarray:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
        width, height = image.size
        short, size = min(width, height), self.size
        width, height = size * width // short, size * height // short
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - size) / 2), round((height - size) / 2)
        image = image.crop((left, top, left + size, top + size))
        return np.ascontiguousarray(np.asarray(image, np.float32).transpose(2, 0, 1)[None]) / 255

    def classify(self, file: bytes) -> dict:
        scores = self.session.run(None, {self.input: self.prepare(file)})[0][0]
        best = int(scores.argmax())
        return {"prediction": self.names[best], "confidence": float(scores[best])}
