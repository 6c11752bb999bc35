//! The user's own arguments: those that are not the library's `--mw-*`.

use std::fmt::Display;
use std::str::FromStr;

/// The user's arguments in order, without the program's name and without `--mw-*` flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(Vec<String>);

/// An argument that cannot be used; it names the flag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {what}")]
pub struct ArgsError {
    flag: String,
    what: String,
}

/// How [`Args::parse`] leaves a master or slave algorithm after it has printed clap's message.
pub(crate) struct ExitRequest(pub(crate) u8);

impl Args {
    pub(crate) fn new(args: Vec<String>) -> Self {
        Args(args)
    }

    /// The value of `--flag VALUE` or `--flag=VALUE`, the last one if there are several, else
    /// `default`.
    ///
    /// ```
    /// # use ringmw::prelude::*;
    /// let args = Args::from(["--sets=40".to_owned()]);
    /// assert_eq!(args.value("--sets", 7u64)?, 40);
    /// assert_eq!(args.value("--eps", 0.5)?, 0.5);
    /// # Ok::<(), ArgsError>(())
    /// ```
    ///
    /// # Errors
    /// When the value is missing or cannot be read.
    pub fn value<T>(&self, flag: &str, default: T) -> Result<T, ArgsError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let error = |what: String| ArgsError {
            flag: flag.to_owned(),
            what,
        };
        let mut found = None;
        let mut rest = self.0.iter();
        while let Some(arg) = rest.next() {
            if arg == flag {
                found = Some(
                    rest.next()
                        .ok_or_else(|| error("needs a value".to_owned()))?
                        .as_str(),
                );
            } else if let Some(value) = arg
                .strip_prefix(flag)
                .and_then(|rest| rest.strip_prefix('='))
            {
                found = Some(value);
            }
        }
        match found {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|cause| error(format!("`{text}`: {cause}"))),
        }
    }

    /// Whether this very argument is there.
    pub fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|arg| arg == flag)
    }

    /// Parses them with a clap parser. Where clap has a message (help, a usage error), it is printed,
    /// the algorithm ends, and the process leaves with clap's code: 0 for help, else 2.
    pub fn parse<T: clap::Parser>(&self) -> T {
        let name = std::env::args().next().unwrap_or_default();
        match T::try_parse_from(std::iter::once(name).chain(self.0.iter().cloned())) {
            Ok(parsed) => parsed,
            Err(message) => {
                let _ = message.print();
                let code =
                    u8::try_from(message.exit_code()).unwrap_or(ringmw_codec::flags::exit::USAGE);
                std::panic::resume_unwind(Box::new(ExitRequest(code)))
            }
        }
    }
}

impl std::ops::Deref for Args {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl<const N: usize> From<[String; N]> for Args {
    fn from(args: [String; N]) -> Self {
        Args(args.into())
    }
}

/// Those of a slave ([`Cx::args`](crate::Cx::args)) are read by their flags so.
impl From<&[String]> for Args {
    fn from(args: &[String]) -> Self {
        Args(args.to_vec())
    }
}

impl IntoIterator for Args {
    type Item = String;
    type IntoIter = std::vec::IntoIter<String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_both_forms_and_the_last_one_counts() {
        let args = Args(
            ["--n", "3", "x", "--n=5", "--nn", "9"]
                .map(String::from)
                .into(),
        );
        assert_eq!(args.value("--n", 0u32), Ok(5));
        assert_eq!(args.value("--m", 7u32), Ok(7));
        assert!(args.has("x") && !args.has("y"));
    }

    #[test]
    fn a_bad_value_names_its_flag() {
        let args = Args(["--n", "three"].map(String::from).into());
        let error = args.value("--n", 0u32).unwrap_err().to_string();
        assert!(error.starts_with("--n: `three`:"), "{error}");
        let args = Args(["--n"].map(String::from).into());
        assert_eq!(
            args.value("--n", 0u32).unwrap_err().to_string(),
            "--n: needs a value"
        );
    }
}
