//! What an ELF file says of itself: for which machines it is, and which libraries it needs.

use std::fs::File;
use std::path::Path;

use object::read::elf::{ElfFile, FileHeader, ProgramHeader};
use object::{Architecture, Endianness, Object, ReadCache, ReadRef, elf};

/// The head of an executable or a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    /// As `uname -m` names the machines that it is for; none of those that are not known here.
    pub(crate) machine: Option<&'static str>,
    /// What the loader compares before it takes a library.
    pub(super) kind: Kind,
    /// The loader; a static program has none.
    pub(super) interpreter: Option<String>,
    /// Names of libraries, in this order.
    pub(super) needed: Vec<String>,
    /// Folders apart by colons, searched before `LD_LIBRARY_PATH`, for what these libraries need too.
    pub(super) rpath: Option<String>,
    /// Folders apart by colons, searched after it, for its own needs only.
    pub(super) runpath: Option<String>,
}

/// Two files of one kind may be in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    architecture: Architecture,
    is_64: bool,
    endianness: Endianness,
}

impl Elf {
    /// The file's head; none if it is no ELF file, like a script.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, String> {
        let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(|error| fault(&error))?;
        // Only what is asked for is read, not a gigabyte of debug information.
        let data = ReadCache::new(file);
        let mark = (&data).read_bytes_at(0, 4);
        if mark != Ok(&elf::ELFMAG) {
            return Ok(None);
        }
        let read = match object::File::parse(&data) {
            Ok(object::File::Elf32(file)) => Self::of(&file),
            Ok(object::File::Elf64(file)) => Self::of(&file),
            Ok(_) => return Ok(None),
            Err(error) => Err(error),
        };
        read.map(Some).map_err(|error| fault(&error))
    }

    fn of<'data, Header, Data>(file: &ElfFile<'data, Header, Data>) -> object::Result<Self>
    where
        Header: FileHeader<Endian = Endianness>,
        Data: ReadRef<'data>,
    {
        let kind = Kind {
            architecture: file.architecture(),
            is_64: file.is_64(),
            endianness: file.endianness(),
        };
        let mut found = Self {
            machine: machine(kind),
            kind,
            interpreter: None,
            needed: Vec::new(),
            rpath: None,
            runpath: None,
        };
        for segment in file.elf_program_headers() {
            if let Some(path) = segment.interpreter(file.endian(), file.data())? {
                found.interpreter = Some(text(path));
            }
        }
        let dynamic = file.elf_dynamic_table()?;
        for entry in &dynamic {
            match entry.tag {
                elf::DT_NEEDED => found.needed.push(text(dynamic.string(entry)?)),
                elf::DT_RPATH => found.rpath = Some(text(dynamic.string(entry)?)),
                elf::DT_RUNPATH => found.runpath = Some(text(dynamic.string(entry)?)),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn machine(kind: Kind) -> Option<&'static str> {
    match (kind.architecture, kind.endianness) {
        (Architecture::X86_64, Endianness::Little) => Some("x86_64"),
        (Architecture::Aarch64, Endianness::Little) => Some("aarch64"),
        (Architecture::PowerPc64, Endianness::Little) => Some("ppc64le"),
        (Architecture::PowerPc64, Endianness::Big) => Some("ppc64"),
        (Architecture::Riscv64, Endianness::Little) => Some("riscv64"),
        (Architecture::S390x, Endianness::Big) => Some("s390x"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_for_this_machine() {
        let own = std::env::current_exe().expect("it is known");
        let elf = Elf::read(&own).expect("it can be read").expect("it is one");
        let machine = rustix::system::uname()
            .machine()
            .to_string_lossy()
            .into_owned();
        assert_eq!(elf.machine, Some(machine.as_str()));
        assert!(elf.interpreter.is_some());
        assert!(elf.needed.iter().any(|name| name.starts_with("libc.so")));
    }

    #[test]
    fn a_script_is_none_and_a_torn_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app");
        for text in ["#!/bin/sh\n", "", "\x7fEL"] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(Elf::read(&path), Ok(None), "{text:?}");
        }
        let own = std::fs::read("/proc/self/exe").expect("it can be read");
        for bytes in [4, 20, 64, 1000] {
            std::fs::write(&path, &own[..bytes]).expect("written");
            let error = Elf::read(&path).expect_err("it is cut");
            assert!(error.contains("app: "), "{error}");
        }
    }
}
