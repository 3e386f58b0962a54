//! Files and folders, with their path in every error.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

fn at<T>(done: io::Result<T>, what: &str, path: &Path) -> Result<T> {
    done.with_context(|| format!("cannot {what} {}", path.display()))
}

pub(crate) fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    at(fs::read(&path), "read", path.as_ref())
}

pub(crate) fn text(path: impl AsRef<Path>) -> Result<String> {
    at(fs::read_to_string(&path), "read", path.as_ref())
}

/// The text of a file, whatever its bytes are; one that does not exist is empty.
pub(crate) fn lossy(path: &Path) -> Result<String> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        bytes => Ok(String::from_utf8_lossy(&at(bytes, "read", path)?).into_owned()),
    }
}

/// The paths in a folder, sorted.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder);
    let paths = entries.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = at(paths, "read", folder)?;
    paths.sort();
    Ok(paths)
}

pub(crate) fn make_folder(path: impl AsRef<Path>) -> Result<()> {
    at(fs::create_dir_all(&path), "make", path.as_ref())
}

pub(crate) fn create(path: impl AsRef<Path>) -> Result<File> {
    at(File::create(&path), "write", path.as_ref())
}

/// Writes a file, and makes the folder that it is in.
pub(crate) fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    path.parent().map_or(Ok(()), make_folder)?;
    at(fs::write(path, content), "write", path)
}

pub(crate) fn write_script(path: &Path, content: &str) -> Result<()> {
    write(path, content)?;
    at(fs::set_permissions(path, Permissions::from_mode(0o755)), "write", path)
}

pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    at(fs::remove_dir_all(path), "remove", path)
}

pub(crate) fn remove(path: &Path) -> Result<()> {
    at(fs::remove_file(path), "remove", path)
}
