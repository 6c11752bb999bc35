//! Report and pictures: what they say, that they ask for nothing, and that a browser opens them.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::made::{Form, World};
use crate::{RUNS, audit_files, command, sample};
use ringmw_codec::audit::{Event, GroupWord, Line, StateWord, Who};

const KINDS: [&str; 6] = ["slaves", "churn", "throughput", "survival", "heat", "queue"];

/// A run with everything to find: a bad host, a subnet that loses slaves, a stall, and no tasks in its last third.
fn troubled(slaves: u32) -> Vec<u8> {
    const START_US: i64 = 1_795_161_600_000_000;
    const SECOND_US: i64 = 1_000_000;
    // Of many slaves fewer lines each, so that a debug build is done soon.
    let period = if slaves > 1000 { 600 } else { 60 };
    let mut lines: Vec<(i64, Event)> = Vec::new();
    for slave in 0..slaves {
        let (net, at) = (slave % 10, i64::from(slave % 60));
        let from = format!("10.1.{net}.{}:4000", slave / 10 % 250 + 1);
        lines.push((
            at,
            Event::Connected {
                slave,
                from: from.clone(),
                host: format!("node{slave}"),
                job: String::new(),
                group: GroupWord::Unordered,
            },
        ));
        let dies = if net == 7 || slave == 11 { 900 } else { 3600 };
        for second in (at + 10..2400.min(dies)).step_by(period) {
            if (1200..1275).contains(&second) {
                continue;
            }
            let failed = if slave == 3 { 10 } else { 0 };
            lines.push((
                second,
                Event::TasksSent {
                    slave,
                    tasks: 10,
                    bytes: 100,
                    group: 10,
                },
            ));
            lines.push((
                second,
                Event::State {
                    slave,
                    state: StateWord::Busy,
                },
            ));
            let results = Event::ResultsReceived {
                slave,
                results: 10,
                failed,
                bytes: 100,
                compute_us: 58_000_000,
            };
            lines.push((second + 59, results));
            lines.push((
                second + 59,
                Event::State {
                    slave,
                    state: StateWord::Idle,
                },
            ));
        }
        lines.push(match dies {
            900 => (
                1000,
                Event::Lost {
                    slave,
                    from,
                    cause: ringmw_codec::audit::LossCause::Eof,
                    detail: String::new(),
                    recycled: 0,
                    tasks: Default::default(),
                    unrunnable: 0,
                    cancelled: 0,
                },
            ),
            _ => (3600, Event::Disconnected { slave, from }),
        });
    }
    lines.push((1275, Event::Stall { ms: 75_000 }));
    lines.push((
        3600,
        Event::Exit {
            code: 0,
            reason: "finished".into(),
        },
    ));
    lines.sort_by_key(|line| line.0);
    let mut trail = Vec::new();
    for (second, event) in lines {
        let time_us = START_US + second * SECOND_US;
        Line {
            time_us,
            who: Who::Master,
            event,
        }
        .write(&mut trail);
    }
    trail
}

fn findings(trail: &[u8]) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("master.audit"), trail).expect("it writes");
    // The page is called as the trail was given.
    let output = command(&["report", "-o", "report.html", "master.audit"])
        .current_dir(folder.path())
        .output();
    let told = crate::told(output.expect("it starts"));
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    let page = std::fs::read_to_string(folder.path().join("report.html"));
    (told.out, page.expect("a page"))
}

#[test]
fn findings_name_what_went_wrong() {
    let (found, page) = findings(&troubled(100));
    for words in [
        "Host node3 failed 380 of 380 tasks, the others none",
        "The master algorithm held its thread for 75 s at 08:20",
        "the master was out of tasks from 08:39",
        "11 of 100 slaves were lost within a millisecond at 08:16 (mostly by eof), all of subnet 10.1.7.0/24",
    ] {
        assert!(found.contains(words), "{words}\n{found}");
        assert!(page.contains(words), "{words}");
        // In the list; those with a time in every picture over time too.
        let marks = page.matches(words).count();
        let is_timed = words.contains(" at 08:") || words.contains(" from 08:");
        assert_eq!(marks > 4, is_timed, "{words}: {marks} times");
    }
    let (found, _) = findings(&std::fs::read(sample(RUNS[4], "master.audit")).expect("a sample"));
    assert!(found.contains("no exit line"), "{found}");
    let (found, _) = findings(&std::fs::read(sample(RUNS[1], "master.audit")).expect("a sample"));
    assert!(found.contains("No slave was lost"), "{found}");
}

