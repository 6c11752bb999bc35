//! A small, bounded reader of Lisp data: strings, keywords, whole numbers, lists, NIL, comments.
//!
//! Other symbols and numbers are read too, so that unknown forms can be passed over, but mean nothing. Deliberately
//! without `'`, `#` and packages: no program evaluates a resource file.

use super::{RESOURCE_FILE_BYTES_MAX, ResourceError};

/// Lists in lists; deeper ones are refused, since reading recurses.
const DEPTH_MAX: usize = 64;

/// A value and the line that it begins on.
#[derive(Debug)]
pub(super) struct Datum {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    /// In lower case, without its colon.
    Keyword(String),
    Number(u64),
    /// NIL is the empty list.
    List(Vec<Datum>),
    /// Any other symbol or number.
    Symbol(String),
}

impl Value {
    /// The value in an error message.
    pub(super) fn describe(&self) -> String {
        match self {
            // The text may be a secret.
            Value::Text(_) => "a string".to_owned(),
            Value::Keyword(word) => format!(":{word}"),
            Value::Number(number) => number.to_string(),
            Value::List(items) if items.is_empty() => "NIL".to_owned(),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Symbol(word) => format!("{word:?}"),
        }
    }
}

/// Reads data one after the other.
pub(super) struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, ResourceError> {
        if text.len() > RESOURCE_FILE_BYTES_MAX {
            let what = format!(
                "the file has {} bytes, at most {RESOURCE_FILE_BYTES_MAX} are read",
                text.len()
            );
            return Err(ResourceError { line: 1, what });
        }
        let text = std::str::from_utf8(text).map_err(|error| ResourceError {
            line: 1 + text[..error.valid_up_to()]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count(),
            what: "not UTF-8".to_owned(),
        })?;
        Ok(Self {
            rest: text.chars().peekable(),
            line: 1,
        })
    }

    pub(super) const fn line(&self) -> usize {
        self.line
    }

    /// The next datum, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Datum>, ResourceError> {
        self.skip_space();
        match self.rest.peek() {
            Some(_) => self.datum(0).map(Some),
            None => Ok(None),
        }
    }

    fn error<T>(&self, line: usize, what: &str) -> Result<T, ResourceError> {
        Err(ResourceError {
            line,
            what: what.to_owned(),
        })
    }

    fn bump(&mut self) -> Option<char> {
        let char = self.rest.next()?;
        self.line += usize::from(char == '\n');
        Some(char)
    }

    fn skip_space(&mut self) {
        while let Some(&char) = self.rest.peek() {
            if char == ';' {
                while self.bump().is_some_and(|char| char != '\n') {}
            } else if char.is_whitespace() {
                self.bump();
            } else {
                break;
            }
        }
    }

    /// The datum that begins at the next character, which is there and no space.
    fn datum(&mut self, depth: usize) -> Result<Datum, ResourceError> {
        let line = self.line;
        let value = match self.rest.peek() {
            Some('(') => Value::List(self.list(depth)?),
            Some('"') => Value::Text(self.string()?),
            Some(')') => return self.error(line, "a ) without its ("),
            _ => self.atom()?,
        };
        Ok(Datum { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Datum>, ResourceError> {
        let line = self.line;
        if depth == DEPTH_MAX {
            return self.error(line, "lists are nested too deep");
        }
        self.bump();
        let mut items = Vec::new();
        loop {
            self.skip_space();
            match self.rest.peek() {
                None => return self.error(line, "a ( without its ); was the file cut off?"),
                Some(')') => {
                    self.bump();
                    return Ok(items);
                }
                Some(_) => items.push(self.datum(depth + 1)?),
            }
        }
    }

    fn string(&mut self) -> Result<String, ResourceError> {
        let line = self.line;
        self.bump();
        let mut text = String::new();
        loop {
            let char = match self.bump() {
                Some('"') => return Ok(text),
                Some('\\') => self.bump(),
                char => char,
            };
            match char {
                Some(char) => text.push(char),
                None => return self.error(line, "a string without its end; was the file cut off?"),
            }
        }
    }

    fn atom(&mut self) -> Result<Value, ResourceError> {
        let mut word = String::new();
        while let Some(&char) = self.rest.peek() {
            if char.is_whitespace() || matches!(char, '(' | ')' | '"' | ';') {
                break;
            }
            word.push(char);
            self.bump();
        }
        if let Some(name) = word.strip_prefix(':') {
            return match name.is_empty() {
                true => self.error(self.line, "a : without its keyword"),
                false => Ok(Value::Keyword(name.to_ascii_lowercase())),
            };
        }
        if word.eq_ignore_ascii_case("nil") {
            return Ok(Value::List(Vec::new()));
        }
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        Ok(match word.parse() {
            Ok(number) if is_number => Value::Number(number),
            _ => Value::Symbol(word),
        })
    }
}
