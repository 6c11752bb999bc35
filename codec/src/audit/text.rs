//! Words, values and quotes of a line; reading never allocates for a value without quotes.

use std::borrow::Cow;
use std::str::FromStr;

use super::AuditError;

/// Appends a decimal number.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Reads a decimal number as [`put_number`] writes it: no sign, no leading zero.
pub(super) fn parse_number<T: FromStr>(text: &str) -> Option<T> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    canonical.then(|| text.parse().ok())?
}

/// Appends a value, in quotes if it needs them.
pub(super) fn put_value(out: &mut Vec<u8>, text: &str) {
    if !needs_quotes(text) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for char in text.chars() {
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            char if must_escape(char) => {
                out.extend_from_slice(char.escape_unicode().to_string().as_bytes())
            }
            char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

fn needs_quotes(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    if !text.is_empty() && text.bytes().all(plain) {
        return false;
    }
    text.is_empty()
        || text.contains(|char: char| {
            char.is_whitespace() || must_escape(char) || matches!(char, '"' | '=' | '\\')
        })
}

/// Control characters, and the two that some programs take for a line's end.
fn must_escape(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}

/// A part of the line and where it begins, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// What is still unread of a line.
pub(super) struct Facts<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Facts<'a> {
    pub(super) const fn new(line: &'a str) -> Self {
        Self { line, at: 0 }
    }

    pub(super) fn error(&self, at: usize, what: String) -> AuditError {
        let column = self
            .line
            .get(..at)
            .map_or(0, |before| before.chars().count())
            + 1;
        AuditError {
            column,
            what,
            is_of_later: false,
        }
    }

    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    /// The next word before the facts.
    pub(super) fn word(&mut self, what: &str) -> Result<Word<'a>, AuditError> {
        if self.at > 0 {
            self.space(what)?;
        }
        let text = self.rest().split(' ').next().unwrap_or_default();
        if text.is_empty() {
            return Err(self.error(self.at, format!("{what} is missing")));
        }
        let word = Word { text, at: self.at };
        self.at += text.len();
        Ok(word)
    }

    fn space(&mut self, what: &str) -> Result<(), AuditError> {
        if !self.rest().starts_with(' ') {
            let at_end = if self.rest().is_empty() {
                "the line ends"
            } else {
                "no space"
            };
            return Err(self.error(self.at, format!("{at_end} before {what}")));
        }
        self.at += 1;
        Ok(())
    }

    /// Whether the next fact begins with ` key=`.
    pub(super) fn is_next(&self, key: &str) -> bool {
        self.rest().starts_with(key)
    }

    /// The value of the next fact, which must begin with ` key=`, and where it begins.
    pub(super) fn value(&mut self, key: &str) -> Result<(Cow<'a, str>, usize), AuditError> {
        if !self.is_next(key) {
            let at = self.at + usize::from(self.rest().starts_with(' '));
            return Err(self.error(at, format!("{}.. expected", key.trim_start())));
        }
        self.at += key.len();
        let at = self.at;
        let value = if self.rest().starts_with('"') {
            self.quoted()?.into()
        } else {
            self.bare()?.into()
        };
        Ok((value, at))
    }

    fn bare(&mut self) -> Result<&'a str, AuditError> {
        let text = self.rest().split(' ').next().unwrap_or_default();
        if needs_quotes(text) {
            return Err(self.error(self.at, format!("the value {text:?} must stand in quotes")));
        }
        self.at += text.len();
        Ok(text)
    }

    fn quoted(&mut self) -> Result<String, AuditError> {
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        loop {
            let Some(char) = self.rest().chars().next() else {
                return Err(self.error(start, "a quote without its end".to_owned()));
            };
            self.at += char.len_utf8();
            match char {
                '"' => return Ok(value),
                '\\' => value.push(self.escape()?),
                char if must_escape(char) => {
                    return Err(self.error(
                        self.at - char.len_utf8(),
                        format!("{char:?} must be escaped"),
                    ));
                }
                char => value.push(char),
            }
        }
    }

    /// The character that an escape stands for, its backslash already read.
    fn escape(&mut self) -> Result<char, AuditError> {
        let at = self.at - 1;
        let rest = self.rest();
        let simple = match rest.chars().next() {
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some(char @ ('"' | '\\')) => Some(char),
            _ => None,
        };
        if let Some(char) = simple {
            self.at += 1;
            return Ok(char);
        }
        let digits = rest
            .strip_prefix("u{")
            .and_then(|rest| rest.split_once('}'))
            .map(|(digits, _)| digits);
        let number = digits.filter(|digits| {
            (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        let char = number.and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?));
        let (Some(char), Some(digits)) = (char, digits) else {
            return Err(self.error(
                at,
                "an escape other than \\\" \\\\ \\n \\r \\t \\u{..}".to_owned(),
            ));
        };
        self.at += "u{}".len() + digits.len();
        Ok(char)
    }

    /// Whether all that follows is ` key=value`, whatever the keys; it is passed over then.
    pub(super) fn are_sound(&mut self) -> bool {
        let at = self.at;
        while let Some(rest) = self.rest().strip_prefix(' ') {
            let key = rest.split(['=', ' ']).next().unwrap_or_default();
            let letter =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            let whole = format!(" {key}=");
            if key.is_empty() || !key.bytes().all(letter) || self.value(&whole).is_err() {
                self.at = at;
                return false;
            }
        }
        let are_sound = self.rest().is_empty();
        if !are_sound {
            self.at = at;
        }
        are_sound
    }

    /// Nothing may follow the last fact.
    pub(super) fn end(&self) -> Result<(), AuditError> {
        match self.rest() {
            "" => Ok(()),
            rest => {
                let at = self.at + usize::from(rest.starts_with(' '));
                Err(self.error(
                    at,
                    format!("{:?} is no fact of this event", rest.trim_start()),
                ))
            }
        }
    }
}
