//! The files of a snapshot as bytes, and back.
//!
//! A part holds the number of the snapshot, its own, whether more parts follow, and records: a
//! question that was asked of the host's file tree, its path, and the answer.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

use super::{MAX_SECTION, MAX_SNAPSHOT};
use crate::host::{Files, Place, Reading};

/// Bytes of a part that are aimed at: a cut in the snapshot leaves what came before.
const PART: usize = 256 * 1024;
/// The flag of a snapshot's last part.
const LAST: u32 = 1;
/// Bytes of memory that a record is counted as, beside its path and its answer.
const RECORD_COST: usize = 256;
/// Bytes of memory that a name is counted as, beside its characters.
const NAME_COST: usize = 64;

/// The start of a part.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PartHeader {
    snapshot: U32,
    /// From 0.
    part: U32,
    flags: U32,
}

/// The start of a record; path and data follow.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RecordHeader {
    question: u8,
    answer: u8,
    reserved: U16,
    path: U32,
    data: U32,
}

/// The root; the answer is always [`READ`].
const ROOT: u8 = 0;
/// Where does the path lead, links followed? The data is the path without links.
const PLACE: u8 = 1;
/// Which names are in the directory? The data is the names, each with a NUL after it.
const NAMES: u8 = 2;
/// What is in the file? The data is just that.
const CONTENT: u8 = 3;
/// What does the link say? The data is its target.
const TARGET: u8 = 4;

/// There is nothing; no data.
const ABSENT: u8 = 0;
/// It could not be read; the data is the reason, UTF-8.
const UNREADABLE: u8 = 1;
/// It was read.
const READ: u8 = 2;
/// It was read, and it is a directory: to [`PLACE`] only.
const READ_DIR: u8 = 3;

/// The parts of snapshot number `snapshot`.
pub(super) fn parts(snapshot: u32, files: &Files) -> Vec<Vec<u8>> {
    let mut parts = Parts { snapshot, done: Vec::new(), part: Vec::new() };
    parts.record(ROOT, READ, &files.root, &[]);
    for (path, reading) in &files.places {
        let read = |place: &Place| {
            let answer = if place.is_dir { READ_DIR } else { READ };
            (answer, place.real.as_os_str().as_bytes().to_vec())
        };
        parts.reading(PLACE, path, reading, read);
    }
    for (path, reading) in &files.names {
        let joined = |names: &Vec<String>| {
            (READ, names.iter().flat_map(|name| name.bytes().chain([0])).collect())
        };
        parts.reading(NAMES, path, reading, joined);
    }
    for (path, reading) in &files.contents {
        parts.reading(CONTENT, path, reading, |content| (READ, content.clone()));
    }
    for (path, reading) in &files.targets {
        parts.reading(TARGET, path, reading, |to| (READ, to.as_os_str().as_bytes().to_vec()));
    }
    parts.next(LAST);
    parts.done
}

struct Parts {
    snapshot: u32,
    done: Vec<Vec<u8>>,
    /// The records of the part that is being made.
    part: Vec<u8>,
}

impl Parts {
    fn reading<T>(
        &mut self,
        question: u8,
        path: &Path,
        reading: &Reading<T>,
        read: impl FnOnce(&T) -> (u8, Vec<u8>),
    ) {
        match reading {
            Reading::Absent => self.record(question, ABSENT, path, &[]),
            Reading::Unreadable(why) => self.record(question, UNREADABLE, path, why.as_bytes()),
            Reading::Read(value) => {
                let (answer, data) = read(value);
                self.record(question, answer, path, &data);
            }
        }
    }

    fn record(&mut self, question: u8, answer: u8, path: &Path, data: &[u8]) {
        let too_large = format!("{}: is too large to be recorded", path.display());
        let path = path.as_os_str().as_bytes();
        // Half of a section is left to what is in the part already.
        let fits = path.len().saturating_add(data.len()) < MAX_SECTION / 2;
        let (answer, data) = if fits { (answer, data) } else { (UNREADABLE, too_large.as_bytes()) };
        let (Ok(path_length), Ok(data_length)) =
            (u32::try_from(path.len()), u32::try_from(data.len()))
        else {
            return;
        };
        let header = RecordHeader {
            question,
            answer,
            reserved: 0.into(),
            path: path_length.into(),
            data: data_length.into(),
        };
        self.part.extend_from_slice(header.as_bytes());
        self.part.extend_from_slice(path);
        self.part.extend_from_slice(data);
        if self.part.len() >= PART {
            self.next(0);
        }
    }

