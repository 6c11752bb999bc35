//! The forms of facts: how a field's value is written and read.

use super::AuditError;
use super::text::{Facts, parse_number, put_number, put_value};

/// How values of type `T` are written as a fact. A form is named in the table of events.
pub(super) trait Form<T> {
    /// Appends the value.
    fn put(value: &T, out: &mut Vec<u8>);
    /// Reads the value, its quotes taken off.
    fn parse(text: &str) -> Option<T>;

    /// Appends the fact: ` key=` is given in one piece, since most of a line is keys.
    fn put_fact(key: &str, value: &T, out: &mut Vec<u8>) {
        out.extend_from_slice(key.as_bytes());
        Self::put(value, out);
    }

    /// Reads the fact behind ` key=`.
    fn read_fact(key: &str, facts: &mut Facts<'_>) -> Result<T, AuditError> {
        let (text, at) = facts.value(key)?;
        Self::parse(&text).ok_or_else(|| {
            let key = key.trim_matches([' ', '=']);
            facts.error(at, format!("{text:?} is no value of {key}"))
        })
    }

    #[cfg(test)]
    fn arbitrary() -> proptest::strategy::BoxedStrategy<T>;
}

/// A fact that is left out when there is none.
pub(super) struct Maybe<F>(F);

impl<T, F: Form<T>> Form<Option<T>> for Maybe<F>
where
    T: std::fmt::Debug + Clone + 'static,
{
    fn put(value: &Option<T>, out: &mut Vec<u8>) {
        if let Some(value) = value {
            F::put(value, out);
        }
    }

    fn parse(text: &str) -> Option<Option<T>> {
        F::parse(text).map(Some)
    }

    fn put_fact(key: &str, value: &Option<T>, out: &mut Vec<u8>) {
        if let Some(value) = value {
            F::put_fact(key, value, out);
        }
    }

    fn read_fact(key: &str, facts: &mut Facts<'_>) -> Result<Option<T>, AuditError> {
        if facts.is_next(key) {
            F::read_fact(key, facts).map(Some)
        } else {
            Ok(None)
        }
    }

    #[cfg(test)]
    fn arbitrary() -> proptest::strategy::BoxedStrategy<Option<T>> {
        use proptest::strategy::Strategy;
        proptest::option::of(F::arbitrary()).boxed()
    }
}

/// Declares forms that are a few lines each: the value's type, writer, reader and arbitrary values.
macro_rules! form {
    ($form:ty, $type:ty, |$value:ident, $out:ident| $put:expr, |$text:ident| $parse:expr, $arbitrary:expr) => {
        impl Form<$type> for $form {
            fn put($value: &$type, $out: &mut Vec<u8>) {
                $put
            }

            fn parse($text: &str) -> Option<$type> {
                $parse
            }

            #[cfg(test)]
            fn arbitrary() -> proptest::strategy::BoxedStrategy<$type> {
                use proptest::strategy::Strategy;
                $arbitrary.boxed()
            }
        }
    };
}

/// A decimal number.
pub(super) struct Number;
form!(
    Number,
    u8,
    |value, out| put_number(out, (*value).into()),
    |text| parse_number(text),
    proptest::num::u8::ANY
);
form!(
    Number,
    u32,
    |value, out| put_number(out, (*value).into()),
    |text| parse_number(text),
    proptest::num::u32::ANY
);
form!(
    Number,
    u64,
    |value, out| put_number(out, *value),
    |text| parse_number(text),
    proptest::num::u64::ANY
);

/// Yes or no.
pub(super) struct YesNo;
form!(
    YesNo,
    bool,
    |value, out| out.extend_from_slice(if *value { b"yes" } else { b"no" }),
    |text| match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    },
    proptest::bool::ANY
);

/// Any text.
pub(super) struct Text;
form!(
    Text,
    String,
    |value, out| put_value(out, value),
    |text| Some(text.to_owned()),
    proptest::prop_oneof![
        ".*",
        "[ \"=\\\\\n\r\t\u{0}\u{85}\u{2028}a,+-]*",
        "(?s).{0,8}"
    ]
);

/// A slave, `SLAVE-17`.
pub(super) struct Slave;
form!(
    Slave,
    u32,
    |value, out| {
        out.extend_from_slice(b"SLAVE-");
        put_number(out, (*value).into());
    },
    |text| parse_number(text.strip_prefix("SLAVE-")?),
    proptest::num::u32::ANY
);

/// A task, `TASK-920`.
pub(super) struct Task;
form!(
    Task,
    u64,
    |value, out| {
        out.extend_from_slice(b"TASK-");
        put_number(out, *value);
    },
    |text| parse_number(text.strip_prefix("TASK-")?),
    proptest::num::u64::ANY
);

/// Texts with commas between: in each, `\` and `,` have a backslash before them, and an empty one is `\e`.
pub(super) struct Texts;
form!(
    Texts,
    Vec<String>,
    |value, out| put_value(out, &join(value)),
    |text| split(text),
    proptest::collection::vec(<Text as Form<String>>::arbitrary(), 0..4)
);

fn join(texts: &[String]) -> String {
    let escape = |text: &String| match text.as_str() {
        "" => "\\e".to_owned(),
        text => text.replace('\\', "\\\\").replace(',', "\\,"),
    };
    texts.iter().map(escape).collect::<Vec<_>>().join(",")
}

fn split(joined: &str) -> Option<Vec<String>> {
    if joined.is_empty() {
        return Some(Vec::new());
    }
    let mut texts = vec![String::new()];
    let mut chars = joined.chars();
    while let Some(char) = chars.next() {
        let text = texts.last_mut().expect("there is always a last text");
        match char {
            ',' => texts.push(String::new()),
            '\\' => match chars.next()? {
                'e' => {}
                char @ ('\\' | ',') => text.push(char),
                _ => return None,
            },
            char => text.push(char),
        }
    }
    Some(texts)
}

