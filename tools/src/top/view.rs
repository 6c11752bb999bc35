//! What `ringmw top` shows on a terminal, and what its keys do.

use ratatui::Frame;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Sparkline, Table, TableState, Wrap};
use ringmw_codec::status::{Doing, Slave, Status, Told};

use super::plain::{big, clock, short, span};
use crate::names::counted;
use crate::say::safe;

/// Rates that are drawn.
const RATES_MAX: usize = 600;

/// From this width on a slave's job has a column.
const JOBS_FROM: u16 = 110;

/// Which table has the screen.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Tab {
    Slaves,
    Hosts,
    Algorithms,
    Messages,
}

const TABS: [(Tab, &str); 4] = [
    (Tab::Slaves, "Slaves"),
    (Tab::Hosts, "Hosts"),
    (Tab::Algorithms, "Algorithms"),
    (Tab::Messages, "Messages"),
];

/// What a line is typed for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Typed {
    Filter,
    Why,
}

pub(super) struct View {
    status: Status,
    /// Why the last look gave none.
    error: Option<String>,
    rates: Vec<u64>,
    tab: Tab,
    /// Somebody has turned to it; until then it is what says most.
    is_turned_to: bool,
    /// Which column a table is sorted by.
    sort: usize,
    filter: String,
    typed: Option<(Typed, String)>,
    table: TableState,
    /// What the selected row is, as `why` takes it.
    selected: Option<String>,
    question: Option<String>,
    answer: Option<(String, Vec<String>)>,
}

/// Slaves, unless there are too many to list.
fn first_tab(status: &Status) -> Tab {
    match status.each.is_empty() && status.slaves.connected > 0 {
        true => Tab::Hosts,
        false => Tab::Slaves,
    }
}

impl View {
    pub(super) fn new(status: Status) -> Self {
        let rate = status.tasks.rate as u64;
        View {
            tab: first_tab(&status),
            is_turned_to: false,
            status,
            error: None,
            rates: vec![rate],
            sort: 0,
            filter: String::new(),
            typed: None,
            table: TableState::default(),
            selected: None,
            question: None,
            answer: None,
        }
    }

    pub(super) fn on_look(&mut self, looked: Result<Status, String>) {
        match looked {
            Ok(status) => {
                if !self.is_turned_to && first_tab(&status) != self.tab {
                    self.show(first_tab(&status));
                }
                self.status = status;
                self.error = None;
                if self.rates.len() == RATES_MAX {
                    self.rates.remove(0);
                }
                self.rates.push(self.status.tasks.rate as u64);
            }
            Err(error) => self.error = Some(error),
        }
    }

    pub(super) fn take_question(&mut self) -> Option<String> {
        self.question.take()
    }

    pub(super) fn on_answer(&mut self, about: &str, told: Result<Told, String>) {
        let lines = match told {
            Ok(told) => told.lines.into_iter().chain(told.error).collect(),
            Err(error) => vec![error],
        };
        self.answer = Some((about.to_owned(), lines));
    }

    /// False: it is to end.
    pub(super) fn on_key(&mut self, key: KeyCode) -> bool {
        if self.typed.is_some() {
            self.on_typed(key);
            return true;
        }
        if self.answer.take().is_some()
            && matches!(key, KeyCode::Esc | KeyCode::Char('q') | KeyCode::Enter)
        {
            return true;
        }
        match key {
            KeyCode::Char('q') => return false,
            KeyCode::Esc if self.filter.is_empty() => return false,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(TABS.len() - 1),
            KeyCode::Char('s') => self.sort += 1,
            KeyCode::Char('/' | 'f') => self.typed = Some((Typed::Filter, self.filter.clone())),
            KeyCode::Char('w') => self.typed = Some((Typed::Why, String::new())),
            KeyCode::Enter => self.question.clone_from(&self.selected),
            KeyCode::Down | KeyCode::Char('j') => self.table.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.table.select_previous(),
            KeyCode::PageDown => self.table.scroll_down_by(20),
            KeyCode::PageUp => self.table.scroll_up_by(20),
            KeyCode::Home => self.table.select_first(),
            KeyCode::End => self.table.select_last(),
            _ => {}
        }
        true
    }

    fn turn(&mut self, by: usize) {
        let at = TABS
            .iter()
            .position(|(tab, _)| *tab == self.tab)
            .unwrap_or(0);
        self.is_turned_to = true;
        self.show(TABS[(at + by) % TABS.len()].0);
    }

    fn show(&mut self, tab: Tab) {
        self.tab = tab;
        (self.sort, self.table, self.selected) = (0, TableState::default(), None);
    }

