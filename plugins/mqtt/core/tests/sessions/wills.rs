//! What becomes of wills (3.1.2.5, 3.1.3.2.2): published once when they are due, never when they are cancelled.

use polyport_mqtt_core::Time;
use proptest::prop_assert_eq;
use proptest::test_runner::TestCaseError;

/// Seconds that a broker that starts gives clients to come back.
const GRACE: u32 = 10;

/// One will, from its CONNECT on.
#[derive(Debug)]
struct Will {
    number: u32,
    /// Its delay in seconds.
    delay: u32,
    /// Its client was told that it is connected: the broker may not forget it any more.
    confirmed: bool,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Its connection is there.
    Held,
    /// The connection ended at the earliest then, and at the latest.
    Pending(Time, Time),
    /// It was published, or cancelled; so many frames there were by then.
    Published(usize),
    Cancelled(usize),
    /// The broker was killed in the middle of it.
    Unknown,
}

/// The wills of one client.
#[derive(Debug)]
pub struct Wills {
    /// Of its session, in seconds.
    expiry: u32,
    all: Vec<Will>,
}

impl Wills {
    pub fn new(expiry: u32) -> Wills {
        Wills {
            expiry,
            all: Vec::new(),
        }
    }

    /// When the last one is due whose connection ended at that time: its session's end is the latest moment.
    fn due(&self, left: Time) -> Time {
        let delay = self.all.last().map_or(0, |will| will.delay);
        left.after_seconds(delay.min(self.expiry))
    }

    fn decide(&mut self, state: State) {
        if let Some(last) = self.all.last_mut() {
            last.state = state;
        }
    }

    /// The delay of the next one.
    pub fn next_delay(&self) -> u32 {
        [0, 3, 20][self.all.len() % 3]
    }

    /// The client connects, and leaves another will.
    pub fn connect(&mut self, number: u32, clean: bool, now: Time, frames: usize) {
        if let Some(Will { state, delay, .. }) = self.all.last() {
            let after = match *state {
                State::Held if (*delay).min(self.expiry) == 0 || clean => State::Published(frames),
                State::Held => State::Cancelled(frames),
                State::Pending(_, latest) if latest <= now => State::Published(frames),
                State::Pending(..) if clean && self.expiry > 0 => State::Published(frames),
                State::Pending(earliest, _) if now < earliest => State::Cancelled(frames),
                State::Pending(..) => State::Unknown,
                decided => decided,
            };
            self.decide(after);
        }
        self.all.push(Will {
            number,
            delay: self.next_delay(),
            confirmed: false,
            state: State::Held,
        });
    }

    /// The client was told that it is connected.
    pub fn confirm(&mut self) {
        if let Some(last) = self.all.last_mut() {
            last.confirmed = true;
        }
    }

    /// The connection is lost.
    pub fn lose(&mut self, now: Time, frames: usize) {
        let due = self.due(now);
        self.decide(State::Pending(due, due));
        self.pass(now, frames);
    }

    /// The client leaves in order.
    pub fn disconnect(&mut self, frames: usize) {
        self.decide(State::Cancelled(frames));
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Time, frames: usize) {
        let last = self.all.last().map(|will| will.state);
        if let Some(State::Pending(_, latest)) = last
            && latest <= now
        {
            self.decide(State::Published(frames));
        }
    }

    /// Its connection stays behind where another broker takes over.
    pub fn stay_behind(&mut self, now: Time) {
        let due = self.due_with_grace(now);
        self.decide(State::Pending(due, due));
    }

    /// When the last one is due whose connection ended with the broker.
    fn due_with_grace(&self, now: Time) -> Time {
        let delay = self.all.last().map_or(0, |will| will.delay.max(GRACE));
        match self.expiry {
            0 => now.after_seconds(GRACE),
            expiry => now.after_seconds(delay.min(expiry)),
        }
    }

    /// The broker is killed, so many frames survive, and it starts again.
    pub fn kill(&mut self, now: Time, survivors: usize) {
        let latest = self.due_with_grace(now);
        if let Some(last) = self.all.last_mut() {
            last.state = match last.state {
                State::Held | State::Pending(..) if !last.confirmed => State::Unknown,
                State::Held => State::Pending(latest, latest),
                // When it ended may be forgotten, and is now then.
                State::Pending(earliest, _) => State::Pending(earliest, latest),
                decided => decided,
            };
        }
        for will in &mut self.all {
            will.state = match will.state {
                State::Published(frame) | State::Cancelled(frame) if frame > survivors => {
                    State::Unknown
                }
                State::Published(_) => State::Published(0),
                State::Cancelled(_) => State::Cancelled(0),
                open => open,
            };
        }
    }

    /// In the end, with how often each message came: once or never.
    pub fn check(&self, times: impl Fn(u32) -> usize) -> Result<(), TestCaseError> {
        for will in &self.all {
            let expected = match will.state {
                State::Published(_) => 1,
                State::Cancelled(_) | State::Held => 0,
                State::Pending(..) | State::Unknown => continue,
            };
            prop_assert_eq!(times(will.number), expected, "{:?}", will);
        }
        Ok(())
    }
}
