//! The backtrace of a task's panic, where RUST_BACKTRACE asks for it: it travels behind the failed result's message, and is
//! for the file of a kept task alone. Trail and application are told the message.

/// Between message and backtrace: a control character that no message begins a line with.
const MARK: &str = "\u{1e}\n";

/// The most bytes of a backtrace that travel; the innermost frames stand first.
const TRACE_BYTES_MAX: usize = 16 << 10;

/// A message with its backtrace.
pub(crate) fn with_trace(message: &str, trace: &str) -> String {
    let end = trace.floor_char_boundary(TRACE_BYTES_MAX);
    format!("{message}{MARK}{}", &trace[..end])
}

/// The message, and the backtrace if there is one.
pub(crate) fn parted(text: &str) -> (&str, Option<&str>) {
    match text.split_once(MARK) {
        Some((message, trace)) => (message, Some(trace)),
        None => (text, None),
    }
}

/// As a person reads it: the backtrace on lines of its own.
pub(crate) fn shown(text: &str) -> String {
    text.replacen(MARK, "\n", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_without_its_backtrace() {
        let text = with_trace("panicked at a.rs:7: no", "  0: main\n");
        assert_eq!(
            parted(&text),
            ("panicked at a.rs:7: no", Some("  0: main\n"))
        );
        assert_eq!(shown(&text), "panicked at a.rs:7: no\n  0: main\n");
        assert_eq!(parted("no trace"), ("no trace", None));
    }

    #[test]
    fn a_long_backtrace_is_cut_at_a_character() {
        let text = with_trace("no", &"ö".repeat(TRACE_BYTES_MAX));
        let (_, trace) = parted(&text);
        assert_eq!(trace.map(str::len), Some(TRACE_BYTES_MAX));
    }
}
