//! A folder as a gzipped tar file.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::walk::{Item, Walk};

pub(super) fn write(walk: Walk, out: &mut impl Write) -> io::Result<()> {
    let mut tar = Builder::new(GzEncoder::new(out, Compression::fast()));
    for item in walk {
        append(&mut tar, item?)?;
    }
    tar.into_inner()?.finish()?;
    Ok(())
}

fn append(tar: &mut Builder<impl Write>, item: Item) -> io::Result<()> {
    let Item {
        name,
        metadata,
        file,
    } = item;
    let mut header = Header::new_gnu();
    let since = metadata
        .modified
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    header.set_mtime(since.as_secs());
    header.set_mode(metadata.mode & 0o777);
    match file {
        None => {
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            tar.append_data(&mut header, name.join(""), io::empty())
        }
        Some(file) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len);
            // A file that became shorter is filled up, as GNU tar does: its length is already said.
            let content = file
                .take(metadata.len)
                .chain(io::repeat(0))
                .take(metadata.len);
            tar.append_data(&mut header, name, content)
        }
    }
}
