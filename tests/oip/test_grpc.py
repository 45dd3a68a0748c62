"""gRPC: described by reflection, watched by the standard health service, drained at the end, counted and traced."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any, Callable, Iterator

import grpc
import pytest
from instance import INPUT, MODEL, OUTPUT, PATIENCE, Instance, picture, pixels
from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

INFERENCE = "inference.GRPCInferenceService"
CALLS = {
    "ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer", "ModelConfig", "RepositoryIndex",
}


@pytest.fixture
def channel(service: Instance) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.grpc) as channel:
        yield channel


def request(**fields: Any) -> messages.ModelInferRequest:
    tensor = {"name": INPUT, "datatype": "BYTES", "shape": [1]}
    tensor["contents"] = {"bytes_contents": [picture("jpeg-1x1.jpg")]}
    return messages.ModelInferRequest(**{"model_name": MODEL, "inputs": [tensor], **fields})


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def refusal(call: Any, *arguments: Any, **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        call(*arguments, timeout=options.pop("timeout", 30), **options)
    return refused.value


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {INFERENCE, "grpc.health.v1.Health"} <= set(database.get_services())
    service = DescriptorPool(database).FindServiceByName(INFERENCE)
    assert {method.name for method in service.methods} == CALLS


def test_every_message_has_the_numbers_of_triton(channel: grpc.Channel) -> None:
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    ours, theirs = pool.FindServiceByName(INFERENCE), messages.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    compared: set[str] = set()

    def same_enum(own: EnumDescriptor, other: EnumDescriptor) -> None:
        known = {value.name: value.number for value in other.values}
        assert {value.name: value.number for value in own.values}.items() <= known.items(), own.full_name

    def same(own: Descriptor, other: Descriptor) -> None:
        if own.full_name in compared:
            return
        compared.add(own.full_name)
        assert own.full_name == other.full_name
        for field in own.fields:
            known = other.fields_by_name[field.name]
            assert (field.number, field.type, field.is_repeated) == (known.number, known.type, known.is_repeated), field.full_name
            if field.message_type:
                same(field.message_type, known.message_type)
            if field.enum_type:
                same_enum(field.enum_type, known.enum_type)

    for method in ours.methods:
        known = theirs.methods_by_name[method.name]
        same(method.input_type, known.input_type)
        same(method.output_type, known.output_type)
    assert len(compared) > 20


def health(channel: grpc.Channel, call: str) -> tuple[Any, type]:
    """A call of the standard health service, by what reflection tells of it."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName("grpc.health.v1.Health").methods_by_name[call]
    sent, received = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    path = f"/grpc.health.v1.Health/{call}"
    return kind(path, request_serializer=sent.SerializeToString, response_deserializer=received.FromString), sent


SERVING, NOT_SERVING = 1, 2