    fn on_typed(&mut self, key: KeyCode) {
        let Some((what, text)) = &mut self.typed else {
            return;
        };
        match key {
            KeyCode::Char(char) if text.len() < 200 => text.push(char),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Esc => self.typed = None,
            KeyCode::Enter => {
                match what {
                    Typed::Filter => self.filter = text.trim().to_owned(),
                    Typed::Why if !text.trim().is_empty() => {
                        self.question = Some(text.trim().to_owned())
                    }
                    Typed::Why => {}
                }
                self.typed = None;
            }
            _ => {}
        }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, rate, tabs, body, foot] = Layout::vertical([
            Constraint::Length(5),
            Constraint::Length(if frame.area().height >= 20 { 3 } else { 0 }),
            Constraint::Length(1),
            Constraint::Min(3),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_head(frame, head);
        let shown = self.rates.len().saturating_sub(usize::from(rate.width));
        let sparkline = Sparkline::default()
            .data(&self.rates[shown..])
            .style(Style::new().fg(Color::Green));
        frame.render_widget(sparkline, rate);
        self.draw_tabs(frame, tabs);
        match self.tab {
            Tab::Slaves => self.draw_slaves(frame, body),
            Tab::Hosts => self.draw_hosts(frame, body),
            Tab::Algorithms => self.draw_algorithms(frame, body),
            Tab::Messages => self.draw_messages(frame, body),
        }
        self.draw_foot(frame, foot);
        if let Some((about, lines)) = &self.answer {
            draw_answer(frame, about, lines);
        }
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let (run, tasks, slaves) = (&self.status.run, &self.status.tasks, &self.status.slaves);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let bad = |is_bad: bool| {
            if is_bad {
                Style::new().fg(Color::Red)
            } else {
                Style::new()
            }
        };
        let missing = match slaves.needed {
            0 => String::new(),
            needed => format!(", {needed} of {} desired missing", slaves.desired),
        };
        let note = match (&self.error, self.status.held_ms, run.is_leaving) {
            (Some(error), ..) => Span::styled(safe(error), Style::new().fg(Color::Red)),
            (None, 1.., _) => Span::styled(
                format!(
                    "the master algorithm has held the thread for {}: figures of then",
                    span(self.status.held_ms)
                ),
                Style::new().fg(Color::Yellow),
            ),
            (None, _, true) => Span::styled("the run ends", Style::new().fg(Color::Yellow)),
            _ => Span::raw(""),
        };
        let text = vec![
            Line::from(vec![
                Span::styled(safe(&run.name), bold),
                Span::raw(format!(
                    " {} on {} ({}), up {}, {}",
                    safe(&run.app_version),
                    safe(&run.host),
                    run.pid,
                    span(run.uptime_ms),
                    run.engine
                )),
            ]),
            Line::from(vec![
                Span::raw(format!(
                    "tasks   {} queued, {} running, ",
                    big(tasks.queued as f64),
                    big(tasks.running as f64)
                )),
                Span::styled(format!("{} done", big(tasks.done as f64)), bold),
                Span::raw(format!(", {}/s, ", big(tasks.rate))),
                Span::styled(format!("{} failed", tasks.failed), bad(tasks.failed > 0)),
                Span::raw(format!(", {} unrunnable", tasks.unrunnable)),
            ]),
            Line::from(vec![
                Span::raw(format!(
                    "slaves  {}, {} busy{missing}, ",
                    slaves.connected, slaves.busy
                )),
                Span::styled(format!("{} lost", slaves.lost), bad(slaves.lost > 0)),
                Span::raw(format!(", {} refused", slaves.refused)),
            ]),
            Line::from(format!(
                "master  {:.0} % busy, {} stalls, {} packets out, {} in, {} results not taken",
                100.0 * run.load,
                run.stalls,
                big(run.packets_out as f64),
                big(run.packets_in as f64),
                big(tasks.ready as f64)
            )),
            Line::from(note),
        ];
        frame.render_widget(Paragraph::new(text), area);
    }

    fn draw_tabs(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut spans = Vec::new();
        for (tab, name) in TABS {
            let style = match tab == self.tab {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => Style::new().add_modifier(Modifier::DIM),
            };
            spans.extend([Span::styled(format!(" {name} "), style), Span::raw(" ")]);
        }
        if !self.filter.is_empty() {
            let text = format!("only {:?}", self.filter);
            spans.push(Span::styled(text, Style::new().fg(Color::Yellow)));
        }
        frame.render_widget(Paragraph::new(Line::from(spans)), area);
    }

    fn draw_foot(&self, frame: &mut Frame<'_>, area: Rect) {
        let text = match &self.typed {
            Some((Typed::Filter, text)) => format!("only hosts, slaves and jobs with: {text}_"),
            Some((Typed::Why, text)) => format!("why (TASK-7, SLAVE-3 or a host): {text}_"),
            None => "q quit  Tab next  s sort  / filter  ↑↓ Enter why  w why ..".to_owned(),
        };
        let style = Style::new().add_modifier(Modifier::DIM);
        frame.render_widget(Paragraph::new(text).style(style), area);
    }

    fn passes(&self, texts: &[&str]) -> bool {
        let filter = self.filter.to_lowercase();
        filter.is_empty()
            || texts
                .iter()
                .any(|text| text.to_lowercase().contains(&filter))
    }

    fn draw_slaves(&mut self, frame: &mut Frame<'_>, area: Rect) {
        if self.status.each.is_empty() {
            let text = match self.status.slaves.connected {
                0 => "no slave is connected".to_owned(),
                many => format!("{many} slaves: too many to list, see Hosts"),
            };
            self.selected = None;
            frame.render_widget(Paragraph::new(text), area);
            return;
        }
        let name = |slave: &Slave| format!("SLAVE-{}", slave.slave);
        let mut slaves: Vec<&Slave> = self
            .status
            .each
            .iter()
            .filter(|slave| self.passes(&[&name(slave), &slave.host, &slave.job]))
            .collect();
        let has_jobs = area.width >= JOBS_FROM && slaves.iter().any(|slave| !slave.job.is_empty());
        let columns = [
            "slave", "host", "state", "tasks", "for", "results", "failed", "here", "job",
        ];
        let columns = &columns[..columns.len() - usize::from(!has_jobs)];
        let sort = self.sort % columns.len();
        match columns[sort] {
            "slave" => {}
            "host" => slaves.sort_by_cached_key(|slave| counted(&slave.host)),
            "state" => slaves.sort_by_key(|slave| slave.state.word()),
            "tasks" => slaves.sort_by_key(|slave| std::cmp::Reverse(slave.held)),
            "for" => slaves.sort_by_key(|slave| std::cmp::Reverse(slave.first_ms)),
            "results" => slaves.sort_by_key(|slave| std::cmp::Reverse(slave.done)),
            "failed" => slaves.sort_by_key(|slave| std::cmp::Reverse(slave.failed)),
            "here" => slaves.sort_by_key(|slave| std::cmp::Reverse(slave.age_ms)),
            _ => slaves.sort_by_cached_key(|slave| counted(&slave.job)),
        }
        let names: Vec<String> = slaves.iter().map(|slave| name(slave)).collect();
        let rows = slaves.iter().map(|slave| {
            let style = match slave.state {
                Doing::Busy => Style::new(),
                Doing::Idle => Style::new().add_modifier(Modifier::DIM),
                _ => Style::new().fg(Color::Yellow),
            };
            let first = if slave.held > 0 {
                span(slave.first_ms)
            } else {
                String::new()
            };
            Row::new([
                name(slave),
                safe(&slave.host),
                match slave.quarantined.is_empty() {
                    true => slave.state.word().to_owned(),
                    false => "quarantine".to_owned(),
                },
                slave.held.to_string(),
                first,
                slave.done.to_string(),
                slave.failed.to_string(),
                span(slave.age_ms),
                safe(&slave.job),
            ])
            .style(style)
        });
        let mut widths = vec![Constraint::Length(10), Constraint::Min(13)];
        widths.extend([10, 5, 11, 7, 6, 11].map(Constraint::Length));
        if has_jobs {
            widths.push(Constraint::Min(20));
        }
        let table = Table::new(rows, widths).header(header(columns, sort));
        self.render(frame, area, table, &names);
    }

    fn draw_hosts(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let mut hosts: Vec<_> = self
            .status
            .hosts
            .iter()
            .filter(|host| self.passes(&[&host.host]))
            .collect();
        let columns = [
            "host", "slaves", "busy", "results", "failed", "lost", "compute",
        ];
        let sort = self.sort % columns.len();
        match sort {
            0 => hosts.sort_by_cached_key(|host| counted(&host.host)),
            1 => hosts.sort_by_key(|host| std::cmp::Reverse(host.slaves)),
            2 => hosts.sort_by_key(|host| std::cmp::Reverse(host.busy)),
            3 => hosts.sort_by_key(|host| std::cmp::Reverse(host.done)),
            4 => hosts.sort_by_key(|host| std::cmp::Reverse(host.failed)),
            5 => hosts.sort_by_key(|host| std::cmp::Reverse(host.lost)),
            _ => hosts.sort_by_key(|host| std::cmp::Reverse(host.compute_ms)),
        }
        let names: Vec<String> = hosts.iter().map(|host| host.host.to_string()).collect();
        let rows = hosts.iter().map(|host| {
            Row::new([
                safe(&host.host),
                host.slaves.to_string(),
                host.busy.to_string(),
                host.done.to_string(),
                host.failed.to_string(),
                host.lost.to_string(),
                span(host.compute_ms),
            ])
        });
        let mut widths = vec![Constraint::Min(12)];
        widths.extend([7, 7, 10, 8, 7, 12].map(Constraint::Length));
        let table = Table::new(rows, widths).header(header(&columns, sort));
        self.render(frame, area, table, &names);
    }

    fn draw_algorithms(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let columns = [
            "algorithm",
            "queued",
            "running",
            "done",
            "failed",
            "/s",
            "p50",
            "p90",
            "p99",
        ];
        let rows = self.status.algorithms.iter().map(|algorithm| {
            let is_known = algorithm.done + algorithm.failed > 0;
            let time = |ns| if is_known { short(ns) } else { String::new() };
            Row::new([
                safe(&algorithm.name),
                big(algorithm.queued as f64),
                big(algorithm.running as f64),
                big(algorithm.done as f64),
                big(algorithm.failed as f64),
                big(algorithm.rate),
                time(algorithm.compute.p50_ns),
                time(algorithm.compute.p90_ns),
                time(algorithm.compute.p99_ns),
            ])
        });
        let mut widths = vec![Constraint::Min(12)];
        widths.extend([7, 7, 7, 6, 6, 9, 9, 9].map(Constraint::Length));
        let table = Table::new(rows, widths).header(header(&columns, usize::MAX));
        self.render(frame, area, table, &[]);
    }

    fn draw_messages(&mut self, frame: &mut Frame<'_>, area: Rect) {
        self.selected = None;
        let messages = &self.status.messages;
        let shown = messages.len().saturating_sub(area.height.into());
        let lines: Vec<Line<'_>> = messages[shown..]
            .iter()
            .map(|message| Line::from(format!("{} {}", clock(message.at_us), safe(&message.text))))
            .collect();
        let text = match lines.is_empty() {
            true => vec![Line::from("none")],
            false => lines,
        };
        frame.render_widget(Paragraph::new(text), area);
    }

    fn render(&mut self, frame: &mut Frame<'_>, area: Rect, table: Table<'_>, names: &[String]) {
        let table = table.row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, area, &mut self.table);
        self.selected = self.table.selected().and_then(|at| names.get(at).cloned());
    }
}

