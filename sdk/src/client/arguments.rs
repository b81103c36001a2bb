//! Options and operands of a client command, as POSIX and GNU write them.

use std::fmt::Display;
use std::str::FromStr;

use super::Failure;

/// What was typed, told apart.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    options: Vec<(&'static str, Option<String>)>,
    operands: std::collections::VecDeque<String>,
}

/// An option as a command declares it: `-t --topic TOPIC`, `-r --retain`, `--segments N`.
struct Declared {
    names: Vec<&'static str>,
    has_value: bool,
}

impl Declared {
    fn read(text: &'static str) -> Self {
        let (names, values): (Vec<&str>, Vec<&str>) =
            text.split(' ').partition(|word| word.starts_with('-'));
        Self {
            names,
            has_value: !values.is_empty(),
        }
    }
}

impl Arguments {
    /// Takes `typed` apart by the options declared, each by its names and, if it has one, the name of its
    /// value: `-t --topic TOPIC`. Later methods ask for an option by its first name. Taken are `-tX`,
    /// `-t X`, `--topic X`, `--topic=X`, several letters behind one dash, and `--` before operands that begin
    /// with a dash.
    ///
    /// # Errors
    /// [`Failure::Usage`] for an option that is not declared, or one without its value.
    pub fn read(typed: Vec<String>, declared: &[&'static str]) -> Result<Self, Failure> {
        let declared: Vec<Declared> = declared.iter().map(|text| Declared::read(text)).collect();
        let find = |name: &str| {
            declared
                .iter()
                .find(|option| option.names.contains(&name))
                .ok_or_else(|| Failure::Usage(format!("unknown option {name:?}")))
        };
        let mut this = Self::default();
        let mut typed = typed.into_iter();
        while let Some(word) = typed.next() {
            if word == "--" {
                this.operands.extend(typed.by_ref());
            } else if word.starts_with("--") {
                let (name, inline) = match word.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (word.as_str(), None),
                };
                let option = find(name)?;
                if inline.is_some() && !option.has_value {
                    return Err(Failure::Usage(format!("{name} has no value")));
                }
                this.push(option, name, inline, &mut typed)?;
            } else if word.len() > 1 && word.starts_with('-') {
                this.letters(&word[1..], find, &mut typed)?;
            } else {
                this.operands.push_back(word);
            }
        }
        Ok(this)
    }

    fn letters<'a>(
        &mut self,
        letters: &str,
        find: impl Fn(&str) -> Result<&'a Declared, Failure>,
        typed: &mut impl Iterator<Item = String>,
    ) -> Result<(), Failure> {
        for (at, letter) in letters.char_indices() {
            let name = format!("-{letter}");
            let option = find(&name)?;
            let rest = &letters[at + letter.len_utf8()..];
            if option.has_value {
                let inline = Some(rest).filter(|rest| !rest.is_empty());
                return self.push(option, &name, inline.map(str::to_owned), typed);
            }
            self.push(option, &name, None, typed)?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        option: &Declared,
        name: &str,
        inline: Option<String>,
        typed: &mut impl Iterator<Item = String>,
    ) -> Result<(), Failure> {
        let value =
            match (option.has_value, inline) {
                (false, _) => None,
                (true, Some(value)) => Some(value),
                (true, None) => Some(typed.next().ok_or_else(|| {
                    Failure::Usage(format!("{name}: expected a value, got none"))
                })?),
            };
        self.options.push((option.names[0], value));
        Ok(())
    }

    /// Whether the option stands there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(known, _)| *known == name)
    }

    /// The option's value, the last one typed.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .rfind(|(known, _)| *known == name)?
            .1
            .as_deref()
    }

    /// The option's values in their order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options
            .iter()
            .filter(move |(known, _)| *known == name)
            .filter_map(|(_, value)| value.as_deref())
    }

    /// The option's value as a number between `low` and `high`, or `default`.
    ///
    /// # Errors
    /// [`Failure::Usage`] for anything else.
    pub fn number<T>(&self, name: &str, default: T, low: T, high: T) -> Result<T, Failure>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.value(name) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) if number >= low && number <= high => Ok(number),
            _ => Err(Failure::Usage(format!(
                "{name}: expected {low} to {high}, got {text:?}"
            ))),
        }
    }

    /// The next operand.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there is none; `what` names it: `URL`.
    pub fn operand(&mut self, what: &str) -> Result<String, Failure> {
        self.operands
            .pop_front()
            .ok_or_else(|| Failure::Usage(format!("expected {what}, got nothing")))
    }

    /// The next operand, if there is one.
    pub fn optional_operand(&mut self) -> Option<String> {
        self.operands.pop_front()
    }

    /// To be called after the last operand.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there is one more.
    pub fn end(&self) -> Result<(), Failure> {
        match self.operands.front() {
            None => Ok(()),
            Some(word) => Err(Failure::Usage(format!("expected no more, got {word:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &[&str] = &["-t --topic TOPIC", "-r --retain", "-v", "--segments N"];

    fn read(typed: &[&str]) -> Result<Arguments, Failure> {
        Arguments::read(
            typed.iter().map(|word| word.to_string()).collect(),
            DECLARED,
        )
    }

    #[test]
    fn every_way_to_write_an_option() {
        let mut read = read(&[
            "-ta",
            "--topic",
            "b",
            "--topic=c=d",
            "-vrt",
            "-e",
            "url",
            "-",
            "--",
            "-x",
        ])
        .unwrap();
        assert_eq!(
            read.values("-t").collect::<Vec<_>>(),
            ["a", "b", "c=d", "-e"]
        );
        assert!(read.has("-r") && read.has("-v") && !read.has("--segments"));
        for operand in ["url", "-", "-x"] {
            assert_eq!(read.operand("URL").unwrap(), operand);
        }
        assert!(read.end().is_ok() && read.operand("URL").is_err());
    }

    #[test]
    fn what_is_not_declared_is_wrong_usage() {
        for typed in [
            &["-x"][..],
            &["--top", "a"],
            &["-t"],
            &["--retain=1"],
            &["-vx"],
        ] {
            assert!(matches!(read(typed), Err(Failure::Usage(_))), "{typed:?}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        let number = |text| {
            read(&["--segments", text])
                .unwrap()
                .number("--segments", 1, 1, 16)
        };
        assert_eq!(number("16"), Ok(16));
        for bad in ["0", "17", "x", "-1", ""] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
        assert_eq!(read(&[]).unwrap().number("--segments", 4, 1, 16), Ok(4));
    }
}
