//! What this binary says of itself in the handshake: its algorithms, types, version and build.

use std::fs;

use object::{Object, ReadCache};
use ringmw_codec::handshake::{AlgorithmSignature, Fingerprint};

use crate::typed::registry::Registry;

/// Numbers the archive format (rkyv's version and features, layout of bodies and segments).
const FORMAT: u32 = 1;

/// The fingerprint of an application.
pub(crate) fn of(registry: &Registry, app_version: &str) -> Fingerprint {
    let mut algorithms: Vec<_> = registry
        .entries()
        .iter()
        .map(|entry| {
            let signature = (entry.signature)();
            AlgorithmSignature {
                name: entry.name.to_owned(),
                arguments: signature.arguments,
                result: signature.result,
                types: signature.types,
            }
        })
        .collect();
    algorithms.sort_by(|a, b| a.name.cmp(&b.name));
    Fingerprint {
        app_version: app_version.to_owned(),
        build: build(),
        format: FORMAT,
        algorithms,
    }
}

/// The build: the ELF build id where the linker made one, else the checksum of the executable.
pub(crate) fn build() -> String {
    static BUILD: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    BUILD.get_or_init(read_build).clone()
}

fn read_build() -> String {
    // The very file that runs, even if another was put in its place since.
    let Ok(file) = fs::File::open("/proc/self/exe") else {
        return "unknown".to_owned();
    };
    // Only the headers and the note are read, not the whole file.
    let cache = ReadCache::new(file);
    let id = object::File::parse(&cache)
        .ok()
        .and_then(|file| file.build_id().ok().flatten().map(<[u8]>::to_vec));
    match id {
        Some(id) => id.iter().map(|byte| format!("{byte:02x}")).collect(),
        None => match fs::read("/proc/self/exe") {
            Ok(bytes) => format!("crc-{:08x}-{}", crc_fast::crc32_iscsi(&bytes), bytes.len()),
            Err(_) => "unknown".to_owned(),
        },
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
