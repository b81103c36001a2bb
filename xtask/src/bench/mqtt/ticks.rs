//! A timer of the kernel beside the links, to the microsecond: what epoll waits for by itself are milliseconds.

use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::Outcome;

/// What the timer is called in the epoll: no link.
pub const EVENT: u64 = u64::MAX;

pub struct Ticks(OwnedFd);

impl Ticks {
    /// One so many nanoseconds after another, less than a second, from now on.
    pub fn every(nanoseconds: u64, epoll: &OwnedFd) -> Outcome<Self> {
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: nanoseconds.cast_signed(),
        };
        let every = Itimerspec {
            it_interval: time,
            it_value: time,
        };
        let set = || {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
            let data = epoll::EventData::new_u64(EVENT);
            epoll::add(epoll, &timer, data, epoll::EventFlags::IN)?;
            Ok(Self(timer))
        };
        set().map_err(|e: Errno| format!("no timer: {e}"))
    }

    /// Those that were due.
    pub fn take(&self) -> Outcome {
        match rustix::io::read(&self.0, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(e) => Err(format!("no timer: {e}")),
        }
    }
}
