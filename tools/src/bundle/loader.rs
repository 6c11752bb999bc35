//! Where the dynamic loader finds a program's libraries, found without running anything of the program's (`ldd` runs its
//! loader, whichever that is).
//!
//! The order is that of ld.so(8): the program's RPATH, `LD_LIBRARY_PATH`, its RUNPATH, the folders of /etc/ld.so.conf,
//! the system's own. Its cache is not read: it holds what lies in these folders.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::elf::Elf;

/// Folders that every loader looks into, behind those of its configuration.
const DEFAULT_FOLDERS: &[&str] = &["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"];
/// What `$LIB` stands for is the distribution's choice; the machine's own folder is tried too.
const LIB_FOLDERS: &[&str] = &["lib64", "lib"];
/// Files that include one another stop here.
const INCLUDES_MAX: usize = 8;

/// Where a loader looks beside what the program says.
pub(super) struct Surroundings {
    /// The folders of `LD_LIBRARY_PATH`.
    pub(super) told: Vec<PathBuf>,
    /// Those of the system's configuration.
    pub(super) configured: Vec<PathBuf>,
}

impl Surroundings {
    /// This process's and this machine's.
    pub(super) fn own() -> Self {
        let told = std::env::var_os("LD_LIBRARY_PATH").filter(|folders| !folders.is_empty());
        Self {
            told: told.as_deref().map(folders_of).unwrap_or_default(),
            configured: configured(Path::new("/etc/ld.so.conf"), INCLUDES_MAX),
        }
    }
}

/// The libraries that a program needs, and those that they need, in the order in which they are loaded; the first name
/// that is found nowhere is the error.
pub(super) fn libraries(
    program: &Path,
    head: &Elf,
    surroundings: &Surroundings,
) -> Result<Vec<PathBuf>, String> {
    let loader = head.interpreter.as_deref().map(Path::new);
    let loader = loader.and_then(Path::file_name).unwrap_or_default();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut waiting = VecDeque::from([(program.to_owned(), head.clone(), Vec::new())]);
    while let Some((path, elf, inherited)) = waiting.pop_front() {
        // A RUNPATH hides every RPATH, its users' too.
        let own = |folders: &Option<String>| {
            let folders = folders.as_deref().unwrap_or_default();
            expanded(folders, &path, elf.machine)
        };
        let rpath: Vec<PathBuf> = match elf.runpath {
            Some(_) => Vec::new(),
            None => own(&elf.rpath).into_iter().chain(inherited).collect(),
        };
        let folders: Vec<PathBuf> = rpath
            .iter()
            .cloned()
            .chain(surroundings.told.iter().cloned())
            .chain(own(&elf.runpath))
            .chain(surroundings.configured.iter().cloned())
            .chain(defaults(elf.machine))
            .collect();
        for name in &elf.needed {
            if OsStr::new(name) == loader || !seen.insert(name.clone()) {
                continue;
            }
            let candidates: Vec<PathBuf> = match name.contains('/') {
                true => vec![PathBuf::from(name)],
                false => folders.iter().map(|folder| folder.join(name)).collect(),
            };
            // One of another architecture is passed over, as the loader does.
            let library = candidates.into_iter().find_map(|path| {
                let library = Elf::read(&path).ok()??;
                (library.kind == head.kind).then_some((path, library))
            });
            let Some((path, library)) = library else {
                return Err(format!(
                    "it needs {name}, which is not found here either: set LD_LIBRARY_PATH to its folder"
                ));
            };
            let path = std::path::absolute(&path).unwrap_or(path);
            found.push(path.clone());
            waiting.push_back((path, library, rpath.clone()));
        }
    }
    Ok(found)
}

/// Folders apart by colons; an empty one is the working folder.
fn folders_of(text: &OsStr) -> Vec<PathBuf> {
    let here = |folder: PathBuf| match folder.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => folder,
    };
    std::env::split_paths(text).map(here).collect()
}

/// With `$ORIGIN`, the folder of the file that says so, and `$LIB`.
fn expanded(folders: &str, of: &Path, machine: Option<&str>) -> Vec<PathBuf> {
    if folders.is_empty() {
        return Vec::new();
    }
    let of = fs::canonicalize(of).unwrap_or_else(|_| of.to_owned());
    let origin = of
        .parent()
        .unwrap_or(Path::new("/"))
        .to_string_lossy()
        .into_owned();
    let replaced = |text: &str, name: &str, value: &str| {
        text.replace(&format!("${{{name}}}"), value)
            .replace(&format!("${name}"), value)
    };
    let libs: Vec<String> = LIB_FOLDERS
        .iter()
        .map(|&folder| folder.to_owned())
        .chain(machine.map(|machine| format!("lib/{machine}-linux-gnu")))
        .collect();
    let mut found = Vec::new();
    for folder in folders_of(OsStr::new(folders)) {
        let folder = replaced(&folder.to_string_lossy(), "ORIGIN", &origin);
        let each = libs.iter().map(|lib| replaced(&folder, "LIB", lib).into());
        match folder.contains("$LIB") || folder.contains("${LIB}") {
            true => found.extend(each),
            false => found.push(folder.into()),
        }
    }
    found
}

