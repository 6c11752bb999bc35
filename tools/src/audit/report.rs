//! One page with everything: it opens from disk, and asks for nothing else.

use std::fmt::Write;

use serde_json::{Value, json};

use super::findings::{Finding, Weight};
use super::model::{Model, Slave};
use super::output::{Document, Sheet, count, figure, show};
use super::picture::escape;
use super::plot::{Kind, draw};
use super::summary::{Exit, Summary};
use super::times::{Zone, show_duration};

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit report -o report.html master.audit
  ringmw audit report --since -12h --zone Europe/Berlin -o night.html run1

The page opens from disk and loads nothing. Where the mouse is, its pictures tell their values; a part of the time that the \
mouse is dragged over is shown alone, in all of them; a double click shows all again. Each finding says what \
to do, and which command shows more; `ringmw audit check --max-finding` bounds them. --log-link names where slaves' logs \
are, with {job}, {host} and {slave} for what they are: 'file:///home/me/logs/{job}.out'. With --format json or csv the \
findings are printed instead.";

/// Makes the pictures tell values and zoom.
const SCRIPT: &str = include_str!("report/page.js");

/// Nothing from anywhere, whatever a trail's texts say.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

const STYLE: &str = "\
:root{color-scheme:light}*{box-sizing:border-box}\
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;color:#262b33;background:#f4f5f7;margin:0}\
main{max-width:1064px;margin:0 auto;padding:24px 16px}h1{font-size:24px;margin:0 0 2px}h2{font-size:18px;margin:32px 0 10px}\
.when{color:#5b6270;margin:0 0 18px}.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}\
.card{background:#fff;border:1px solid #e3e6ea;border-radius:8px;padding:10px 14px}.card b{display:block;font-size:20px;font-weight:600}\
.card span{color:#5b6270;font-size:13px}ul.findings{list-style:none;margin:0;padding:0}\
.findings li{background:#fff;border:1px solid #e3e6ea;border-left:5px solid #9aa3ae;border-radius:6px;padding:8px 14px;margin:0 0 8px;\
overflow-wrap:anywhere}code{display:inline-block}\
.findings .bad{border-left-color:#c03a2b}.findings .good{border-left-color:#1f5fa8}\
.findings i{font-style:normal;font-weight:600;font-size:12px;text-transform:uppercase;letter-spacing:.04em;margin-right:8px;color:#5b6270}\
figure{margin:0 0 14px;background:#fff;border:1px solid #e3e6ea;border-radius:8px;padding:8px}figure svg{display:block;width:100%;height:auto}\
.scroll{overflow-x:auto;background:#fff;border:1px solid #e3e6ea;border-radius:8px}table{border-collapse:collapse;width:100%;font-size:14px}\
th,td{text-align:left;padding:5px 12px;border-bottom:1px solid #eef0f2;white-space:nowrap}th{color:#5b6270;font-weight:600}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tr:last-child td{border-bottom:0}\
.tip{position:fixed;pointer-events:none;z-index:9;background:#262b33;color:#fff;border-radius:6px;padding:6px 10px;font-size:13px;max-width:420px}\
.tip>*{display:block;font-style:normal;overflow-wrap:anywhere}.tip i{color:#f0b45f}.tip[hidden]{display:none}\
.cross{stroke:#262b33;stroke-width:1;pointer-events:none}.band{fill:#1f5fa8;fill-opacity:.15;pointer-events:none}.plot *{vector-effect:non-scaling-stroke}\
figure svg{user-select:none;cursor:crosshair}.hint{color:#5b6270;font-size:13px;margin:-4px 0 10px}footer{color:#5b6270;font-size:13px;margin-top:28px}";

/// Rows of a table in the page.
const ROWS_MAX: usize = 25;

fn card(page: &mut String, figure: &str, what: &str) {
    let _ = write!(
        page,
        "<div class=\"card\"><b>{}</b><span>{}</span></div>",
        escape(figure),
        escape(what)
    );
}

