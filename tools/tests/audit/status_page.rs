//! The page of `--mw-status-port` in a real browser, at 3, 200 and 5,000 slaves: it is clicked through, on a screen and on
//! a phone.

use ringmw_codec::status::{
    Algorithm, Doing, Group, Host, Loss, Message, Run, STATUS_VERSION, Slave, Slaves, Status,
    Tasks, Times,
};

use crate::pictures::{browser, dump_dom};

const PAGE: &str = include_str!("../../../runtime/src/io/status/page.html");

/// What a peer says of itself.
const HOSTILE: &str = "<img src=x onerror=document.body.dataset.hit=1>";

/// A run with so many slaves, 12 on each host, in every state.
fn status(slaves: u32) -> Status {
    let states = [
        Doing::Busy,
        Doing::Busy,
        Doing::Idle,
        Doing::Moving,
        Doing::Behind,
        Doing::Leaving,
    ];
    let host = |n: u32| match n {
        1 => HOSTILE.to_owned(),
        n => format!("node{}", n / 12),
    };
    let each: Vec<Slave> = (0..slaves)
        .map(|n| Slave {
            slave: n,
            host: host(n).into(),
            from: ([10, 0, (n >> 8) as u8, n as u8], 4000).into(),
            job: format!("condor.7.{n}").into(),
            pid: 100 + n,
            group: "unordered".into(),
            state: states[n as usize % states.len()],
            age_ms: 61_000 + u64::from(n),
            held: n % 3,
            first_ms: 1_200,
            done: u64::from(n) * 7,
            failed: u64::from(n % 50 == 49),
            compute_ms: 9_000,
            progress: None,
            quarantined: Vec::new(),
        })
        .collect();
    let mut hosts: Vec<Host> = (0..=slaves / 12)
        .map(|n| Host {
            host: format!("node{n}").into(),
            slaves: 12,
            busy: 6,
            done: 84 * u64::from(n + 1),
            failed: 0,
            lost: u64::from(n % 9 == 8),
            compute_ms: 3_600_000,
        })
        .collect();
    hosts.push(Host {
        host: HOSTILE.into(),
        slaves: 1,
        done: 1,
        ..hosts[0].clone()
    });
    Status {
        version: STATUS_VERSION,
        at_us: 1_795_768_926_000_000,
        run: Run {
            name: "collatz".into(),
            ringmw: "0.2.0".into(),
            host: "login1".into(),
            pid: 4_711,
            engine: "ring".into(),
            seed: u64::MAX.to_string(),
            uptime_ms: 7_260_000,
            load: 0.07,
            ..Run::default()
        },
        tasks: Tasks {
            submitted: 1_000_000,
            queued: 5_000,
            running: slaves.into(),
            done: 990_000,
            failed: 12,
            rate: 1_234.5,
            ..Tasks::default()
        },
        slaves: Slaves {
            connected: slaves.into(),
            busy: u64::from(slaves) / 3,
            desired: u64::from(slaves) + 2,
            needed: 2,
            lost: 3,
            ..Slaves::default()
        },
        groups: vec![Group {
            group: "unordered".into(),
            desired: u64::from(slaves) + 2,
            here: slaves.into(),
        }],
        algorithms: vec![Algorithm {
            name: "collatz_range".into(),
            done: 990_000,
            rate: 1_234.5,
            compute: Times {
                sum_ns: 9,
                p50_ns: 1_200_000,
                p90_ns: 3_000_000,
                p99_ns: 9_000_000,
                max_ns: 2_000_000_000,
            },
            ..Algorithm::default()
        }],
        hosts,
        each,
        losses: vec![Loss {
            cause: "silence".into(),
            slaves: 3,
            last_us: 1_795_768_900_000_000,
        }],
        messages: vec![Message {
            at_us: 1_795_768_900_000_000,
            text: format!("SLAVE-3 on {HOSTILE} was lost: silence"),
        }],
        more: vec![("journal".into(), "12 records".into())],
        ..Status::default()
    }
}

/// Stands before the page's own script: the master is played.
const PLAYED: &str = "<script>window.fetch=async()=>({ok:true,status:200,json:async()=>JSON.parse(document.getElementById('played').textContent)});</script>";

