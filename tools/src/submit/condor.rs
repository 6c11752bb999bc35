//! HTCondor's submit files, as in chapter 4 of CL-MW's manual, each line with its reason.

use std::fmt::Write as _;
use std::path::Path;

use ringmw_codec::flags::exit;

use super::app::{ABORTS_MAX, App, Text};

/// The attribute by which the overseer finds its jobs.
pub(crate) const TAG: &str = "RingmwTag";
/// All slaves share this event log.
pub(crate) const SLAVES_LOG: &str = "slaves.log";

/// The exit code of a master that is to be held.
const CRASH_LOOP: u8 = exit::CRASH_LOOP;
/// Those of a slave that ended in vain: the first time, and the tenth in a row.
const IN_VAIN_FIRST: u8 = *exit::IN_VAIN.start();
const IN_VAIN_LAST: u8 = *exit::IN_VAIN.end();
/// The subcode of the hold that is for such ends.
const HELD_IN_VAIN: u8 = IN_VAIN_LAST;

/// `master.sub`.
///
/// # Errors
/// When an argument cannot be written in a submit file.
pub(crate) fn master(app: &App, args: &[String], lines: &[String]) -> Result<Text, String> {
    let file = path(&app.resource_file)?;
    let binary = path(&app.binary)?;
    let mut all: Vec<String> = [
        "--mw-master",
        "--mw-resource-file",
        &file,
        "--mw-slave-executable",
        &binary,
        "--mw-audit-file",
        "master.$(CLUSTER).$(PROCESS).audit",
        "--mw-member-id",
        "$(CLUSTER).$(PROCESS)",
    ]
    .map(str::to_owned)
    .to_vec();
    for arg in args {
        all.push(literal(arg, Expanded::AtSubmission)?);
    }
    let (dir, tag) = (path(&app.dir)?, literal(&app.tag, Expanded::AtSubmission)?);
    let (arguments, environment) = (arguments(&all), master_environment(app)?);
    let (more, again) = (lines_of(lines), super::app::starts_again(args));
    let text = format!(
        r#"# The master of {tag}. Submit this first: condor_submit master.sub

# It runs on this machine, at once and without a slot, and may read and write your files.
universe     = scheduler
initialdir   = {dir}
executable   = {binary}
# The audit trail is named by the job, and the job is the membership token: slaves of another run are refused.
# HTCondor runs the binary under another name, so the slaves' is told.
arguments    = {arguments}
{environment}
output       = master.$(CLUSTER).$(PROCESS).out
error        = master.$(CLUSTER).$(PROCESS).err
log          = master.$(CLUSTER).$(PROCESS).log
notification = NEVER
# What condor_q shows it as.
batch_name   = {tag}

# It leaves the queue when its algorithm has come to an end, whatever its exit code. It stays, and is started again,
# when it was killed by a signal or left on one: 129 is SIGHUP, 130 SIGINT, 143 SIGTERM. {again}
on_exit_remove = (ExitBySignal == False) && (ExitCode != 129) && (ExitCode != 130) && (ExitCode != 143) && (ExitCode != {CRASH_LOOP})

# It counts its starts in the file that RINGMW_STARTS names. The one after {ABORTS_MAX} that were aborted within a minute each,
# before they had recorded a new result in a journal, exits with {CRASH_LOOP}: the job is held, until condor_release.
on_exit_hold         = (ExitBySignal == False) && (ExitCode == {CRASH_LOOP})
on_exit_hold_reason  = "the master aborted {ABORTS_MAX} times in a row, each within a minute of its start and without a new result: see its .err and .audit"
on_exit_hold_subcode = {CRASH_LOOP}

# condor_rm of the master ends the run for good: the resource file says finished, and the slaves leave with 0.
remove_kill_sig = SIGUSR2
{more}
queue 1
"#
    );
    Ok(Text {
        name: "master.sub",
        text,
    })
}

/// `slaves.sub`: so many slaves.
///
/// # Errors
/// When a path or argument cannot be written in a submit file.
pub(crate) fn slaves(app: &App, slaves: u32) -> Result<Text, String> {
    slaves_avoiding(app, slaves, &[])
}

