//! Every slave over time, or every host where slaves are many.

use serde_json::json;

use super::super::model::{Column, HEAT_ROWS_MAX, Heat, Model, Warmth};
use super::super::picture::{Anchor, FAINT, Picture};
use super::super::times::Zone;
use super::frame::{ABSENT, AMBER, BLUE, BOTTOM, Frame, LEFT, PALE_BLUE, RIGHT, TOP, WIDTH, blend};
use crate::names::{self, counted};

/// A row of the heat map: a slave, a host, or hosts that follow one another.
struct HeatRow {
    host: String,
    /// What is told of it where the mouse is.
    label: String,
    /// Its rows in the model.
    indices: Vec<usize>,
}

/// Slaves by host while every slave has a row; else hosts.
fn heat_rows(model: &Model) -> (&Heat, Vec<HeatRow>) {
    let mut rows: Vec<HeatRow> = Vec::new();
    if model.slaves.len() <= HEAT_ROWS_MAX {
        for slave in &model.slaves {
            let host = model.host(slave);
            rows.extend(slave.row.map(|row| HeatRow {
                host: host.to_owned(),
                label: match slave.job.is_empty() {
                    true => format!("SLAVE-{} on {host}", slave.id),
                    false => format!("SLAVE-{} on {host}, job {}", slave.id, slave.job),
                },
                indices: vec![row as usize],
            }));
        }
        rows.sort_by(|a, b| {
            let by_host = names::compare(&a.host, &b.host);
            by_host.then(a.indices[0].cmp(&b.indices[0]))
        });
        return (&model.heat_of_slaves, rows);
    }
    let heat = &model.heat_of_hosts;
    let mut seen = vec![false; model.hosts.len()];
    for slave in &model.slaves {
        seen[slave.host as usize] = true;
    }
    let mut hosts: Vec<(&str, usize)> = (0..)
        .zip(&model.hosts)
        .filter(|&(host, _)| seen[host])
        .map(|(host, name): (usize, &String)| (name.as_str(), host / heat.stride))
        .collect();
    hosts.sort_by_cached_key(|host| counted(host.0));
    for shared in hosts.chunks(hosts.len().div_ceil(HEAT_ROWS_MAX).max(1)) {
        let first = shared[0].0;
        let mut indices: Vec<usize> = shared.iter().map(|host| host.1).collect();
        indices.sort_unstable();
        indices.dedup();
        rows.push(HeatRow {
            host: first.to_owned(),
            label: match shared.len() {
                1 => first.to_owned(),
                _ => format!(
                    "{first} to {}, {} hosts",
                    shared[shared.len() - 1].0,
                    shared.len()
                ),
            },
            indices,
        });
    }
    (heat, rows)
}

