//! Slaves as plain processes, started by a shell: on this machine (`--batch local`), or by the system's `ssh` on the
//! machines of the farm (`--batch ssh`).
//!
//! A job is a folder there:
//!
//! ```text
//! .ringmw/<tag>/<host>/<job>/rsc    the resource file as it was at the start
//!                            out    what the slave prints
//!                            pid    the process that waits for it, and when it began
//!                            code   its exit status, once it has ended
//! ```
//!
//! So nothing needs to be remembered here: an overseer that is started again finds them all. Such jobs are never
//! queued; a farm without a free slot takes fewer than asked for. The slaves of a machine that was registered with
//! `--listen` wait for the master, each at the port of its slot, which the job's name says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use siphasher::sip::SipHasher13;

use super::batch::{Batch, how, lines_of, output};
use super::facts::{End, Job, JobState};
use super::pause::SECOND;
use crate::farm::machines::{Machine, Standing};
use crate::say::count;
use crate::submit::app::App;
use crate::submit::slurm::quoted;

/// One that did not answer gets no new slave for so long.
const UNREACHABLE_PAUSE: Duration = Duration::from_secs(60);

/// The end of the resource file in a script; a resource file has no such line.
const END: &str = "RINGMW-END-OF-RESOURCE-FILE";

struct Host {
    /// None is this machine.
    machine: Option<Machine>,
    name: String,
    slots: u32,
    /// As a word of a shell.
    base: String,
    known: Vec<Job>,
    answered: Instant,
    silent_since: Option<Instant>,
    /// Its slaves count as lost.
    is_lost: bool,
    /// What was copied there, and where it is, as words of a shell.
    program: Option<(Vec<Stamp>, String)>,
}

pub(crate) struct Shell {
    hosts: Vec<Host>,
    /// The slaves of a machine that has not answered for so long are counted as lost.
    lost_after: Duration,
    ended: Vec<End>,
    notes: Vec<String>,
    next: u32,
}

impl Shell {
    /// This machine.
    pub(crate) fn local(tag: &str, dir: &Path, slots: u32) -> Self {
        let base = dir.join(format!("jobs.{tag}"));
        Self::of(
            vec![host(None, "localhost", slots, &base.to_string_lossy())],
            Duration::MAX,
        )
    }

    /// Those machines of the farm that may serve; each job is of so many slaves.
    pub(crate) fn farm(
        tag: &str,
        machines: Vec<Machine>,
        cpus: u32,
        lost_after: Duration,
    ) -> Result<Self, String> {
        let serves = |machine: &Machine| matches!(machine.standing, Standing::Valid(_));
        let hosts: Vec<Host> = machines
            .into_iter()
            .filter(serves)
            .map(|machine| {
                let name = machine.host.clone();
                let base = format!("{}/{tag}/{name}", machine.dir());
                let slots = machine.slots.unwrap_or(1);
                host(Some(machine), &name, slots, &base)
            })
            .collect();
        if hosts.is_empty() {
            return Err(
                "no machine of the farm may serve: ringmw farm add HOST, then ringmw farm validate"
                    .to_owned(),
            );
        }
        let mut farm = Self::of(hosts, lost_after);
        for host in &farm.hosts {
            let ports = host.ports()?;
            if cpus > 1 && !ports.is_empty() {
                return Err(format!(
                    "{}: its slaves listen, each at a port of its own, so a job is one slave; leave --cpus {cpus} out",
                    host.name
                ));
            }
            if let (Some(machine), [first, ..]) = (&host.machine, &ports[..]) {
                farm.notes.push(format!(
                    "{}: its {} listen, from {} on, and are idle until a master dials them: ringmw farm addresses >slaves, and \
                     --mw-slave-at @slaves for the master",
                    host.name,
                    count(ports.len(), "slave", "slaves"),
                    machine.address(*first)
                ));
            }
        }
        Ok(farm)
    }

    fn of(hosts: Vec<Host>, lost_after: Duration) -> Self {
        Self {
            hosts,
            lost_after,
            ended: Vec::new(),
            notes: Vec::new(),
            next: 0,
        }
    }
}

fn host(machine: Option<Machine>, name: &str, slots: u32, base: &str) -> Host {
    Host {
        machine,
        name: name.to_owned(),
        slots,
        base: quoted(base),
        known: Vec::new(),
        answered: Instant::now(),
        silent_since: None,
        is_lost: false,
        program: None,
    }
}

