//! No batch system at all: says what would be done, and plays a system that starts every job at once.

use super::batch::Batch;
use super::facts::{End, Job, JobState};
use super::pause::SECOND;
use super::slurm::ENDS;
use crate::submit::app::App;
use crate::submit::{condor, slurm};

pub(crate) struct Dry {
    jobs: Vec<Job>,
    next: u32,
    notes: Vec<String>,
    /// Print the submit file of HTCondor or Slurm, too.
    is_condor: Option<bool>,
}

impl Dry {
    pub(crate) fn new(is_condor: Option<bool>) -> Self {
        Self {
            jobs: Vec::new(),
            next: 0,
            notes: Vec::new(),
            is_condor,
        }
    }
}

impl Batch for Dry {
    fn jobs(&mut self) -> Result<Vec<Job>, String> {
        for job in &mut self.jobs {
            job.state = JobState::Running;
            job.ran += SECOND;
        }
        Ok(self.jobs.clone())
    }

    fn ends(&mut self) -> Vec<End> {
        Vec::new()
    }

    fn submit(&mut self, app: &App, jobs: u32, avoid: &[String]) -> Result<Vec<String>, String> {
        let mut note = format!("would submit {jobs} slaves of {}", app.binary.display());
        let text = match self.is_condor {
            Some(true) => Some(condor::slaves_avoiding(app, jobs, avoid)?),
            Some(false) => Some(slurm::script(
                app,
                jobs,
                false,
                &app.dir.join(ENDS).to_string_lossy(),
            )?),
            None => None,
        };
        if let Some(text) = text {
            note.push_str(&format!(" with {}:\n{}", text.name, text.text));
        }
        self.notes.push(note);
        let ids: Vec<String> = (0..jobs)
            .map(|index| format!("dry.{}", self.next + index))
            .collect();
        self.next += jobs;
        self.jobs.extend(ids.iter().map(|id| Job {
            id: id.clone(),
            state: JobState::Queued,
            host: None,
            ran: 0,
            listens: false,
        }));
        Ok(ids)
    }

    fn remove(&mut self, ids: &[String], _running: bool) -> Result<(), String> {
        self.notes.push(format!("would remove {}", ids.join(" ")));
        self.jobs.retain(|job| !ids.contains(&job.id));
        Ok(())
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}