/// How many tasks wait is drawn where the trail has lines of state, and no empty picture where it has none.
#[test]
fn lines_of_state_are_drawn() {
    let line =
        |second: u32, text: &str| format!("2 2026-11-20T12:00:{second:02}.000000Z MASTER {text}\n");
    let connected = |n: u32| {
        format!("connected slave=SLAVE-{n} from=10.0.0.{n}:9 host=n{n} job=\"\" group=unordered")
    };
    let state = |queued: u32| {
        format!(
            "run-state queued={queued} running=2 done=0 failed=0 ordered=0 intermingle=0 unordered=2 busy=2 desired=5 queue=\"square={queued}\""
        )
    };
    let slaves = line(1, &connected(1)) + &line(1, &connected(2));
    let rest = line(40, "exit code=0 reason=finished");
    let (_, page) = findings_allowing_notes((slaves.clone() + &rest).as_bytes());
    assert!(!page.contains("Tasks that wait in the master"));
    let states = line(10, &state(700)) + &line(20, &state(90)) + &line(30, &state(4));
    let (_, page) = findings_allowing_notes((slaves + &states + &rest).as_bytes());
    assert!(page.contains("Tasks that wait in the master"));
    let hover = page.split("data-hover=\"").skip(1);
    let of_queue = |data: &str| {
        let (data, _) = data.split_once('"')?;
        let data: serde_json::Value = serde_json::from_str(&data.replace("&quot;", "\"")).ok()?;
        let queued = data["series"]
            .as_array()?
            .iter()
            .find(|series| series[0] == "queued")?;
        let mut steps: Vec<u64> = queued[1]
            .as_array()?
            .iter()
            .filter_map(|step| step.as_f64())
            .map(|step| step as u64)
            .collect();
        steps.dedup();
        Some(steps)
    };
    let queued: Vec<Vec<u64>> = hover.filter_map(of_queue).collect();
    assert_eq!(queued, [[0, 700, 90, 4]]);
}

#[test]
fn the_page_asks_for_nothing_and_believes_nobody() {
    let mut world = World::new(Form::Ringmw, 2, crate::made::START_US);
    (0..200).for_each(|_| world.step(9));
    let (mut trail, _) = world.end();
    let evil = Event::Failed {
        task: 1,
        algorithm: "a".into(),
        slave: 0,
        message: "<img src=http://evil/x onerror=alert(1)>".into(),
    };
    let line = Line {
        time_us: crate::made::START_US,
        who: Who::Master,
        event: evil,
    };
    line.write(&mut trail);
    let (_, page) = findings_allowing_notes(&trail);
    assert!(
        !page.contains("<img") && !page.contains("<link") && !page.contains("<script src"),
        "it loads something"
    );
    // Its own script, and none of a trail's; the browser is told to load nothing.
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("</script").count(), 1);
    assert!(page.contains("content=\"default-src 'none'; "));
    let outside: Vec<_> = page
        .match_indices("http")
        .map(|(at, _)| &page[at..(at + 40).min(page.len())])
        .collect();
    let is_known = |text: &&str| {
        text.starts_with("http://www.w3.org/2000/svg")
            || text.starts_with("http://evil/x onerror")
            || text.starts_with("http-equiv=")
    };
    assert!(outside.iter().all(is_known), "{outside:?}");
    assert_eq!(page.matches("<svg").count(), KINDS.len() - 1);
}

fn findings_allowing_notes(trail: &[u8]) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, page) = (
        folder.path().join("master.audit"),
        folder.path().join("report.html"),
    );
    std::fs::write(&input, trail).expect("it writes");
    let told = audit_files(&["report", "-o", page.to_str().expect("UTF-8")], &[&input]);
    assert_eq!(told.code, Some(0));
    (told.out, std::fs::read_to_string(&page).expect("a page"))
}

