//! What a library says of itself, read from its file without running any of its code.

use std::path::Path;

use object::read::elf::{ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSection, ReadCache, ReadRef};
use polyport_abi::manifest::{Manifest, SECTION};
use polyport_abi::{ABI_GENERATION, ABI_VERSION};

/// Interfaces that this host offers.
pub const OFFERED: &[&str] = &[
    "log/1",
    "accounts/1",
    "accounts/2",
    "metrics/1",
    "control/1",
    "trace/1",
    "tls/1",
    "limits/1",
    "folders/1",
];

/// Reads the manifest out of a library's bytes and checks that this host can run it.
///
/// # Errors
/// One line: what was expected of the file, what was found, and what to do.
pub fn read<'data>(bytes: impl ReadRef<'data>) -> Result<Manifest, String> {
    let length = bytes.len().unwrap_or(0);
    let first = bytes.read_bytes_at(0, length.min(4)).unwrap_or_default();
    if first != b"\x7fELF" {
        return Err(format!(
            "expected an ELF shared library, got a file that begins with {}",
            first_bytes(first)
        ));
    }
    let file = ElfFile64::<Endianness, _>::parse(bytes).map_err(|error| {
        format!("expected a whole 64-bit ELF library, got one of {length} bytes that is cut short or damaged ({error})")
    })?;
    let endian = file.endian();
    let machine = file.elf_header().e_machine(endian);
    if machine != HOST_MACHINE {
        return Err(format!(
            "expected a library for {} (machine {}), got machine {}",
            std::env::consts::ARCH,
            HOST_MACHINE.0,
            machine.0
        ));
    }
    check_whole(&file, length)?;
    let section = file.section_by_name(SECTION).ok_or_else(|| {
        format!("expected a polyport plugin, got a library without a {SECTION} section; make it with polyport-sdk's export_plugin!")
    })?;
    let data = section
        .data()
        .map_err(|error| format!("its {SECTION} section cannot be read: {error}"))?;
    let manifest: Manifest = serde_json::from_slice(data)
        .map_err(|error| format!("its manifest cannot be read: {error}"))?;
    check(&manifest)?;
    Ok(manifest)
}

/// Every part that the loader will map must be in the file: dlopen of a truncated library raises SIGBUS.
fn check_whole<'data>(
    file: &ElfFile64<'data, Endianness, impl ReadRef<'data>>,
    length: u64,
) -> Result<(), String> {
    use object::read::elf::ProgramHeader;
    let endian = file.endian();
    for segment in file.elf_program_headers() {
        let end = segment
            .p_offset(endian)
            .saturating_add(segment.p_filesz(endian));
        if end > length {
            return Err(format!(
                "expected a library of at least {end} bytes, got one cut short at {length}",
            ));
        }
    }
    Ok(())
}

fn check(manifest: &Manifest) -> Result<(), String> {
    if manifest.abi_generation != ABI_GENERATION {
        return Err(format!(
            "expected ABI generation {ABI_GENERATION} (this host speaks ABI {ABI_VERSION}), got {} (made with ABI {}); build it with an SDK of that generation",
            manifest.abi_generation, manifest.abi
        ));
    }
    if manifest.panic != "unwind" {
        return Err(format!(
            "expected a library built with panic = \"unwind\", got {:?}: its panic would end the host",
            manifest.panic
        ));
    }
    let lacking: Vec<&str> = manifest
        .needs
        .iter()
        .map(String::as_str)
        .filter(|id| !OFFERED.contains(id))
        .collect();
    if !lacking.is_empty() {
        return Err(format!(
            "it needs {}, which this host (ABI {ABI_VERSION}) does not offer",
            lacking.join(", ")
        ));
    }
    Ok(())
}

/// Reads the manifest of the library at `path`.
///
/// # Errors
/// As [`read`], or why the file cannot be read.
pub fn of_file(path: &Path) -> Result<Manifest, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    // Libraries are large, what is read of them here is not.
    read(&ReadCache::new(file))
}

fn first_bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing: it is empty".into();
    }
    format!("{:02x?}", &bytes[..bytes.len().min(4)])
}

#[cfg(target_arch = "x86_64")]
const HOST_MACHINE: object::elf::Machine = object::elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const HOST_MACHINE: object::elf::Machine = object::elf::EM_AARCH64;
#[cfg(target_arch = "riscv64")]
const HOST_MACHINE: object::elf::Machine = object::elf::EM_RISCV;

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            name: "x".into(),
            version: "1.0.0".into(),
            sdk: "0.1.0".into(),
            abi: ABI_VERSION.into(),
            abi_generation: ABI_GENERATION,
            panic: "unwind".into(),
            entry: "e".into(),
            exclusive: false,
            needs: vec!["control/1".into()],
        }
    }

    #[test]
    fn foreign_files_are_told_apart() {
        assert!(read(&b""[..]).unwrap_err().contains("empty"));
        assert!(
            read(&b"#!/bin/sh"[..])
                .unwrap_err()
                .contains("expected an ELF shared library")
        );
        assert!(
            read(&b"\x7fELF\x02\x01"[..])
                .unwrap_err()
                .contains("cut short")
        );
    }

    #[test]
    fn our_own_program_is_no_plugin() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(
            read(&program[..])
                .unwrap_err()
                .contains("without a .polyport section")
        );
    }

    #[test]
    fn what_this_host_cannot_run_is_refused_with_the_reason() {
        assert_eq!(check(&manifest()), Ok(()));
        assert!(
            check(&Manifest {
                abi_generation: 2,
                ..manifest()
            })
            .unwrap_err()
            .contains("expected ABI generation 1")
        );
        assert!(
            check(&Manifest {
                panic: "abort".into(),
                ..manifest()
            })
            .unwrap_err()
            .contains("unwind")
        );
        let needy = Manifest {
            needs: vec!["control/1".into(), "bus/1".into()],
            ..manifest()
        };
        assert!(check(&needy).unwrap_err().contains("it needs bus/1"));
    }
}
