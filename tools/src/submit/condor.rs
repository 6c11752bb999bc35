//! HTCondor's submit files, as in chapter 4 of CL-MW's manual, each line with its reason.

use std::fmt::Write as _;

use super::app::{App, Text};

/// The attribute by which the overseer finds its jobs.
pub(crate) const TAG: &str = "RingmwTag";
/// All slaves share this event log.
pub(crate) const SLAVES_LOG: &str = "slaves.log";

/// `master.sub`.
///
/// # Errors
/// When an argument cannot be written in a submit file.
pub(crate) fn master(app: &App, args: &[String]) -> Result<Text, String> {
    let mut all: Vec<String> = [
        "--mw-master",
        "--mw-resource-file",
        &app.resource_file.to_string_lossy(),
        "--mw-slave-executable",
        &app.binary.to_string_lossy(),
        "--mw-audit-file",
        "master.$(CLUSTER).$(PROCESS).audit",
        "--mw-member-id",
        "$(CLUSTER).$(PROCESS)",
    ]
    .map(str::to_owned)
    .to_vec();
    for arg in args {
        all.push(verbatim(arg)?);
    }
    let (binary, dir, tag) = (app.binary.display(), app.dir.display(), &app.tag);
    let (arguments, libraries) = (arguments(&all)?, library_path(app)?);
    let text = format!(
        r#"# The master of {tag}. Submit this first: condor_submit master.sub

# It runs on this machine, at once and without a slot, and may read and write your files.
universe     = scheduler
initialdir   = {dir}
executable   = {binary}
# The audit trail is named by the job, and the job is the membership token: slaves of another run are refused.
# HTCondor runs the binary under another name, so the slaves' is told.
arguments    = {arguments}
{libraries}
output       = master.$(CLUSTER).$(PROCESS).out
error        = master.$(CLUSTER).$(PROCESS).err
log          = master.$(CLUSTER).$(PROCESS).log
notification = NEVER

# It leaves the queue when its algorithm has come to an end, whatever its exit code. It stays, and is started again,
# when it was killed by a signal or left on one: 130 is SIGINT, 143 SIGTERM.
on_exit_remove = (ExitBySignal == False) && (ExitCode != 130) && (ExitCode != 143)

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
    let args = app.slave_args(&file.to_string_lossy());
    let arguments = arguments(&args)?;
    let mut inputs = vec![app.resource_file.display().to_string()];
    inputs.extend(app.libraries.iter().map(|path| path.display().to_string()));
    if let Some(comma) = inputs.iter().find(|path| path.contains([',', '\n', '"'])) {
        return Err(format!(
            "{comma}: HTCondor's transfer_input_files cannot have a comma or a quote in a path"
        ));
    }
    let mut more = String::new();
    if !app.libraries.is_empty() {
        more.push_str("# The libraries that travel along lie beside the binary.\n");
        more.push_str("environment  = \"LD_LIBRARY_PATH=.\"\n\n");
    }
    if !avoid.is_empty() {
        more.push_str("# Slaves die at once on these.\n");
        let without =
            |host: &String| format!("(Machine =!= \"{}\")", host.replace(['"', '\\'], ""));
        let all: Vec<String> = avoid.iter().map(without).collect();
        let _ = writeln!(more, "requirements = {}\n", all.join(" && "));
    }
    for line in &app.request.lines {
        let _ = writeln!(more, "{line}");
    }
    let (binary, dir, tag) = (app.binary.display(), app.dir.display(), &app.tag);
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

output       = slave.$(CLUSTER).$(PROCESS).out
error        = slave.$(CLUSTER).$(PROCESS).err
# All slaves share a log.
log          = {SLAVES_LOG}
notification = NEVER
+{TAG}   = "{tag}"

request_cpus   = {cpus}
# MiB. A job that has used more is never matched again to a smaller slot, so ask for what it takes at most.
request_memory = {memory}

# Only exit 0 takes a slave out of the queue: the master told it to go, or the resource file says finished. Any other
# end (the master lost, a missing library, an eviction) puts it back, to be started again.
on_exit_remove = (ExitBySignal == False) && (ExitCode == 0)

# A suspended slave does nothing, but its tasks wait: after half a minute it gives up its slot, is held for a moment and
# put back into the queue.
periodic_hold    = (JobStatus == 7) && (time() - EnteredCurrentStatus > 30)
periodic_hold_reason = "suspended"
periodic_release = (HoldReasonCode == 3) && (time() - EnteredCurrentStatus > 5)
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

/// Where the master finds libraries that are not the system's.
fn library_path(app: &App) -> Result<String, String> {
    let mut folders: Vec<String> = Vec::new();
    for library in &app.libraries {
        let folder = library.parent().unwrap_or(library).display().to_string();
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    if folders.is_empty() {
        return Ok(String::new());
    }
    let variable = format!("LD_LIBRARY_PATH={}", folders.join(":"));
    Ok(format!("environment  = {}\n", arguments(&[variable])?))
}

/// HTCondor expands `$(..)`; a user's argument has a dollar as it is.
fn verbatim(arg: &str) -> Result<String, String> {
    if arg.contains('\n') {
        return Err(format!(
            "an argument of more than one line cannot be submitted: {arg:?}"
        ));
    }
    Ok(arg.replace('$', "$(DOLLAR)"))
}

/// The "new" syntax: all in double quotes, each argument with a space or quote in single ones.
fn arguments(args: &[String]) -> Result<String, String> {
    let quote = |arg: &String| {
        if arg.contains('\n') {
            return Err(format!(
                "an argument of more than one line cannot be submitted: {arg:?}"
            ));
        }
        let is_plain = !arg.is_empty() && !arg.contains([' ', '\t', '\'', '"']);
        Ok(match is_plain {
            true => arg.clone(),
            false => format!("'{}'", arg.replace('\'', "''").replace('"', "\"\"")),
        })
    };
    let quoted: Result<Vec<String>, String> = args.iter().map(quote).collect();
    Ok(format!("\"{}\"", quoted?.join(" ")))
}
