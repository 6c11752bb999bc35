//! `ringmw bundle`: an application's binary with the shared libraries it needs, or the word that it needs none.

pub(crate) mod elf;
mod loader;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use ringmw_codec::resource::is_systems_library;

use elf::Elf;
use loader::Surroundings;

use crate::say::{self, count};

const COMMAND: &str = "ringmw bundle";
/// The list of the libraries, beside the binary.
const LIST: &str = "libraries.txt";

/// What `ringmw bundle` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The application
    binary: PathBuf,
    /// The folder to put it in
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Take the system's libraries along too, but for the C library and its loader
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match bundle(options) {
        Ok(told) => say::report(COMMAND, &told, ExitCode::SUCCESS),
        Err(error) => {
            say::complain(COMMAND, &error);
            ExitCode::FAILURE
        }
    }
}

fn bundle(options: &Options) -> Result<String, String> {
    let binary = binary(&options.binary)?;
    let output = &options.output;
    let name = binary.file_name().unwrap_or_default();
    let needed = needed(&binary)?;
    let fault = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(output).map_err(|error| fault(output, error))?;
    let copy = |from: &Path, name: &std::ffi::OsStr| {
        let to = output.join(name);
        fs::copy(from, &to)
            .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
    };
    copy(&binary, name)?;
    let app = output.join(name);
    let (app, list) = (app.display(), output.join(LIST));
    let Some(libraries) = needed else {
        fs::write(&list, "").map_err(|error| fault(&list, error))?;
        return Ok(format!(
            "{app} is static: one file that runs on any node of its architecture\n"
        ));
    };
    let travels = |path: &&PathBuf| !is_systems_library(path) || (options.all && !is_libc(path));
    let taken: Vec<&PathBuf> = libraries.iter().filter(travels).collect();
    let mut listed = String::new();
    for library in &taken {
        let name = library.file_name().unwrap_or_default();
        copy(library, name)?;
        listed.push_str(&name.to_string_lossy());
        listed.push('\n');
    }
    fs::write(&list, listed).map_err(|error| fault(&list, error))?;
    let systems: Vec<&PathBuf> = libraries
        .iter()
        .filter(|path| !taken.contains(path))
        .collect();
    let mut told = format!(
        "{app} with {} of its own\n",
        count(taken.len(), "shared library", "shared libraries")
    );
    for library in &taken {
        told.push_str(&format!("  {}\n", library.display()));
    }
    if !taken.is_empty() {
        told.push_str(&format!(
            "start it with LD_LIBRARY_PATH={} (ringmw submit does)\n",
            output.display()
        ));
    }
    told.push_str(&format!(
        "it expects {} of the node's system\n",
        systems.len()
    ));
    for library in &systems {
        told.push_str(&format!("  {}\n", library.display()));
    }
    Ok(told)
}

/// The application's full path, if it can be run.
pub(crate) fn binary(path: &Path) -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    let fault = |error: io::Error| format!("{}: {error}", path.display());
    let binary = fs::canonicalize(path).map_err(fault)?;
    let data = fs::metadata(&binary).map_err(fault)?;
    if !data.is_file() || data.permissions().mode() & 0o111 == 0 {
        return Err(format!("{}: it is no executable file", path.display()));
    }
    Ok(binary)
}

/// The shared libraries of an application that are not the system's.
///
/// # Errors
/// When one of them is missing here, too.
pub(crate) fn libraries(binary: &Path) -> Result<Vec<PathBuf>, String> {
    let needed = needed(binary)?.unwrap_or_default();
    Ok(needed
        .into_iter()
        .filter(|path| !is_systems_library(path))
        .collect())
}

/// All that the loader finds for it; `None` if it is static.
fn needed(binary: &Path) -> Result<Option<Vec<PathBuf>>, String> {
    let Some(head) = Elf::read(binary)? else {
        // A script needs no library, as far as we can tell.
        return Ok(Some(Vec::new()));
    };
    if head.interpreter.is_none() && head.needed.is_empty() {
        return Ok(None);
    }
    loader::libraries(binary, &head, &Surroundings::own()).map(Some)
}

fn is_libc(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [
        "libc.so",
        "libm.so",
        "libdl.so",
        "libpthread.so",
        "librt.so",
        "libresolv.so",
        "ld-linux",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_libraries_are_told_from_others() {
        let paths = [
            "/opt/so lver/libsolve.so.2",
            "/lib/x86_64-linux-gnu/libc.so.6",
        ]
        .map(Path::new);
        assert!(!is_systems_library(paths[0]) && is_systems_library(paths[1]) && is_libc(paths[1]));
    }
}