/// Stands behind it: clicks, and writes what came of it where the dump of the page shows it.
const CLICKS: &str = r##"<script>
addEventListener("load", () => setTimeout(() => {
  const told = {}, rows = id => [...document.querySelectorAll("#" + id + " tbody tr")], $ = id => document.getElementById(id);
  const first = id => rows(id)[0].cells[0].textContent, head = (id, n) => document.querySelectorAll("#" + id + " th")[n];
  told.boxes = document.querySelectorAll(".box").length;
  told.slaves = rows("slaves").length;
  head("slaves", 0).click(); told.last = first("slaves");
  head("slaves", 0).click(); told.first = first("slaves");
  head("hosts", 3).click(); told.most = first("hosts");
  $("more-slaves").click(); told.more = rows("slaves").length;
  const at = $("map").getBoundingClientRect();
  $("map").dispatchEvent(new MouseEvent("mousemove", {bubbles: true, clientX: at.left + 6, clientY: at.top + 6}));
  told.tip = $("tip").textContent.includes("SLAVE-");
  $("filter").value = "slave-1"; $("filter").dispatchEvent(new Event("input"));
  told.filtered = rows("slaves").every(row => row.cells[0].textContent.startsWith("SLAVE-1")) && rows("slaves").length > 0;
  $("filter").value = "no such host"; $("filter").dispatchEvent(new Event("input"));
  told.none = rows("slaves").length + rows("hosts").length;
  $("filter").value = ""; $("filter").dispatchEvent(new Event("input"));
  told.over = document.documentElement.scrollWidth > innerWidth;
  told.images = document.images.length; told.hit = document.body.dataset.hit || "no";
  told.hostile = document.body.innerText.includes("<img src=x");
  told.note = $("note").textContent;
  const out = document.createElement("pre"); out.id = "told"; out.textContent = JSON.stringify(told); document.body.appendChild(out);
}, 500));
</script>"##;

/// What the clicks found on a page of this status in a window of this width.
fn clicked(status: &Status, width: u32) -> serde_json::Value {
    let folder = tempfile::tempdir().expect("a folder");
    let json = serde_json::to_string(status).expect("it can be written");
    let json = json.replace('<', "\\u003c");
    let played = format!(
        "<script type=\"application/json\" id=\"played\">{json}</script>{PLAYED}<script>\n\"use strict\""
    );
    let page = PAGE.replacen("<script>\n\"use strict\"", &played, 1);
    let page = page.replacen("</html>", &format!("{CLICKS}</html>"), 1);
    assert!(page.contains(PLAYED) && page.contains(CLICKS));
    let file = folder.path().join("page.html");
    std::fs::write(&file, page).expect("written");
    let told = told(&dump_dom(browser(), folder.path(), &file, width));
    let slaves = status.each.len();
    assert_eq!(told["boxes"], 12, "{slaves}: {told}");
    assert_eq!(told["slaves"], slaves.min(100), "{slaves}: {told}");
    assert_eq!(told["first"], "SLAVE-0", "{slaves}: {told}");
    let last = format!("SLAVE-{}", slaves - 1);
    assert_eq!(told["last"], last, "{slaves}: {told}");
    assert_eq!(told["more"], slaves.min(400), "{slaves}: {told}");
    for word in ["tip", "filtered"] {
        assert_eq!(told[word], true, "{slaves}, {word}: {told}");
    }
    assert_eq!(told["none"], 0, "{slaves}: {told}");
    assert_eq!(told["over"], false, "{slaves} at {width}: {told}");
    assert_eq!((&told["images"], &told["hit"]), (&0.into(), &"no".into()));
    assert_eq!(told["note"], "", "{slaves}: {told}");
    told
}

#[test]
#[ignore = "needs a browser: `.ci/run browser` installs one and runs it"]
fn the_page_is_clicked_through_with_few_and_many_slaves() {
    for (slaves, width) in [(3, 1_100), (200, 1_100), (200, 390), (5_000, 1_100)] {
        let told = clicked(&status(slaves), width);
        let most = format!("node{}", slaves / 12);
        assert_eq!(told["most"], most, "{slaves}: {told}");
        assert_eq!(told["hostile"], true, "{slaves}: {told}");
    }
}

/// How real runs were, whose slaves were played.
#[test]
#[ignore = "needs a browser: `.ci/run browser` installs one and runs it"]
fn the_page_of_kept_runs_is_clicked_through() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/status");
    for slaves in [3, 200, 5_000] {
        let file = std::fs::File::open(folder.join(format!("{slaves}.json.gz"))).expect("kept");
        let kept: Status =
            serde_json::from_reader(flate2::read::GzDecoder::new(file)).expect("a status");
        assert_eq!(kept.each.len(), slaves);
        for width in [1_100, 390] {
            clicked(&kept, width);
        }
    }
}

fn told(dom: &str) -> serde_json::Value {
    let (_, told) = dom
        .split_once("<pre id=\"told\">")
        .unwrap_or_else(|| panic!("{}", &dom[..dom.len().min(600)]));
    let (told, _) = told.split_once("</pre>").expect("its end");
    serde_json::from_str(&told.replace("&amp;", "&").replace("&lt;", "<")).expect("JSON")
}
