//! Compiles the protos without protoc, and their JSON mapping.

use std::path::PathBuf;

use prost::Message;

const PROTOS: [&str; 7] = [
    "amends/v1/saga.proto",
    "amends/v1/definition.proto",
    "amends/v1/cluster.proto",
    "amends/v1/dead_letter.proto",
    "amends/v1/participant.proto",
    "amends/v1/peer.proto",
    "orders/v1/order.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for proto in PROTOS {
        println!("cargo:rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["."])?;
    let encoded = descriptors.encode_to_vec();
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin"), &encoded)?;
    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf.Timestamp", "crate::Timestamp")
        .extern_path(".google.protobuf.Duration", "crate::Duration")
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new().register_descriptors(&encoded)?.build(&[".amends.v1", ".orders.v1"])?;
    Ok(())
}
