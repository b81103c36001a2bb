//! `polyport user can`: what an account may do, and which line of the accounts file says so.

use std::path::Path;
use std::time::SystemTime;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory};

use super::{Options, Outcome};
use crate::accounts::{
    ANONYMOUS, AccountList, Action, Decision, Question, Token, allows_some, decide,
};
use crate::config::{Config, did_you_mean, shown};

/// Arguments of `polyport user can`.
#[derive(Debug, Args)]
pub struct Command {
    /// The login, or `anonymous`
    name: String,
    /// The service's name in the configuration
    service: String,
    /// list, read, write, create, delete, share, publish or subscribe
    #[arg(value_parser = action)]
    action: Action,
    /// A path such as /pub/a.txt, a topic, or for subscribe a topic filter
    target: String,
    /// What the client calls itself, for the rules with %c
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The name of the token that the client comes by
    #[arg(long, value_name = "NAME")]
    token: Option<String>,
}

fn action(word: &str) -> Result<Action, String> {
    let words = Action::ALL.iter().map(|(_, word)| *word);
    let found = Action::ALL.iter().find(|(_, known)| *known == word);
    found.map(|(action, _)| *action).ok_or_else(|| {
        let known: Vec<&str> = words.collect();
        format!("expected one of {}, got {word:?}", known.join(", "))
    })
}

impl Command {
    /// Prints `allowed` and why; `denied` is a failure. A topic filter is allowed if some of its topics are. An account or a service that is not there is
    /// wrong usage.
    pub fn run(self, options: &Options) -> Outcome {
        let config = Config::load(&options.source())?;
        let services: Vec<&str> = config
            .services
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        if !services.contains(&self.service.as_str()) {
            misused(
                &format!("there is no service {:?}", self.service),
                &self.service,
                &services,
            );
        }
        let list = AccountList::load(&config.host.accounts)?;
        let token = self.token.as_ref().map(|name| {
            let tokens = list.tokens_of(&self.name);
            let found = tokens.iter().find(|token| token.name == *name).copied();
            found.unwrap_or_else(|| {
                let names: Vec<&str> = tokens.iter().map(|token| token.name.as_str()).collect();
                let message = format!("{} has no token {name:?}", self.name);
                misused(&message, name, &names)
            })
        });
        let said = self.judge(&list, token.map(|token| &**token), &config.host.accounts);
        match said {
            Some(Ok(why)) => println!("allowed: {why}"),
            Some(Err(why)) => return Err(format!("denied: {why}").into()),
            None => {
                let names: Vec<&str> = list.iter().map(|account| account.name.as_str()).collect();
                misused(
                    &format!("there is no account {:?}", self.name),
                    &self.name,
                    &names,
                );
            }
        }
        Ok(())
    }

    /// Whether it may, and why; none without such an account.
    fn judge(
        &self,
        list: &AccountList,
        token: Option<&Token>,
        file: &Path,
    ) -> Option<Result<String, String>> {
        let account = if self.name == ANONYMOUS {
            list.anonymous()
        } else {
            list.get(&self.name)
        }?;
        let question = Question {
            service: &self.service,
            action: self.action,
            target: &self.target,
            client_id: self.client_id.as_deref(),
            token,
        };
        let now = SystemTime::now();
        let decision = decide(account, &question, now);
        let (Decision::Allowed(cause) | Decision::Denied(cause)) = decision;
        let why = match cause.origin(account, &self.service) {
            None => cause.to_string(),
            Some(origin) => {
                let place = format!("{}:{}", shown(file).display(), origin.line + 1);
                match cause.to_string() {
                    why if why == origin.to_string() => format!("{place}: {why}"),
                    why => format!("{why}, {place}: {origin}"),
                }
            }
        };
        Some(match decision {
            Decision::Allowed(_) => Ok(why),
            Decision::Denied(_)
                if self.action == Action::Subscribe && allows_some(account, &question, now) =>
            {
                Ok(format!("for some of its topics, not for all: {why}"))
            }
            Decision::Denied(_) => Err(why),
        })
    }
}

/// Ends the program with the exit code of wrong usage.
fn misused(message: &str, word: &str, known: &[&str]) -> ! {
    let hint = did_you_mean(word, known.iter().copied())
        .map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
    crate::cli::CommandLine::command()
        .error(ErrorKind::InvalidValue, format!("{message}{hint}"))
        .exit()
}
