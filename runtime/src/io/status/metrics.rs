//! The status as Prometheus reads it. No label names a slave or a host: thousands of them that come and go would make
//! thousands of series.

use std::fmt::{Display, Write as _};

use ringmw_codec::status::Status;

/// The text format's media type.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.0,
            "# HELP ringmw_{name} {help}\n# TYPE ringmw_{name} {kind}"
        );
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "ringmw_{name} {value}");
    }

    fn each<'a, V: Display>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) {
        self.head(name, kind, help);
        for (of, value) in values {
            let _ = writeln!(
                self.0,
                "ringmw_{name}{{{label}=\"{}\"}} {value}",
                escaped(of)
            );
        }
    }
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

pub(super) fn page(status: &Status) -> String {
    let mut page = Page(String::new());
    let (run, tasks, slaves) = (&status.run, &status.tasks, &status.slaves);
    page.head("build_info", "gauge", "What runs; always 1.");
    let _ = writeln!(
        page.0,
        "ringmw_build_info{{name=\"{}\",version=\"{}\",ringmw=\"{}\",build=\"{}\",engine=\"{}\"}} 1",
        escaped(&run.name),
        escaped(&run.app_version),
        escaped(&run.ringmw),
        escaped(&run.build),
        escaped(&run.engine),
    );
    page.one(
        "uptime_seconds",
        "gauge",
        "For how long the master runs.",
        run.uptime_ms as f64 / 1e3,
    );
    page.one(
        "status_age_seconds",
        "gauge",
        "How old these figures are.",
        status.age_ms as f64 / 1e3,
    );
    page.one(
        "master_held_seconds",
        "gauge",
        "For how long the master algorithm has held the master's thread; 0 if it does not.",
        status.held_ms as f64 / 1e3,
    );
    page.one(
        "master_load_ratio",
        "gauge",
        "The share of time in which the master's thread was busy.",
        run.load,
    );
    page.one(
        "master_stalls_total",
        "counter",
        "Turns of the master that took more than a second.",
        run.stalls,
    );
    page.each(
        (
            "tasks_ended_total",
            "counter",
            "Tasks that have ended, by how.",
        ),
        "end",
        [
            ("done", tasks.done),
            ("failed", tasks.failed),
            ("unrunnable", tasks.unrunnable),
            ("cancelled", tasks.cancelled),
        ],
    );
    page.one(
        "tasks_submitted_total",
        "counter",
        "Tasks that were submitted.",
        tasks.submitted,
    );
    page.one(
        "tasks_recycled_total",
        "counter",
        "Tasks that were handed out again since their slave was lost.",
        tasks.recycled,
    );
    page.one(
        "tasks_duplicated_total",
        "counter",
        "Tasks that were handed to a second slave since they ran so long.",
        tasks.duplicated,
    );
    page.one(
        "results_late_total",
        "counter",
        "Results that came when their task had ended.",
        tasks.late,
    );
    page.one(
        "tasks_queued",
        "gauge",
        "Tasks that wait in the master.",
        tasks.queued,
    );
    page.one(
        "tasks_running",
        "gauge",
        "Tasks in slaves' hands.",
        tasks.running,
    );
    page.one(
        "tasks_queued_bytes",
        "gauge",
        "What queued tasks take.",
        tasks.queued_bytes,
    );
    page.one(
        "tasks_queued_limit_bytes",
        "gauge",
        "How much queued tasks may take.",
        tasks.queued_bytes_max,
    );
    page.one(
        "results_ready",
        "gauge",
        "Ends that the master algorithm has not taken.",
        tasks.ready,
    );
    page.one(
        "slaves_connected",
        "gauge",
        "Slaves that are connected.",
        slaves.connected,
    );
    page.one(
        "slaves_busy",
        "gauge",
        "Slaves with tasks in hand.",
        slaves.busy,
    );
    page.one(
        "slaves_desired",
        "gauge",
        "Slaves that are desired.",
        slaves.desired,
    );
    page.one(
        "slaves_needed",
        "gauge",
        "Slaves that are missing.",
        slaves.needed,
    );
    page.one(
        "slaves_came_total",
        "counter",
        "Slaves that have connected.",
        slaves.came,
    );
    page.one(
        "slaves_refused_total",
        "counter",
        "Slaves that were refused, and handshakes that broke off.",
        slaves.refused,
    );
    page.each(
        (
            "slaves_lost_total",
            "counter",
            "Slaves that were lost, by cause.",
        ),
        "cause",
        status.losses.iter().map(|loss| (&*loss.cause, loss.slaves)),
    );
    page.each(
        (
            "packets_total",
            "counter",
            "Packets of tasks out and of results in.",
        ),
        "direction",
        [("out", run.packets_out), ("in", run.packets_in)],
    );
    page.each(
        ("packets_bytes_total", "counter", "Bytes of those packets."),
        "direction",
        [("out", run.bytes_out), ("in", run.bytes_in)],
    );
    page.one(
        "unsent_bytes",
        "gauge",
        "Bytes kept for slaves that have not read them.",
        run.unsent_bytes,
    );
    let algorithms = || {
        status
            .algorithms
            .iter()
            .map(|algorithm| (&*algorithm.name, algorithm))
    };
    let done = algorithms().map(|(name, algorithm)| (name, algorithm.done));
    page.each(
        (
            "algorithm_done_total",
            "counter",
            "Results of an algorithm.",
        ),
        "algorithm",
        done,
    );
    let failed = algorithms().map(|(name, algorithm)| (name, algorithm.failed));
    page.each(
        (
            "algorithm_failed_total",
            "counter",
            "Failed results of an algorithm.",
        ),
        "algorithm",
        failed,
    );
    let queued = algorithms().map(|(name, algorithm)| (name, algorithm.queued));
    page.each(
        (
            "algorithm_queued",
            "gauge",
            "Tasks of an algorithm that wait.",
        ),
        "algorithm",
        queued,
    );
    let running = algorithms().map(|(name, algorithm)| (name, algorithm.running));
    page.each(
        (
            "algorithm_running",
            "gauge",
            "Tasks of an algorithm in slaves' hands.",
        ),
        "algorithm",
        running,
    );
    page.head("task_compute_seconds", "summary", "Compute times of tasks.");
    for (name, algorithm) in algorithms() {
        let (name, compute) = (escaped(name), algorithm.compute);
        let quantiles = [
            ("0.5", compute.p50_ns),
            ("0.9", compute.p90_ns),
            ("0.99", compute.p99_ns),
        ];
        for (quantile, ns) in quantiles {
            let _ = writeln!(
                page.0,
                "ringmw_task_compute_seconds{{algorithm=\"{name}\",quantile=\"{quantile}\"}} {}",
                ns as f64 / 1e9
            );
        }
        let results = algorithm.done + algorithm.failed;
        let sum = compute.sum_ns as f64 / 1e9;
        let _ = writeln!(
            page.0,
            "ringmw_task_compute_seconds_sum{{algorithm=\"{name}\"}} {sum}"
        );
        let _ = writeln!(
            page.0,
            "ringmw_task_compute_seconds_count{{algorithm=\"{name}\"}} {results}"
        );
    }
    page.0
}

