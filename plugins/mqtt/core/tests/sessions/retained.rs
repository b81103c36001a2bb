//! What a new subscriber may expect of retained messages (3.3.1.3).

use crate::model::{Published, RETAINED};

/// Of the messages of one publisher, those that were published last and perhaps did not arrive, and the last one that
/// did: one of these is there, or was the removal of all before.
pub fn check(publisher: usize, found: Option<u32>, published: &[Published]) {
    let mine = |message: &&(u32, &Published)| {
        (message.1.publisher, message.1.topic) == (publisher, RETAINED)
    };
    let numbered: Vec<(u32, &Published)> = (0..).zip(published).collect();
    let all = numbered.iter().filter(mine);
    let arrived = all.clone().filter(|(_, message)| message.acknowledged);
    let last = arrived.map(|(number, _)| *number).max();
    let mut possible = all.filter(|(number, _)| Some(*number) >= last);
    let is_possible = match found {
        Some(found) => possible.any(|(number, message)| *number == found && !message.clears),
        None => last.is_none() || possible.any(|(_, message)| message.clears),
    };
    assert!(
        is_possible,
        "{found:?} is retained of {publisher}, not {last:?} or later"
    );
}