impl Host {
    fn run(&self, script: &str) -> Result<String, String> {
        let script = format!(
            "umask 077\nmkdir -p {0} && cd {0} || exit 1\n{script}",
            self.base
        );
        let mut command = match &self.machine {
            Some(machine) => {
                let mut ssh = machine.ssh();
                ssh.arg("sh -s");
                ssh
            }
            None => {
                let mut sh = Command::new("sh");
                sh.arg("-s");
                sh
            }
        };
        output(&mut command, script.as_bytes()).map_err(|error| format!("{}: {error}", self.name))
    }

    /// The job string that the slave tells its master.
    fn job_of(&self, id: &str) -> String {
        match self.machine {
            Some(_) => format!("ssh.{}.{id}", self.name),
            None => format!("fork.{id}"),
        }
    }

    /// Of a host whose slaves listen, a port for each slot.
    fn ports(&self) -> Result<Vec<u16>, String> {
        let ports = |machine: &Machine| machine.ports(self.slots);
        self.machine.as_ref().map_or(Ok(Vec::new()), ports)
    }

    /// The name of a new job, given names that are taken beside those of the jobs that run: with its port, if it listens.
    fn name(&self, unique: &str, taken: &[String]) -> String {
        let listed = self.known.iter().map(|job| job.id.as_str());
        let taken: Vec<u16> = listed
            .chain(taken.iter().map(String::as_str))
            .filter_map(port_of)
            .collect();
        let ports = self.ports().unwrap_or_default();
        match ports.iter().find(|port| !taken.contains(port)) {
            Some(port) => format!("{unique}{PORT}{port}"),
            None => unique.to_owned(),
        }
    }

    fn list(&mut self) -> Result<Vec<End>, String> {
        let prefix = quoted(&self.job_of(""));
        let told = self.run(&format!("prefix={prefix}\n{LIST}"))?;
        self.answered = Instant::now();
        self.silent_since = None;
        let (jobs, ended) = listed(&told, &self.name);
        self.known = jobs;
        Ok(ended)
    }

    fn start(&mut self, app: &App, ids: &[String], resource_file: &str) -> Result<(), String> {
        let program = self.program(app)?;
        let args: Vec<String> = app
            .slave_args("rsc")
            .iter()
            .map(|arg| quoted(arg))
            .collect();
        // It holds the run's secret: the script goes by standard input, and the file is the user's alone from its first
        // byte, as are its copies.
        let mut script =
            format!("rm -f rsc.new\n(umask 077; cat >rsc.new) <<'{END}'\n{resource_file}\n{END}\n");
        for id in ids {
            let listens = port_of(id).map(|port| format!(" {LISTEN} {port}"));
            let (id, job) = (quoted(id), quoted(&self.job_of(id)));
            let _ = writeln!(
                script,
                "start {id} {job} {program} {}{}",
                args.join(" "),
                listens.unwrap_or_default()
            );
        }
        self.run(&format!("{START}{script}rm -f rsc.new\n"))
            .map(|_| ())
    }

    fn count_started(&mut self, ids: &[String]) {
        let job = |id: &String| Job {
            id: format!("{}:{id}", self.name),
            state: JobState::Running,
            host: Some(self.name.clone()),
            ran: 0,
            listens: port_of(id).is_some(),
        };
        let jobs: Vec<Job> = ids.iter().map(job).collect();
        self.known.extend(jobs);
    }

    /// Another file, or one that was changed, is copied again: slaves that start now are what is named now.
    fn program(&mut self, app: &App) -> Result<String, String> {
        let Some(machine) = &self.machine else {
            return Ok(local_program(app));
        };
        let files = std::iter::once(&app.binary).chain(&app.libraries);
        let stamps: Vec<Stamp> = files.map(|path| stamp(path)).collect();
        if let Some((copied, program)) = &self.program
            && *copied == stamps
        {
            return Ok(program.clone());
        }
        let program = Upload::new(&app.binary, &app.libraries)?.to(machine)?;
        self.program = Some((stamps, program.clone()));
        Ok(program)
    }
}

/// Between the unique part of a job's name and its port.
const PORT: &str = "-p";
const LISTEN: &str = "--mw-slave-listen";

/// The port of a job whose slave listens, by its name.
fn port_of(id: &str) -> Option<u16> {
    id.rsplit_once(PORT)?.1.parse().ok()
}

/// A file, when it was changed, and its length.
type Stamp = (PathBuf, Option<(SystemTime, u64)>);

fn stamp(path: &Path) -> Stamp {
    let data = fs::metadata(path);
    let of = |data: fs::Metadata| Some((data.modified().ok()?, data.len()));
    (path.to_owned(), data.ok().and_then(of))
}

