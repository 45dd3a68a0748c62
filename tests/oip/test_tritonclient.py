"""Triton's own Python client, over REST and over gRPC, gets what `POST /predict` gives."""

from __future__ import annotations

import base64
import signal
from types import ModuleType
from typing import Any, Iterator

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from instance import BASIC, CLASSES, INPUT, KEY, MODEL, OUTPUT, PICTURES, SIDE, Instance, objects, picture, pixels
from tritonclient.utils import InferenceServerException


class Client:
    """A client of either transport."""

    def __init__(self, transport: str, instance: Instance):
        self.of: ModuleType = tritonclient.http if transport == "http" else tritonclient.grpc
        self.is_http = transport == "http"
        self.call = self.of.InferenceServerClient(instance.rest if self.is_http else instance.grpc)

    def input(self, array: np.ndarray, datatype: str | None = None, **options: Any) -> Any:
        tensor = self.of.InferInput(INPUT, list(array.shape), datatype or ("FP32" if array.dtype == np.float32 else "BYTES"))
        tensor.set_data_from_numpy(array, **options)
        return tensor

    def scores(self, array: np.ndarray, **options: Any) -> np.ndarray:
        return self.call.infer(MODEL, [self.input(array)], **options).as_numpy(OUTPUT)

    def answer(self, result: Any) -> dict[str, Any]:
        return result.get_response() if self.is_http else result.get_response(as_json=True)

    def parameter(self, result: Any, name: str) -> Any:
        value = self.answer(result)["parameters"][name]
        return value if self.is_http else next(iter(value.values()))


