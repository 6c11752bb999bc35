//! Arguments: the user's on the command line, which the slaves are told too, and optional, rest and keyword arguments
//! of a task algorithm (`&optional`, `&rest` and `&key` in CL-MW).
//!
//! ```text
//! cargo run --release --example argument-processing
//! cargo run --release --example argument-processing -- --shout --times 2 slaves tasks results
//! ```
//!
//! As a master and slaves; the user's arguments are given to the master only (its trail says which port it has):
//!
//! ```text
//! argument-processing --mw-master --mw-master-host 127.0.0.1 --shout
//! argument-processing --mw-slave --mw-master-host 127.0.0.1 --mw-master-port PORT
//! ```

use clap::Parser;
use ringmw::prelude::*;

/// Lets slaves build sentences.
#[derive(Parser)]
struct Opts {
    /// Say it loud
    #[arg(long)]
    shout: bool,
    /// How often to say each sentence
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: usize,
    /// What the sentences are about
    #[arg(default_values = ["masters", "slaves"])]
    subjects: Vec<String>,
}

/// A slave parses the master's arguments once and keeps them.
impl SlaveState for Opts {
    fn init(cx: &mut Cx) -> Result<Self> {
        let args = ["slave"]
            .into_iter()
            .chain(cx.args().iter().map(String::as_str));
        Ok(Opts::try_parse_from(args)?)
    }
}

/// Keyword arguments: the caller names those that differ from the default.
#[wire]
#[derive(Default)]
struct Style {
    ending: Option<char>,
    separator: Option<String>,
}

/// `verb` is optional, `objects` are the rest, `style` is keywords; `opts` is the slave's own.
#[algorithm]
fn sentence(
    subject: &str,
    verb: Option<String>,
    objects: Vec<String>,
    style: &Style,
    opts: &mut Opts,
) -> String {
    let verb = verb.unwrap_or("work".into());
    let objects = objects.join(style.separator.as_deref().unwrap_or(" "));
    let words = format!("{subject} {verb} {objects}");
    let sentence = format!("{}{}", words.trim_end(), style.ending.unwrap_or('.'));
    if opts.shout {
        sentence.to_uppercase()
    } else {
        sentence
    }
}

async fn master(mw: Master, args: Args) -> Result {
    let opts: Opts = args.parse();
    let (plain, asking) = (
        Style::default(),
        Style {
            ending: Some('?'),
            ..Style::default()
        },
    );
    let listing = Style {
        separator: Some(" and ".into()),
        ..Style::default()
    };
    let give = Some("give".to_string());
    let gifts = vec!["tasks".to_string(), "results".to_string()];
    let tasks = opts.subjects.iter().flat_map(|subject| {
        [
            sentence::task(subject, None, vec![], &plain),
            sentence::task(subject, give.clone(), gifts.clone(), &listing),
            sentence::task(subject, give.clone(), vec![], &asking),
        ]
    });
    let mut sentences = mw.map(tasks).in_order();
    while let Some(sentence) = sentences.try_next().await? {
        println!("{}", vec![sentence; opts.times].join(" "));
    }
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<sentence>().master(master).run()
}