fn header<'a>(columns: &[&'a str], sort: usize) -> Row<'a> {
    let cells = columns.iter().enumerate().map(|(at, name)| {
        let style = match at == sort {
            true => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            false => Style::new().add_modifier(Modifier::DIM),
        };
        Span::styled(*name, style)
    });
    Row::new(cells)
}

fn draw_answer(frame: &mut Frame<'_>, about: &str, lines: &[String]) {
    let area = frame.area();
    // A line is wrapped at words, which may take a row more than its length says.
    let inside = usize::from(area.width.saturating_sub(2)).max(1);
    let rows: usize = lines
        .iter()
        .map(|line| match line.chars().count() {
            length if length <= inside => 1,
            length => length.div_ceil(inside) + 1,
        })
        .sum();
    let most = area.height.saturating_sub(6);
    let area = Rect {
        y: area.y + area.height.min(4),
        height: u16::try_from(rows + 2).map_or(most, |rows| rows.min(most)),
        ..area
    };
    let text: Vec<Line<'_>> = lines.iter().map(|line| Line::from(safe(line))).collect();
    let block = Block::bordered().title(format!(" why {} ", safe(about)));
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(text).wrap(Wrap { trim: false }).block(block),
        area,
    );
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn slave(number: u32) -> Slave {
        Slave {
            slave: number,
            host: format!("node{}", number % 40).into(),
            from: ([10, 0, 0, 1], 4000).into(),
            job: "".into(),
            pid: 1,
            group: "unordered".into(),
            state: if number.is_multiple_of(3) {
                Doing::Idle
            } else {
                Doing::Busy
            },
            age_ms: 61_000,
            held: number % 3,
            first_ms: 1_200,
            done: u64::from(number) * 7,
            failed: 0,
            compute_ms: 9,
            progress: None,
            quarantined: Vec::new(),
        }
    }

    fn shown(slaves: u32, (width, height): (u16, u16), keys: &[KeyCode]) -> String {
        let mut status = Status::default();
        status.run.name = "collatz\u{1b}[2J".into();
        status.slaves.connected = slaves.into();
        status.each = (0..slaves).map(slave).collect();
        let mut view = View::new(status);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| view.draw(frame)).expect("drawn");
        for key in keys {
            view.on_key(*key);
            terminal.draw(|frame| view.draw(frame)).expect("drawn");
        }
        terminal.backend().to_string()
    }

    #[test]
    fn it_fits_small_and_large_windows_with_few_and_many_slaves() {
        for slaves in [0, 3, 200, 5_000] {
            for size in [(80, 24), (200, 60), (20, 5)] {
                let shown = shown(slaves, size, &[KeyCode::Tab, KeyCode::Tab, KeyCode::Tab]);
                assert!(!shown.contains('\u{1b}'), "escapes reach no terminal");
            }
        }
        let shown = shown(3, (80, 24), &[]);
        for word in ["collatz", "SLAVE-2", "node2", "busy", "q quit", "1 min 1 s"] {
            assert!(shown.contains(word), "{word}:\n{shown}");
        }
    }

    #[test]
    fn keys_filter_sort_and_ask() {
        let typed: Vec<KeyCode> = "/node7"
            .chars()
            .map(KeyCode::Char)
            .chain([KeyCode::Enter])
            .collect();
        let filtered = shown(200, (80, 40), &typed);
        assert!(
            filtered.contains("SLAVE-7 ") && !filtered.contains("SLAVE-8 "),
            "{filtered}"
        );
        let sorted = shown(200, (80, 24), &[KeyCode::Char('s'); 5]);
        assert!(sorted.contains("SLAVE-199"), "{sorted}");

        let mut view = View::new(Status {
            each: vec![slave(3), slave(4)],
            ..Status::default()
        });
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
        terminal.draw(|frame| view.draw(frame)).expect("drawn");
        assert!(view.on_key(KeyCode::Down) && view.on_key(KeyCode::Down));
        terminal.draw(|frame| view.draw(frame)).expect("drawn");
        view.on_key(KeyCode::Enter);
        assert_eq!(view.take_question().as_deref(), Some("SLAVE-4"));
        let lines = vec!["it is idle".to_owned()];
        view.on_answer(
            "SLAVE-4",
            Ok(Told {
                lines,
                ..Told::default()
            }),
        );
        terminal.draw(|frame| view.draw(frame)).expect("drawn");
        assert!(terminal.backend().to_string().contains("it is idle"));
        assert!(view.on_key(KeyCode::Char('q')), "it closes the answer");
        assert!(!view.on_key(KeyCode::Char('q')), "it ends");
    }
    /// In the environment: the kept screens are written anew.
    const UPDATE: &str = "RINGMW_UPDATE_SCREENS";

    /// Of real runs whose slaves were played, what each table looks like is kept; each line fits.
    #[test]
    fn kept_runs_have_their_screens() {
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        for slaves in [3, 200, 5_000] {
            let file = data.join(format!("status/{slaves}.json.gz"));
            let file = std::fs::File::open(file).expect("kept");
            let kept: Status =
                serde_json::from_reader(flate2::read::GzDecoder::new(file)).expect("a status");
            for (width, height) in [(80, 24), (132, 43)] {
                let mut view = View::new(kept.clone());
                let backend = TestBackend::new(width, height);
                let mut terminal = Terminal::new(backend).expect("a terminal");
                let mut screens = String::new();
                // Messages have the time of day of where it is read.
                for _ in 0..TABS.len() - 1 {
                    terminal.draw(|frame| view.draw(frame)).expect("drawn");
                    for row in terminal.backend().to_string().lines() {
                        let row = row.trim_start_matches('"').trim_end_matches('"');
                        screens.push_str(row.trim_end());
                        screens.push('\n');
                    }
                    view.on_key(KeyCode::Tab);
                }
                let path = data.join(format!("top/{slaves}-{width}x{height}.txt"));
                if std::env::var_os(UPDATE).is_some() {
                    std::fs::write(&path, &screens).expect("written");
                }
                let expected = std::fs::read_to_string(&path).expect("kept");
                assert_eq!(screens, expected, "{}: see {UPDATE}", path.display());
            }
        }
    }
}
