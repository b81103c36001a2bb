//! FEAT, OPTS MLST (RFC 2389, RFC 3659).

use crate::control::Control;
use crate::listing::Facts;
use crate::reply::{self, Reply};

pub(super) fn feat(control: &mut Control) {
    let mlst = format!("MLST {}", control.parameters.facts.feature());
    let options = &control.options;
    let features = [
        ("AUTH TLS", options.tls.offered),
        ("EPRT", options.port_enable),
        ("EPSV", options.pasv_enable),
        ("MDTM", true),
        ("MFMT", options.write_enable),
        (&mlst, true),
        ("PASV", options.pasv_enable),
        ("PBSZ", options.tls.offered),
        ("PROT", options.tls.offered),
        ("REST STREAM", true),
        ("SIZE", true),
        ("TVFS", true),
        ("UTF8", true),
    ];
    let lines = features
        .into_iter()
        .filter(|(_, offered)| *offered)
        .map(|(name, _)| name);
    reply::write_block(&mut control.output, 211, "Features:", lines, "End");
}

pub(super) fn opts_mlst(control: &mut Control, argument: &str) {
    control.parameters.facts = Facts::parse(argument);
    let chosen = control.parameters.facts.chosen();
    control.reply(&Reply::new(
        200,
        format!("MLST OPTS {chosen}").trim_end().to_owned(),
    ));
}
