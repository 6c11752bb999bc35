//! Slurm's batch scripts: the master as one job, the slaves as an array that queues itself again.

use std::path::Path;

use ringmw_codec::flags::exit;

use super::app::{ABORTS_MAX, App, Text};

/// The exit code of a master that is to be held.
const CRASH_LOOP: u8 = exit::CRASH_LOOP;
/// Those of a slave that ended in vain.
const IN_VAIN_FIRST: u8 = *exit::IN_VAIN.start();
const IN_VAIN_LAST: u8 = *exit::IN_VAIN.end();
/// A slave that ended in vain so often in a row is held for a time.
const IN_VAIN_MAX: u8 = IN_VAIN_LAST - IN_VAIN_FIRST + 1;
/// A slave that starts before its resource file is there waits so many seconds for it.
const FILE_BOUND: u32 = 30;

/// `master.sbatch`.
///
/// # Errors
/// When an argument cannot be written in a script.
pub(crate) fn master(app: &App, args: &[String], lines: &[String]) -> Result<Text, String> {
    let (dir, tag) = (value(&path(&app.dir)?)?, &app.tag);
    let name = value(&format!("{tag}.master"))?;
    let (output, here) = output(&app.dir, "master.%j.out", "master.$SLURM_JOB_ID.out");
    let (more, again) = (lines.join("\n"), super::app::starts_again(args));
    let binary = quoted(&path(&app.binary)?);
    let file = quoted(&path(&app.resource_file)?);
    let args: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
    let (args, libraries) = (args.join(" "), library_path(app)?);
    let text = format!(
        r#"#!/bin/bash
# The master of {tag}. Submit this first: sbatch master.sbatch
# (It may as well run on this machine, in screen or tmux: bash master.sbatch)
#SBATCH --job-name={name}
#SBATCH --chdir={dir}
#SBATCH --ntasks=1
#SBATCH --output={output}
# A node that fails, or a preemption, puts it back into the queue, and it writes a new resource file. {again}
#SBATCH --requeue
#SBATCH --open-mode=append
{more}

{here}job=${{SLURM_JOB_ID:-$$}}
{libraries}
# The master counts its starts there.
export RINGMW_STARTS="master.$job.starts"
# Signals reach the script; the master leaves on SIGTERM and says so to its slaves.
trap 'kill -TERM "$master"; wait "$master"; exit $?' TERM INT
{binary} \
    --mw-master \
    --mw-resource-file {file} \
    --mw-slave-executable {binary} \
    --mw-audit-file "master.$job.audit" \
    --mw-member-id "$job" \
    {args} &
master=$!
wait "$master"
code=$?

# After {ABORTS_MAX} starts in a row that were aborted within a minute each, before they had recorded a new result in a journal: held, until scontrol release.
if [ "$code" -eq {CRASH_LOOP} ] && [ -n "${{SLURM_JOB_ID:-}}" ]; then
    why="the master aborted {ABORTS_MAX} times in a row, each within a minute of its start and without a new result"
    echo "held: $why; scontrol release $SLURM_JOB_ID starts it again" >&2
    scontrol update JobId="$SLURM_JOB_ID" Comment="held: $why"
    scontrol requeuehold "$SLURM_JOB_ID" && sleep 60
fi
# As with HTCondor's on_exit_remove: it stays when it was killed by a signal or left on one (129 is SIGHUP, 130 SIGINT,
# 143 SIGTERM).
if [ "$code" -gt 128 ] && [ "$code" -ne 255 ] && [ -n "${{SLURM_JOB_ID:-}}" ]; then
    scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
exit "$code"
"#
    );
    Ok(Text {
        name: "master.sbatch",
        text,
    })
}

/// `slaves.sbatch`: so many slaves.
///
/// # Errors
/// When a path cannot be written in a script.
pub(crate) fn slaves(app: &App, slaves: u32) -> Result<Text, String> {
    script(app, slaves, true, "")
}