def test_health_follows_the_state(start: Any) -> None:
    service = start(DRAIN_DELAY_MS="1500", SHUTDOWN_TIMEOUT_MS="15000")
    with grpc.insecure_channel(service.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        check, ask = health(channel, "Check")
        for name in ("", INFERENCE):
            assert check(ask(service=name), timeout=30).status == SERVING
        assert refusal(check, ask(service="nope")).code() == grpc.StatusCode.NOT_FOUND
        watch, ask = health(channel, "Watch")
        states: list[int] = []
        ended = threading.Event()

        def follow() -> None:
            try:
                states.extend(state.status for state in watch(ask(service=INFERENCE)))
            except grpc.RpcError:
                pass
            ended.set()

        threading.Thread(target=follow, daemon=True).start()
        until(lambda: states)
        service.signal(signal.SIGTERM)
        until(lambda: not stub.ServerReady(messages.ServerReadyRequest(), timeout=10).ready)
        assert not stub.ModelReady(messages.ModelReadyRequest(name=MODEL), timeout=10).ready
        assert check(ask(service=""), timeout=10).status == NOT_SERVING
        (listed,) = stub.RepositoryIndex(messages.RepositoryIndexRequest(), timeout=10).models
        assert listed.state == "UNAVAILABLE"
        assert not stub.RepositoryIndex(messages.RepositoryIndexRequest(ready=True), timeout=10).models
        # It still answers.
        stub.ModelInfer(request(), timeout=10)
        # The stream that is watched does not hold up the end.
        begun = time.monotonic()
        assert service.wait() == 0
        assert time.monotonic() - begun < 10
        assert ended.wait(10)
        assert states == [SERVING, NOT_SERVING]
    assert not any("cut off" in line for line in service.log), service.log


def test_the_end_waits_for_what_is_in_flight(start: Any) -> None:
    service = start(WORKERS="1", MAX_QUEUE_MS="20000", DRAIN_DELAY_MS="0", SHUTDOWN_TIMEOUT_MS="20000")
    with grpc.insecure_channel(service.grpc) as channel:
        large = request(inputs=[{"name": INPUT, "datatype": "BYTES", "shape": [32]}])
        files = [picture("jpeg-1280x960.jpg") + bytes([n]) for n in range(32)]
        large.raw_input_contents.append(b"".join(len(file).to_bytes(4, "little") + file for file in files))
        answer = GRPCInferenceServiceStub(channel).ModelInfer.future(large, timeout=30)
        until(lambda: service.metric("relance_queue_length") > 8)
        service.signal(signal.SIGTERM)
        assert len(answer.result().raw_output_contents[0]) == 4 * 32 * 10
        assert service.wait() == 0
    assert not any("cut off" in line for line in service.log), service.log


def test_contents_come_back_as_they_were_sent(channel: grpc.Channel, service: Instance) -> None:
    stub = GRPCInferenceServiceStub(channel)
    file, tensor = pixels(60)
    expected = service.predict(file).tolist()
    pictures = {"name": INPUT, "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [file]}}
    numbers = {"name": INPUT, "datatype": "FP32", "shape": [1, *tensor.shape], "contents": {"fp32_contents": tensor.ravel().tolist()}}
    for sent in (pictures, numbers):
        parameters = {"flag": {"bool_param": True}, "count": {"int64_param": -3}, "text": {"string_param": "x"}, "real": {"double_param": 0.5}}
        answer = stub.ModelInfer(request(inputs=[sent], id="a name", parameters=parameters), timeout=30)
        assert (answer.model_name, answer.id, len(answer.raw_output_contents)) == (MODEL, "a name", 0)
        assert list(answer.outputs[0].contents.fp32_contents) == expected
        for name, value in parameters.items():
            assert answer.parameters[name] == messages.InferParameter(**value)
    wanted = [{"name": OUTPUT, "parameters": {"classification": {"int64_param": 1}}}]
    answer = stub.ModelInfer(request(inputs=[pictures], outputs=wanted), timeout=30)
    (text,) = answer.outputs[0].contents.bytes_contents
    assert answer.outputs[0].datatype == "BYTES" and list(answer.outputs[0].shape) == [1, 1]
    assert float(text.split(b":")[0]) == pytest.approx(max(expected), abs=1e-7)


def test_broken_requests_are_told_why(channel: grpc.Channel) -> None:
    stub = GRPCInferenceServiceStub(channel)
    named = {"name": INPUT, "datatype": "BYTES", "shape": [1]}
    memory = {"shared_memory_region": {"string_param": "r"}}
    cases = {
        "has no data": request(inputs=[named]),
        "both contents and raw_input_contents": request(raw_input_contents=[b"x"]),
        "raw_input_contents has 2 elements for 1 inputs": request(inputs=[named], raw_input_contents=[b"x", b"y"]),
        "broken at byte 0": request(inputs=[named], raw_input_contents=[b"\x09\x00\x00\x00rest"]),
        "has 0 elements; its shape announces 1": request(inputs=[named], raw_input_contents=[b""]),
        "takes strings": request(inputs=[{**named, "contents": {"fp32_contents": [0.5]}}]),
        "takes numbers": request(inputs=[{**named, "datatype": "FP32", "shape": [1, 3, 64, 64], "contents": {"bytes_contents": [b""]}}]),
        "has 12288 elements": request(inputs=[{**named, "datatype": "FP32", "shape": [2, 3, 64, 64], "contents": {"fp32_contents": [0.5] * 12288}}]),
        "shape [-1]": request(inputs=[{**named, "shape": [-1]}]),
        "0 inputs": request(inputs=[]),
        "input \"images\" is in shared memory": request(inputs=[{**named, "parameters": memory}]),
        "output \"output0\" is in shared memory": request(outputs=[{"name": OUTPUT, "parameters": memory}]),
        "not a whole number": request(outputs=[{"name": OUTPUT, "parameters": {"classification": {"int64_param": -1}}}]),
    }
    for words, wrong in cases.items():
        told = refusal(stub.ModelInfer, wrong)
        assert told.code() == grpc.StatusCode.INVALID_ARGUMENT and words in told.details(), (words, told.details())
    told = refusal(lambda timeout: next(stub.ModelStreamInfer(iter([request()]), timeout=timeout)))
    assert told.code() == grpc.StatusCode.UNIMPLEMENTED
    told = refusal(channel.unary_unary("/nothing.Here/AtAll"), b"")
    assert told.code() == grpc.StatusCode.UNIMPLEMENTED
    told = refusal(channel.unary_unary(f"/{INFERENCE}/ModelInfer"), b"\xff\xff\xff")
    assert told.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)


def test_calls_are_counted_and_credited(start: Any) -> None:
    service = start()
    with grpc.insecure_channel(service.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        answer, call = stub.ModelInfer.with_call(request(), timeout=30)
        metadata = dict(call.initial_metadata())
        assert metadata["x-served-by"] == "test"
        assert answer.parameters["request_ids"].string_param == metadata["x-request-id"]
        refusal(stub.ModelInfer, request(model_name="nope"))
        refusal(channel.unary_unary("/nothing.Here/AtAll"), b"")
    series = 'relance_grpc_requests_total{{method="{}",code="{}"}}'
    assert service.metric(series.format(f"{INFERENCE}/ModelInfer", "OK")) == 1
    assert service.metric(series.format(f"{INFERENCE}/ModelInfer", "NOT_FOUND")) == 1
    assert service.metric(series.format("other", "UNIMPLEMENTED")) == 1
    assert service.metric(f'relance_grpc_request_seconds_count{{method="{INFERENCE}/ModelInfer"}}') == 2
    assert service.metric("relance_http_requests_in_flight") == 0


def test_overload_is_unavailable_and_says_when_to_try_again(start: Any) -> None:
    service = start(MAX_QUEUE_MS="1", WORKERS="1")
    with grpc.insecure_channel(service.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        files = [picture("jpeg-640x480.jpg") + bytes([n]) for n in range(32)]
        tensor = {"name": INPUT, "datatype": "BYTES", "shape": [32], "contents": {"bytes_contents": files}}
        told = refusal(stub.ModelInfer, request(inputs=[tensor]))
        assert told.code() == grpc.StatusCode.UNAVAILABLE and "workers are busy" in told.details()
        assert int(dict(told.trailing_metadata())["retry-after"]) >= 1


def test_it_listens_only_where_it_is_told(start: Any) -> None:
    service = start()
    assert service.grpc.startswith("127.0.0.1:")
    assert service.grpc != service.rest
