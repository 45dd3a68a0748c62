//! Inference requests with binary tensors.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use relance_fuzz::house::House;
use relance_fuzz::inputs;

static HOUSE: LazyLock<House> = LazyLock::new(|| House::open(relance_fuzz::root()));

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(request) = inputs::inference_binary(data) else {
        return Corpus::Reject;
    };
    HOUSE.post(request);
    Corpus::Keep
});
