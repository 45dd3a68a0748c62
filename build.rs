//! Makes code of the gRPC protocol, with a compiler in Rust so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

const PROTO: &str = "src/grpc/inference.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    let out: PathBuf = std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?.into();
    let mut compiler = protox::Compiler::new(["src/grpc"])?;
    compiler.include_source_info(true).open_file(PROTO)?;
    // For server reflection.
    std::fs::write(
        out.join("inference.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .build_client(false)
        // Pictures are parts of the message that was received, not copies.
        .bytes(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
