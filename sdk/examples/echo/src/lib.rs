//! A complete third-party plugin: it greets and sends back each line it receives.
//!
//! ```toml
//! [services.echo]
//! plugin = "echo"
//! listen = ["127.0.0.1:7007"]
//! [services.echo.settings]
//! greeting = "hello"
//! ```

use std::sync::Arc;

use polyport_sdk::config::Problem;
use polyport_sdk::limits::{Busy, Known, Refusal};
use polyport_sdk::{Connection, Context, Error, Plugin, export_plugin};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tracing::info;

/// The keys beneath `[services.NAME.settings]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// First line that a client sees.
    greeting: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            greeting: "hello".into(),
        }
    }
}

/// One running instance.
pub struct Echo {
    config: Config,
}

impl Plugin for Echo {
    type Config = Config;

    const LIMITS: Known = Known::new().max_line(4096, 1..=1 << 20);

    fn busy(_: &str, _: Refusal, _: &[u8]) -> Busy {
        Busy::Answer(b"too many connections\n".to_vec())
    }

    fn check(config: &Config) -> Vec<Problem> {
        if !config.greeting.is_empty() {
            return Vec::new();
        }
        vec![Problem {
            key: "greeting".into(),
            expected: "a text that is not empty".into(),
            got: "\"\"".into(),
        }]
    }

    async fn start(config: Config, context: Context) -> Result<Self, Error> {
        info!("{} greets with {:?}", context.instance(), config.greeting);
        Ok(Self { config })
    }

    async fn connection(self: Arc<Self>, connection: Connection) -> Result<(), Error> {
        let draining = connection.draining();
        let limit = connection.limits().max_line as u64;
        let (read, mut write) = tokio::io::split(connection.stream);
        let mut read = BufReader::new(read);
        write
            .write_all(format!("{}\n", self.config.greeting).as_bytes())
            .await?;
        let echo = async {
            loop {
                let mut line = Vec::new();
                if (&mut read).take(limit).read_until(b'\n', &mut line).await? == 0 {
                    return Ok(());
                }
                write.write_all(&line).await?;
            }
        };
        tokio::select! {
            () = draining => Ok(()),
            done = echo => done,
        }
    }
}

export_plugin!(Echo { name: "echo" });
