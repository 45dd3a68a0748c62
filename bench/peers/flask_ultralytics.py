"""Flask in gunicorn, and Ultralytics' own way to run a model."""

import io
import os

os.environ["YOLO_OFFLINE"] = "true"

import onnxruntime
import torch
from flask import Flask, request
from PIL import Image, ImageOps

# Two workers with one thread each do more than two with two each.
torch.set_num_threads(1)
session = onnxruntime.InferenceSession


def one_thread(path, options=None, **rest):
    options = options or onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return session(path, options, **rest)


onnxruntime.InferenceSession = one_thread

from ultralytics import YOLO

model = YOLO(os.environ["MODEL"], task="classify")
app = Flask(__name__)


@app.post("/predict")
def predict():
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(request.get_data())))
    probabilities = model.predict(image.convert("RGB"), verbose=False)[0].probs
    return {"prediction": model.names[probabilities.top1], "confidence": float(probabilities.top1conf)}
