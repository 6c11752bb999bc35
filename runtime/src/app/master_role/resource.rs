//! The resource file of a run: what stands in it, from what the master needs.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringmw_codec::audit::{Event, ResourceStatus};
use ringmw_codec::journal::run_text;
use ringmw_codec::resource::{RESOURCE_FORMAT_VERSION, ResourceFile, UNIVERSAL_TIME_OFFSET};
use ringmw_codec::secret::Secret;

use crate::app::master_role::Setting;
use crate::app::master_role::status::Told;
use crate::io::clock;
use crate::io::files::life::OwnLife;
use crate::io::files::resource::{self, ResourceSchedule, ResourceWriter};
use crate::io::terminal::{complain, own_name};
use crate::master::driver::Report;
use crate::proto::need::Need;

/// The last write may take this long before the process ends without it.
const LAST_WRITE_BOUND: Duration = Duration::from_secs(2);

/// What is the same in every version of the file.
struct Constant {
    member_id: String,
    update_interval: u64,
    slave_executable: (String, Vec<String>),
    slave_arguments: Vec<String>,
    master_addresses: Vec<String>,
    secret: Option<Secret>,
    run_id: String,
    status: Told,
}

pub(super) struct Reporting {
    constant: Arc<Constant>,
    life: Option<OwnLife>,
    writer: Rc<ResourceWriter>,
    /// As the master saw it last.
    need: Rc<Cell<Need>>,
    interval: Duration,
}

impl Reporting {
    /// `None` if no resource file is wanted.
    ///
    /// # Errors
    /// When it cannot be written, or this process's executable cannot be found.
    pub(super) fn open(
        setting: &Setting,
        addresses: &[String],
        secret: Option<&Secret>,
        run: u128,
        status: Told,
        life: Option<OwnLife>,
    ) -> Result<Option<Self>, String> {
        let settings = &setting.settings;
        let Some(path) = settings.resource_file.clone() else {
            return Ok(None);
        };
        let writer = ResourceWriter::open(path, life.clone())?;
        let (executable, libraries) = resource::slave_executable(settings.slave_executable.as_deref())
            .map_err(|error| format!("the slave executable for --mw-resource-file cannot be found: {error}; name it with --mw-slave-executable"))?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let constant = Constant {
            member_id: setting.member_id.clone(),
            update_interval: settings.resource_interval.as_secs(),
            slave_executable: (text(executable), libraries.into_iter().map(text).collect()),
            slave_arguments: slave_arguments(addresses),
            master_addresses: addresses.to_vec(),
            secret: secret.cloned(),
            run_id: run_text(run),
            status,
        };
        Ok(Some(Reporting {
            constant: Arc::new(constant),
            life,
            writer: Rc::new(writer),
            need: Rc::default(),
            interval: settings.resource_interval,
        }))
    }

    /// The driver's part: writes when it is due, and tells the trail what became of it.
    pub(super) fn reporter(&self) -> Report {
        let (constant, writer) = (Arc::clone(&self.constant), Rc::clone(&self.writer));
        let seen = Rc::clone(&self.need);
        let mut schedule = ResourceSchedule::new(self.interval);
        let mut told = None;
        let mut is_judged = self.constant.secret.is_none();
        Box::new(move |now, need, note| {
            for report in writer.take_reports() {
                // A folder may be gone for hours, and every write fails as the one before: that is one line.
                let error = report.result.as_ref().err().map(ToString::to_string);
                let is_told = error.is_some() && error == told;
                told = error;
                if report.result.is_ok() && !std::mem::replace(&mut is_judged, true) {
                    warn_if_open(&writer, note);
                }
                if !is_told {
                    note(event(&writer, report, ResourceStatus::InProgress));
                }
            }
            seen.set(need);
            if schedule.due(now, need) {
                let text = constant.file(need, false).write();
                writer.write(text, constant.is_secret(), need.needed);
            }
        })
    }

    /// For a process that ends from another thread: puts a file there that says that the run is finished.
    pub(super) fn say_finished(&self) -> Box<dyn Fn() + Send + Sync> {
        let (constant, path) = (Arc::clone(&self.constant), self.writer.path().to_owned());
        let life = self.life.clone();
        Box::new(move || {
            let text = constant.file(Need::default(), true).write();
            // Nobody is left to be told.
            let _ = resource::replace(&path, life.as_ref(), text.as_bytes(), constant.is_secret());
        })
    }

