"""KServe's own Python client, over REST and over gRPC, gets what `POST /predict` gives."""

from __future__ import annotations

import asyncio
import base64

import grpc
import numpy as np
import pytest
from instance import BASIC, INPUT, MODEL, OUTPUT, PICTURES, Instance, objects, picture, pixels
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

REST = RESTConfig(protocol="v2", verify=False, timeout=30)


def pictures_input(files: list[bytes]) -> InferInput:
    tensor = InferInput(INPUT, [len(files)], "BYTES")
    tensor.set_data_from_numpy(objects(files), binary_data=True)
    return tensor


def tensor_input(tensors: np.ndarray, binary: bool) -> InferInput:
    tensor = InferInput(INPUT, list(tensors.shape), "FP32")
    tensor.set_data_from_numpy(tensors, binary_data=binary)
    return tensor


def requests() -> tuple[list[InferRequest], list[list[bytes]]]:
    """The same pictures in each form that the client knows, and the files that they are."""
    files = [picture(name) for name in PICTURES]
    own, tensors = zip(*(pixels(seed) for seed in range(3)))
    text = InferInput(INPUT, [2], "BYTES", data=[base64.b64encode(file).decode() for file in files[:2]])
    inputs = [pictures_input(files), tensor_input(np.stack(tensors), True), tensor_input(np.stack(tensors), False), text]
    return [InferRequest(MODEL, [sent], request_id="a name") for sent in inputs], [files, list(own), list(own), files[:2]]


def test_rest(service: Instance) -> None:
    async def ask() -> None:
        client = InferenceRESTClient(REST)
        assert await client.is_server_live(service.url) is True
        assert await client.is_server_ready(service.url) is True
        assert await client.is_model_ready(service.url, MODEL) is True
        for request, files in zip(*requests()):
            answer = await client.infer(service.url, request, model_name=MODEL)
            output = answer.get_output_by_name(OUTPUT)
            expected = np.stack([service.predict(file) for file in files])
            assert answer.id == "a name"
            assert np.array_equal(np.array(output.data, np.float32).reshape(output.shape), expected)
        with pytest.raises(Exception, match="there is no model"):
            await client.infer(service.url, request, model_name="nope")

    asyncio.run(ask())


def test_grpc(service: Instance) -> None:
    async def ask() -> None:
        client = InferenceGRPCClient(service.grpc)
        assert await client.is_server_live() is True
        assert await client.is_server_ready() is True
        assert await client.is_model_ready(MODEL) is True
        # gRPC carries bytes, and a text is not taken for base64.
        for request, files in list(zip(*requests()))[:3]:
            answer = await client.infer(request)
            expected = np.stack([service.predict(file) for file in files])
            assert np.array_equal(answer.get_output_by_name(OUTPUT).as_numpy(), expected)
        with pytest.raises(grpc.RpcError) as refused:
            await client.is_model_ready("nope")
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND

    asyncio.run(ask())


def test_credentials(guarded: Instance) -> None:
    async def ask() -> None:
        rest, rpc = InferenceRESTClient(REST), InferenceGRPCClient(guarded.grpc)
        request = InferRequest(MODEL, [pictures_input([picture("jpeg-1x1.jpg")])])
        with pytest.raises(Exception, match="no or wrong credentials"):
            await rest.infer(guarded.url, request, model_name=MODEL)
        assert (await rest.infer(guarded.url, request, model_name=MODEL, headers={"authorization": BASIC})).outputs
        with pytest.raises(grpc.RpcError) as refused:
            await rpc.infer(request)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert (await rpc.infer(request, headers=(("authorization", BASIC),))).outputs

    asyncio.run(ask())
