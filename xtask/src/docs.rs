//! `cargo xtask docs`: the part of the documentation that is made from the code, which is the JSON
//! Schemas of `docs/schema`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use ivrs_trace::schema;

use crate::workspace;

/// Arguments of `cargo xtask docs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write nothing; fail if what is checked in differs from what the code says
    #[arg(long)]
    check: bool,
}

/// `cargo xtask docs`.
///
/// # Errors
///
/// If the folder cannot be read or written, or, with `--check`, differs.
pub fn command(args: &Args) -> Result<()> {
    if args.check { check() } else { write() }
}

/// Compares `docs/schema` with the code.
///
/// # Errors
///
/// If it cannot be read, or differs.
pub fn check() -> Result<()> {
    let folder = workspace::root()?.join("docs/schema");
    let (present, wanted) = (files(&folder)?, schemas()?);
    let names = present.keys().chain(wanted.keys().filter(|name| !present.contains_key(*name)));
    let stale: Vec<_> =
        names.filter(|name| present.get(*name) != wanted.get(*name)).cloned().collect();
    ensure!(
        stale.is_empty(),
        "docs/schema is not what the code says ({}); run cargo xtask docs and commit the result",
        stale.join(", ")
    );
    Ok(())
}

fn write() -> Result<()> {
    let folder = workspace::root()?.join("docs/schema");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let wanted = schemas()?;
    for name in files(&folder)?.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(folder.join(name)).with_context(|| format!("cannot remove {name}"))?;
    }
    for (name, text) in wanted {
        fs::write(folder.join(&name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// The files as they should be, by name.
fn schemas() -> Result<BTreeMap<String, String>> {
    let file = |named: schema::Named| {
        let text = serde_json::to_string_pretty(&named.schema)?;
        Ok((format!("{}.json", named.name), text + "\n"))
    };
    schema::all().into_iter().map(file).collect()
}

/// The files as they are, by name.
fn files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let text =
            fs::read_to_string(entry.path()).with_context(|| format!("cannot read {name}"))?;
        files.insert(name, text);
    }
    Ok(files)
}
