//! The figures as tables, and whether they are what is demanded.

use std::time::Duration;

use super::super::report::circumstances;
use super::cases::Case;
use super::tally::{Counts, Kind};
use crate::Outcome;

/// From a file's close to what a client sees of it, the median.
const SEEN: Duration = Duration::from_millis(300);
/// For a session during a swap with nothing else at work, the median.
const PAUSE: Duration = Duration::from_millis(10);

/// One kind of change.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub case: Option<Case>,
    pub times: usize,
    /// Changes that did not do what they ought to.
    pub wrong: usize,
    /// From the file's close to the new behaviour, or to the refusal; the shortest first.
    pub seen: Vec<Duration>,
    /// While the MQTT service changed hands, as the host tells it; the shortest first.
    pub frozen: Vec<Duration>,
    /// Of sessions, each in one change; the shortest first.
    pub pauses: Vec<Duration>,
    pub failures: Counts,
    /// With nothing at work but the sessions.
    pub alone: bool,
}

impl Row {
    /// What shows at the end.
    pub fn rest(failures: Counts) -> Self {
        Self {
            name: "counted at the end".to_owned(),
            case: None,
            times: 0,
            wrong: 0,
            seen: Vec::new(),
            frozen: Vec::new(),
            pauses: Vec::new(),
            failures,
            alone: false,
        }
    }

    pub fn named(self, name: &str) -> Self {
        let name = name.to_owned();
        Self { name, ..self }
    }

    pub fn alone(self) -> Self {
        Self {
            name: format!("{}, sessions alone", self.name),
            alone: true,
            ..self
        }
    }

    /// A line for the terminal.
    pub fn plain(&self) -> String {
        self.cells().join("  ")
    }

    fn cells(&self) -> Vec<String> {
        let number = |number: usize| {
            if self.case.is_some() {
                number.to_string()
            } else {
                String::new()
            }
        };
        let swaps = self.case.is_some_and(Case::swaps);
        let mut cells = vec![
            self.name.clone(),
            number(self.times),
            number(self.wrong),
            quantiles(&self.seen),
            quantiles(&self.frozen),
            if swaps {
                quantiles(&self.pauses)
            } else {
                String::new()
            },
        ];
        cells.extend(self.failures.iter().map(u64::to_string));
        cells
    }

    /// What is not as demanded.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut say = |what: String| complaints.push(format!("{}: {what}", self.name));
        if self.wrong > 0 {
            say(format!("{} of {} went wrong", self.wrong, self.times));
        }
        for (kind, count) in Kind::ALL
            .iter()
            .zip(self.failures)
            .filter(|(_, count)| *count > 0)
        {
            say(format!("{count} {}", kind.word()));
        }
        let Some(case) = self.case else {
            return complaints;
        };
        let seen = quantile(&self.seen, 50);
        if case.has_file()
            && seen.is_none_or(|seen| seen >= SEEN)
            && !matches!(case, Case::Broken(_))
        {
            say(format!("seen after {seen:?}, expected less than {SEEN:?}"));
        }
        let pause = quantile(&self.pauses, 50);
        // Under load it is how long a session waits for a core as well.
        if case.swaps() && self.alone && pause.is_none_or(|pause| pause >= PAUSE) {
            say(format!(
                "a session waits {pause:?}, expected less than {PAUSE:?}"
            ));
        }
        complaints
    }
}

/// Both tables, with the day and the machine.
pub fn markdown(rows: &[Row], loads: &[(&str, u64, u64)]) -> Outcome<String> {
    let words = Kind::ALL.map(Kind::word);
    let mut text = format!("{}.\n\n", circumstances()?);
    text.push_str(&format!(
        "| change | times | wrong | seen | MQTT frozen | pause of a session | {} |\n|---{}|\n",
        words.join(" | "),
        "|--:".repeat(words.len() + 5)
    ));
    for row in rows {
        text.push_str(&format!("| {} |\n", row.cells().join(" | ")));
    }
    text.push_str("\n| load | done | failed |\n|---|--:|--:|\n");
    for (load, done, failed) in loads {
        text.push_str(&format!("| {load} | {done} | {failed} |\n"));
    }
    Ok(text)
}

/// An error with everything that is not as demanded.
pub fn verdict(rows: &[Row]) -> Outcome {
    let complaints: Vec<String> = rows.iter().flat_map(Row::complaints).collect();
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(format!("not as demanded:\n  {}", complaints.join("\n  "))),
    }
}

/// The median and what 99 of 100 stay below, in milliseconds.
fn quantiles(sorted: &[Duration]) -> String {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    match (quantile(sorted, 50), quantile(sorted, 99)) {
        (Some(median), Some(most)) => {
            format!("{:.1} / {:.1} ms", milliseconds(median), milliseconds(most))
        }
        _ => String::new(),
    }
}

fn quantile(sorted: &[Duration], share: usize) -> Option<Duration> {
    sorted
        .get(sorted.len() * share / 100)
        .or(sorted.last())
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_and_every_delay_is_a_complaint() {
        let good = || Row {
            name: "settings swap".to_owned(),
            case: Some(Case::Settings),
            times: 2,
            wrong: 0,
            seen: vec![Duration::from_millis(150); 3],
            frozen: vec![Duration::from_millis(2); 3],
            pauses: vec![Duration::from_millis(3); 3],
            failures: Counts::default(),
            alone: true,
        };
        assert_eq!(verdict(&[good(), Row::rest(Counts::default())]), Ok(()));
        for bad in [
            Row { wrong: 1, ..good() },
            Row {
                seen: vec![Duration::from_millis(400)],
                ..good()
            },
            Row {
                pauses: vec![Duration::from_millis(11)],
                ..good()
            },
            Row {
                pauses: vec![],
                ..good()
            },
            Row::rest([0, 1, 0, 0, 0, 0, 0]),
        ] {
            assert!(verdict(&[bad]).is_err());
        }
        let waiting = Row {
            pauses: vec![Duration::from_millis(11)],
            alone: false,
            ..good()
        };
        assert_eq!(verdict(&[waiting]), Ok(()));
        assert_eq!(
            good().plain(),
            "settings swap  2  0  150.0 / 150.0 ms  2.0 / 2.0 ms  3.0 / 3.0 ms  0  0  0  0  0  0  0"
        );
    }
}
