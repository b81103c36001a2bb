//! Reloads under load: what clients notice of changes of settings, accounts, certificates and libraries, of
//! rollbacks, and of files that are broken.
//!
//! Foreign clients of all services work without a pause and count what goes wrong for them; each kind of change is
//! made a number of times meanwhile. Nothing may go wrong.

mod broken;
mod cases;
mod ftp_clients;
mod http;
mod mosquitto;
mod place;
mod programs;
mod sessions;
mod table;
mod tally;
mod watch;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cases::{Case, Changer};
use place::Place;
use programs::{python, script};
use sessions::Meter;
use table::Row;
use tally::{Kind, Tally, between};
use watch::Watch;

use crate::Outcome;

/// How often each change is made unless the command says so.
pub const TIMES: usize = 100;
/// Time for what a change breaks to be noticed before the next kind begins.
const SETTLE: Duration = Duration::from_secs(2);
/// Between a change that is seen and the next.
const PAUSE: Duration = Duration::from_millis(150);
/// The longest that a load may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// A load on one or more services.
type Load = fn(&Tally, &Place) -> Outcome;

const LOADS: [(&str, Load); 11] = [
    ("wrk", http::wrk),
    ("curl, ranges", http::ranges),
    ("curl, slow downloads", http::slow),
    ("curl, kept connection", http::kept),
    ("curl, HTTPS", http::https),
    ("curl, HTTP/2", http::http2),
    ("lftp", ftp_clients::lftp),
    ("curl, FTP", ftp_clients::curl),
    ("ftplib, open sessions", ftp_sessions),
    ("http.client, JSON", json),
    ("paho", paho),
];

/// The load that comes to its end by itself, beside the sessions.
const MOSQUITTO: &str = "mosquitto";

/// The scripts, beside each other where Python finds them.
const SCRIPTS: [(&str, &str); 4] = [
    ("load.py", include_str!("load.py")),
    ("ftp_session.py", include_str!("ftp_session.py")),
    ("json_documents.py", include_str!("json_documents.py")),
    ("mqtt_pairs.py", include_str!("mqtt_pairs.py")),
];