fn local_program(app: &App) -> String {
    let folders: Vec<String> = app
        .libraries
        .iter()
        .filter_map(|library| Some(library.parent()?.display().to_string()))
        .collect();
    let binary = quoted(&app.binary.to_string_lossy());
    match folders.is_empty() {
        true => binary,
        false => format!(
            "env LD_LIBRARY_PATH={} {binary}",
            quoted(&folders.join(":"))
        ),
    }
}

/// Starts one slave in a session of its own, so that it outlives the shell that starts it.
const START: &str = r#"
start() {
    id=$1; job=$2; shift 2
    mkdir -p "$id" && cp rsc.new "$id/rsc" || exit 1
    (cd "$id" && RINGMW_JOB=$job exec setsid sh -c '
        trap "" HUP
        "$@" >out 2>&1 </dev/null &
        slave=$!
        trap "kill -TERM $slave 2>/dev/null" TERM
        read -r now idle </proc/uptime
        echo "$$ ${now%%.*}" >pid.new && mv pid.new pid
        wait "$slave"; code=$?
        while kill -0 "$slave" 2>/dev/null; do wait "$slave"; code=$?; done
        echo "$code" >code.new && mv code.new code
    ' ringmw-slave "$@") >/dev/null 2>&1 </dev/null &
    tries=0
    while [ ! -e "$id/pid" ] && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
}
"#;

/// Tells each job's state; of one that has ended its last lines too, and forgets it.
///
/// Seconds are those since the machine was started, which no step of its clock changes. Where a job's file counts by that
/// clock, as older releases had it, it has run for as long as the machine.
const LIST: &str = r#"
read -r now idle </proc/uptime; now=${now%%.*}
for dir in */; do
    id=${dir%/}
    [ -e "$id/rsc" ] || continue
    if [ -e "$id/code" ]; then
        :
    elif [ -e "$id/pid" ] && read -r pid began <"$id/pid" && kill -0 "$pid" 2>/dev/null &&
        tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qxF "RINGMW_JOB=$prefix$id"; then
        [ "$began" -le "$now" ] || began=0
        echo "running $id $((now - began))"; continue
    elif [ ! -e "$id/pid" ] && [ -n "$(find "$id" -prune -mmin -1)" ]; then
        echo "running $id 0"; continue
    fi
    # Looked at once more: it may have ended between the two looks above.
    code=lost; [ ! -e "$id/code" ] || code=$(cat "$id/code")
    echo "ended $id $code"
    tail -n 8 "$id/out" 2>/dev/null | sed 's/^/| /'
    mv -f "$id/out" last.out 2>/dev/null; rm -rf "$id"
done
"#;

/// What [`LIST`] printed: the jobs that run, and how others ended.
fn listed(text: &str, host: &str) -> (Vec<Job>, Vec<End>) {
    let (mut jobs, mut ended): (Vec<Job>, Vec<(String, String, String)>) = Default::default();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("| ") {
            if let Some((_, _, said)) = ended.last_mut() {
                said.push_str(line);
                said.push('\n');
            }
            continue;
        }
        let mut fields = line.split(' ');
        let (Some(word), Some(id), Some(value)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let job = format!("{host}:{id}");
        match word {
            "running" => jobs.push(Job {
                id: job,
                state: JobState::Running,
                host: Some(host.to_owned()),
                ran: value.parse::<u64>().unwrap_or(0) * SECOND,
                listens: port_of(id).is_some(),
            }),
            "ended" => ended.push((job, value.to_owned(), String::new())),
            _ => {}
        }
    }
    let end = |(job, status, said): (String, String, String)| {
        let lines = lines_of(&said);
        End {
            job,
            host: Some(host.to_owned()),
            how: how(&status, &lines),
            lines,
        }
    };
    (jobs, ended.into_iter().map(end).collect())
}

/// The binary and its libraries, to be copied to machines.
pub(crate) struct Upload {
    files: Vec<(String, PathBuf)>,
    /// SipHash-1-3 of all their content: another build gets another folder, so that a running slave's file is never
    /// touched, and another release of this tool finds the same one.
    hash: u64,
}

impl Upload {
    pub(crate) fn new(binary: &Path, libraries: &[PathBuf]) -> Result<Self, String> {
        let mut hasher = SipHasher13::new();
        let mut files = Vec::new();
        for path in std::iter::once(binary).chain(libraries.iter().map(PathBuf::as_path)) {
            let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            hasher.write(&bytes);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.push((name.into_owned(), path.to_owned()));
        }
        Ok(Self {
            files,
            hash: hasher.finish(),
        })
    }

    /// Copies them if they are not there; how the program is called there, as words of a shell.
    pub(crate) fn to(&self, machine: &Machine) -> Result<String, String> {
        // Several hosts may be one machine, or share a home.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let dir = format!("{}/bin/{:016x}", machine.dir(), self.hash);
        let word = quoted(&dir);
        let fault = |error: String| format!("{}: copying the binary: {error}", machine.host);
        for (name, path) in &self.files {
            let _guard = ONE_AT_A_TIME.lock();
            let file = quoted(&format!("{dir}/{name}"));
            let there = output(
                machine
                    .ssh()
                    .arg(format!("test -x {file} && echo there || true")),
                b"",
            )
            .map_err(fault)?;
            if there.trim() == "there" {
                continue;
            }
            let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let script = format!(
                "umask 077; mkdir -p {word} && cat >{file}.$$ && chmod 700 {file}.$$ && mv {file}.$$ {file}"
            );
            output(machine.ssh().arg(script), &bytes).map_err(fault)?;
        }
        // Relative to the home: the program runs in its job's folder.
        let at = if dir.starts_with('/') {
            ""
        } else {
            "\"$HOME\"/"
        };
        let program = format!("{at}{}", quoted(&format!("{dir}/{}", self.files[0].0)));
        Ok(match self.files.len() {
            1 => program,
            _ => format!("env LD_LIBRARY_PATH={at}{word} {program}"),
        })
    }
}

impl Batch for Shell {
    fn jobs(&mut self) -> Result<Vec<Job>, String> {
        let told: Vec<_> = std::thread::scope(|scope| {
            let list = |host| scope.spawn(move || Host::list(host));
            let threads: Vec<_> = self.hosts.iter_mut().map(list).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        let mut answers = 0;
        let mut errors = Vec::new();
        for (host, told) in self.hosts.iter_mut().zip(told) {
            match told.unwrap_or_else(|_| Err("the thread that asked it panicked".to_owned())) {
                Ok(ended) => {
                    answers += 1;
                    if std::mem::take(&mut host.is_lost) {
                        self.notes.push(format!("{} answers again", host.name));
                    }
                    self.ended.extend(ended);
                }
                Err(error) => {
                    if host.silent_since.is_none() {
                        errors.push(match host.known.len() {
                            0 => error,
                            slaves => format!(
                                "{error}; its slaves, {slaves} when it last answered, count as running for {} s",
                                self.lost_after.as_secs()
                            ),
                        });
                    }
                    host.silent_since.get_or_insert_with(Instant::now);
                    if host.answered.elapsed() > self.lost_after && !host.is_lost {
                        host.is_lost = true;
                        errors.push(format!(
                            "{} has not answered for {} s: its {} slaves count as lost, and others start elsewhere",
                            host.name,
                            self.lost_after.as_secs(),
                            host.known.len()
                        ));
                        host.known.clear();
                    }
                }
            }
        }
        self.notes.extend(errors);
        if answers == 0 && !self.hosts.iter().all(|host| host.is_lost) {
            return Err(self
                .notes
                .pop()
                .unwrap_or_else(|| "no machine of the farm answers".to_owned()));
        }
        Ok(self
            .hosts
            .iter()
            .flat_map(|host| host.known.clone())
            .collect())
    }

    fn ends(&mut self) -> Vec<End> {
        std::mem::take(&mut self.ended)
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn submit(&mut self, app: &App, jobs: u32, avoid: &[String]) -> Result<Vec<String>, String> {
        let path = app.dir.join(&app.resource_file);
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if text.lines().any(|line| line == END) {
            return Err(format!("{}: it is no resource file", path.display()));
        }
        let shares = shares(&self.hosts, jobs, avoid);
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut plans: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for at in shares {
            self.next += 1;
            let own = plans.entry(at).or_default();
            own.push(self.hosts[at].name(&format!("{seconds}-{}", self.next), own));
        }
        let text = text.as_str();
        let told: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .hosts
                .iter_mut()
                .enumerate()
                .filter_map(|(at, host)| Some((host, plans.get(&at)?)))
                .map(|(host, ids)| {
                    scope.spawn(move || {
                        let started = host.start(app, ids, text);
                        match &started {
                            // Counted from now on, also while the host does not answer.
                            Ok(()) => host.count_started(ids),
                            Err(_) => host.silent_since = Some(Instant::now()),
                        }
                        started
                            .map(|()| ids.iter().map(|id| format!("{}:{id}", host.name)).collect())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        let mut started: Vec<String> = Vec::new();
        for told in told {
            match told {
                Ok(Ok(ids)) => started.extend::<Vec<String>>(ids),
                Ok(Err(error)) => self.notes.push(error),
                Err(_) => self
                    .notes
                    .push("the thread that starts slaves panicked".to_owned()),
            }
        }
        Ok(started)
    }

    fn remove(&mut self, ids: &[String], running: bool) -> Result<(), String> {
        // These are never queued.
        if !running {
            return Ok(());
        }
        for host in &self.hosts {
            let prefix = format!("{}:", host.name);
            let own: Vec<String> = ids
                .iter()
                .filter_map(|id| Some(quoted(id.strip_prefix(&prefix)?)))
                .collect();
            if own.is_empty() {
                continue;
            }
            host.run(&format!(
                "for id in {}; do read -r pid began <\"$id/pid\" && kill -TERM \"$pid\"; done 2>/dev/null; true\n",
                own.join(" ")
            ))?;
        }
        Ok(())
    }
}

/// Which hosts take the jobs: each the one with most free slots.
fn shares(hosts: &[Host], jobs: u32, avoid: &[String]) -> Vec<usize> {
    let may_serve = |host: &Host| {
        let silent = host
            .silent_since
            .is_some_and(|since| since.elapsed() < UNREACHABLE_PAUSE);
        !silent && !avoid.contains(&host.name)
    };
    let free = |host: &Host| host.slots.saturating_sub(host.known.len() as u32);
    let mut free: Vec<u32> = hosts
        .iter()
        .map(|host| if may_serve(host) { free(host) } else { 0 })
        .collect();
    let mut shares = Vec::new();
    for _ in 0..jobs {
        // The first of the freest.
        let Some((at, most)) = free
            .iter_mut()
            .enumerate()
            .rev()
            .max_by_key(|(_, free)| **free)
        else {
            break;
        };
        if *most == 0 {
            break;
        }
        *most -= 1;
        shares.push(at);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overseer::facts::How;

    #[test]
    fn a_list_is_read() {
        let text = "running 17-1 42\nended 17-2 0\n| bye\nended 17-3 127\n| sh: ./app: not found\nended 17-4 lost\n";
        let (jobs, ended) = listed(text, "node1");
        assert_eq!(jobs.len(), 1);
        assert_eq!(
            (jobs[0].id.as_str(), jobs[0].ran),
            ("node1:17-1", 42 * SECOND)
        );
        let [left, dead @ ..] = &ended[..] else {
            panic!("{ended:?}")
        };
        assert_eq!(
            (&left.how, &left.lines[..]),
            (&How::Left, &["bye".to_owned()][..])
        );
        assert_eq!(dead.len(), 2);
        assert_eq!(dead[0].lines, ["sh: ./app: not found"]);
        let died = |end: &End, word: &str| matches!(&end.how, How::Died(how) if how.contains(word));
        assert!(died(&dead[0], "127") && died(&dead[1], "gone"), "{dead:?}");
        assert!(dead[1].lines.is_empty());
    }

    #[test]
    fn slaves_that_listen_have_a_port_each_and_a_freed_one_is_taken_again() {
        let machine = Machine {
            host: "node-p1".into(),
            slots: Some(3),
            access: Default::default(),
            listen: Some("9000".parse().expect("a port")),
            standing: Standing::Valid(1),
        };
        let mut host = host(Some(machine), "node-p1", 3, "/x");
        let mut ids = Vec::new();
        for nth in 0..3 {
            ids.push(host.name(&format!("17-{nth}"), &ids));
        }
        assert_eq!(ids, ["17-0-p9000", "17-1-p9001", "17-2-p9002"]);
        host.count_started(&ids);
        host.known.remove(1);
        let again = host.name("18-1", &[]);
        assert_eq!(again, "18-1-p9001");
        assert_eq!(port_of(&format!("node-p1:{again}")), Some(9001));
        // Of a host that is named like that, whose slaves dial.
        assert_eq!(port_of("node-p1:17-1"), None);
    }

    #[test]
    fn jobs_are_spread_by_free_slots() {
        let hosts = [
            host(None, "a", 2, "/x"),
            host(None, "b", 4, "/x"),
            host(None, "bad", 9, "/x"),
        ];
        let avoid = ["bad".to_owned()];
        assert_eq!(shares(&hosts, 3, &avoid), [1, 1, 0]);
        assert_eq!(
            shares(&hosts, 100, &avoid).len(),
            6,
            "no more than there are slots"
        );
        assert!(shares(&[], 3, &[]).is_empty());
    }
}
