//! Bounded reads of files below a root that may be a copy made by somebody else.
//!
//! A copied tree is untrusted: its links may lead out of it, its files may be huge or pipes. So a
//! path is followed only within the root, only regular files are opened, and sizes are capped.
//!
//! A tree is on disk, or it is what was once read of one on disk ([`Files`]): every question that is
//! asked of a disk can be kept with its answer and be answered from that later, elsewhere.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    fs::{self, FileType},
    io,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{
    disk::{Disk, MAX_ENTRIES},
    log,
};

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

    /// Takes what was read earlier, where it cannot be read now. What is not there any more is gone.
    pub(super) fn keep(&mut self, earlier: &Self)
    where
        T: Clone,
    {
        if let (Self::Unreadable(_), Self::Read(value)) = (&*self, earlier) {
            *self = Self::Read(value.clone());
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
    pub(crate) fn map<U>(self, make: impl FnOnce(T) -> U) -> Reading<U> {
        self.and_then(|value| Reading::Read(make(value)))
    }

    /// Makes another reading of the value, if it was read.
    pub(crate) fn and_then<U>(self, make: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
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

    fn unreadable(path: &Path, why: impl fmt::Display) -> Self {
        Self::Unreadable(format!("{}: {why}", path.display()))
    }
}

/// What was read of a tree: each question that was asked of it and its answer, whatever it was.
///
/// It answers the same questions in the same words as the tree did. What was never asked is
/// unreadable, not absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The canonical root; `/` for a live host.
    pub root: PathBuf,
    /// Where paths lead that were followed.
    pub places: BTreeMap<PathBuf, Reading<Place>>,
    /// The names in directories.
    pub names: BTreeMap<PathBuf, Reading<Vec<String>>>,
    /// The content of files.
    pub contents: BTreeMap<PathBuf, Reading<Vec<u8>>>,
    /// What links say, which are not followed.
    pub targets: BTreeMap<PathBuf, Reading<PathBuf>>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path without links.
    pub real: PathBuf,
    /// Whether a directory is there.
    pub is_dir: bool,
}

#[derive(Debug)]
pub(super) struct Tree<'f> {
    root: Reading<PathBuf>,
    disk: Disk,
    backing: Backing<'f>,
}

#[derive(Debug)]
enum Backing<'f> {
    Disk,
    /// A disk, and what was read of it so far.
    Kept(RefCell<Files>),
    Files(&'f Files),
}

impl<'f> Tree<'f> {
    pub(super) fn disk(root: &Path) -> Self {
        // An absent root is a mistake of whoever named it, not a host without anything.
        let root = match root.canonicalize() {
            Ok(root) => Reading::Read(root),
            Err(error) => Reading::unreadable(root, error),
        };
        let disk = root.value().map_or_else(Disk::default, |root| Disk::below(root));
        Self { root, disk, backing: Backing::Disk }
    }

    /// The same, but what is read of it is kept for [`Tree::kept`].
    pub(super) fn keeping(root: &Path) -> Self {
        let tree = Self::disk(root);
        let root = tree.root.value().cloned().unwrap_or_default();
        Self { backing: Backing::Kept(RefCell::new(Files { root, ..Files::default() })), ..tree }
    }

    pub(super) fn files(files: &'f Files) -> Self {
        let (root, disk) = (Reading::Read(files.root.clone()), Disk::default());
        Self { root, disk, backing: Backing::Files(files) }
    }

    /// Everything that was read; nothing if it was not to be kept.
    pub(super) fn kept(self) -> Files {
        match self.backing {
            Backing::Kept(files) => files.into_inner(),
            Backing::Disk | Backing::Files(_) => Files::default(),
        }
    }

    /// Whether it is another root than that of a running host.
    pub(super) fn is_copy(&self) -> bool {
        self.root.value().is_some_and(|root| root != Path::new("/"))
    }

