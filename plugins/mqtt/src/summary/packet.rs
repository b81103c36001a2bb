//! One packet in one line. Lenient: what breaks the standard is the broker's to refuse.

use std::fmt::Write;

use polyport_mqtt_core::codec::connect::Connect;
use polyport_mqtt_core::codec::primitives::Reader;
use polyport_mqtt_core::codec::{Error, FixedHeader, PacketType, Version};
use polyport_sdk::summary::shown;

/// What a packet is, from its header and what is there of its body.
pub(super) fn text(version: &mut Option<Version>, header: FixedHeader, body: &[u8]) -> String {
    let Some(kind) = PacketType::from_first_byte(header.first) else {
        return String::new();
    };
    let name = format!("{kind:?}").to_uppercase();
    let about = match kind {
        PacketType::Connect => connect(version, body),
        PacketType::Publish => publish(*version, header, body),
        _ => fields(*version, kind, body),
    };
    match about {
        Ok(about) => shown(format!("{name}{about}").trim_end()),
        Err(error) => shown(&format!("{name} that cannot be read: {error}")),
    }
}

fn connect(version: &mut Option<Version>, body: &[u8]) -> Result<String, Error> {
    let connect = Connect::decode(body).map_err(|refused| refused.error)?;
    *version = Some(connect.version);
    let mut about = format!(
        " {:?}, MQTT {}",
        connect.client_id,
        match connect.version {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5.0",
        }
    );
    if connect.clean_start {
        about.push_str(match connect.version {
            Version::V5 => ", clean start",
            _ => ", clean session",
        });
    }
    put(
        &mut about,
        format_args!(", keep alive {}", connect.keep_alive),
    );
    if let Some(user) = connect.username {
        put(&mut about, format_args!(", user {user:?}"));
    }
    if connect.password.is_some() {
        about.push_str(", password");
    }
    if let Some(will) = connect.will {
        put(
            &mut about,
            format_args!(", will to {} QoS {}", will.topic, will.qos as u8),
        );
    }
    Ok(about)
}

fn publish(version: Option<Version>, header: FixedHeader, body: &[u8]) -> Result<String, Error> {
    let mut reader = Reader::new(body);
    let topic = reader.string()?;
    let qos = header.first >> 1 & 3;
    let identifier = match qos {
        0 => None,
        _ => Some(reader.two_byte_integer()?),
    };
    if version == Some(Version::V5) {
        properties(&mut reader)?;
    }
    let payload = header.remaining - (body.len() - reader.rest().len());
    let mut about = format!(" {topic} QoS {qos}, {payload} bytes");
    if let Some(identifier) = identifier {
        put(&mut about, format_args!(", id {identifier}"));
    }
    if header.first & 1 != 0 {
        about.push_str(", retain");
    }
    if header.first & 8 != 0 {
        about.push_str(", dup");
    }
    Ok(about)
}

fn fields(version: Option<Version>, kind: PacketType, body: &[u8]) -> Result<String, Error> {
    let mut reader = Reader::new(body);
    let v5 = version == Some(Version::V5);
    let mut about = String::new();
    match kind {
        PacketType::Connack => {
            let flags = reader.byte()?;
            put(&mut about, format_args!(" {}", reader.byte()?));
            if flags & 1 != 0 {
                about.push_str(", session present");
            }
        }
        PacketType::Subscribe | PacketType::Unsubscribe => {
            put(&mut about, format_args!(" {}:", reader.two_byte_integer()?));
            if v5 {
                properties(&mut reader)?;
            }
            let mut comma = "";
            while !reader.is_empty() {
                put(&mut about, format_args!("{comma} {}", reader.string()?));
                if kind == PacketType::Subscribe {
                    put(&mut about, format_args!(" QoS {}", reader.byte()? & 3));
                }
                comma = ",";
            }
        }
        PacketType::Suback | PacketType::Unsuback => {
            put(&mut about, format_args!(" {}", reader.two_byte_integer()?));
            if v5 {
                properties(&mut reader)?;
            }
            codes(&mut about, reader.rest());
        }
        PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp => {
            put(&mut about, format_args!(" {}", reader.two_byte_integer()?));
            if !reader.is_empty() {
                codes(&mut about, &[reader.byte()?]);
            }
        }
        PacketType::Disconnect | PacketType::Auth => {
            if !reader.is_empty() {
                put(&mut about, format_args!(" {}", reader.byte()?));
            }
        }
        PacketType::Connect | PacketType::Publish | PacketType::Pingreq | PacketType::Pingresp => {}
    }
    Ok(about)
}

/// Reads over the properties of version 5.
fn properties(reader: &mut Reader<'_>) -> Result<(), Error> {
    let length = reader.variable_byte_integer()?;
    reader.take(length as usize).map(drop)
}

fn codes(about: &mut String, codes: &[u8]) {
    for (at, code) in codes.iter().enumerate() {
        let before = if at == 0 { ": " } else { " " };
        put(about, format_args!("{before}{code}"));
    }
}

fn put(about: &mut String, more: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = about.write_fmt(more);
}