/// The most ranges that a line lists.
pub const TASK_RANGES_MAX: usize = 64;

/// Tasks as ranges, `TASK-3..9,TASK-12`: both ends belong to a range. At most [`TASK_RANGES_MAX`] are listed, the tasks
/// beyond are a number at the end, `+120`. Without tasks it is `none`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskRanges {
    ranges: Vec<(u64, u64)>,
    more: u64,
}

impl TaskRanges {
    /// Gathers tasks in ascending order; equal ones count once.
    #[must_use]
    pub fn from_sorted(tasks: impl IntoIterator<Item = u64>) -> Self {
        let mut gathered = Self::default();
        let mut last = None;
        for task in tasks {
            debug_assert!(
                last.is_none_or(|last| last <= task),
                "tasks come in ascending order"
            );
            let listed = gathered.ranges.len();
            match gathered.ranges.last_mut() {
                _ if last == Some(task) => {}
                _ if gathered.more > 0 => gathered.more += 1,
                Some(range) if range.1.checked_add(1) == Some(task) => range.1 = task,
                _ if listed == TASK_RANGES_MAX => gathered.more = 1,
                _ => gathered.ranges.push((task, task)),
            }
            last = Some(task);
        }
        gathered
    }

    /// The listed ranges, first and last task of each.
    #[must_use]
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Tasks that are not listed.
    #[must_use]
    pub const fn more(&self) -> u64 {
        self.more
    }

    fn put(&self, out: &mut Vec<u8>) {
        if self.ranges.is_empty() {
            out.extend_from_slice(b"none");
        }
        for (index, &(first, last)) in self.ranges.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"TASK-" } else { b",TASK-" });
            put_number(out, first);
            if last > first {
                out.extend_from_slice(b"..");
                put_number(out, last);
            }
        }
        if self.more > 0 {
            out.extend_from_slice(b",+");
            put_number(out, self.more);
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::default());
        }
        let (list, more) = match text.split_once(",+") {
            Some((list, more)) => (list, parse_number::<u64>(more).filter(|&more| more > 0)?),
            None => (text, 0),
        };
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for range in list.split(',') {
            let range = parse_range(range)?;
            let apart = ranges
                .last()
                .is_none_or(|last| last.1.checked_add(1).is_some_and(|next| next < range.0));
            if !apart || ranges.len() == TASK_RANGES_MAX {
                return None;
            }
            ranges.push(range);
        }
        Some(Self { ranges, more })
    }
}

fn parse_range(text: &str) -> Option<(u64, u64)> {
    let numbers = text.strip_prefix("TASK-")?;
    let Some((first, last)) = numbers.split_once("..") else {
        let task = parse_number(numbers)?;
        return Some((task, task));
    };
    let (first, last) = (parse_number(first)?, parse_number(last)?);
    (first < last).then_some((first, last))
}

/// Tasks as ranges.
pub(super) struct Ranges;
form!(
    Ranges,
    TaskRanges,
    |value, out| value.put(out),
    |text| TaskRanges::parse(text),
    proptest::collection::btree_set(0u64..300, 0..200).prop_map(TaskRanges::from_sorted)
);

/// Declares an enum whose values are single words of the trail.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal,)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[$name] = &[$($name::$value,)*];

            /// The word in the trail.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$value => $word,)*
                }
            }

            /// The value of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        form!(
            $name,
            $name,
            |value, out| out.extend_from_slice(value.word().as_bytes()),
            |text| $name::from_word(text),
            proptest::sample::select($name::ALL)
        );)*
    };
}

words! {
    /// What a process is.
    RoleWord {
        /// A master.
        Master = "master",
        /// A slave.
        Slave = "slave",
        /// Master and slaves on one machine.
        Local = "local",
    }

    /// What moves the master's bytes.
    EngineWord {
        /// io_uring.
        Ring = "ring",
        /// epoll.
        Epoll = "epoll",
    }

    /// A slave's group.
    GroupWord {
        /// Tasks addressed to it alone.
        Ordered = "ordered",
        /// Those first, then unordered ones.
        Intermingle = "intermingle",
        /// Unordered ones alone.
        Unordered = "unordered",
    }

    /// Whether a slave has tasks.
    StateWord {
        /// It has none.
        Idle = "idle",
        /// It has some.
        Busy = "busy",
    }

    /// How a task ended.
    EndWord {
        /// With a result.
        Done = "done",
        /// With a failed result.
        Failed = "failed",
        /// It cannot run.
        Unrunnable = "unrunnable",
        /// It was cancelled.
        Cancelled = "cancelled",
    }

    /// Why a slave was lost.
    LossCause {
        /// The connection ended: the slave is gone, or its machine's system closed it.
        Eof = "eof",
        /// The connection was reset.
        Reset = "reset",
        /// No byte for the client timeout.
        Timeout = "timeout",
        /// Its bytes were no frames, or a frame was none of the protocol.
        Protocol = "protocol",
        /// It broke the rules in well-formed frames.
        Offence = "offence",
        /// It said goodbye.
        Goodbye = "goodbye",
        /// It was evicted and said goodbye.
        Evicted = "evicted",
        /// It said that its code called `exit`.
        Exit = "exit",
        /// It said that a fault killed it, by a signal.
        Signal = "signal",
        /// It said that it took more memory than it may.
        Memory = "memory",
        /// The connection failed in another way; the detail says how.
        Io = "io",
        /// The master is shutting down and waits no longer.
        Shutdown = "shutdown",
    }

    /// The computation's status in the resource file.
    ResourceStatus {
        /// It goes on.
        InProgress = "in-progress",
        /// It is finished.
        Finished = "finished",
    }
}