/// A table; where there are links, its jobs are links.
fn table(page: &mut String, sheet: &Sheet, links: &[String]) {
    if sheet.rows.is_empty() {
        return;
    }
    let is_number = |column: usize| {
        sheet
            .rows
            .iter()
            .all(|row| row[column].is_number() || row[column].is_null())
    };
    let class = |column: usize| {
        if is_number(column) {
            " class=\"n\""
        } else {
            ""
        }
    };
    let _ = write!(
        page,
        "<h2>{}</h2><div class=\"scroll\"><table><tr>",
        escape(&sheet.title)
    );
    let order = sheet.order();
    for &index in &order {
        let _ = write!(
            page,
            "<th{}>{}</th>",
            class(index),
            escape(&sheet.columns[index].replace('_', " "))
        );
    }
    page.push_str("</tr>\n");
    for (row_number, row) in sheet.rows.iter().take(ROWS_MAX).enumerate() {
        page.push_str("<tr>");
        for &index in &order {
            let text = escape(&show(&row[index]));
            let _ = match links
                .get(row_number)
                .filter(|_| sheet.columns[index] == "job")
            {
                Some(link) if !link.is_empty() => {
                    write!(page, "<td><a href=\"{}\">{text}</a></td>", escape(link))
                }
                _ => write!(page, "<td{}>{text}</td>", class(index)),
            };
        }
        page.push_str("</tr>\n");
    }
    if sheet.rows.len() > ROWS_MAX {
        let more = sheet.rows.len() - ROWS_MAX;
        let _ = write!(
            page,
            "<tr><td colspan=\"{}\">and {} more</td></tr>",
            order.len(),
            count(more as u64)
        );
    }
    page.push_str("</table></div>\n");
}

/// What may stand in a link as it is; the rest is written in percent signs.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Slaves that were lost or failed, with their jobs: whose logs are worth a look.
fn suspects(model: &Model, zone: &Zone, log_link: Option<&str>) -> (Sheet, Vec<String>) {
    let mut sheet = Sheet::new(
        "suspects",
        "Slaves that were lost or failed tasks, the worst first",
        &[
            "slave", "host", "job", "left", "cause", "failed", "results", "recycled",
        ],
    );
    let mut slaves: Vec<&Slave> = model
        .slaves
        .iter()
        .filter(|slave| slave.is_lost() || slave.failed > 0)
        .collect();
    slaves.sort_by_key(|slave| {
        (
            std::cmp::Reverse((slave.failed, slave.recycled)),
            slave.life,
            slave.id,
        )
    });
    let mut links = Vec::new();
    for slave in slaves {
        let name = format!("SLAVE-{}", slave.id);
        let host = model.host(slave);
        links.push(match log_link {
            Some(template) if !slave.job.is_empty() => template
                .replace("{job}", &quoted(&slave.job))
                .replace("{host}", &quoted(host))
                .replace("{slave}", &name),
            _ => String::new(),
        });
        sheet.rows.push(vec![
            name.into(),
            host.into(),
            slave.job.as_ref().into(),
            slave.left_us.map_or(Value::Null, |us| zone.show(us).into()),
            json!(slave.cause),
            slave.failed.into(),
            slave.results.into(),
            slave.recycled.into(),
        ]);
    }
    (sheet, links)
}

fn cards(page: &mut String, summary: &Summary) {
    let or_dash = |number: Option<f64>, unit: &str| {
        number.map_or_else(
            || "-".to_owned(),
            |number| format!("{}{unit}", figure(number)),
        )
    };
    page.push_str("<div class=\"cards\">");
    card(
        page,
        &show_duration((summary.duration_s * 1e6) as i64),
        "run time",
    );
    card(page, &count(summary.slaves.peak), "slaves at once, at most");
    card(
        page,
        &count(summary.slaves.connected),
        "slaves connected in all",
    );
    card(
        page,
        &or_dash(summary.churn.loss_ratio.map(|ratio| ratio * 100.0), " %"),
        "of the departures were losses",
    );
    card(
        page,
        &or_dash(summary.slaves.lifetime_s.p50, " s"),
        "median lifetime of a slave",
    );
    card(page, &count(summary.tasks.results), "results");
    card(
        page,
        &or_dash(summary.tasks.results_per_s, "/s"),
        "results per second",
    );
    card(page, &count(summary.tasks.recycled), "tasks sent again");
    let time = &summary.slaves.time_s;
    let share = |seconds: Option<f64>| {
        let share = seconds.filter(|_| time.present > 0.0);
        match share.map(|seconds| seconds / time.present * 100.0) {
            Some(percent) if percent > 0.0 && percent < 0.01 => "< 0.01 %".to_owned(),
            percent => or_dash(percent, " %"),
        }
    };
    if time.compute.is_some() {
        card(page, &share(time.compute), "of slave time computing");
    }
    card(
        page,
        &share(Some(time.held)),
        "of slave time holding tasks only",
    );
    card(page, &share(Some(time.idle)), "of slave time idle");
    let exit = match &summary.exit {
        None => "none".to_owned(),
        Some(Exit::Code(code)) => code.to_string(),
        Some(Exit::Word(word)) => word.to_lowercase(),
    };
    card(page, &exit, "exit");
    page.push_str("</div>\n");
}