/// An array of slaves. Without `requeues` a dead one is replaced by the overseer instead, which reads its end from
/// `ends`: job, host, exit status, seconds.
pub(crate) fn script(app: &App, slaves: u32, requeues: bool, ends: &str) -> Result<Text, String> {
    let (dir, tag) = (value(&path(&app.dir)?)?, &app.tag);
    let name = value(tag)?;
    let (output, here) = output(
        &app.dir,
        "slave.%A.%a.out",
        "slave.$SLURM_ARRAY_JOB_ID.$SLURM_ARRAY_TASK_ID.out",
    );
    let (memory, cpus) = (app.request.memory, app.request.cpus);
    let file = path(&app.resource_file)?;
    let args: Vec<String> = app
        .slave_args(&file)
        .iter()
        .map(|arg| quoted(arg))
        .collect();
    let (binary, args) = (quoted(&path(&app.binary)?), args.join(" "));
    let (libraries, more) = (library_path(app)?, app.request.lines.join("\n"));
    let file = quoted(&file);
    let ends = quoted(ends);
    let text = format!(
        r#"#!/bin/bash
# Slaves of {tag}, one per element of the array. Submit this when the resource file is there: sbatch slaves.sbatch
#SBATCH --job-name={name}
#SBATCH --chdir={dir}
#SBATCH --array=1-{slaves}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}
#SBATCH --mem={memory}M
#SBATCH --output={output}
#SBATCH --open-mode=append
#SBATCH --requeue
{more}

{here}requeues={requeues}     # whether a slave that died is started again
ends={ends}
job=${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}_${{SLURM_ARRAY_TASK_ID:-0}}
in_vain=slave.$job.in-vain
{libraries}
# An eviction sends SIGTERM: the slave says goodbye to the master at once, which gives its tasks to others. Slurm itself
# decides then whether the job runs again.
trap 'evicted=1; kill -TERM "$slave" 2>/dev/null' TERM
# A master that has only begun to run has written no resource file yet.
for _ in {{1..{FILE_BOUND}}}; do [ ! -e {file} ] && [ -z "${{evicted:-}}" ] || break; sleep 1; done
[ -z "${{evicted:-}}" ] || exit 255
{binary} {args} &
slave=$!
wait "$slave"; code=$?
if [ -n "${{evicted:-}}" ]; then wait "$slave"; exit 255; fi

# Exit 0: the master told it to go, or the resource file says finished. Anything else: run again, as HTCondor's
# on_exit_remove does, after a pause that grows, so that a binary that cannot start wears nobody out.
[ -z "$ends" ] ||
    echo "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID ${{SLURMD_NODENAME:-$HOSTNAME}} $code $SECONDS" >>"$ends"
[ "$code" -ne 0 ] || {{ rm -f "$in_vain"; exit 0; }}
"$requeues" || exit "$code"

# {IN_VAIN_FIRST} to {IN_VAIN_LAST}: a master answered it, and it ended within a minute without having ended a task; 126 and 127: it could not
# be started. So often in a row is counted in a file; from the {IN_VAIN_MAX}th time on it is queued again for a later time: a
# minute, the next time two, and so on up to half an hour. One that finds the computation finished then exits 0.
times=0 pause=
if [ "$code" -ge {IN_VAIN_FIRST} ] && [ "$code" -le {IN_VAIN_LAST} ] || [ "$code" -eq 126 ] || [ "$code" -eq 127 ]; then
    echo + >>"$in_vain"
    times=$(wc -l <"$in_vain")
else
    rm -f "$in_vain"
fi
if [ "$times" -ge {IN_VAIN_MAX} ]; then
    over=$((times - {IN_VAIN_MAX}))
    pause=$((over < 5 ? 60 << over : 1800))
    why="$times times in a row it ended within a minute of its start without having ended a task"
    echo "held for $pause s: $why" >&2
    scontrol update JobId="$job" Comment="held for $pause s: $why"
else
    restarts=${{SLURM_RESTART_COUNT:-0}} most=60
    [ "$times" -eq 0 ] || {{ restarts=$((times - 1)) most=10; }}
    sleep $((restarts < 6 && (1 << restarts) < most ? 1 << restarts : most)) & wait $!
    [ -z "${{evicted:-}}" ] || exit 255
fi
(
    # The requeue sends this job a signal.
    trap '' TERM
    scontrol requeue "$job" && {{ [ -z "$pause" ] || scontrol update JobId="$job" StartTime="now+$pause"; }}
) && [ -z "${{evicted:-}}" ] && sleep 60
exit "$code"
"#
    );
    Ok(Text {
        name: "slaves.sbatch",
        text,
    })
}

fn library_path(app: &App) -> Result<String, String> {
    let mut folders = Vec::new();
    for library in &app.libraries {
        let folder = path(library.parent().unwrap_or(library))?;
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    if folders.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        "export LD_LIBRARY_PATH={}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n",
        quoted(&folders.join(":"))
    ))
}

/// Where a job's output goes: the value of `--output`, and a line of the script.
///
/// In the folder, too, sbatch expands a percent sign and takes a backslash for the word that nothing is to be expanded,
/// so the script itself sends the output into a folder that has one.
fn output(dir: &Path, pattern: &str, file: &str) -> (String, String) {
    match dir.to_string_lossy().contains(['%', '\\']) {
        false => (pattern.to_owned(), String::new()),
        true => (
            "/dev/null".to_owned(),
            format!("[ -z \"${{SLURM_JOB_ID:-}}\" ] || exec >>\"{file}\" 2>&1\n"),
        ),
    }
}

fn path(path: &Path) -> Result<String, String> {
    let text = path.to_string_lossy().into_owned();
    if text.contains('\n') {
        return Err(format!(
            "a path with a line feed cannot be submitted: {text:?}"
        ));
    }
    Ok(text)
}

/// As the value of an option in an `#SBATCH` line, which no shell reads: sbatch takes quotes and backslashes like one,
/// ends the value at a blank and the line at a `#`, and expands nothing.
fn value(text: &str) -> Result<String, String> {
    if text.contains('\n') {
        return Err(format!("an #SBATCH line cannot hold a line feed: {text:?}"));
    }
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    Ok(match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")),
    })
}

/// As one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