@pytest.fixture(params=["http", "grpc"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def client(transport: str, service: Instance) -> Iterator[Client]:
    client = Client(transport, service)
    yield client
    client.call.close()


def refusal(call: Any, *arguments: Any, **options: Any) -> tuple[str, str]:
    """Status and text of a refusal."""
    with pytest.raises(InferenceServerException) as refused:
        call(*arguments, **options)
    return str(refused.value.status()).removeprefix("StatusCode."), refused.value.message()


def test_server_and_model_describe_themselves(client: Client, service: Instance) -> None:
    call, options = client.call, {} if client.is_http else {"as_json": True}
    version = service.get("/models")["models"][0]["version"]
    assert call.is_server_live() and call.is_server_ready()
    assert call.is_model_ready(MODEL) and call.is_model_ready(MODEL, version)
    server = call.get_server_metadata(**options)
    assert server["name"] == "relance"
    assert {"binary_tensor_data", "classification"} <= set(server["extensions"])

    model = call.get_model_metadata(MODEL, **options)
    shape = lambda tensor: [int(length) for length in tensor["shape"]]
    (tensor,), (output,) = model["inputs"], model["outputs"]
    assert (model["name"], model["versions"]) == (MODEL, [version])
    assert (tensor["name"], tensor["datatype"], shape(tensor)) == (INPUT, "FP32", [-1, 3, SIDE, SIDE])
    assert (output["name"], output["datatype"], shape(output)) == (OUTPUT, "FP32", [-1, CLASSES])
    assert call.get_model_metadata(MODEL, version, **options) == model

    index = call.get_model_repository_index(**options)
    (listed,) = index if client.is_http else index["models"]
    assert (listed["name"], listed["version"], listed["state"]) == (MODEL, version, "READY")


def test_what_triton_s_image_client_reads_and_sends(client: Client, service: Instance) -> None:
    """The steps of `image_client.py`: metadata and configuration, a batch of tensors, classifications."""
    if client.is_http:
        metadata, config = client.call.get_model_metadata(MODEL), client.call.get_model_config(MODEL)
        layout, dims = config["input"][0]["format"], config["input"][0]["dims"]
        inputs, outputs, batch = metadata["inputs"], metadata["outputs"], config["max_batch_size"]
        tensor, output = inputs[0]["name"], outputs[0]["name"]
    else:
        metadata, config = client.call.get_model_metadata(MODEL), client.call.get_model_config(MODEL).config
        layout = tritonclient.grpc.model_config_pb2.ModelInput.Format.Name(config.input[0].format)
        inputs, outputs, batch, dims = metadata.inputs, metadata.outputs, config.max_batch_size, list(config.input[0].dims)
        tensor, output = inputs[0].name, outputs[0].name
    assert len(inputs) == len(outputs) == 1 and batch > 1
    assert (layout, dims) == ("FORMAT_NCHW", [3, SIDE, SIDE])
    files, tensors = zip(*(pixels(seed) for seed in range(3)))
    sent = client.of.InferInput(tensor, [3, *dims], "FP32")
    sent.set_data_from_numpy(np.stack(tensors))
    wanted = client.of.InferRequestedOutput(output, class_count=2)
    result = client.call.infer(MODEL, [sent], outputs=[wanted]).as_numpy(output)
    assert result.shape == (3, 2)
    labels = service.get("/models")["models"][0]["classes"]
    for row, file in zip(result, files):
        scores = service.predict(file)
        for text, best in zip(row, np.argsort(-scores)):
            score, index, label = text.decode().split(":")
            assert (np.float32(score), int(index), label) == (scores[best], best, labels[best])


def test_pictures_get_the_scores_of_predict(client: Client, service: Instance) -> None:
    files = [picture(name) for name in PICTURES]
    expected = np.stack([service.predict(file) for file in files])
    for shape in ([len(files)], [len(files), 1]):
        scores = client.scores(objects(files, shape))
        assert scores.dtype == np.float32 and np.array_equal(scores, expected)
    for file, row in zip(files, expected):
        assert np.array_equal(client.scores(objects([file])), [row])


def test_tensors_get_the_scores_of_the_pictures_they_are(client: Client, service: Instance) -> None:
    files, tensors = zip(*(pixels(seed) for seed in range(10, 15)))
    expected = np.stack([service.predict(file) for file in files])
    assert np.array_equal(client.scores(np.stack(tensors)), expected)


def test_each_picture_has_a_record(client: Client, service: Instance) -> None:
    files, tensors = zip(*(pixels(seed + 100 * client.is_http) for seed in range(20, 23)))
    result = client.call.infer(MODEL, [client.input(objects([*files, files[0]]))], request_id="a name")
    assert client.answer(result)["id"] == "a name"
    records = service.records(client.parameter(result, "request_ids"))
    assert len({record["request_id"] for record in records}) == 4
    for record, scores in zip(records, result.as_numpy(OUTPUT)):
        assert (record["top"][0]["index"], np.float32(record["confidence"])) == (scores.argmax(), scores.max())
        assert record["image_format"] == "png" and record["user_ip"] == "127.0.0.0"
    assert service.image(records[0]["request_id"]) == files[0]
    again = client.call.infer(MODEL, [client.input(objects(list(files)))])
    assert [record["cached"] for record in service.records(client.parameter(again, "request_ids"))] == [True] * 3

    result = client.call.infer(MODEL, [client.input(np.stack(tensors))])
    records = service.records(client.parameter(result, "request_ids"))
    assert [(record["image_format"], record["image_ref"], record["cached"]) for record in records] == [("tensor", None, False)] * 3


def test_answered_is_stored_even_if_the_service_is_killed(transport: str, start: Any) -> None:
    service = start(data="kept")
    client = Client(transport, service)
    files, tensors = zip(*(pixels(seed) for seed in range(30, 38)))
    identifiers = []
    for sent in (objects(list(files)), np.stack(tensors)):
        result = client.call.infer(MODEL, [client.input(sent)])
        identifiers += client.parameter(result, "request_ids").split(",")
    service.signal(signal.SIGKILL)
    service.wait()
    service = start(data="kept")
    assert len(identifiers) == len(service.records(",".join(identifiers))) == 16
    for identifier, file in zip(identifiers, files):
        assert service.image(identifier) == file


def test_classifications_name_the_likeliest_classes(client: Client, service: Instance) -> None:
    file = picture("jpeg-420.jpg")
    scores = service.predict(file)
    for count, columns in ((1, 1), (4, 4), (1000, CLASSES)):
        wanted = client.of.InferRequestedOutput(OUTPUT, class_count=count)
        rows = client.call.infer(MODEL, [client.input(objects([file, file]))], outputs=[wanted]).as_numpy(OUTPUT)
        assert rows.shape == (2, columns)
        best = [int(text.decode().split(":")[1]) for text in rows[0]]
        assert best == list(np.argsort(-scores, kind="stable")[:columns])


def test_wrong_requests_are_told_what_is_accepted(client: Client) -> None:
    file, call = picture("jpeg-1x1.jpg"), client.call
    one, tensor = objects([file]), np.zeros((1, 3, SIDE, SIDE), np.float32)
    invalid, unknown, too_large = ("400", "404", "413") if client.is_http else ("INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED")
    not_found = {
        "there is no model": lambda: call.infer("nope", [client.input(one)]),
        "there is no model": lambda: call.infer(MODEL, [client.input(one)], model_version="1"),
    }
    for words, wrong in not_found.items():
        status, text = refusal(wrong)
        assert status == unknown and words in text and MODEL in text
    for wrong in (call.get_model_metadata, call.get_model_config):
        assert refusal(wrong, "nope")[0] == refusal(wrong, MODEL, "1")[0] == unknown

    def renamed(name: str) -> Any:
        other = client.of.InferInput(name, [1], "BYTES")
        other.set_data_from_numpy(one)
        return other

    def output(name: str) -> Any:
        return client.of.InferRequestedOutput(name)

    infer = lambda inputs, **options: refusal(call.infer, MODEL, inputs, **options)
    for words, told in {
        'no input "pictures"': infer([renamed("pictures")]),
        "2 inputs": infer([client.input(one), renamed("more")]),
        'no output "nope"': infer([client.input(one)], outputs=[output("nope")]),
        "wanted twice": infer([client.input(one)], outputs=[output(OUTPUT), output(OUTPUT)]),
        "accepted are BYTES": infer([client.input(np.zeros((1, 3, SIDE, SIDE), np.float64), "FP64")]),
        "[N] or [N, 1]": infer([client.input(objects([file] * 2, [1, 2]))]),
        "N from 1 to 64": infer([client.input(objects([file] * 65))]),
        f"[N, 3, {SIDE}, {SIDE}]": infer([client.input(tensor.reshape(1, SIDE, SIDE, 3))]),
        "not a finite number": infer([client.input(np.full_like(tensor, np.nan))]),
    }.items():
        assert told[0] == invalid and words in told[1], told

    status, text = infer([client.input(objects([file, b"no picture"]))])
    assert (status in ("415", "INVALID_ARGUMENT")) and text.startswith("element 2 of 2: ")
    status, text = infer([client.input(objects([b""]))])
    assert status == invalid and "empty" in text
    status, text = infer([client.input(objects([picture("jpeg-640x480.jpg")[:-900]]))])
    assert (status in ("422", "INVALID_ARGUMENT")) and "truncated" in text
    status, text = infer([client.input(objects([file + bytes(10 << 20)]))])
    assert status == too_large and "10485760" in text, text


def test_limits_hold(transport: str, start: Any) -> None:
    client = Client(transport, start(MAX_BATCH_PICTURES="2", MAX_UPLOAD_BYTES="20000", MAX_PIXELS="10000", MAX_INFLIGHT_BYTES="200000"))
    file, _ = pixels(1)
    assert client.scores(objects([file, file])).shape == (2, CLASSES)
    infer = lambda *files: refusal(client.call.infer, MODEL, [client.input(objects(list(files)))])
    status, text = infer(file, file, file)
    assert (status in ("400", "INVALID_ARGUMENT")) and "N from 1 to 2" in text
    too_large = "413" if client.is_http else "RESOURCE_EXHAUSTED"
    status, text = infer(picture("jpeg-224x224.jpg"))
    assert status == too_large and "10000 pixels" in text
    status, text = infer(file + bytes(20_000))
    assert status == too_large and "20000" in text
    # Refused before it is read to its end.
    status, text = infer(file + bytes(1_000_000))
    assert status == too_large and "larger than" in text


def test_nothing_of_a_refused_batch_is_recorded(transport: str, start: Any) -> None:
    service = start()
    client = Client(transport, service)
    refusal(client.call.infer, MODEL, [client.input(objects([pixels(1)[0], pixels(2)[0], b"no picture"]))])
    assert service.get("/requests")["requests"] == []


def test_credentials_are_those_of_http(transport: str, guarded: Instance) -> None:
    client = Client(transport, guarded)
    sent = [client.input(objects([picture("jpeg-1x1.jpg")]))]
    assert client.call.is_server_live() and client.call.is_server_ready()
    refused = ("401", "UNAUTHENTICATED")
    for headers in ({}, {"x-api-key": "wrong"}, {"authorization": "Basic d3Jvbmc6d3Jvbmc="}, {"authorization": f"Bearer {KEY}"}):
        for call in (client.call.get_server_metadata, lambda headers: client.call.infer(MODEL, sent, headers=headers)):
            status, text = refusal(call, headers=headers)
            assert status in refused and "basic authentication or an API key" in text
    for headers, name in (({"x-api-key": KEY}, "ci"), ({"authorization": BASIC}, "ana")):
        result = client.call.infer(MODEL, sent, headers=headers)
        identifier = client.parameter(result, "request_ids")
        assert guarded.get(f"/requests/{identifier}", headers={"x-api-key": KEY})["client"] == name


def test_clients_may_ask_side_by_side_and_give_up(client: Client) -> None:
    if client.is_http:
        results = [client.call.async_infer(MODEL, [client.input(objects([pixels(n)[0]]))]) for n in range(40, 44)]
        rows = [result.get_result().as_numpy(OUTPUT) for result in results]
        assert all(row.shape == (1, CLASSES) for row in rows)
    else:
        status, _ = refusal(client.call.infer, MODEL, [client.input(objects([picture("jpeg-1280x960.jpg")] * 32))], client_timeout=1e-6)
        assert status == "DEADLINE_EXCEEDED"


def test_http_takes_json_base64_and_compressed_bodies(service: Instance) -> None:
    client = Client("http", service)
    file, tensor = pixels(50)
    expected = service.predict(file)
    text = base64.b64encode(file).decode()
    for array, binary in ((objects([file]), True), (objects([text]), False), (objects([text], [1, 1]), False), (tensor[None], True), (tensor[None], False)):
        sent = [client.input(array, binary_data=binary)]
        for compression in (None, "gzip", "deflate"):
            for binary_output in (True, False):
                outputs = [client.of.InferRequestedOutput(OUTPUT, binary_data=binary_output)]
                result = client.call.infer(MODEL, sent, outputs=outputs, request_compression_algorithm=compression)
                assert np.array_equal(result.as_numpy(OUTPUT), [expected]), (compression, binary, binary_output)


def test_grpc_says_that_it_takes_no_compression(service: Instance) -> None:
    client = Client("grpc", service)
    status, text = refusal(
        client.call.infer, MODEL, [client.input(objects([picture("jpeg-1x1.jpg")]))], compression_algorithm="gzip"
    )
    assert status == "UNIMPLEMENTED" and "gzip" in text
