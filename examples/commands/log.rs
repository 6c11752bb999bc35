//! The job log, in GNU parallel's columns: what has ended, in the order of ending.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use ringmw::prelude::*;

use super::job::Ran;

const HEAD: &[u8] = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// Which of the commands that a log has.
#[derive(PartialEq)]
pub(super) enum Of {
    All,
    Succeeded,
}

/// The numbers of commands that a log has; none where there is no log. A last line that was not written whole is none.
pub(super) fn read(path: &Path, of: Of) -> Result<BTreeSet<u64>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let whole = lines.filter(|line| line.ends_with(b"\n") && *line != HEAD);
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.trim().parse::<i64>().ok();
    Ok(whole
        .filter_map(|line| {
            let fields: Vec<_> = line.splitn(9, |byte| *byte == b'\t').collect();
            let [seq, .., exit, signal, _command] = fields.as_slice() else {
                return None;
            };
            let ended = (number(exit)?, number(signal)?);
            let counts = of == Of::All || ended == (0, 0);
            u64::try_from(number(seq)?).ok().filter(|_| counts)
        })
        .collect())
}

pub(super) struct Log(File);

impl Log {
    /// Begins a log, or goes on with one behind its last whole line.
    pub(super) fn open(path: &Path, goes_on: bool) -> Result<Log> {
        let named = |error| format!("{}: {error}", path.display());
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(!goes_on);
        let mut file = options.open(path).map_err(named)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(named)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        file.set_len(whole as u64).map_err(named)?;
        file.seek(SeekFrom::End(0)).map_err(named)?;
        if whole == 0 {
            file.write_all(HEAD).map_err(named)?;
        }
        Ok(Log(file))
    }

    pub(super) fn write(&mut self, seq: u64, ran: &Ran, words: &[Vec<u8>]) -> Result {
        let Ran {
            host,
            start,
            seconds,
            exit,
            signal,
            ..
        } = ran;
        let received = ran.output_bytes();
        let mut line = format!(
            "{seq}\t{host}\t{start:10.3}\t{seconds:10.3}\t0\t{received}\t{exit}\t{signal}\t"
        )
        .into_bytes();
        line.extend(words.join(&b' '));
        line.push(b'\n');
        Ok(self.0.write_all(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_back_and_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(read(&path, Of::All).unwrap().is_empty());
        let ran = |exit| Ran {
            exit,
            host: "here".into(),
            ..Ran::default()
        };
        let mut log = Log::open(&path, false).unwrap();
        log.write(1, &ran(0), &[b"echo\ta".into()]).unwrap();
        log.write(3, &ran(2), &[b"false".into()]).unwrap();
        log.0.write_all(b"4\there\t0\t0\t0\t0\t0\t0\tcut").unwrap();
        assert_eq!(read(&path, Of::All).unwrap(), [1, 3].into());
        assert_eq!(read(&path, Of::Succeeded).unwrap(), [1].into());

        let mut log = Log::open(&path, true).unwrap();
        log.write(2, &ran(0), &[b"true".into()]).unwrap();
        assert_eq!(read(&path, Of::All).unwrap(), [1, 2, 3].into());
        Log::open(&path, false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), HEAD);
    }
}