/// Jobs are links to their logs, whatever a job is called; a script is none.
#[test]
fn jobs_are_links_to_logs() {
    let line =
        |second: u32, text: &str| format!("1 2026-11-20T12:00:0{second}.000000Z MASTER {text}\n");
    let trail = [
        line(1, "connected slave=SLAVE-0 from=10.0.0.1:9 host=n0 job=\"12.3/\\\"><b>\" group=unordered"),
        line(2, "connected slave=SLAVE-1 from=10.0.0.2:9 host=n1 job=condor.77 group=unordered"),
        line(3, "lost slave=SLAVE-0 from=10.0.0.1:9 cause=eof detail=\"\" recycled=0 tasks=none unrunnable=0 cancelled=0"),
        line(4, "lost slave=SLAVE-1 from=10.0.0.2:9 cause=eof detail=\"\" recycled=0 tasks=none unrunnable=0 cancelled=0"),
    ]
    .concat();
    let folder = tempfile::tempdir().expect("a folder");
    let (input, page) = (
        folder.path().join("master.audit"),
        folder.path().join("report.html"),
    );
    std::fs::write(&input, trail).expect("it writes");
    let output = page.to_str().expect("UTF-8");
    let link = "file:///logs/{host}/{job}.out?{slave}";
    let told = audit_files(&["report", "-o", output, "--log-link", link], &[&input]);
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    let html = std::fs::read_to_string(&page).expect("a page");
    for words in [
        "<a href=\"file:///logs/n1/condor.77.out?SLAVE-1\">condor.77</a>",
        "<a href=\"file:///logs/n0/12.3%2F%22%3E%3Cb%3E.out?SLAVE-0\">",
        "SLAVE-0 on n0, job 12.3/",
    ] {
        assert!(html.contains(words), "{words}");
    }
    assert!(!html.contains("<b>\""), "a job is text");
    let script = audit_files(
        &["report", "-o", output, "--log-link", " JavaScript:alert(1)"],
        &[&input],
    );
    assert_eq!(script.code, Some(2));
    let plain = audit_files(&["report", "-o", output], &[&input]);
    assert_eq!(plain.code, Some(0));
    assert!(
        !std::fs::read_to_string(&page)
            .expect("a page")
            .contains("<a href")
    );
}

#[test]
fn every_picture_in_both_forms_for_few_and_many() {
    let folder = tempfile::tempdir().expect("a folder");
    for slaves in [1, 20, 5000] {
        let input = folder.path().join("master.audit");
        std::fs::write(&input, troubled(slaves)).expect("it writes");
        for kind in KINDS {
            for form in ["svg", "png"] {
                let picture = folder.path().join(format!("{kind}.{form}"));
                let told = audit_files(
                    &[
                        "plot",
                        "--kind",
                        kind,
                        "-o",
                        picture.to_str().expect("UTF-8"),
                    ],
                    &[&input],
                );
                assert_eq!(
                    (told.code, told.err.as_str()),
                    (Some(0), ""),
                    "{kind} {form}"
                );
                let bytes = std::fs::read(&picture).expect("a picture");
                match form {
                    "svg" => assert!(bytes.starts_with(b"<svg") && bytes.ends_with(b"</svg>\n")),
                    _ => assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n")),
                }
                // What is drawn does not grow with slaves.
                assert!(
                    bytes.len() < 400_000,
                    "{kind} {form}: {} bytes for {slaves} slaves",
                    bytes.len()
                );
            }
        }
    }
    let told = audit_files(
        &["plot", "--kind", "heat", "-o", "x.gif"],
        &[folder.path().join("master.audit")],
    );
    assert_eq!(told.code, Some(2));
    assert!(told.err.contains(".svg or .png"), "{}", told.err);
}

#[test]
fn csv_and_json_of_findings() {
    let told = audit_files(
        &["report", "--format", "json"],
        &[sample(RUNS[2], "master.audit")],
    );
    let json: Value = told.json();
    assert!(
        json["findings"]
            .as_array()
            .is_some_and(|findings| !findings.is_empty()),
        "{json}"
    );
}

/// Sizes at which the page is kept, as `tests/data/pages/SLAVES.html.gz`.
const KEPT: [u32; 3] = [8, 200, 5000];
/// In the environment: the kept pages are written anew. Who does so looks at them in a browser.
const UPDATE: &str = "RINGMW_UPDATE_PAGES";