/// [`slaves`] that are to run on no host of this list.
pub(crate) fn slaves_avoiding(app: &App, slaves: u32, avoid: &[String]) -> Result<Text, String> {
    let file = app.resource_file.file_name().unwrap_or_default();
    let args: Result<Vec<String>, String> = app
        .slave_args(&file.to_string_lossy())
        .iter()
        .map(|arg| literal(arg, Expanded::AtStart))
        .collect();
    let arguments = arguments(&args?);
    let inputs: Result<Vec<String>, String> = std::iter::once(&app.resource_file)
        .chain(&app.libraries)
        .map(|input| path(input))
        .collect();
    let inputs = inputs?;
    if let Some(odd) = inputs.iter().find(|path| path.contains([',', '"'])) {
        return Err(format!(
            "{odd}: HTCondor's list of files to send has no way to write a comma or a quote; name it otherwise, or copy it to \
             a folder without"
        ));
    }
    let mut more = String::new();
    if !app.libraries.is_empty() {
        more.push_str("# The libraries that travel along lie beside the binary.\n");
        more.push_str("environment  = \"LD_LIBRARY_PATH=.\"\n\n");
    }
    // Of two lines the later one counts: the user's would undo the other.
    let (own, others): (Vec<&String>, Vec<&String>) = app
        .request
        .lines
        .iter()
        .partition(|line| !avoid.is_empty() && requirements(line).is_some());
    if !avoid.is_empty() {
        more.push_str("# Slaves die at once on these.\n");
        let without =
            |host: &String| format!("(Machine =!= \"{}\")", host.replace(['"', '\\'], ""));
        let own = own.last().and_then(|line| requirements(line));
        let own = own.map(|own| format!("({own})"));
        let all: Vec<String> = own.into_iter().chain(avoid.iter().map(without)).collect();
        let _ = writeln!(more, "requirements = {}\n", all.join(" && "));
    }
    more.push_str(&lines_of(others));
    let (binary, dir) = (path(&app.binary)?, path(&app.dir)?);
    let tag = literal(&app.tag, Expanded::AtSubmission)?;
    let tag_word = tag.replace('\\', r"\\").replace('"', "\\\"");
    let secret = path(&app.resource_file)?;
    let (inputs, memory, cpus) = (inputs.join(","), app.request.memory, app.request.cpus);
    let text = format!(
        r#"# Slaves of {tag}. Submit this when the resource file is there: condor_submit slaves.sub

universe     = vanilla
initialdir   = {dir}
executable   = {binary}
# Nothing of the master's arguments is repeated here: it tells each slave.
arguments    = {arguments}

# The resource file says where the master is. It is sent anew at each start of a job: after a restart of the master the
# next start finds the new one. A slave with an old one exits 255 and is started again.
should_transfer_files   = YES
when_to_transfer_output = ON_EXIT
transfer_input_files    = {inputs}
# It holds the run's secret.
encrypt_input_files     = {secret}

output       = slave.$(CLUSTER).$(PROCESS).out
error        = slave.$(CLUSTER).$(PROCESS).err
# All slaves share a log.
log          = {SLAVES_LOG}
notification = NEVER
# What condor_q shows them as, and what the overseer finds its own by.
batch_name   = {tag}
+{TAG}   = "{tag_word}"

request_cpus   = {cpus}
# MiB. A job that has used more is never matched again to a smaller slot, so ask for what it takes at most.
request_memory = {memory}

# Only exit 0 takes a slave out of the queue: the master told it to go, or the resource file says finished. Any other
# end (the master lost, a missing library, an eviction) puts it back, to be started again.
on_exit_remove = (ExitBySignal == False) && (ExitCode == 0)

# A slave whose master does not answer waits for it, from life to life longer, up to 5 minutes; those ends are not counted.
# One that a master answered and that ended within a minute without having ended a task exits with {IN_VAIN_FIRST}, the next time
# in a row with one more. The tenth time it is held, and so is one that could not be started ten times (126, 127: a missing
# library). It is released after a minute, the next time after two, and so on up to half an hour, as long as it is in the
# queue; one that then finds the computation finished exits 0.
on_exit_hold         = (ExitBySignal == False) && \
    ((ExitCode == {IN_VAIN_LAST}) || ((ExitCode == 126 || ExitCode == 127) && (NumJobStarts >= 9)))
on_exit_hold_reason  = "ten times in a row it ended within a minute of its start without having ended a task: see its .err"
on_exit_hold_subcode = {HELD_IN_VAIN}

# A suspended slave does nothing, but its tasks wait: after half a minute it gives up its slot, is held for a moment and
# put back into the queue.
periodic_hold    = (JobStatus == 7) && (time() - EnteredCurrentStatus > 30)
periodic_hold_reason = "suspended"
periodic_release = (HoldReasonCode == 3) && (time() - EnteredCurrentStatus > \
    ifThenElse(HoldReasonSubCode =?= {HELD_IN_VAIN}, min({{1800, 60 * pow(2, NumHolds - 1)}}), 5))
# From HTCondor 23.2 on periodic_vacate does it without the hold. But 23.9 leaves a job that was vacated while it was
# suspended in the queue as suspended, to be run never again. Try yours:
# periodic_vacate  = (JobStatus == 7) && (time() - EnteredCurrentStatus > 30)

# To keep a slave off the machine where it last ran, in a pool where some machines have troubles:
# job_machine_attrs = Machine
# job_machine_attrs_history_length = 2
# requirements = (TARGET.Machine =!= MachineAttrMachine1) && (TARGET.Machine =!= MachineAttrMachine2)
{more}
queue {slaves}
"#
    );
    Ok(Text {
        name: "slaves.sub",
        text,
    })
}

