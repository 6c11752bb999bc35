//! Local mode's slaves, tied to the run: the trail tells their deaths, and that the run is over tells the supervisor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringmw_codec::audit::Event;
use tokio::sync::mpsc::UnboundedSender;

use crate::io::local::{LocalEvent, NAMELESS, Plan, STOP_BOUND, Supervisor};
use crate::io::terminal::{complain, own_name};
use crate::master::driver::Outside;
use crate::proto::master::SHUTDOWN_WAIT;

pub(super) struct LocalSlaves {
    supervisor: Supervisor,
    slaves: u64,
    is_leaving: Arc<AtomicBool>,
}

impl LocalSlaves {
    /// # Errors
    /// When not even the first slave can be started.
    pub(super) fn start(mut plan: Plan, news: UnboundedSender<Outside>) -> Result<Self, String> {
        let slaves = u64::from(plan.slaves);
        let is_leaving = Arc::new(AtomicBool::new(false));
        let (leaving, say) = (Arc::clone(&is_leaving), Arc::clone(&plan.output));
        plan.output = Arc::new(move |stream, line| {
            // A slave that comes when the work is done finds no master. That is no news, least of all an error.
            if !(leaving.load(Ordering::Relaxed) && line.starts_with(NAMELESS.as_bytes())) {
                say(stream, line);
            }
        });
        let supervisor = Supervisor::start(plan, move |event| {
            let outside = match event {
                LocalEvent::Started { child, pid, .. } => {
                    Outside::Event(Event::ChildStarted { child, pid })
                }
                LocalEvent::Ended { death, .. } => Outside::Event(Event::ChildEnded {
                    child: death.child,
                    status: death.how,
                }),
                LocalEvent::Failed(failure) => Outside::Stop(failure.to_string()),
            };
            // The run may be over already; then nobody needs to know.
            let _ = news.send(outside);
        })
        .map_err(|error| format!("cannot start a slave of this binary: {error}"))?;
        Ok(LocalSlaves {
            supervisor,
            slaves,
            is_leaving,
        })
    }

    /// How many slaves it keeps running.
    pub(super) fn slaves(&self) -> u64 {
        self.slaves
    }

    /// To be called with every line of the trail.
    pub(super) fn watcher(&self) -> impl FnMut(&Event) + use<> {
        let is_leaving = Arc::clone(&self.is_leaving);
        let begin_to_stop = self.supervisor.stopper();
        move |event| match event {
            Event::ShutdownBegun { .. } => {
                is_leaving.store(true, Ordering::Relaxed);
                // Those that leave now are not started again, and their end is no news.
                begin_to_stop(Duration::from_nanos(SHUTDOWN_WAIT) + STOP_BOUND);
            }
            Event::Waiting {
                tasks,
                needs,
                since_s,
            } => complain(&own_name(), &waiting(*tasks, needs.as_deref(), *since_s)),
            _ => {}
        }
    }

    /// Waits for the slaves to end by themselves, then ends them.
    pub(super) fn stop(self) {
        self.supervisor.stop(STOP_BOUND);
    }
}

/// Tasks wait that no slave of this machine may run.
fn waiting(tasks: u64, needs: Option<&str>, since_s: Option<u64>) -> String {
    let Some(needs) = needs else {
        return format!(
            "{tasks} tasks wait that no slave here may run: they are addressed to slaves, or to a group that none is in"
        );
    };
    let since = match since_s {
        Some(since) if since >= 60 => format!(" for {since} s"),
        _ => String::new(),
    };
    let flags = needs
        .split(' ')
        .map(|need| format!("--mw-slave-label {need}"));
    let flags: Vec<String> = flags.collect();
    format!(
        "{tasks} tasks have waited{since} for a slave that has what they need ({needs}): none here has it; start with {}",
        flags.join(" ")
    )
}
