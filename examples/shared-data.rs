//! Data that every task needs: sent to each slave once, looked up in place, with an index that each slave makes once.
//!
//! ```text
//! cargo run --release --example shared-data -- --words 200000
//! cargo run --release --example shared-data -- --file /usr/share/dict/words
//! ```
//!
//! Use `Shared` for what is larger than a task and the same for many: tables, meshes, formulas, models. What differs from
//! task to task is an argument; what a slave can make by itself is a `SlaveState`.

use std::collections::BTreeMap;

use ringmw::prelude::*;

/// Words by their letters in order: anagrams stand together.
struct Anagrams(BTreeMap<Vec<u8>, u64>);

impl Anagrams {
    fn of(text: &[u8]) -> Self {
        let mut anagrams = BTreeMap::new();
        for word in text.split(|byte| *byte == b'\n') {
            *anagrams.entry(letters(word)).or_default() += 1;
        }
        Anagrams(anagrams)
    }
}

fn letters(word: &[u8]) -> Vec<u8> {
    let mut letters = word.to_vec();
    letters.sort_unstable();
    letters
}

/// How many of some words have an anagram among all.
#[algorithm]
fn count(first: usize, words: usize, text: &Shared<[u8]>) -> u64 {
    let anagrams = text.derived(Anagrams::of);
    let all = text.split(|byte| *byte == b'\n').skip(first).take(words);
    all.filter(|word| anagrams.0[&letters(word)] > 1).count() as u64
}

/// Words of three syllables, some of which are anagrams.
fn made_up(words: usize) -> Vec<u8> {
    let syllables = ["ba", "ab", "ke", "lo", "ol", "mi", "nu"];
    let word =
        |n: usize| [1, 7, 49].map(|part| syllables[n / part % 7]).concat() + &(n / 343).to_string();
    (0..words)
        .map(word)
        .collect::<Vec<_>>()
        .join("\n")
        .into_bytes()
}

async fn master(mw: Master, args: Args) -> Result {
    let words: usize = args.value("--words", 50_000)?;
    let file: String = args.value("--file", String::new())?;
    let text = match file.as_str() {
        "" => mw.share(&made_up(words)[..]),
        file => mw.share_file(file).await?,
    };
    let words = text.split(|byte| *byte == b'\n').count();
    let tasks = (0..words)
        .step_by(1_000)
        .map(|first| count::task(first, 1_000, &text));
    let mut counts = mw.map(tasks);
    let mut sum = 0;
    while let Some(count) = counts.try_next().await? {
        sum += count;
    }
    println!("{sum} of {words} words have an anagram");
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<count>().master(master).run()
}
