"""Mosec, with ONNX Runtime."""

import mosec
from classifier import Classifier


class Peer(mosec.Worker):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = Classifier()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> dict:
        return self.classifier.classify(data)


if __name__ == "__main__":
    server = mosec.Server()
    server.append_worker(Peer, num=2, route="/predict")
    server.run()
