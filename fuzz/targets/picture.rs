//! Pictures: format, header, pixels, in each way of decoding.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use relance::image::{InputSize, Preparer};
use relance::settings::{JpegScaling, PictureSettings};

const INPUT: InputSize = InputSize {
    width: 224,
    height: 224,
};
const WAYS: [JpegScaling; 3] = [JpegScaling::Exact, JpegScaling::Fast, JpegScaling::Fastest];

thread_local! {
    static PREPARERS: RefCell<[Preparer; 3]> = RefCell::new(WAYS.map(|jpeg_scaling| {
        Preparer::new(PictureSettings { max_pixels: 50_000_000, jpeg_scaling })
    }));
}

fuzz_target!(|data: &[u8]| {
    PREPARERS.with_borrow_mut(|preparers| {
        let mut out = vec![f32::NAN; 3 * 224 * 224];
        // The length chooses, so that each input takes the time of one way.
        let preparer = &mut preparers[data.len() % WAYS.len()];
        match preparer.prepare(data, INPUT, &mut out) {
            Ok(_) => assert!(out.iter().all(|value| (0.0..=1.0).contains(value))),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
});