    fn next(&mut self, flags: u32) {
        let number = u32::try_from(self.done.len()).unwrap_or(u32::MAX);
        let header =
            PartHeader { snapshot: self.snapshot.into(), part: number.into(), flags: flags.into() };
        let mut part = header.as_bytes().to_vec();
        part.append(&mut self.part);
        self.done.push(part);
    }
}

/// A snapshot that is put together from its parts.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Its number.
    pub(super) snapshot: u32,
    /// What there is of it so far.
    pub(super) files: Files,
    /// Whether the last part has come.
    pub(super) complete: bool,
    /// The part that should come next.
    next_part: u32,
    /// Bytes of memory that it takes, roughly.
    cost: usize,
    /// Parts that are missing, and records that are left out: they are damaged, or beyond
    /// [`MAX_SNAPSHOT`].
    pub(super) left_out: u64,
}

/// The number of the snapshot that a part belongs to.
pub(super) fn snapshot_of(part: &[u8]) -> Option<u32> {
    PartHeader::read_from_prefix(part).ok().map(|(header, _)| header.snapshot.get())
}

/// Whether a part is the first of its snapshot.
pub(super) fn is_first(part: &[u8]) -> bool {
    PartHeader::read_from_prefix(part).is_ok_and(|(header, _)| header.part.get() == 0)
}

impl Collected {
    /// Takes in a part, as far as it makes sense.
    pub(super) fn add(&mut self, part: &[u8]) {
        let Ok((header, mut rest)) = PartHeader::read_from_prefix(part) else {
            self.left_out += 1;
            return;
        };
        self.snapshot = header.snapshot.get();
        self.left_out += u64::from(header.part.get() != self.next_part);
        self.next_part = header.part.get().saturating_add(1);
        self.complete |= header.flags.get() & LAST != 0;
        while !rest.is_empty() {
            let Some((record, [path, data, next])) = split(rest) else {
                self.left_out += 1;
                return;
            };
            rest = next;
            self.cost = self.cost.saturating_add(RECORD_COST + path.len() + data.len());
            let names = data.split(|byte| *byte == 0).count();
            if record.question == NAMES {
                self.cost = self.cost.saturating_add(names.saturating_mul(NAME_COST));
            }
            if self.cost > MAX_SNAPSHOT || !self.take(record, path, data) {
                self.left_out += 1;
            }
        }
    }

    /// Whether the record makes sense. One with a question of a later version is passed over.
    fn take(&mut self, record: RecordHeader, path: &[u8], data: &[u8]) -> bool {
        let path = path_of(path);
        let reading = match record.answer {
            ABSENT => Reading::Absent,
            UNREADABLE => Reading::Unreadable(text_of(data)),
            READ | READ_DIR => Reading::Read(data),
            _ => return false,
        };
        match record.question {
            ROOT => self.files.root = path,
            PLACE => {
                let is_dir = record.answer == READ_DIR;
                let place = reading.map(|real| Place { real: path_of(real), is_dir });
                self.files.places.insert(path, place);
            }
            NAMES => {
                let names = |data: &[u8]| {
                    let data = data.strip_suffix(&[0]).unwrap_or(data);
                    let names = data.split(|byte| *byte == 0).map(text_of);
                    if data.is_empty() { Vec::new() } else { names.collect() }
                };
                self.files.names.insert(path, reading.map(names));
            }
            CONTENT => {
                self.files.contents.insert(path, reading.map(<[u8]>::to_vec));
            }
            TARGET => {
                self.files.targets.insert(path, reading.map(path_of));
            }
            _ => {}
        }
        true
    }
}

/// The header of a record, its path, its data, and what follows it.
fn split(bytes: &[u8]) -> Option<(RecordHeader, [&[u8]; 3])> {
    let (header, rest) = RecordHeader::read_from_prefix(bytes).ok()?;
    let (path, rest) = rest.split_at_checked(usize::try_from(header.path.get()).ok()?)?;
    let (data, rest) = rest.split_at_checked(usize::try_from(header.data.get()).ok()?)?;
    Some((header, [path, data, rest]))
}

fn path_of(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).to_owned().into()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