#[cfg(test)]
mod tests {
    use ringmw_codec::status::Algorithm;

    use super::*;

    #[test]
    fn every_family_is_described_once_and_names_are_escaped() {
        let status = Status {
            algorithms: vec![Algorithm {
                name: "a\"b\\c\n".into(),
                done: 3,
                ..Algorithm::default()
            }],
            ..Status::default()
        };
        let text = page(&status);
        let mut families: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        let described = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), described);
        assert_eq!(text.matches("# HELP").count(), described);
        assert!(text.contains("ringmw_algorithm_done_total{algorithm=\"a\\\"b\\\\c\\n\"} 3\n"));
        assert!(!text.contains("slave=") && !text.contains("host="));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (_, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }

    /// Every family of a run that has something of everything, as Prometheus' own tool sees it.
    #[test]
    #[ignore = "needs promtool, of Debian's package prometheus: `.ci/run machine` brings it"]
    fn promtool_finds_nothing() {
        use std::io::Write;
        use std::process::{Command, Stdio};

        let status = Status {
            algorithms: ["fit", "a\"b\\c"]
                .map(|name| Algorithm {
                    name: name.into(),
                    ..Algorithm::default()
                })
                .into(),
            ..Status::default()
        };
        let mut child = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool is there");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(page(&status).as_bytes()).expect("taken");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let told = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&told)
        );
        assert_eq!(String::from_utf8_lossy(&told), "");
    }
}
