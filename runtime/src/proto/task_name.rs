//! A task's name as people read it. Numbers begin again with each life of a run, so from the second life on the life is said
//! with it, as `TASK-920.2`.

use std::fmt;

/// The name of a task of a life.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskName {
    /// The task's number.
    pub(crate) task: u64,
    /// Which life of the run, 0 or 1 for the first.
    pub(crate) life: u32,
}

impl TaskName {
    /// Reads a name, in letters of any case; without a life it is of none in particular.
    pub(crate) fn parse(text: &str) -> Option<(u64, Option<u32>)> {
        let upper = text.to_ascii_uppercase();
        let digits = upper.strip_prefix("TASK-")?;
        match digits.split_once('.') {
            None => Some((digits.parse().ok()?, None)),
            Some((task, life)) => Some((task.parse().ok()?, Some(life.parse().ok()?))),
        }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TASK-{}", self.task)?;
        match self.life {
            0 | 1 => Ok(()),
            life => write!(f, ".{life}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TaskName;

    #[test]
    fn the_first_life_has_no_suffix() {
        for (life, shown) in [(0, "TASK-920"), (1, "TASK-920"), (2, "TASK-920.2")] {
            assert_eq!(TaskName { task: 920, life }.to_string(), shown);
        }
        assert_eq!(TaskName::parse("task-920"), Some((920, None)));
        assert_eq!(TaskName::parse("TASK-920.2"), Some((920, Some(2))));
        for wrong in ["TASK-", "TASK-9.", "TASK-.2", "TASK-9.2.3", "SLAVE-9"] {
            assert_eq!(TaskName::parse(wrong), None, "{wrong}");
        }
    }
}
