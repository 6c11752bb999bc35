//! What standard output is: how wide, and whether colours help there.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

/// How a text may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Terminal {
    /// Columns and rows; none where there is no terminal, and so no bound.
    pub(crate) size: Option<(usize, usize)>,
    pub(crate) has_colour: bool,
}

/// Words that stand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Bold,
    Red,
    Yellow,
    Green,
}

/// A window of less is drawn as if it had so much.
const COLUMNS_MIN: usize = 20;

impl Terminal {
    /// Standard output, as it is when it is asked for first. `NO_COLOR` and a dumb terminal take colours away.
    pub(crate) fn of_stdout() -> Self {
        static FOUND: OnceLock<Terminal> = OnceLock::new();
        *FOUND.get_or_init(|| {
            if !io::stdout().is_terminal() {
                return Terminal::default();
            }
            let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            Terminal {
                size: Some(Self::size_now()),
                has_colour: !is_set("NO_COLOR") && !is_dumb,
            }
        })
    }

    /// Columns and rows of standard output now: a window may be drawn larger or smaller.
    pub(crate) fn size_now() -> (usize, usize) {
        let size = rustix::termios::tcgetwinsize(io::stdout());
        let size = size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
        match size {
            (0, _) | (_, 0) => (80, 24),
            (columns, rows) => (columns.max(COLUMNS_MIN), rows),
        }
    }

    /// A text in a colour, where there are any.
    pub(crate) fn paint(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => 1,
            Ink::Red => 31,
            Ink::Yellow => 33,
            Ink::Green => 32,
        };
        match self.has_colour && !text.is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_only_where_they_may_be() {
        let plain = Terminal::default();
        assert_eq!(plain.paint(Ink::Red, "bad"), "bad");
        let coloured = Terminal {
            has_colour: true,
            ..plain
        };
        assert_eq!(coloured.paint(Ink::Red, "bad"), "\x1b[31mbad\x1b[0m");
        assert_eq!(coloured.paint(Ink::Red, ""), "");
    }
}
