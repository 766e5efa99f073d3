//! Compiles the .proto files without a system protoc.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for file in std::fs::read_dir(root.join("cofre/v1"))? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            println!("cargo:rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    println!("cargo:rerun-if-changed=cofre/v1");
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("cofre_descriptors.bin"), encoded(&descriptors))?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

fn encoded(descriptors: &impl prost::Message) -> Vec<u8> {
    descriptors.encode_to_vec()
}
