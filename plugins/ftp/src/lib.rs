//! FTP server plugin: files of the host's accounts over RFC 959, for clients of today.
//!
//! The protocol lives in `polyport-ftp-core`; here are its settings, the folders behind its
//! paths and the sockets it speaks over.

mod client;
mod config;
mod files;
mod folders;
mod listing;
mod serve;
mod writer;

use std::sync::Arc;

use polyport_sdk::client::Failure;
use polyport_sdk::config::Problem;
use polyport_sdk::handover::Handover;
use polyport_sdk::limits::{Busy, Known, Refusal};
use polyport_sdk::live::Live;
use polyport_sdk::summary::{Data, Summary, Text};
use polyport_sdk::{Connection, Context, Error, Plugin, export_plugin};

pub use config::Config;
use serve::Service;

/// One instance of the FTP server.
pub struct Ftp {
    service: Live<Service>,
}

impl Plugin for Ftp {
    type Config = Config;

    const TLS_SCHEMES: &'static [(&'static str, &'static str)] = &[("ftps", "tcp")];

    const LIMITS: Known = config::LIMITS;
    const LIVE: &'static [&'static str] = config::LIVE;
    const HANDOVER: Handover = serve::HANDOVER;

    fn busy(_: &str, _: Refusal, _: &[u8]) -> Busy {
        Busy::Answer(polyport_ftp_core::too_many_connections())
    }

    const CLIENT_HELP: &'static str = client::HELP;

    fn client(arguments: Vec<String>) -> Result<(), Failure> {
        client::run(arguments)
    }

    fn check(config: &Config) -> Vec<Problem> {
        config.check()
    }

    async fn start(config: Config, context: Context) -> Result<Self, Error> {
        Ok(Self {
            service: Live::new(Service::open(config, context).await?),
        })
    }

    async fn connection(self: Arc<Self>, connection: Connection) -> Result<(), Error> {
        serve::control_connection(self.service.reader(), connection).await
    }

    fn reload(&self, config: &Config) -> bool {
        self.service.set(self.service.get().with(config.clone()));
        true
    }

    fn summary(scheme: &str) -> Box<dyn Summary> {
        match scheme {
            serve::DATA => Box::new(Data),
            _ => Box::new(Text::of_whole_lines()),
        }
    }
}

export_plugin!(Ftp { name: "ftp" });
