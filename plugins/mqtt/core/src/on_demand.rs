//! What most owners do without: there once it is changed for the first time.

use std::ops::{Deref, DerefMut};

/// A value that is a pointer until it differs from [`Nothing::NOTHING`].
#[derive(Debug)]
pub(crate) struct OnDemand<T>(Option<Box<T>>);

/// How a value begins.
pub(crate) trait Nothing: Default + 'static {
    /// The default, to be looked at.
    const NOTHING: &'static Self;
}

impl<T: 'static> Nothing for Vec<T> {
    const NOTHING: &'static Self = &Vec::new();
}

impl<T> OnDemand<T> {
    /// To be changed, unless it is as it began.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for OnDemand<T> {
    fn default() -> Self {
        OnDemand(None)
    }
}

impl<T: Nothing> Deref for OnDemand<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::NOTHING)
    }
}

impl<T: Nothing> DerefMut for OnDemand<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_once_it_is_changed() {
        let mut numbers = OnDemand::<Vec<u8>>::default();
        assert_eq!(*numbers, []);
        assert!(numbers.get_mut().is_none());
        numbers.push(1);
        assert_eq!(*numbers, [1]);
        assert!(numbers.get_mut().is_some());
    }
}
