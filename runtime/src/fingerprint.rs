//! What this binary says of itself in the handshake: its algorithms, types, version and build.

use std::fs;

use object::Object;
use ringmw_codec::handshake::{AlgorithmSignature, Fingerprint};

use crate::algorithm::Registry;

/// Numbers the archive format (rkyv's version and features, layout of bodies and segments).
const FORMAT: u32 = 1;

/// The fingerprint of an application.
pub(crate) fn of(registry: &Registry, app_version: &str) -> Fingerprint {
    let mut algorithms: Vec<_> = registry
        .iter()
        .map(|entry| {
            let signature = entry.signature();
            AlgorithmSignature {
                name: signature.name.to_owned(),
                arguments: signature.arguments,
                result: signature.result,
                types: signature.types,
            }
        })
        .collect();
    algorithms.sort_by(|a, b| a.name.cmp(&b.name));
    Fingerprint { app_version: app_version.to_owned(), build: build(), format: FORMAT, algorithms }
}

/// The build: the ELF build id where the linker made one, else the checksum of the executable.
pub(crate) fn build() -> String {
    static BUILD: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    BUILD.get_or_init(read_build).clone()
}

fn read_build() -> String {
    // The very file that runs, even if another was put in its place since.
    let Ok(bytes) = fs::read("/proc/self/exe") else { return "unknown".to_owned() };
    let id = object::File::parse(&*bytes).ok().and_then(|file| file.build_id().ok().flatten().map(<[u8]>::to_vec));
    match id {
        Some(id) => id.iter().map(|byte| format!("{byte:02x}")).collect(),
        None => format!("crc-{:08x}-{}", ringmw_codec::frame::checksum(&bytes), bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_binary_has_a_build() {
        assert!(build().len() >= 16, "{}", build());
        assert_eq!(build(), build());
    }
}