/// Where the master counts its starts, and where it finds libraries that are not the system's.
fn master_environment(app: &App) -> Result<String, String> {
    let mut folders: Vec<String> = Vec::new();
    for library in &app.libraries {
        let folder = path(library.parent().unwrap_or(library))?;
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let mut variables = vec!["RINGMW_STARTS=master.$(CLUSTER).$(PROCESS).starts".to_owned()];
    if !folders.is_empty() {
        variables.push(format!("LD_LIBRARY_PATH={}", folders.join(":")));
    }
    Ok(format!("environment  = {}\n", arguments(&variables)))
}

/// The user's own lines, each on its own.
fn lines_of<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    lines.into_iter().map(|line| format!("{line}\n")).collect()
}

/// What a line requires of a machine, if that is what it says.
fn requirements(line: &str) -> Option<&str> {
    let (name, value) = line.split_once('=')?;
    let is_it = name.trim().eq_ignore_ascii_case("requirements");
    is_it.then(|| value.trim())
}

/// When HTCondor looks for macros in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expanded {
    /// `$(..)`, when the file is submitted.
    AtSubmission,
    /// Those, and `$$(..)` when a job of the vanilla universe starts on a machine.
    AtStart,
}

/// A user's text, each dollar as it is.
///
/// `$(DOLLAR)` is a dollar, but the submission takes two of them for the beginning of `$$(..)`, which it leaves alone
/// wherever it stands. So of a row of dollars the pairs are written as what the start makes of them, and one that is left
/// over as `$(DOLLAR)`.
fn literal(text: &str, expanded: Expanded) -> Result<String, String> {
    if text.contains('\n') {
        return Err(format!(
            "what has more than one line cannot be submitted: {text:?}"
        ));
    }
    let pair = match expanded {
        Expanded::AtSubmission => "$$",
        Expanded::AtStart => "$$(DOLLARDOLLAR)",
    };
    let mut written = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        written.push_str(&rest[..at]);
        rest = &rest[at..];
        let dollars = rest.len() - rest.trim_start_matches('$').len();
        written.push_str(&pair.repeat(dollars / 2));
        if dollars % 2 == 1 {
            written.push_str("$(DOLLAR)");
        }
        rest = &rest[dollars..];
    }
    written.push_str(rest);
    Ok(written)
}

fn path(path: &Path) -> Result<String, String> {
    let text = path.to_string_lossy();
    // Of a slave's paths HTCondor expands these at the start, and knows no way to write them.
    if text.contains("$$(") || text.contains("$$[") {
        return Err(format!(
            "{text}: HTCondor would expand the $$ of this path; name it otherwise"
        ));
    }
    literal(&text, Expanded::AtSubmission)
}

/// The "new" syntax: all in double quotes, each argument with a space or quote in single ones.
fn arguments(args: &[String]) -> String {
    let quote = |arg: &String| {
        let is_plain = !arg.is_empty() && !arg.contains([' ', '\t', '\'', '"']);
        match is_plain {
            true => arg.clone(),
            false => format!("'{}'", arg.replace('\'', "''").replace('"', "\"\"")),
        }
    };
    let quoted: Vec<String> = args.iter().map(quote).collect();
    format!("\"{}\"", quoted.join(" "))
}