pub(super) fn draw(model: &Model, zone: &Zone) -> Picture {
    let (heat, by_row) = heat_rows(model);
    let is_of_slaves = std::ptr::eq(heat, &model.heat_of_slaves);
    let rows = by_row.len().max(1);
    // Every row is seen: thick ones where there are few, a pixel or more where there are many.
    let row_height = (400.0 / rows as f32).clamp(1.25, 16.0);
    let height = TOP + BOTTOM + rows as f32 * row_height;
    let title = match by_row.iter().map(|row| row.indices.len()).max() {
        _ if is_of_slaves => "Each slave over time, by host".to_owned(),
        None | Some(1) => "Slaves of each host over time".to_owned(),
        Some(shared) => format!("Slaves of {shared} hosts to a row, over time"),
    };
    let starts: Vec<i64> = heat.columns.iter().map(|(us, _)| us).collect();
    let columns = starts.len().max(1);
    let (from_us, to_us) = match starts.first() {
        Some(&first) => (first, heat.columns.end_us()),
        None => (0, 1),
    };
    let width_us = (to_us - from_us) as f32 / columns as f32;
    let mut frame = Frame::new(&title, height, (from_us as f64, to_us as f64), (0.0, 1.0));
    let mut cells = vec![ABSENT; columns * rows];
    let mut told = Vec::new();
    for (row, HeatRow { indices, label, .. }) in by_row.iter().enumerate() {
        let warmth = |column: &Column| {
            let mut sum = Warmth::default();
            for warmth in indices.iter().filter_map(|&index| column.0.get(index)) {
                sum.add(*warmth);
            }
            sum
        };
        let most = heat
            .columns
            .iter()
            .map(|(_, column)| warmth(column).present_us / width_us)
            .fold(if is_of_slaves { 1.0 } else { 0.0 }, f32::max);
        let mut tenths = Tenths::default();
        for (at, (_, column)) in heat.columns.iter().enumerate() {
            let time = warmth(column);
            if time.present_us <= 0.0 {
                tenths.push("--");
                continue;
            }
            let part = |us: f32| (us / time.present_us).clamp(0.0, 1.0);
            let (compute, held) = (part(time.compute_us), part(time.busy_us - time.compute_us));
            let here = (time.present_us / (width_us * most)).clamp(0.25, 1.0);
            // Three colours by their shares.
            let busy = compute + held;
            let of_busy = if busy > 0.0 { compute / busy } else { 0.0 };
            let state = blend(AMBER, blend(PALE_BLUE, BLUE, of_busy), busy);
            cells[row * columns + at] = blend(ABSENT, state, here);
            let digit = |share: f32| char::from(b'0' + (share * 9.0).round() as u8);
            tenths.push(&String::from_iter([digit(compute), digit(held)]));
        }
        told.push(json!([label, tenths.close()]));
    }
    frame.begin_plot();
    frame.picture.image(
        LEFT,
        TOP,
        WIDTH - LEFT - RIGHT,
        rows as f32 * row_height,
        columns as u32,
        &cells,
    );
    frame.marks(model);
    frame.end_plot();
    // A name where there is room for it, at a host's first row.
    const LABEL_CHARS: usize = 8;
    let mut free_from = f32::MIN;
    let mut before = "";
    for (row, HeatRow { host, .. }) in by_row.iter().enumerate() {
        let y = TOP + (row as f32 + 0.5) * row_height + 4.5;
        if y >= free_from && host != before {
            let length = host.chars().count();
            let short: String = match length > LABEL_CHARS {
                false => host.clone(),
                true => std::iter::once('…')
                    .chain(host.chars().skip(length + 1 - LABEL_CHARS))
                    .collect(),
            };
            frame.picture.text(LEFT - 6.0, y, short, Anchor::End, FAINT);
            free_from = y + 13.0;
        }
        before = host;
    }
    frame.time_axis(zone);
    frame.legend(&[
        ("computing", BLUE),
        ("holding tasks", PALE_BLUE),
        ("idle", AMBER),
        ("absent", [0xe3, 0xe6, 0xea]),
    ]);
    let mut hover = super::hover(&frame, "time", zone, &starts, &[], model);
    hover["rows"] = told.into();
    hover["top"] = TOP.into();
    hover["row"] = row_height.into();
    frame.picture.hover = Some(hover.to_string());
    frame.picture
}

/// Cells of a row, equal ones that follow one another once with their number: `90.--12.` is a cell that computes, and
/// twelve that are absent.
#[derive(Default)]
struct Tenths {
    text: String,
    last: String,
    times: usize,
}

impl Tenths {
    fn push(&mut self, cell: &str) {
        if self.last != cell {
            self.flush();
            cell.clone_into(&mut self.last);
        }
        self.times += 1;
    }

    fn flush(&mut self) {
        match self.times {
            0 => {}
            1 => self.text += &format!("{}.", self.last),
            times => self.text += &format!("{}{times}.", self.last),
        }
        self.times = 0;
    }

    fn close(mut self) -> String {
        self.flush();
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_cells_are_told_once() {
        let mut tenths = Tenths::default();
        for cell in ["--", "--", "90", "90", "09"] {
            tenths.push(cell);
        }
        assert_eq!(tenths.close(), "--2.902.09.");
        assert_eq!(Tenths::default().close(), "");
    }
}
