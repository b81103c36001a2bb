//! Client commands: list, get and put in passive mode, going on after a break in both directions.

mod get;
mod list;
mod put;
mod session;

use polyport_sdk::client::{Address, Arguments, Failure, Transport, account};

use session::Session;

/// What `polyport client ftp --help` prints.
pub const HELP: &str = "\
list URL [OPTIONS]      list a folder
get URL [OPTIONS]       download a file
put FILE URL [OPTIONS]  upload a file; a URL that ends in / gets the file's name

URL is ftp://[USER[:PASSWORD]@]HOST[:PORT]/PATH, or ftps://… for implicit TLS; without a user the login is
anonymous.

list:
  -1, --names               names only
get:
  -o, --output FILE         where to put it [the URL's last name]
get and put:
  -c, --continue            go on with a transfer that broke off
      --progress            show progress also where standard error is no terminal
all:
  -u, --user USER[:PASS]    account; the password else from:
      --password-file FILE  its first line; else POLYPORT_PASSWORD; else asked for
      --tls                 AUTH TLS before the login, and TLS on data connections
      --cafile FILE         authorities to trust with TLS [the system's]
      --retries N           tries after a break, 0 to 100 [5]
";

const ALL: [&str; 5] = [
    "-u --user USER",
    "--password-file FILE",
    "--tls",
    Transport::CAFILE,
    "--retries N",
];

/// Runs `list`, `get` or `put`.
pub fn run(mut arguments: Vec<String>) -> Result<(), Failure> {
    let run = match arguments.first().map(String::as_str) {
        Some("list") => list::run,
        Some("get") => get::run,
        Some("put") => put::run,
        other => {
            return Err(Failure::Usage(format!(
                "expected list, get or put, got {}",
                other.map_or("nothing".into(), |word| format!("{word:?}"))
            )));
        }
    };
    run(arguments.split_off(1))
}

/// Where to, as whom, and how often.
struct Target {
    address: Address,
    transport: Transport,
    /// Whether TLS begins with the connection.
    implicit: bool,
    /// As it goes on the wire: relative to the folder that a login begins in (RFC 1738 section 3.2.2).
    path: String,
    user: String,
    password: String,
    retries: u32,
}

/// Reads the options that all commands have, beside the command's own.
fn read(typed: Vec<String>, own: &[&'static str]) -> Result<Arguments, Failure> {
    let declared: Vec<&str> = ALL.iter().chain(own).copied().collect();
    Arguments::read(typed, &declared)
}

impl Target {
    fn read(url: &str, options: &Arguments) -> Result<Self, Failure> {
        let implicit = url.starts_with("ftps:");
        let (scheme, port) = if implicit { ("ftps", 990) } else { ("ftp", 21) };
        let address = Address::read(url, scheme, port)?;
        let anonymous = || ("anonymous".into(), "anonymous@".into());
        let (user, password) = account(options, &address)?.unwrap_or_else(anonymous);
        Ok(Self {
            path: address.decoded_path()?[1..].into(),
            user,
            password,
            retries: options.number("--retries", 5, 0, 100)?,
            transport: Transport::read(options, implicit || options.has("--tls"))?,
            implicit,
            address,
        })
    }

    /// A session in TYPE I.
    fn open(&self) -> Result<Session, Failure> {
        let mut session = Session::open(self)?;
        session.expect("TYPE I", 200)?;
        Ok(session)
    }
}
