"""FastAPI in uvicorn, with ONNX Runtime."""

from classifier import Classifier
from fastapi import FastAPI, Request

classifier = Classifier()
app = FastAPI()


# A thread for each picture would only add to the work: a worker has one CPU.
@app.post("/predict")
async def predict(request: Request) -> dict:
    return classifier.classify(await request.body())
