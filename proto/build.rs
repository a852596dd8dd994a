//! Compiles the `.proto` files with `protox`, a protobuf compiler in Rust: no `protoc` on the machine is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    prost_build::Config::new().compile_fds(protox::compile(["proto/sweep.proto"], ["proto"])?)?;
    tonic_prost_build::configure()
        .extern_path(".polybolos.sweep.v1", "crate::sweep")
        .compile_fds(protox::compile(["proto/cluster.proto"], ["proto"])?)?;
    Ok(())
}
