//! Inference requests of gRPC.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use relance_fuzz::house::House;
use relance_fuzz::inputs;

static HOUSE: LazyLock<House> = LazyLock::new(|| House::open(relance_fuzz::root()));

fuzz_target!(|data: &[u8]| HOUSE.call(inputs::inference_grpc(data)));
