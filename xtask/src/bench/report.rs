//! The figures as tables, for the terminal and for docs/benchmarks.md.

use std::process::Command;

use super::harness::Row;
use crate::Outcome;

const HEAD: [&str; 10] = [
    "case",
    "polyport",
    "peer",
    "ratio",
    "CPU polyport",
    "CPU peer",
    "ratio",
    "memory polyport",
    "memory peer",
    "ratio",
];

/// A table for the terminal.
pub fn plain(rows: &[Row]) -> String {
    let table: Vec<[String; 10]> = std::iter::once(HEAD.map(String::from))
        .chain(rows.iter().map(cells))
        .collect();
    let width = |column: usize| {
        table
            .iter()
            .filter_map(|row| Some(row.get(column)?.chars().count()))
            .max()
    };
    let mut text = String::new();
    for row in &table {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column).unwrap_or_default();
            text.push_str(&match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            });
        }
        text.push('\n');
    }
    text
}

/// A table with the day, the machine and the peers.
pub fn markdown(rows: &[Row]) -> Outcome<String> {
    let mut peers: Vec<&str> = rows.iter().map(|row| row.peer_name.as_str()).collect();
    peers.dedup();
    let mut text = format!("{}. Peer: {}.\n\n", circumstances()?, peers.join(", "));
    text.push_str(&format!(
        "| {} |\n|---{}|\n",
        HEAD.join(" | "),
        "|--:".repeat(HEAD.len() - 1)
    ));
    for row in rows {
        text.push_str(&format!("| {} |\n", cells(row).join(" | ")));
    }
    Ok(text)
}

/// The day and what of the machine the figures depend on.
pub fn circumstances() -> Outcome<String> {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date = date.map_err(|e| format!("cannot run date: {e}"))?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What a distribution or a cloud appends says nothing about speed.
    let kernel = kernel
        .trim()
        .split('-')
        .next()
        .unwrap_or_default()
        .to_string();
    let cores = match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => "1 core, which server and load share".into(),
        cores => format!("{cores} cores"),
    };
    Ok(format!(
        "{}, {cores}, Linux {kernel}",
        String::from_utf8_lossy(&date.stdout).trim()
    ))
}

fn cells(row: &Row) -> [String; 10] {
    let (ours, peer, unit) = (&row.ours, &row.peer, row.unit);
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0);
    [
        row.case.clone(),
        unit.rate(ours.per_second),
        unit.rate(peer.per_second),
        ratio(ours.per_second, peer.per_second),
        unit.cpu(ours.cpu),
        unit.cpu(peer.cpu),
        ratio(ours.cpu, peer.cpu),
        mib(ours.memory),
        mib(peer.memory),
        ratio(ours.memory as f64, peer.memory as f64),
    ]
}

/// Ours over the peer's; a peer too quick to be measured has none.
fn ratio(ours: f64, peer: f64) -> String {
    match peer > 0.0 {
        true => format!("{:.2}", ours / peer),
        false => "-".into(),
    }
}