    /// Writes the last version; the lines that are owed for it and for those before.
    pub(super) fn finish(self, finished: bool) -> Vec<Event> {
        let status = if finished {
            ResourceStatus::Finished
        } else {
            ResourceStatus::InProgress
        };
        let earlier = self.writer.take_reports();
        let mut events: Vec<_> = earlier
            .into_iter()
            .map(|report| event(&self.writer, report, ResourceStatus::InProgress))
            .collect();
        let need = match finished {
            true => Need::default(),
            // It will be started again, and desire as many: nobody is to take the slaves away meanwhile.
            false => {
                let desired = self.need.get().desired;
                Need {
                    needed: desired,
                    desired,
                    connected: 0,
                    busy: 0,
                    queued: 0,
                }
            }
        };
        let text = self.constant.file(need, finished).write();
        let stands = self
            .writer
            .finish(text, self.constant.is_secret(), 0, LAST_WRITE_BOUND);
        let last = self.writer.take_reports();
        if last.is_empty() && !stands {
            events.push(Event::ResourceFileError {
                path: self.writer.path().display().to_string(),
                error: "the last version is not written: the file system does not answer"
                    .to_owned(),
            });
        }
        events.extend(
            last.into_iter()
                .map(|report| event(&self.writer, report, status)),
        );
        events
    }
}

impl Constant {
    /// Who may read it may look at the run.
    fn is_secret(&self) -> bool {
        self.secret.is_some() || self.status.token.is_some()
    }

    fn file(&self, need: Need, finished: bool) -> ResourceFile {
        let unix = u64::try_from(clock::unix_micros()).unwrap_or_default() / 1_000_000;
        ResourceFile {
            finished,
            timestamp: unix + UNIVERSAL_TIME_OFFSET,
            member_id: self.member_id.clone(),
            update_interval: self.update_interval,
            slaves_needed: need.needed,
            slave_executable: self.slave_executable.clone(),
            slave_arguments: self.slave_arguments.clone(),
            slaves_desired: Some(need.desired),
            slaves_connected: Some(need.connected),
            slaves_busy: Some(need.busy),
            tasks_queued: Some(need.queued),
            master_addresses: self.master_addresses.clone(),
            format: Some(RESOURCE_FORMAT_VERSION),
            // Nobody joins a run that is finished.
            secret: self
                .secret
                .as_ref()
                .filter(|_| !finished)
                .map(|secret| secret.to_text().to_string()),
            run_id: Some(self.run_id.clone()),
            status_address: self.status.address.clone(),
            status_page: self.status.page.clone(),
            status_token: self.status.token.clone(),
        }
    }
}

/// Once, after the first write: a secret that others may read is none.
fn warn_if_open(writer: &ResourceWriter, note: &mut dyn FnMut(Event)) {
    if let Some(mode) = resource::is_open_to_others(writer.path()) {
        let text = format!(
            "--mw-resource-file {}: its file system keeps no modes, all may read the run's secret there (mode {mode:04o}): put it where only those may go who may join",
            writer.path().display()
        );
        complain(&own_name(), &text);
        note(Event::Note { text });
    }
}

fn event(writer: &ResourceWriter, report: resource::Report, status: ResourceStatus) -> Event {
    let path = writer.path().display().to_string();
    match report.result {
        Ok(()) => Event::ResourceFile {
            path,
            status,
            needed: report.mark,
        },
        Err(error) => Event::ResourceFileError {
            path,
            error: error.to_string(),
        },
    }
}

/// The arguments of a slave that knows no resource file: CL-MW's form, with the first address.
fn slave_arguments(addresses: &[String]) -> Vec<String> {
    let mut arguments = vec!["--mw-slave".to_owned()];
    if let Some((host, port)) = addresses
        .first()
        .and_then(|address| address.rsplit_once(':'))
    {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        arguments.extend(["--mw-master-host", host, "--mw-master-port", port].map(str::to_owned));
    }
    arguments
}