    pub(super) fn top(&self) -> Reading<Dir<'_>> {
        self.root.clone().map(|path| Dir { tree: self, path })
    }

    fn ask<T: Clone>(
        &self,
        path: &Path,
        table: impl Fn(&mut Files) -> &mut BTreeMap<PathBuf, Reading<T>>,
        known: impl Fn(&Files) -> &BTreeMap<PathBuf, Reading<T>>,
        disk: impl FnOnce(&Path) -> Reading<T>,
    ) -> Reading<T> {
        match &self.backing {
            Backing::Disk => disk(path),
            Backing::Kept(files) => {
                let answer = disk(path);
                table(&mut files.borrow_mut()).insert(path.to_owned(), answer.clone());
                answer
            }
            Backing::Files(files) => known(files)
                .get(path)
                .cloned()
                .unwrap_or_else(|| Reading::unreadable(path, "is not in this recording")),
        }
    }

    /// Where a path leads, which must not be out of the root.
    fn place(&self, path: &Path, plain: bool) -> Reading<Place> {
        self.ask(
            path,
            |files| &mut files.places,
            |files| &files.places,
            |path| {
                self.follow(path, plain).map(|(real, kind)| Place { is_dir: kind.is_dir(), real })
            },
        )
    }

    fn names(&self, path: &Path) -> Reading<Vec<String>> {
        let names = |path: &Path| match self.disk.names(path) {
            Ok(Some(names)) => Reading::Read(names),
            Ok(None) => Reading::unreadable(path, format!("has more than {MAX_ENTRIES} entries")),
            Err(error) => Reading::failed(path, &error),
        };
        self.ask(path, |files| &mut files.names, |files| &files.names, names)
    }

    fn content(&self, path: &Path, plain: bool, limit: usize) -> Reading<Vec<u8>> {
        let too_long = || Reading::unreadable(path, format!("has more than {limit} bytes"));
        let content = self.ask(
            path,
            |files| &mut files.contents,
            |files| &files.contents,
            |path| {
                self.follow(path, plain).and_then(|(real, kind)| {
                    match self.disk.read(&real, kind, limit) {
                        Ok(Some(bytes)) => Reading::Read(bytes),
                        Ok(None) => too_long(),
                        Err(error) => Reading::failed(path, &error),
                    }
                })
            },
        );
        // What was kept may have been read with another limit.
        match content {
            Reading::Read(bytes) if bytes.len() > limit => too_long(),
            content => content,
        }
    }

    fn target(&self, path: &Path) -> Reading<PathBuf> {
        self.ask(
            path,
            |files| &mut files.targets,
            |files| &files.targets,
            |path| match self.disk.target(path) {
                Ok(target) => Reading::Read(target),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.written_out(path),
                Err(error) => Reading::failed(path, &error),
            },
        )
    }

    /// The real path on disk, which must not lead out of the root, and what is there. A `plain` name is
    /// one in a folder whose path is real already, so only a link leads elsewhere.
    fn follow(&self, path: &Path, plain: bool) -> Reading<(PathBuf, FileType)> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found.file_type(),
            Err(error) => return Reading::failed(path, &error),
        };
        if plain && !found.is_symlink() {
            return Reading::Read((path.to_owned(), found));
        }
        let real = path.canonicalize().and_then(|real| {
            let found = fs::symlink_metadata(&real)?.file_type();
            Ok((real, found))
        });
        match (real, &self.root) {
            (Ok((real, found)), Reading::Read(root)) if real.starts_with(root) => {
                Reading::Read((real, found))
            }
            // Whereto is the reader's own, and nobody else's business.
            (Ok(_), _) => Reading::unreadable(path, "leads out of the tree"),
            (Err(error), _) => Reading::failed(path, &error),
        }
    }

    /// The target of a link of which a copy made a file: programs that know no links write the target
    /// into it, as git does on Windows. All links of sysfs are relative.
    fn written_out(&self, path: &Path) -> Reading<PathBuf> {
        /// `PATH_MAX`
        const LONGEST: usize = 4096;
        let file = fs::symlink_metadata(path).map(|found| found.file_type());
        match file.and_then(|kind| self.disk.read(path, kind, LONGEST)) {
            Ok(Some(bytes)) if bytes.starts_with(b"../") && !bytes.contains(&b'\n') => {
                Reading::Read(PathBuf::from(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => Reading::unreadable(path, "is not a link: the tree was copied without its links"),
        }
    }
}

/// Whether a name is that of something right in a folder.
fn is_plain(name: &Path) -> bool {
    name.file_name() == Some(name.as_os_str())
}

/// The key that is written just so: a copied tree may hold `7` and `07`.
pub(super) fn exact<K: FromStr + fmt::Display>(name: &str) -> Option<K> {
    name.parse().ok().filter(|key: &K| key.to_string() == name)
}

#[derive(Clone, Debug)]
pub(super) struct Dir<'a> {
    tree: &'a Tree<'a>,
    path: PathBuf,
}

impl Dir<'_> {
    /// The directory at `name` below this one, links followed.
    pub(super) fn dir(&self, name: impl AsRef<Path>) -> Reading<Self> {
        let path = self.path.join(&name);
        self.tree.place(&path, is_plain(name.as_ref())).and_then(|place| {
            if place.is_dir {
                Reading::Read(Self { tree: self.tree, path: place.real })
            } else {
                Reading::unreadable(&path, "is not a directory")
            }
        })
    }

    pub(super) fn names(&self) -> Reading<Vec<String>> {
        self.tree.names(&self.path)
    }

    /// Where `name` is, for a message.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self.tree.place(&self.path.join(name), is_plain(name.as_ref())), Reading::Read(_))
    }

    /// The file at `name`, opened once, if it has at most `limit` bytes.
    pub(super) fn bytes(&self, name: &str, limit: usize) -> Reading<Vec<u8>> {
        self.tree.content(&self.path.join(name), is_plain(name.as_ref()), limit)
    }

    /// The lines worth keeping of the kernel's log at `name`: of a running host the device, of a copy
    /// the text that `dmesg` printed.
    pub(super) fn kernel_log(&self, name: &str, limit: usize) -> Reading<String> {
        if matches!(self.tree.backing, Backing::Files(_)) || self.tree.is_copy() {
            return self.text(name, limit).map(|text| log::kept(&text));
        }
        let path = self.path.join(name);
        let text = match log::of_kernel(&path) {
            Ok(text) => Reading::Read(text),
            Err(error) => Reading::failed(&path, &error),
        };
        if let Backing::Kept(files) = &self.tree.backing {
            let content = text.clone().map(String::into_bytes);
            files.borrow_mut().contents.insert(path, content);
        }
        text
    }

    /// Keeps, of the file at `name` that was read, only what is given here: the rest of it says
    /// nothing about this host.
    pub(super) fn keep_only(&self, name: &str, content: impl FnOnce() -> String) {
        if let Backing::Kept(files) = &self.tree.backing {
            let content = Reading::Read(content().into_bytes());
            files.borrow_mut().contents.insert(self.path.join(name), content);
        }
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
        let root = self.tree.root.value()?;
        let parent = self.path.parent().filter(|parent| parent.starts_with(root))?;
        Some(parent.file_name()?.to_string_lossy().into_owned())
    }

    /// What the link at `name` points to. It is not followed.
    pub(super) fn link_target(&self, name: &str) -> Reading<PathBuf> {
        self.tree.target(&self.path.join(name))
    }

    /// The last name of what the link at `name` points to. The link is not followed: in a copied
    /// tree what it names may be missing.
    pub(super) fn link_name(&self, name: &str) -> Reading<String> {
        let path = self.path.join(name);
        self.tree.target(&path).and_then(|target| match target.file_name() {
            Some(last) => Reading::Read(last.to_string_lossy().into_owned()),
            None => Reading::unreadable(&path, "is a link that ends in no name"),
        })
    }
}
