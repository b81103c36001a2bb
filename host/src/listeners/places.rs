//! The places of an instance's listeners: it knows each by a number, whatever becomes of the others.

use crate::config::Listen;

/// The listeners of an instance, by place. One that went keeps its place, for the connections that it left.
#[derive(Debug, Clone, Default)]
pub struct Places(Vec<Place>);

/// One listener.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its entry in the configuration: as it was last, for one that went.
    pub listen: Listen,
    /// What tells it from the others of its service: [`Listen::name`].
    pub name: String,
    open: bool,
}

impl Place {
    fn is(&self, index: usize, entry: &Listen) -> bool {
        self.listen.scheme == entry.scheme && self.name == entry.name(index)
    }
}

impl Places {
    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Place> {
        self.0.iter()
    }

    /// Gives an entry a place: that of one that went and was the same, or the next.
    pub fn add(&mut self, index: usize, entry: &Listen) -> u32 {
        let place = Place {
            listen: entry.clone(),
            name: entry.name(index),
            open: true,
        };
        let free = self
            .0
            .iter()
            .position(|place| !place.open && place.is(index, entry));
        let at = match free {
            Some(free) => {
                self.0[free] = place;
                free
            }
            None => {
                self.0.push(place);
                self.0.len() - 1
            }
        };
        number(at)
    }

    /// Whether one of the open listeners is this entry.
    pub fn has(&self, index: usize, entry: &Listen) -> bool {
        self.0
            .iter()
            .any(|place| place.open && place.is(index, entry))
    }

    /// Takes over what the entries say now. Gives the places of open listeners that are none of them any more: those
    /// went.
    pub fn follow(&mut self, listen: &[Listen]) -> Vec<u32> {
        let mut went = Vec::new();
        for (at, place) in self.0.iter_mut().enumerate() {
            let mut entries = listen.iter().enumerate();
            match entries.find(|(index, entry)| place.open && place.is(*index, entry)) {
                Some((_, entry)) => place.listen = entry.clone(),
                None if place.open => {
                    place.open = false;
                    went.push(number(at));
                }
                None => {}
            }
        }
        went
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn list(texts: &[&str]) -> Vec<Listen> {
        let entry = |text: &&str| Listen::parse(text, Path::new("/")).unwrap();
        texts.iter().map(entry).collect()
    }

    fn added(places: &mut Places, listen: &[Listen]) -> Vec<u32> {
        let mut added = Vec::new();
        for (index, entry) in listen.iter().enumerate() {
            if !places.has(index, entry) {
                added.push(places.add(index, entry));
            }
        }
        added
    }

    #[test]
    fn a_listener_keeps_its_place_whatever_becomes_of_the_others() {
        let mut places = Places::default();
        let first = list(&["127.0.0.1:1", "127.0.0.1:2", "unix:/s"]);
        assert_eq!(added(&mut places, &first), [0, 1, 2]);
        let moved = list(&["unix:/s", "127.0.0.1:2", "127.0.0.1:1"]);
        assert_eq!(added(&mut places, &moved), [] as [u32; 0]);
        assert_eq!(places.follow(&moved), [] as [u32; 0]);
        let other = list(&["unix:/s", "tls://127.0.0.1:2", "127.0.0.1:3"]);
        assert_eq!(added(&mut places, &other), [3, 4]);
        assert_eq!(places.follow(&other), [0, 1]);
        // It comes back to where it was.
        let back = list(&["127.0.0.1:1", "unix:/s"]);
        assert_eq!(added(&mut places, &back), [0]);
        assert_eq!(places.follow(&back), [3, 4]);
        assert_eq!(places.iter().count(), 5);
    }
}
