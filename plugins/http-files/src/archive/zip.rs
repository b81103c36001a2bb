//! A folder as a ZIP file, written without going back (APPNOTE.TXT 6.3): sizes and checksums
//! follow each entry's bytes, and everything stands once more in the central directory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::walk::{Item, Walk};
use crate::utc;

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DATA_DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;

/// Sizes follow the data.
const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// Names are UTF-8.
const FLAG_UTF8: u16 = 1 << 11;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

const VERSION: u16 = 20;
const VERSION_64: u16 = 45;
/// Made on Unix, so that the upper half of the attributes is a mode.
const MADE_BY: u16 = 3 << 8 | VERSION_64;

const MAX_16: u64 = 0xffff;
const MAX_32: u64 = 0xffff_ffff;
/// From this size on an entry is ZIP64; deflate can make it a little larger than it was.
const LARGE: u64 = 0xffff_0000;

pub(super) fn write(walk: Walk, out: &mut impl Write) -> io::Result<()> {
    let mut zip = Zip {
        out: Counted {
            inner: out,
            count: 0,
        },
        directory: Vec::new(),
    };
    for item in walk {
        zip.add(item?)?;
    }
    zip.finish()
}

/// What the central directory tells of an entry.
struct Entry {
    name: Vec<u8>,
    folder: bool,
    mode: u32,
    stamp: (u16, u16),
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
}

struct Zip<'a, W> {
    out: Counted<&'a mut W>,
    directory: Vec<Entry>,
}

impl<W: Write> Zip<'_, W> {
    fn add(&mut self, item: Item) -> io::Result<()> {
        let folder = item.file.is_none();
        let mut name = String::from_utf8_lossy(item.name.as_os_str().as_bytes())
            .into_owned()
            .into_bytes();
        if folder {
            name.push(b'/');
        }
        if name.len() as u64 > MAX_16 {
            return Ok(());
        }
        let mut entry = Entry {
            name,
            folder,
            mode: item.metadata.mode & 0o777 | if folder { 0o040_000 } else { 0o100_000 },
            stamp: dos_stamp(item.metadata.modified),
            crc: 0,
            packed: 0,
            size: 0,
            offset: self.out.count,
        };
        let large = item.metadata.len >= LARGE && !folder;
        self.out.write_all(&entry.local_header(large))?;
        if let Some(file) = item.file {
            self.deflate(&mut entry, file, item.metadata.len)?;
            self.out.write_all(&entry.descriptor(large))?;
        }
        self.directory.push(entry);
        Ok(())
    }

    fn deflate(&mut self, entry: &mut Entry, file: File, len: u64) -> io::Result<()> {
        let before = self.out.count;
        let mut crc = crc32fast::Hasher::new();
        let mut encoder = DeflateEncoder::new(&mut self.out, Compression::fast());
        let mut content = file.take(len);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let read = content.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            crc.update(bytes);
            encoder.write_all(bytes)?;
            entry.size += read as u64;
        }
        encoder.finish()?;
        entry.crc = crc.finalize();
        entry.packed = self.out.count - before;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let start = self.out.count;
        let entries = std::mem::take(&mut self.directory);
        for entry in &entries {
            self.out.write_all(&entry.central_header())?;
        }
        let size = self.out.count - start;
        let count = entries.len() as u64;
        if count >= MAX_16 || size >= MAX_32 || start >= MAX_32 {
            let at = self.out.count;
            let mut end = Vec::new();
            end.extend(END_64.to_le_bytes());
            end.extend(44u64.to_le_bytes());
            for version in [MADE_BY, VERSION_64] {
                end.extend(version.to_le_bytes());
            }
            end.extend([0; 8]);
            for number in [count, count, size, start] {
                end.extend(number.to_le_bytes());
            }
            end.extend(END_64_LOCATOR.to_le_bytes());
            end.extend(0u32.to_le_bytes());
            end.extend(at.to_le_bytes());
            end.extend(1u32.to_le_bytes());
            self.out.write_all(&end)?;
        }
        let mut end = Vec::new();
        end.extend(END.to_le_bytes());
        end.extend([0; 4]);
        for _ in 0..2 {
            end.extend(up_to_16(count));
        }
        end.extend(up_to_32(size));
        end.extend(up_to_32(start));
        end.extend([0; 2]);
        self.out.write_all(&end)?;
        self.out.flush()
    }
}

