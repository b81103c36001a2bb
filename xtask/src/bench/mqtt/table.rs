//! The tables of the MQTT benchmark, and a line for each round on the terminal.

use std::time::Duration;

use super::Detail;
use super::demand::{Verdict, thousands};
use super::hostile::{self, Siege};
use super::round::Round;
use crate::Outcome;
use crate::bench::report::circumstances;

/// For the terminal.
pub fn line(round: &Round) -> String {
    format!(
        "{}/s, {} of {} lost, {}, broker {:.0} %, load {:.0} %",
        thousands(round.per_second),
        round.lost,
        round.sent,
        times(round),
        round.server_share * 100.0,
        round.load_share * 100.0,
    )
}

/// The demands, and what each case used.
pub fn tables(names: &[String; 2], verdicts: &[Verdict], details: &[Detail]) -> Outcome<String> {
    let [ours, peer] = names;
    let mut text = format!("{}.\n\n", circumstances()?);
    text.push_str(&format!(
        "| case | {ours} | {peer} | ratio | demand | |\n|---|--:|--:|--:|--:|---|\n"
    ));
    for verdict in verdicts {
        text.push_str(&format!("| {} |\n", verdict.cells().join(" | ")));
    }
    text.push_str(
        "\n| case | broker | lost | p50 / p99 / p99.9 | CPU of the broker | of its core | load, of its core | resident after |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for detail in details {
        for (name, round) in names.iter().zip(&detail.rounds) {
            text.push_str(&format!(
                "| {} | {name} | {} | {} | {:.2} s/million | {:.0} % | {:.0} % | {:.1} MiB |\n",
                detail.case,
                lost(round),
                times(round),
                round.cpu,
                round.server_share * 100.0,
                round.load_share * 100.0,
                round.memory as f64 / super::MIB,
            ));
        }
    }
    Ok(text)
}

/// What others notice of hostile clients.
pub fn sieges(sieges: &[Siege]) -> Outcome<String> {
    let mut text = format!(
        "{}.\n\n| hostile clients | p99 of others without | with | ratio | memory | demand | |\n\
         |---|--:|--:|--:|--:|--:|---|\n",
        circumstances()?
    );
    for siege in sieges {
        let [calm, attacked] = siege.p99;
        let ratio = attacked.as_secs_f64() / calm.as_secs_f64();
        let met = match ratio <= hostile::MOST && siege.memory <= hostile::MAY_GROW {
            true => "met",
            false => "not met",
        };
        text.push_str(&format!(
            "| {} | {} | {} | {ratio:.2} | +{:.1} MiB | at most {} x, {} MiB | {met} |\n",
            siege.attack,
            time(calm),
            time(attacked),
            siege.memory,
            hostile::MOST,
            hostile::MAY_GROW,
        ));
    }
    Ok(text)
}

fn lost(round: &Round) -> String {
    match round.lost {
        0 => "0".into(),
        lost => format!("{:.3} %", lost as f64 / round.sent as f64 * 100.0),
    }
}

fn times(round: &Round) -> String {
    let latency = &round.latency;
    let [p50, p99, p999] = [latency.p50, latency.p99, latency.p999].map(time);
    format!("{p50} / {p99} / {p999}")
}

fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1000.0 => format!("{micros:.0} µs"),
        _ => format!("{:.1} ms", micros / 1000.0),
    }
}
