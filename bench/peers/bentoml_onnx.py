"""BentoML, with ONNX Runtime."""

from pathlib import Path

import bentoml
from classifier import Classifier


@bentoml.service(workers=2, threads=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Peer:
    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api(route="/predict")
    def predict(self, image: Path) -> dict:
        return self.classifier.classify(image.read_bytes())