impl Entry {
    fn flags_and_method(&self) -> (u16, u16) {
        if self.folder {
            (FLAG_UTF8, STORED)
        } else {
            (FLAG_UTF8 | FLAG_DESCRIPTOR, DEFLATED)
        }
    }

    fn local_header(&self, large: bool) -> Vec<u8> {
        let (flags, method) = self.flags_and_method();
        let mut header = Vec::with_capacity(50 + self.name.len());
        header.extend(LOCAL_HEADER.to_le_bytes());
        for word in [
            if large { VERSION_64 } else { VERSION },
            flags,
            method,
            self.stamp.0,
            self.stamp.1,
        ] {
            header.extend(word.to_le_bytes());
        }
        header.extend(0u32.to_le_bytes());
        // In a ZIP64 entry both sizes move to the extra field, 0 there until the descriptor.
        header.extend(if large { [0xff; 8] } else { [0; 8] });
        header.extend(up_to_16(self.name.len() as u64));
        header.extend(if large { 20u16 } else { 0 }.to_le_bytes());
        header.extend(&self.name);
        if large {
            header.extend([1, 0, 16, 0]);
            header.extend([0; 16]);
        }
        header
    }

    fn descriptor(&self, large: bool) -> Vec<u8> {
        let mut descriptor = Vec::with_capacity(24);
        descriptor.extend(DATA_DESCRIPTOR.to_le_bytes());
        descriptor.extend(self.crc.to_le_bytes());
        for size in [self.packed, self.size] {
            if large {
                descriptor.extend(size.to_le_bytes());
            } else {
                descriptor.extend(up_to_32(size));
            }
        }
        descriptor
    }

    fn central_header(&self) -> Vec<u8> {
        let (flags, method) = self.flags_and_method();
        // In this order, and only those that do not fit (4.5.3).
        let mut extra = Vec::new();
        for number in [self.size, self.packed, self.offset] {
            if number >= MAX_32 {
                extra.extend(number.to_le_bytes());
            }
        }
        let mut header = Vec::with_capacity(78 + self.name.len());
        header.extend(CENTRAL_HEADER.to_le_bytes());
        let version = if extra.is_empty() {
            VERSION
        } else {
            VERSION_64
        };
        for word in [MADE_BY, version, flags, method, self.stamp.0, self.stamp.1] {
            header.extend(word.to_le_bytes());
        }
        header.extend(self.crc.to_le_bytes());
        header.extend(up_to_32(self.packed));
        header.extend(up_to_32(self.size));
        header.extend(up_to_16(self.name.len() as u64));
        let extra_len = if extra.is_empty() {
            0
        } else {
            extra.len() as u64 + 4
        };
        header.extend(up_to_16(extra_len));
        // No comment, first disk, no internal attributes.
        header.extend([0; 6]);
        let dos_directory = if self.folder { 0x10 } else { 0 };
        header.extend((self.mode << 16 | dos_directory).to_le_bytes());
        header.extend(up_to_32(self.offset));
        header.extend(&self.name);
        if !extra.is_empty() {
            header.extend([1, 0]);
            header.extend(up_to_16(extra.len() as u64));
            header.extend(extra);
        }
        header
    }
}

/// A number as two bytes; all ones say that it stands elsewhere.
fn up_to_16(number: u64) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes()
}

/// A number as four bytes; all ones say that it stands elsewhere.
fn up_to_32(number: u64) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// Time and date as MS-DOS has them: from 1980 on, every other second.
fn dos_stamp(time: SystemTime) -> (u16, u16) {
    let at = utc::of(time);
    let year = u16::try_from(at.year()).unwrap_or_default();
    if !(1980..=2107).contains(&year) {
        return (0, 1 << 5 | 1);
    }
    let (hour, minute, second) = at.to_hms();
    let clock = u16::from(hour) << 11 | u16::from(minute) << 5 | (u16::from(second) / 2);
    let date = (year - 1980) << 9 | u16::from(u8::from(at.month())) << 5 | u16::from(at.day());
    (clock, date)
}

struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