/// The page.
pub(crate) fn page(
    name: &str,
    model: &Model,
    summary: &Summary,
    findings: &[Finding],
    sheets: &[Document],
    zone: &Zone,
    log_link: Option<&str>,
) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>ringmw: {0}</title><style>{STYLE}</style></head><body><main>\n<h1>{0}</h1>\n",
        escape(name)
    );
    let when = match (&summary.start, &summary.end) {
        (Some(start), Some(end)) => format!(
            "{start} to {end}, a trail of {}",
            summary.source.unwrap_or("unknown")
        ),
        _ => "no line in the window".to_owned(),
    };
    let _ = writeln!(page, "<p class=\"when\">{}</p>", escape(&when));
    cards(&mut page, summary);
    page.push_str("<h2>Findings</h2><ul class=\"findings\">\n");
    for finding in findings {
        let _ = write!(
            page,
            "<li class=\"{0}\" id=\"finding-{1}\"><i>{0}</i>{2}",
            finding.weight.word(),
            finding.id,
            escape(&finding.text)
        );
        if finding.weight == Weight::Bad {
            let _ = write!(
                page,
                "<br><small>{} <code>{}</code></small>",
                escape(finding.advice),
                escape(&finding.command)
            );
        }
        page.push_str("</li>\n");
    }
    if findings.is_empty() {
        page.push_str("<li>Nothing stands out.</li>");
    }
    page.push_str("</ul>\n<h2>Pictures</h2>\n");
    page.push_str(
        "<p class=\"hint\">Drag over a part of the time to see it alone; a double click shows all again. Dashed lines are events, and when findings began.</p>\n",
    );
    let told = Kind::ALL.into_iter().filter(|kind| kind.is_told(model));
    for (number, kind) in told.enumerate() {
        let picture = draw(kind, model, zone).svg_of_page(number);
        let _ = writeln!(page, "<figure>{picture}</figure>");
    }
    let (sheet, links) = suspects(model, zone, log_link);
    table(&mut page, &sheet, &links);
    // Intervals and curves are in the pictures; a list of all slaves is for `ringmw audit timeline`.
    const IN_PICTURES: [&str; 4] = ["buckets", "survival", "slaves", "lifetimes"];
    for sheet in sheets.iter().flat_map(|document| &document.sheets) {
        if !IN_PICTURES.contains(&sheet.name) {
            table(&mut page, sheet, &[]);
        }
    }
    let _ = writeln!(
        page,
        "<footer>ringmw {} read {} lines, {} of them unreadable.</footer></main><script>\n{SCRIPT}</script></body></html>",
        env!("CARGO_PKG_VERSION"),
        count(summary.lines),
        count(summary.unparsed)
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_cannot_break_out_of_its_link() {
        assert_eq!(quoted("condor.12-3_a~"), "condor.12-3_a~");
        assert_eq!(quoted("a/../b\"c\u{e4}"), "a%2F..%2Fb%22c%C3%A4");
    }

    /// The script writes no markup out of a trail's texts and asks for nothing.
    #[test]
    fn the_script_loads_nothing() {
        for word in [
            "fetch(",
            "XMLHttpRequest",
            "import",
            "http",
            "eval(",
            "document.write",
            "</",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
        assert_eq!(
            SCRIPT.matches("innerHTML").count(),
            2,
            "its own ticks, kept and put back"
        );
    }
}
