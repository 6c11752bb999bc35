//! `histogram`: the same counts under other cuts, on other numbers of slaves, and the sum of all of them.

use ringmw_examples::Stage;

fn counts(seed: &str, args: &[&str]) -> String {
    let flags = ["--walks", "20011", "--mw-seed", seed];
    let args = flags.into_iter().chain(args.iter().copied());
    Stage::new("histogram").local(args).success().stdout
}

#[test]
fn another_cut_changes_no_count() {
    let whole = counts("7", &["--per-task", "20011", "--mw-local", "1"]);
    let total: u64 = whole
        .lines()
        .map(|line| line.rsplit(' ').next().expect("a count"))
        .map(|count| count.parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(total, 20_011);
    for (cut, slaves) in [("1000", "2"), ("7", "2"), ("7919", "3")] {
        let cut = counts("7", &["--per-task", cut, "--mw-local", slaves]);
        assert_eq!(cut, whole);
    }
}

#[test]
fn another_seed_gives_other_counts() {
    assert_ne!(counts("8", &[]), counts("9", &[]));
}
