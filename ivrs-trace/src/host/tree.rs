//! Bounded reads of files below a root that may be a copy made by somebody else.
//!
//! A copied tree is untrusted: its links may lead out of it, its files may be huge or pipes. So a
//! path is followed only within the root, only regular files are opened, and sizes are capped.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Entries of a directory that are read at most.
const MAX_ENTRIES: usize = 65_536;

/// What came of reading one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// It is there, and this is it.
    Read(T),
    /// It is not there.
    Absent,
    /// It is there, or cannot be told to be, and this is why it was not read: path and reason.
    Unreadable(String),
}

/// What a snapshot does not have that was taken before this was read at all.
impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self::Unreadable("this snapshot was taken without it".to_owned())
    }
}

impl<T> Reading<T> {
    /// The value, if it was read.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }

    /// This, or what else says it.
    pub(super) fn or_from(self, other: impl FnOnce() -> Option<T>) -> Self {
        match self {
            Self::Read(value) => Self::Read(value),
            failed => other().map_or(failed, Self::Read),
        }
    }

    /// Makes something of the value, if it was read.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Reading<U> {
        self.and_then(|value| Reading::Read(make(value)))
    }

    /// Makes another reading of the value, if it was read.
    pub(super) fn and_then<U>(self, make: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
        match self {
            Self::Read(value) => make(value),
            Self::Absent => Reading::Absent,
            Self::Unreadable(why) => Reading::Unreadable(why),
        }
    }

    fn failed(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            _ => Self::unreadable(path, error),
        }
    }

    fn unreadable(path: &Path, why: impl std::fmt::Display) -> Self {
        Self::Unreadable(format!("{}: {why}", path.display()))
    }
}

/// A directory within the root.
#[derive(Clone, Debug)]
pub(super) struct Dir<'a> {
    root: &'a Path,
    path: PathBuf,
}

impl<'a> Dir<'a> {
    /// The root itself; `root` must be canonical.
    pub(super) fn root(root: &'a Path) -> Self {
        Self { root, path: root.to_owned() }
    }

    /// The directory at `name` below this one, links followed.
    pub(super) fn dir(&self, name: impl AsRef<Path>) -> Reading<Self> {
        let path = self.path.join(name);
        self.follow(&path).and_then(|real| {
            if real.is_dir() {
                Reading::Read(Self { root: self.root, path: real })
            } else {
                Reading::unreadable(&path, "is not a directory")
            }
        })
    }

    /// The names in this directory.
    pub(super) fn names(&self) -> Reading<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) => return Reading::failed(&self.path, &error),
        };
        let mut names = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) if names.len() < MAX_ENTRIES => {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
                Ok(_) => {
                    let why = format!("has more than {MAX_ENTRIES} entries");
                    return Reading::unreadable(&self.path, why);
                }
                Err(error) => return Reading::unreadable(&self.path, error),
            }
        }
        Reading::Read(names)
    }

    /// Where `name` is, for a message.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether there is something at `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self.follow(&self.path.join(name)), Reading::Read(_))
    }

    /// The file at `name`, opened once, if it has at most `limit` bytes.
    pub(super) fn bytes(&self, name: &str, limit: usize) -> Reading<Vec<u8>> {
        let path = self.path.join(name);
        self.follow(&path).and_then(|real| match read(&real, limit) {
            Ok(Some(bytes)) => Reading::Read(bytes),
            Ok(None) => Reading::unreadable(&path, format!("has more than {limit} bytes")),
            Err(error) => Reading::failed(&path, &error),
        })
    }

    /// The text of the file at `name` without space at its ends; what is not UTF-8 is replaced.
    ///
    /// Zero bytes at the end go too: tar fills up with them what is shorter than its size says,
    /// as all of sysfs is.
    pub(super) fn text(&self, name: &str, limit: usize) -> Reading<String> {
        self.bytes(name, limit).map(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned()
        })
    }

    /// The name of the directory that this one really lies in.
    pub(super) fn parent_name(&self) -> Option<String> {
        let parent = self.path.parent().filter(|parent| parent.starts_with(self.root))?;
        Some(parent.file_name()?.to_string_lossy().into_owned())
    }

    /// The last name of what the link at `name` points to. The link is not followed: in a copied
    /// tree what it names may be missing.
    pub(super) fn link_name(&self, name: &str) -> Reading<String> {
        let path = self.path.join(name);
        match fs::read_link(&path) {
            Ok(target) => match target.file_name() {
                Some(last) => Reading::Read(last.to_string_lossy().into_owned()),
                None => Reading::unreadable(&path, "is a link that ends in no name"),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Reading::unreadable(&path, "is not a link: the tree was copied without its links")
            }
            Err(error) => Reading::failed(&path, &error),
        }
    }

    /// The real path, which must not lead out of the root.
    fn follow(&self, path: &Path) -> Reading<PathBuf> {
        match path.canonicalize() {
            Ok(real) if real.starts_with(self.root) => Reading::Read(real),
            Ok(real) => {
                Reading::unreadable(path, format!("leads out of the tree, to {}", real.display()))
            }
            Err(error) => Reading::failed(path, &error),
        }
    }
}

/// `None` where the file has more than `limit` bytes.
fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    // A pipe would block for ever, a device may do anything.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::with_capacity(limit.min(4096) + 64);
    File::open(path)?.take(one_more).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}
