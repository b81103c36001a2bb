//! From the file's close to the new behaviour.

use std::time::Instant;

use super::*;

#[test]
fn the_new_behaviour_is_there_soon_after_the_close() {
    let host = started();
    let rounds = polyport_testkit::repeats("POLYPORT_CHANGES", 11);
    let mut times: Vec<Duration> = (0..rounds)
        .map(|round| {
            let wanted = format!("round {round}");
            fs::write(host.config(), greeting_with(&host, &wanted)).unwrap();
            let closed = Instant::now();
            while greeting(&host).as_ref() != Some(&wanted) {
                assert!(closed.elapsed() < PATIENCE, "{wanted}");
                sleep(Duration::from_millis(1));
            }
            let took = closed.elapsed();
            calm();
            took
        })
        .collect();
    times.sort();
    let (median, slowest) = (times[rounds / 2], times[rounds - 1]);
    polyport_testkit::figure(
        "close to new behaviour",
        format!("median {median:?}, slowest {slowest:?} of {rounds}"),
    );
    assert!(median < Duration::from_millis(300), "{times:?}");
}
