//! The cache folder: finished things ([`super::items`]) in folders named after what they were made from.
//!
//! A thing is made in a temporary sibling folder and renamed when it is whole, so a set-up that
//! was killed leaves nothing that looks whole. One lock keeps two set-ups from working at once.
//! Readers need no lock: a finished folder is never changed.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use tempfile::TempDir;

use super::items::Item;
use crate::files;

const PARTIAL: &str = ".partial-";
/// How long an answer of the package archive ("the newest is ...") is believed.
const BELIEVED: Duration = Duration::from_hours(24);

#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$IVRS_TRACE_CACHE`, else `$XDG_CACHE_HOME/ivrs-trace`, else `~/.cache/ivrs-trace`.
    pub(crate) fn open() -> Result<Self> {
        let root = absolute("IVRS_TRACE_CACHE")
            .or_else(|| Some(absolute("XDG_CACHE_HOME")?.join("ivrs-trace")))
            .or_else(|| Some(absolute("HOME")?.join(".cache/ivrs-trace")))
            .context(
                "no cache folder: set IVRS_TRACE_CACHE to an absolute path (HOME is not set)",
            )?;
        files::make_folder(&root)?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The finished folder of this name, if there is one.
    pub(super) fn get(&self, folder: &str) -> Option<PathBuf> {
        let path = self.root.join(file_name(folder));
        path.is_dir().then_some(path)
    }

    /// The folder that an item's link leads to, unless the link is due to be renewed: then the one
    /// that `newest` finds or makes. Where `newest` fails, an older folder does, with a warning.
    pub(super) fn kept(
        &self,
        item: &Item,
        part: &str,
        newest: impl FnOnce(&Locked<'_>) -> Result<PathBuf>,
    ) -> Result<PathBuf> {
        let link = self.root.join("current").join(item.link(part));
        let good =
            || fs::canonicalize(&link).ok().filter(|_| !item.is_daily() || age(&link) < BELIEVED);
        if let Some(folder) = good() {
            return Ok(folder);
        }
        let lock = self.lock()?;
        // Another set-up may have got it meanwhile.
        if let Some(folder) = good() {
            return Ok(folder);
        }
        let folder = newest(&lock).or_else(|error| {
            let folder = fs::canonicalize(&link).map_err(|_| anyhow!("{error:#}"))?;
            eprintln!("    warning: using the {} of an earlier day: {error:#}", item.name);
            anyhow::Ok(folder)
        })?;
        lock.point(&link, &folder)?;
        Ok(folder)
    }

    /// Waits until no other set-up works on this cache, and locks it.
    pub(crate) fn lock(&self) -> Result<Locked<'_>> {
        let path = self.root.join("lock");
        let file = files::create(&path)?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                eprintln!("    waiting for another set-up to finish");
                file.lock()
            }
            tried => tried.map_err(io::Error::from),
        };
        locked.with_context(|| format!("cannot lock {}", path.display()))?;
        let locked = Locked { cache: self, _file: file };
        locked.remove_leftovers()?;
        Ok(locked)
    }
}

/// The cache folder while this process alone may add to it.
pub(crate) struct Locked<'a> {
    cache: &'a Cache,
    _file: File,
}

impl Locked<'_> {
    pub(super) fn cache(&self) -> &Cache {
        self.cache
    }

    /// The finished folder of this name; where there is none, `make` fills an empty folder that then
    /// becomes it. Messages call it `what`.
    pub(super) fn make(
        &self,
        folder: &str,
        what: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(path) = self.cache.get(folder) {
            return Ok(path);
        }
        let started = Instant::now();
        eprintln!("  getting {what}");
        let scratch = self.scratch()?;
        make(scratch.path()).with_context(|| format!("cannot set up {what}"))?;
        let path = self.cache.root.join(file_name(folder));
        fs::rename(scratch.path(), &path)
            .with_context(|| format!("cannot rename a folder to {}", path.display()))?;
        // The folder has its final name now: there is nothing to clean up.
        let _ = scratch.keep();
        eprintln!(
            "  got {what}: {} MB in {:.0} s",
            size(&path) / 1_000_000,
            started.elapsed().as_secs_f32()
        );
        Ok(path)
    }

    /// An empty folder in the cache that goes away with the value, or with the next set-up.
    pub(crate) fn scratch(&self) -> Result<TempDir> {
        tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&self.cache.root)
            .with_context(|| format!("cannot make a folder in {}", self.cache.root.display()))
    }

    /// Has `link` lead to the finished folder `path`, as of now.
    fn point(&self, link: &Path, path: &Path) -> Result<()> {
        let folder = self.cache.root.join("current");
        files::make_folder(&folder)?;
        let new = folder.join(PARTIAL);
        if new.is_symlink() {
            fs::remove_file(&new)?;
        }
        // Relative, so that the cache folder can be moved.
        symlink(Path::new("..").join(path.file_name().unwrap_or_default()), &new)
            .and_then(|()| fs::rename(&new, link))
            .with_context(|| format!("cannot write {}", link.display()))
    }

    /// Removes what a killed set-up left. Nobody else works here while the lock is held.
    fn remove_leftovers(&self) -> Result<()> {
        for path in files::list(&self.cache.root)? {
            let name = path.file_name().unwrap_or_default();
            if name.to_string_lossy().starts_with(PARTIAL) {
                files::remove_folder(&path)?;
            }
        }
        Ok(())
    }
}

/// The value of an environment variable that holds an absolute path.
fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// How long ago a file or link was written; for ever if that cannot be read.
pub(super) fn age(link: &Path) -> Duration {
    let made = fs::symlink_metadata(link).and_then(|data| data.modified());
    made.map_or(Duration::MAX, |made| SystemTime::now().duration_since(made).unwrap_or_default())
}

/// A key as a file name: an epoch's colon would end an entry of a search path.
fn file_name(key: &str) -> String {
    key.replace([':', '/'], "-")
}

/// What the files under `path` hold, in bytes. What cannot be read counts as nothing: the number
/// is only shown.
fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
