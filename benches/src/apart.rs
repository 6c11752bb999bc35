//! Measurements in processes of their own, in rounds, and what is made of several.

use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs this very binary with these arguments: the JSON object that it prints.
///
/// # Errors
/// When it cannot be started, fails or prints something else.
pub fn run(args: &[&str]) -> Result<Value, String> {
    let what = args.join(" ");
    let output = Command::new("/proc/self/exe")
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{what}: this very binary cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{what}: ended with {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{what}: {error}"))
}

/// The middle one; of an even number the lower of the two in the middle.
///
/// # Panics
/// When there is none.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[(numbers.len() - 1) / 2]
}

/// The number at `key`.
///
/// # Panics
/// When there is none: the figures are our own.
pub fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("no number {key} in {value}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(super::median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(vec![4.0, 3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(vec![5.0]), 5.0);
    }
}