/// Makes each change `times` times under load, and swaps once more with nothing but the sessions; gives the tables, and
/// what was not as demanded.
pub fn bench(times: usize, built: &Path) -> Outcome<(String, Outcome)> {
    let (host, place, changes) = place::set_up(built)?;
    for (name, text) in SCRIPTS {
        let path = place.scratch(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let watch = Watch::new(&host, &place, &changes)?;
    let changer = Changer {
        host: &host,
        changes: &changes,
        watch: &watch,
    };
    let (run, place) = (&Run::new(), &place);
    let mut rows = thread::scope(|scope| {
        for (name, load) in LOADS {
            scope.spawn(move || watched(run, name, load(&run.tally, place)));
        }
        scope.spawn(move || watched(run, MOSQUITTO, mosquitto::load(&run.tally, place)));
        scope.spawn(move || run.sessions(place));
        let names = LOADS.iter().map(|(name, _)| *name);
        let rows = under_way(&run.tally, names.chain([MOSQUITTO, sessions::LOAD]))
            .and_then(|()| run.changes(times, &changer));
        run.tally.end();
        rows
    })?;
    rows.push(run.rest(&rows));
    let loads = run.tally.loads();

    let run = &Run::new();
    let mut swaps = thread::scope(|scope| {
        scope.spawn(move || run.sessions(place));
        let rows = under_way(&run.tally, [sessions::LOAD].into_iter())
            .and_then(|()| run.swaps(times, &changer));
        run.tally.end();
        rows
    })?;
    swaps.push(run.rest(&swaps));
    rows.extend(swaps.into_iter().map(Row::alone));
    Ok((table::markdown(&rows, &loads)?, table::verdict(&rows)))
}

/// Waits until every load has done something.
fn under_way(tally: &Tally, names: impl Iterator<Item = &'static str> + Clone) -> Outcome {
    let begun = Instant::now();
    loop {
        let loads = tally.loads();
        let at_work = |name: &&str| {
            loads
                .iter()
                .any(|(load, done, _)| load == name && *done > 0)
        };
        let Some(missing) = names.clone().find(|name| !at_work(name)) else {
            return Ok(());
        };
        if begun.elapsed() > PATIENCE {
            return Err(format!("{missing}: nothing done after {PATIENCE:?}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A load that ends before its time has failed.
fn watched(run: &Run, name: &'static str, outcome: Outcome) {
    match outcome {
        Err(error) => run.tally.fail(name, Kind::Other, &error),
        Ok(()) if !run.tally.is_over() => run.tally.fail(name, Kind::Other, "it ended early"),
        Ok(()) => {}
    }
}

/// Changes while clients work.
struct Run {
    tally: Tally,
    meter: Meter,
}

impl Run {
    fn new() -> Self {
        Self {
            tally: Tally::new(),
            meter: Meter::default(),
        }
    }

    fn sessions(&self, place: &Place) {
        let outcome = sessions::load(&self.tally, place, &self.meter);
        watched(self, sessions::LOAD, outcome);
    }

    fn changes(&self, times: usize, changer: &Changer<'_>) -> Outcome<Vec<Row>> {
        // What happens without any change.
        thread::sleep(SETTLE);
        let mut rows = vec![Row::rest(self.tally.failures()).named("no change")];
        for case in Case::ALL {
            rows.push(self.many(case, times, changer)?);
        }
        Ok(rows)
    }

    fn swaps(&self, times: usize, changer: &Changer<'_>) -> Outcome<Vec<Row>> {
        thread::sleep(SETTLE);
        let swaps = Case::ALL.into_iter().filter(|case| case.swaps());
        let rows = swaps.map(|case| self.many(case, times, changer));
        rows.collect()
    }

    /// One kind of change, so many times.
    fn many(&self, case: Case, times: usize, changer: &Changer<'_>) -> Outcome<Row> {
        let Self { tally, meter } = self;
        if case == Case::Rollback
            && let Err(error) = changer.step(Case::Settings, 0)
        {
            // There have to be two generations to go back and forth between.
            println!("  before a rollback: {error}");
        }
        let (before, begun) = (tally.failures(), Instant::now());
        let (mut first, mut last) = (u64::MAX, 0);
        let (mut times_taken, mut frozen, mut wrong) = (Vec::new(), Vec::new(), 0);
        for round in 0..times {
            let step = meter.open();
            let outcome = changer.step(case, round);
            thread::sleep(PAUSE);
            meter.close();
            frozen.extend(changer.frozen(case));
            (first, last) = (first.min(step), step);
            match outcome {
                Ok(took) => times_taken.push(took),
                Err(error) => {
                    println!("  {}: {error}", case.name());
                    wrong += 1;
                    changer.reset()?;
                }
            }
            thread::sleep(PAUSE);
        }
        thread::sleep(SETTLE);
        times_taken.sort();
        frozen.sort();
        let row = Row {
            name: case.name().to_owned(),
            case: Some(case),
            times,
            wrong,
            seen: times_taken,
            frozen,
            pauses: meter.pauses(first, last),
            failures: between(before, tally.failures()),
            alone: false,
        };
        println!("{} ({:.0} s)", row.plain(), begun.elapsed().as_secs_f64());
        changer.reset()?;
        Ok(row)
    }

    /// What shows only when everything is counted, beside these.
    fn rest(&self, rows: &[Row]) -> Row {
        let counted = rows.iter().fold(tally::Counts::default(), |mut sum, row| {
            sum.iter_mut()
                .zip(row.failures)
                .for_each(|(sum, count)| *sum += count);
            sum
        });
        Row::rest(between(counted, self.tally.failures()))
    }
}

fn ftp_sessions(tally: &Tally, place: &Place) -> Outcome {
    let mut command = python(&place.scratch("ftp_session.py"));
    command.arg(place.ftp.to_string()).arg(place.folder(""));
    script(tally, "ftplib, open sessions", command)
}

fn json(tally: &Tally, place: &Place) -> Outcome {
    let mut command = python(&place.scratch("json_documents.py"));
    command.arg(place.json.to_string());
    script(tally, "http.client, JSON", command)
}

fn paho(tally: &Tally, place: &Place) -> Outcome {
    let mut command = python(&place.scratch("mqtt_pairs.py"));
    command.arg(place.mqtt.to_string());
    script(tally, "paho", command)
}
