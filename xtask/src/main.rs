//! The developer's commands, one file each: `cargo xtask COMMAND`.

mod bench;
mod check;
mod clients;
mod dist;
mod document;
mod fuzz;
mod serve;
mod soak;
mod workspace;

use std::process::ExitCode;

/// What a command comes to; the error is a line for a person.
type Outcome<T = ()> = Result<T, String>;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  serve [ARGS]     build in release, then polyport run -c config/polyport.toml ARGS
  check            everything that continuous integration checks
  clients          install the client programs and Python packages that tests use
  bench [NAME]     side by side with other servers: mqtt [--case PART] [--seconds N], files, json, ftp;
                   under a flood of bad logins: logins; or changed under load: reload [--times N];
                   without one, all
  dist             an archive that runs without a checkout, in target/dist
  soak [NAME]      the long tests in full length
  fuzz [TARGET]... [--seconds N]
                   the fuzz targets of the MQTT broker, a minute each or N seconds

bench and soak write their figures to docs/benchmarks.md.";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next();
    let args: Vec<String> = args.collect();
    let outcome = match command.as_deref() {
        Some("serve") => serve::serve(&args),
        Some("check") if args.is_empty() => check::check(),
        Some("clients") if args.is_empty() => clients::clients(),
        Some("dist") if args.is_empty() => dist::dist(),
        Some("bench") => bench::bench(&args),
        Some("soak") => soak::soak(&args),
        Some("fuzz") => fuzz::fuzz(&args),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