fn defaults(machine: Option<&str>) -> impl Iterator<Item = PathBuf> {
    let own = machine.into_iter().flat_map(|machine| {
        ["/lib", "/usr/lib"].map(|folder| format!("{folder}/{machine}-linux-gnu").into())
    });
    let own: Vec<PathBuf> = own.collect();
    own.into_iter()
        .chain(DEFAULT_FOLDERS.iter().map(PathBuf::from))
}

/// The folders of an `ld.so.conf`: one a line, `#` comments, `include PATTERN`.
fn configured(file: &Path, includes: usize) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    // Without one the loader has its defaults.
    let text = fs::read_to_string(file).unwrap_or_default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(pattern) = line.strip_prefix("include").map(str::trim_start) else {
            folders.extend(line.starts_with('/').then(|| PathBuf::from(line)));
            continue;
        };
        if includes > 0 {
            let pattern = file.with_file_name("").join(pattern);
            for file in matching(&pattern) {
                folders.extend(configured(&file, includes - 1));
            }
        }
    }
    folders
}

/// The files of a pattern with one `*` in the name, in order of their names.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let Some((start, end)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let entries = pattern
        .parent()
        .and_then(|folder| fs::read_dir(folder).ok());
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The loader itself is asked: `libx.so.2 => /opt/lib/libx.so.2 (0x…)`.
    fn by_ldd(program: &Path) -> BTreeSet<PathBuf> {
        let output = Command::new("ldd").arg(program).output();
        let output = output.expect("ldd is there with the C library");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let path = |line: &str| {
            let path = line.split_once(" => ")?.1.rsplit_once(" (0x")?.0;
            Some(fs::canonicalize(path).expect("it is there"))
        };
        text.lines().filter_map(path).collect()
    }

    #[test]
    fn the_loader_finds_the_same() {
        for program in [
            std::env::current_exe().expect("it is known"),
            "/bin/sh".into(),
            "/usr/bin/env".into(),
        ] {
            let head = Elf::read(&program).expect("read").expect("a program");
            let found = libraries(&program, &head, &Surroundings::own()).expect("all are here");
            let found: BTreeSet<PathBuf> = found
                .iter()
                .map(|path| fs::canonicalize(path).expect("it is there"))
                .collect();
            assert_eq!(found, by_ldd(&program), "{}", program.display());
            assert!(!found.is_empty());
        }
    }

    #[test]
    fn a_configuration_names_folders_and_other_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let put =
            |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        fs::create_dir(folder.path().join("conf.d")).expect("a folder");
        put(
            "ld.so.conf",
            "# all\ninclude conf.d/*.conf\n/opt/last   # trailing\nhwcap 1 nosegneg\n",
        );
        put("conf.d/b.conf", "/opt/b\n\n/opt/so lver\n");
        put("conf.d/a.conf", "/opt/a\n");
        put("conf.d/other.txt", "/opt/other\n");
        let found = configured(&folder.path().join("ld.so.conf"), INCLUDES_MAX);
        let expected = ["/opt/a", "/opt/b", "/opt/so lver", "/opt/last"].map(PathBuf::from);
        assert_eq!(found, expected);
        // One that includes itself ends.
        put("ld.so.conf", "include ld.so.conf\n/opt/x\n");
        assert_eq!(
            configured(&folder.path().join("ld.so.conf"), 2),
            vec![PathBuf::from("/opt/x"); 3]
        );
        assert_eq!(
            configured(Path::new("/none/ld.so.conf"), 1),
            Vec::<PathBuf>::new()
        );
    }

    #[test]
    fn words_in_a_programs_folders_are_replaced() {
        let of = Path::new("/none/bin/app");
        assert_eq!(
            expanded("$ORIGIN/../lib:${ORIGIN}:/opt/x", of, None),
            ["/none/bin/../lib", "/none/bin", "/opt/x"].map(PathBuf::from)
        );
        assert_eq!(
            expanded("/opt/$LIB", of, Some("x86_64")),
            ["/opt/lib64", "/opt/lib", "/opt/lib/x86_64-linux-gnu"].map(PathBuf::from)
        );
        assert!(expanded("", of, None).is_empty());
    }
}
