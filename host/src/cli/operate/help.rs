//! The help of a plugin's commands.

use std::fmt::Write;

use polyport_abi::operate::Command;

/// What `polyport NAME --help` prints.
pub(super) fn of(plugin: &str, commands: &[Command]) -> String {
    let mut text = String::new();
    if commands.is_empty() {
        return format!(
            "The plugin {plugin} takes no commands. Its client commands: polyport client {plugin} --help\n"
        );
    }
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "Commands to a running service of the plugin {plugin}\n\nUsage: polyport [OPTIONS] {plugin} COMMAND\n"
    );
    let usage = |command: &Command| match command.operands.as_str() {
        "" => command.name.clone(),
        operands => format!("{} {operands}", command.name),
    };
    let widest = commands.iter().map(|command| usage(command).len()).max();
    let width = widest.unwrap_or_default();
    for command in commands {
        let _ = writeln!(text, "  {:<width$}  {}", usage(command), command.about);
    }
    let options = commands.iter().flat_map(|command| &command.options);
    let options = options.map(|option| written(&option.option).len());
    let width = options
        .max()
        .unwrap_or_default()
        .max("--service NAME".len() + 4);
    for command in commands
        .iter()
        .filter(|command| !command.options.is_empty())
    {
        let _ = writeln!(text, "\n{}:", command.name);
        for option in &command.options {
            let _ = writeln!(
                text,
                "  {:<width$}  {}",
                written(&option.option),
                option.about
            );
        }
    }
    let _ = writeln!(text, "\nall:");
    let all = [
        ("--json", "a JSON object a line"),
        (
            "--service NAME",
            "which one, where the plugin has several services",
        ),
    ];
    for (option, about) in all {
        let _ = writeln!(text, "  {:<width$}  {about}", written(option));
    }
    let _ = writeln!(
        text,
        "\npolyport's own options stand before {plugin}. Client commands: polyport client {plugin} --help"
    );
    text
}

/// `-u --user USER` as `-u, --user USER`, long ones beneath each other.
fn written(option: &str) -> String {
    match option.split_once(" --") {
        Some((short, long)) if short.len() == 2 => format!("{short}, --{long}"),
        _ if option.starts_with("--") => format!("    {option}"),
        _ => option.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use polyport_abi::operate::CommandOption;

    use super::*;

    #[test]
    fn commands_and_their_options_stand_beneath_each_other() {
        let command = |name: &str, operands: &str, option: &str| Command {
            name: name.into(),
            operands: operands.into(),
            about: "does something".into(),
            options: vec![CommandOption {
                option: option.into(),
                about: "means something".into(),
            }],
            ..Command::default()
        };
        let commands = [
            command("list", "[FILTER]", "-n --limit COUNT"),
            command("end", "", "--now"),
        ];
        let text = of("x", &commands);
        for line in [
            "Usage: polyport [OPTIONS] x COMMAND",
            "  list [FILTER]  does something",
            "  end            does something",
            "  -n, --limit COUNT   means something",
            "      --now           means something",
            "      --json          a JSON object a line",
        ] {
            assert!(text.lines().any(|got| got == line), "{line}\n{text}");
        }
    }
}
