//! Client commands: publish and subscribe, with the option letters of mosquitto_pub and mosquitto_sub.

mod link;
pub(crate) mod packets;
mod publish;
mod subscribe;

use polyport_mqtt_core::codec::{QoS, Version};
use polyport_sdk::client::{Arguments, Failure, Transport, password};

use packets::{Connect, Terms};

/// What `polyport client mqtt --help` prints.
pub const HELP: &str = "\
pub -t TOPIC (-m MESSAGE | -f FILE | -l) [OPTIONS]  publish
sub -t FILTER [-t FILTER …] [OPTIONS]  subscribe, and write what comes to standard output

pub:
  -t, --topic TOPIC         topic name
  -m, --message MESSAGE     the message
  -f, --file FILE           the message is the file's content; - is standard input
  -l, --stdin-line          each line of standard input is a message
  -r, --retain              the broker keeps it for later subscribers
sub:
  -t, --topic FILTER        topic filter, with + and #; may stand several times
  -v, --verbose             the topic before each message
  -C, --count COUNT         end after so many messages
  -R, --no-retained         leave out what was retained
  -c, --disable-clean-session  the broker keeps the session and what comes meanwhile; needs -i
both:
  -h, --host HOST           [localhost]
  -p, --port PORT           [1883; with TLS 8883]
      --tls                 by TLS
      --cafile FILE         by TLS; authorities to trust [the system's]
  -q, --qos QOS             0, 1 or 2 [0]
  -i, --id ID               client identifier [one of its own]
  -k, --keepalive SECONDS   5 to 65535 [60]
  -V, --protocol-version VERSION  3.1, 3.1.1 or 5 [3.1.1]
  -u, --username USER       with a password from:
  -P, --pw PASSWORD         (seen by everybody on this machine)
      --password-file FILE  its first line; else POLYPORT_PASSWORD; else asked for
";

const BOTH: [&str; 11] = [
    "-h --host HOST",
    "-p --port PORT",
    "--tls",
    Transport::CAFILE,
    "-q --qos QOS",
    "-i --id ID",
    "-k --keepalive SECONDS",
    "-V --protocol-version VERSION",
    "-u --username USER",
    "-P --pw PASSWORD",
    "--password-file FILE",
];

/// Longest text in a packet.
const LONGEST_TEXT: usize = 65_535;

/// Runs `pub` or `sub`.
pub fn run(mut arguments: Vec<String>) -> Result<(), Failure> {
    match arguments.first().map(String::as_str) {
        Some("pub") => publish::run(arguments.split_off(1)),
        Some("sub") => subscribe::run(arguments.split_off(1)),
        other => Err(Failure::Usage(format!(
            "expected pub or sub, got {}",
            other.map_or("nothing".into(), |word| format!("{word:?}"))
        ))),
    }
}

/// Where to and as whom.
struct Target {
    host: String,
    port: u16,
    transport: Transport,
    qos: QoS,
    hello: Connect,
}

/// Reads the options that both commands have, beside the command's own.
fn read(typed: Vec<String>, own: &[&'static str]) -> Result<(Arguments, Target), Failure> {
    let declared: Vec<&str> = BOTH.iter().chain(own).copied().collect();
    let options = Arguments::read(typed, &declared)?;
    options.end()?;
    let version = match options.value("-V") {
        None | Some("3.1.1" | "311" | "mqttv311") => Version::V311,
        Some("3.1" | "31" | "mqttv31") => Version::V31,
        Some("5" | "5.0" | "mqttv5") => Version::V5,
        Some(other) => {
            return Err(Failure::Usage(format!(
                "-V: expected 3.1, 3.1.1 or 5, got {other:?}"
            )));
        }
    };
    let clean = !options.has("-c");
    if !clean && options.value("-i").is_none() {
        return Err(Failure::usage(
            "-c: expected an -i ID to know the session by, got none",
        ));
    }
    let client_id = match options.value("-i") {
        Some(id) => id.to_owned(),
        None => own_id()?,
    };
    let qos = options.number("-q", 0u8, 0, 2)?;
    let tls = options.has("--tls") || options.has("--cafile");
    let port = options.number("-p", if tls { 8883 } else { 1883u16 }, 1, u16::MAX)?;
    let keep_alive = options.number("-k", 60u16, 5, u16::MAX)?;
    let login = match options.value("-u") {
        None => None,
        Some(user) => {
            let password = password(user, options.value("-P"), options.value("--password-file"))?;
            Some((user.to_owned(), Some(password)))
        }
    };
    let texts = options.values("-t").chain([client_id.as_str()]);
    let login_texts = login
        .iter()
        .flat_map(|(user, word)| [Some(user), word.as_ref()])
        .flatten()
        .map(String::as_str);
    if let Some(long) = texts
        .chain(login_texts)
        .find(|text| text.len() > LONGEST_TEXT)
    {
        return Err(Failure::Usage(format!(
            "expected texts of at most {LONGEST_TEXT} bytes, got one of {}",
            long.len()
        )));
    }
    let target = Target {
        host: options.value("-h").unwrap_or("localhost").into(),
        port,
        transport: Transport::read(&options, tls)?,
        qos: QoS::from_bits(qos).unwrap_or(QoS::AtMostOnce),
        hello: Connect {
            version,
            client_id,
            clean,
            keep_alive,
            login,
            terms: Terms::default(),
        },
    };
    Ok((options, target))
}

/// An identifier that no other client has; MQTT 3.1 takes 23 characters.
fn own_id() -> Result<String, Failure> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Failed(format!("random bytes: {error}")))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("polyport-{digits}"))
}
