//! Libraries that must not come to run: cut short, of another ABI, or that do not get ready.

use std::collections::BTreeMap;

use polyport_testkit::{STANDARD, library_of};

use crate::Outcome;

/// Libraries by the names of their files.
pub type Libraries = BTreeMap<String, Vec<u8>>;

/// Makes the library for a plugin, which is exclusive or not, out of its whole one.
type Make<'a> = &'a dyn Fn(&str, bool, &[u8]) -> Outcome<Vec<u8>>;

/// What is wrong with a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Truncated,
    Abi,
    Panics,
    NeverReady,
}

/// For each fault and each shipped plugin a library that has it, by the name of its file.
pub fn all(whole: &Libraries, stand_in: &[u8]) -> Outcome<Vec<(Broken, Libraries)>> {
    let each = |fault: Broken, make: Make<'_>| {
        let made: Outcome<Libraries> = STANDARD
            .iter()
            .map(|standard| {
                let file = library_of(standard.package);
                let whole = whole.get(&file).map(Vec::as_slice).unwrap_or_default();
                let manifest = manifest(whole, standard.plugin)?;
                let exclusive = manifest.contains("\"exclusive\":true");
                Ok((file, make(standard.plugin, exclusive, whole)?))
            })
            .collect();
        made.map(|made| (fault, made))
    };
    let cut = |_: &str, _: bool, whole: &[u8]| {
        Ok(whole.get(..whole.len() / 2).unwrap_or_default().to_vec())
    };
    let foreign = |plugin: &str, _: bool, whole: &[u8]| {
        let own = manifest(whole, plugin)?;
        let other = own.replace("\"abi_generation\":1", "\"abi_generation\":9");
        replace(whole, own.as_bytes(), other.as_bytes())
    };
    let panics =
        |plugin: &str, exclusive: bool, _: &[u8]| stands_in(stand_in, plugin, exclusive, "panics");
    // The exclusive one comes as far as its predecessor's estate.
    let waits = |plugin: &str, exclusive: bool, _: &[u8]| {
        let does = if exclusive { "waits heir" } else { "waits" };
        stands_in(stand_in, plugin, exclusive, does)
    };
    Ok(vec![
        each(Broken::Truncated, &cut)?,
        each(Broken::Abi, &foreign)?,
        each(Broken::Panics, &panics)?,
        each(Broken::NeverReady, &waits)?,
    ])
}

/// The fixture library as `plugin`.
fn stands_in(library: &[u8], plugin: &str, exclusive: bool, does: &str) -> Outcome<Vec<u8>> {
    const NAME: &str = "stand-in-for-another-plugin";
    const DOES: &str = "the stand-in does: ";
    let own = manifest(library, NAME)?;
    let mut other = own
        .replace(&format!("{NAME:?}"), &format!("{plugin:?}"))
        .replace("\"exclusive\":true", &format!("\"exclusive\":{exclusive}"));
    while other.len() < own.len() {
        other.push(' ');
    }
    let named = replace(library, own.as_bytes(), other.as_bytes())?;
    let asked = format!("{:<32}", format!("{DOES}{does}"));
    let old = format!("{:<32}", format!("{DOES}panics"));
    replace(&named, old.as_bytes(), asked.as_bytes())
}

/// The manifest of a plugin in its library.
fn manifest(library: &[u8], plugin: &str) -> Outcome<String> {
    let begin = format!("{{\"name\":{plugin:?},");
    let at = library
        .windows(begin.len())
        .position(|window| window == begin.as_bytes());
    let rest = at.and_then(|at| library.get(at..)).unwrap_or_default();
    let end = rest
        .iter()
        .position(|byte| *byte == b'}')
        .map_or(0, |end| end + 1);
    match rest.get(..end) {
        Some(text) if end > 0 => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(format!("expected the manifest of {plugin} in its library")),
    }
}

/// The bytes with `new` wherever `old` is; both are as long, and it is there.
fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Outcome<Vec<u8>> {
    if old.len() != new.len() {
        return Err(format!("expected {} bytes, got {}", old.len(), new.len()));
    }
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = bytes
        .windows(old.len())
        .enumerate()
        .filter_map(|(at, window)| (window == old).then_some(at))
        .collect();
    if places.is_empty() {
        return Err(format!(
            "expected {:?} in a library",
            String::from_utf8_lossy(old)
        ));
    }
    for at in places {
        if let Some(place) = bytes.get_mut(at..at + old.len()) {
            place.copy_from_slice(new);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_takes_a_name_and_a_part() {
        let library =
            b"\x7fELF{\"name\":\"stand-in-for-another-plugin\",\"exclusive\":true,\"needs\":[]}\
                        the stand-in does: panics       ";
        let made = stands_in(library, "mqtt", false, "waits").unwrap();
        assert_eq!(made.len(), library.len());
        let text = String::from_utf8_lossy(&made).into_owned();
        assert!(
            text.contains("{\"name\":\"mqtt\",\"exclusive\":false,\"needs\":[]}  "),
            "{text}"
        );
        assert!(text.ends_with("the stand-in does: waits        "), "{text}");
        assert!(stands_in(b"", "mqtt", false, "waits").is_err());
    }
}