/// Every byte of the page, so that each change of it is seen, and looked at.
#[test]
fn the_page_is_as_it_was_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pages");
    for slaves in KEPT {
        let (_, page) = findings(&troubled(slaves));
        assert!(page.len() <= 1 << 20, "{slaves}: {} bytes", page.len());
        let path = folder.join(format!("{slaves}.html.gz"));
        if std::env::var_os(UPDATE).is_some() {
            let best = flate2::Compression::best();
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), best);
            packed.write_all(page.as_bytes()).expect("into memory");
            let packed = packed.finish().expect("into memory");
            std::fs::write(&path, packed).expect("written");
        }
        let file = std::fs::File::open(&path).expect("kept");
        let mut kept = String::new();
        let mut unpacked = flate2::read::GzDecoder::new(file);
        unpacked.read_to_string(&mut kept).expect("text");
        let differs = || page.bytes().zip(kept.bytes()).position(|(a, b)| a != b);
        assert!(
            page == kept,
            "{}: {} bytes and {}, not the same from byte {:?} on (see {UPDATE})",
            path.display(),
            page.len(),
            kept.len(),
            differs()
        );
    }
}

/// Opens the page in a browser where there is one: what it shows has the findings and every picture, laid out.
#[test]
#[ignore = "needs a browser: `.ci/run browser` installs one and runs it"]
fn a_browser_opens_the_page() {
    let browser = browser();
    for slaves in [8, 20, 200, 5000] {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("report.html");
        let (_, html) = findings(&troubled(slaves));
        assert!(html.len() < 1 << 20, "{slaves}: {} bytes", html.len());
        // A script of the test's own, that the page does not have, writes what the browser made of it.
        let probe = "<script>addEventListener('load',()=>{const svgs=[...document.querySelectorAll('svg')];\
            const wide=svgs.filter(svg=>svg.getBoundingClientRect().width>400&&svg.getBoundingClientRect().height>150).length;\
            const cut=[...document.querySelectorAll('svg text')].filter(text=>{const svg=text.ownerSVGElement.getBoundingClientRect(),\
            box=text.getBoundingClientRect();return box.left<svg.left-1||box.right>svg.right+1||box.top<svg.top-1||box.bottom>svg.bottom+1}).length;\
            const over=document.documentElement.scrollWidth>innerWidth;\
            const tip=document.querySelector('.tip');const told=svgs.map(svg=>{svg.scrollIntoView();const box=svg.getBoundingClientRect();\
            const at=(type,x)=>svg.dispatchEvent(new MouseEvent(type,{bubbles:true,cancelable:true,button:0,\
            clientX:box.left+box.width*x,clientY:box.top+box.height*.5}));\
            at('mousemove',.5);const text=tip.hidden?'':tip.innerText;at('mousedown',.3);at('mousemove',.6);at('mouseup',.6);\
            const zoomed=svg.querySelector('.plot').getAttribute('transform').startsWith('matrix(');at('dblclick',.5);\
            const back=svg.querySelector('.plot').getAttribute('transform')==='';return text.includes(':')&&zoomed&&back});\
            document.title='wide='+wide+' cut='+cut+' over='+over+' told='+told.filter(told=>told).length})</script></body>";
        std::fs::write(&page, html.replace("</body>", probe)).expect("it writes");
        let dom = dump_dom(browser, folder.path(), &page, 1_100);
        assert!(
            dom.contains("<title>wide=5 cut=0 over=false told=5</title>"),
            "{slaves}: {}",
            &dom[..dom.len().min(600)]
        );
        assert!(
            dom.contains("tasks, the others none"),
            "{slaves}: {:?}",
            dom.split("<li").skip(1).take(8).collect::<Vec<_>>()
        );
    }
}

/// A browser of this machine.
pub(crate) fn browser() -> &'static str {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let is_here = |name: &&&str| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    let browser = names.iter().find(is_here);
    browser.unwrap_or_else(|| panic!("none of {names:?} is here; install one"))
}

/// What a browser whose window is so wide makes of a page, once its scripts have nothing more to do.
pub(crate) fn dump_dom(browser: &str, profile: &Path, page: &Path, width: u32) -> String {
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=3000",
            "--dump-dom",
        ])
        .arg(format!("--window-size={width},2000"))
        .arg(format!(
            "--user-data-dir={}",
            profile.join("profile").display()
        ))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("it starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
