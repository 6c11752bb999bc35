//! What of a source file is code that ships: read as text, for the tests of who imports whom.

/// The source without comments, without what is in literals, and without each item behind `#[cfg(test)]`.
pub(crate) fn code_of(text: &str) -> String {
    without_tests(&plain(text))
}

/// The source without comments, and without what is in literals.
fn plain(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let character = rest.chars().nth(2) == Some('\'') || rest.starts_with("'\\");
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => literal(rest, '"'),
            '\'' if character => literal(rest, '\''),
            _ => {
                code.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[skipped..];
    }
    code
}

/// How long the literal is that the text begins with.
fn literal(text: &str, quote: char) -> usize {
    let mut escaped = true;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The code without each item behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut parts = code.split("#[cfg(test)]");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let begin = part.find(['{', ';']).unwrap_or(part.len());
        let mut depth = 0;
        let end = part[begin..].char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let end = end.map_or(part.len(), |(at, c)| begin + at + c.len_utf8());
        kept.push_str(&part[end..]);
    }
    kept
}
