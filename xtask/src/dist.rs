//! `cargo xtask dist`: one archive with everything that runs without a checkout.

use std::path::Path;
use std::process::Command;

use crate::{Outcome, workspace};

/// What of the checkout goes along.
const FILES: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "config",
    "docs",
];

/// Builds in release and packs program, plugins and configuration into `target/dist`.
pub fn dist() -> Outcome {
    let release = workspace::build_release()?;
    let version = env!("CARGO_PKG_VERSION");
    let name = format!(
        "polyport-{version}-{}-{}",
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    let dist = workspace::target()?.join("dist");
    let folder = dist.join(&name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    // The program looks for its plugins beside itself.
    copy(&release, "polyport", &folder)?;
    for plugin in shipped_plugins()? {
        copy(
            &release,
            &format!("libpolyport_{}.so", plugin.replace('-', "_")),
            &folder,
        )?;
    }
    for file in FILES {
        copy(workspace::root(), file, &folder)?;
    }
    let archive = dist.join(format!("{name}.tar.gz"));
    workspace::run(
        Command::new("tar")
            .arg("-C")
            .arg(&dist)
            .arg("-czf")
            .arg(&archive)
            .arg(&name),
    )?;
    println!("{}", archive.display());
    Ok(())
}

/// The plugins' folders; each holds the package `polyport-NAME`.
fn shipped_plugins() -> Outcome<Vec<String>> {
    let failed = |e| format!("plugins: {e}");
    let entries = std::fs::read_dir(workspace::root().join("plugins")).map_err(failed)?;
    let names = entries.map(|entry| {
        Ok(entry
            .map_err(failed)?
            .file_name()
            .to_string_lossy()
            .into_owned())
    });
    let mut names: Vec<String> = names.collect::<Outcome<_>>()?;
    names.sort();
    Ok(names)
}

/// Copies a file or a whole folder, less what a running host wrote into it.
fn copy(from: &Path, file: &str, to: &Path) -> Outcome {
    let (source, target) = (from.join(file), to.join(file));
    let folder = target.parent().expect("a file lies in a folder");
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let failed = |e| format!("{}: {e}", source.display());
    if !source.is_dir() {
        return std::fs::copy(&source, &target).map(drop).map_err(failed);
    }
    for entry in std::fs::read_dir(&source).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name != "state" {
            copy(&source, &name.to_string_lossy(), &target)?;
        }
    }
    Ok(())
}
