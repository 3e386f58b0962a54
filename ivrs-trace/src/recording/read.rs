//! Reading a recording from whatever is left of it.
//!
//! What is damaged is passed over where the next section can still be found, and told: the
//! [`Condition`] says what is missing and from where on. One section is in memory at a time.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use bytes::{Buf as _, Bytes};
use serde::de::DeserializeOwned;
use thiserror::Error;
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use super::{
    Kind, MAX_EVENT, MAX_JSON,
    files::{self, Collected},
    frame::{self, FILE_HEADER, FileHeader, SECTION_HEADER, SectionHeader, Unpacker},
};
use crate::{
    facts::{End, Loss, ProbeFact, Start},
    host::Files,
};

/// Damages that are kept with their place; more are only counted.
const MAX_DAMAGES: usize = 16;
/// Bytes that are read at a time, so that memory is taken only for what is there.
const STEP: usize = 64 * 1024;

/// Why a file is not read at all.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It begins otherwise.
    #[error("is not a recording of ivrs-trace: it does not begin like one")]
    NotARecording,
    /// It ends before its header does.
    #[error(
        "is a recording that was cut within its first {FILE_HEADER} bytes: nothing is left of it"
    )]
    Cut,
    /// Its header is damaged.
    #[error("is a recording with a damaged header, or one that was copied as text")]
    Damaged,
    /// It is of a later version.
    #[error(
        "is a recording of format version {0}; this program reads version {version}: use a newer one",
        version = frame::VERSION
    )]
    Version(u16),
}

/// A section as the index of a file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// What it is.
    pub kind: Kind,
    /// Where it begins in the file, bytes.
    pub offset: u64,
    /// Of events, the number of the first; else 0.
    pub event: u64,
}

/// The index of a file that was closed, without the rest of it; `None` if there is none. Of very
/// many sections of events only some are in it.
///
/// # Errors
/// If the file cannot be read.
pub fn read_index(input: &mut (impl Read + Seek)) -> io::Result<Option<Vec<IndexEntry>>> {
    let length = input.seek(SeekFrom::End(0))?;
    if length < 8 {
        return Ok(None);
    }
    input.seek(SeekFrom::Start(length - 8))?;
    let mut last = Bytes::from(take(input, 8)?);
    let Ok(offset) = last.try_get_u64_le() else { return Ok(None) };
    input.seek(SeekFrom::Start(offset.min(length)))?;
    let Ok(header) = SectionHeader::read_from_bytes(&take(input, SECTION_HEADER)?) else {
        return Ok(None);
    };
    if header.check().is_err() || header.kind() != Kind::INDEX {
        return Ok(None);
    }
    let stored = take(input, header.stored())?;
    let Ok(content) = Unpacker::default().content(&header, stored) else { return Ok(None) };
    let mut content = Bytes::from(content);
    let mut entries = Vec::new();
    while let Some(entry) = index_entry(&mut content) {
        entries.push(entry);
    }
    Ok(Some(entries))
}

fn index_entry(content: &mut Bytes) -> Option<IndexEntry> {
    let kind = Kind(content.try_get_u16_le().ok()?);
    content.try_get_u16_le().ok()?;
    let (offset, event) = (content.try_get_u64_le().ok()?, content.try_get_u64_le().ok()?);
    Some(IndexEntry { kind, offset, event })
}

/// Whether a file that begins like this is meant to be a recording.
#[must_use]
pub fn is_recording(start: &[u8]) -> bool {
    // Enough for one whose line ends were changed.
    start.starts_with(b"\x89IVT")
}

/// Opens a recording.
///
/// # Errors
/// If nothing of it can be read.
pub fn open(path: &Path) -> Result<Reader<BufReader<File>>, OpenError> {
    Reader::new(BufReader::new(File::open(path)?))
}

/// What a section holds, decoded.
#[derive(Debug)]
pub enum Item {
    /// How it began.
    Start(Start),
    /// The probes as they stood.
    Probes(Vec<ProbeFact>),
    /// The files of a snapshot of the host.
    Snapshot {
        /// Its number, from 0: the host is read again when devices come or go.
        number: u32,
        /// What was read.
        files: Files,
        /// Whether all of that is there.
        complete: bool,
    },
    /// Events.
    Events(Events),
    /// What did not arrive so far.
    Loss(Loss),
    /// The numbers of the events that follow go on from an earlier file.
    Continues(Continues),
    /// How it ended.
    End(End),
}

/// That the file is not the first of its recording: what it begins with, up to here, is the same in
/// all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Continues {
    /// Number of the next event that the recorder had.
    pub next_event: u64,
    /// How many files there were before.
    pub files_before: u32,
}

impl Continues {
    /// What it goes on from, for people.
    #[must_use]
    pub fn before(&self) -> String {
        match self.files_before {
            1 => "an earlier file".to_owned(),
            count => format!("{count} earlier files"),
        }
    }
}

/// Events that follow each other.
#[derive(Clone, Debug)]
pub struct Events {
    next: u64,
    left: u32,
    data: Bytes,
}

impl Events {
    /// Number of the first of them, in the order of arrival from 0.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.next
    }

    fn parse(mut content: Bytes) -> Option<Self> {
        let (next, left) = (content.try_get_u64_le().ok()?, content.try_get_u32_le().ok()?);
        content.try_get_u32_le().ok()?;
        Some(Self { next, left, data: content })
    }

    /// How many there are, if all of them are whole.
    fn whole(&self) -> Option<u64> {
        let mut rest = self.clone();
        let count = rest.by_ref().count();
        (rest.left == 0 && rest.data.is_empty()).then(|| u64::try_from(count).ok()).flatten()
    }
}

/// Each event with its number: the bytes as they came from the ring buffer.
impl Iterator for Events {
    type Item = (u64, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let mut data = self.data.clone();
        let length = usize::try_from(data.try_get_u32_le().ok()?).ok()?;
        if length > MAX_EVENT || length > data.len() {
            return None;
        }
        let event = data.split_to(length);
        let number = self.next;
        self.data = data;
        self.left -= 1;
        self.next = number.checked_add(1)?;
        Some((number, event))
    }
}

/// A section that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins in the file, bytes.
    pub offset: u64,
    /// What it is, by its header.
    pub kind: Kind,
    /// Why.
    pub why: String,
}

/// What is left of a file, known when all of it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// It was closed: it ends with its index.
    pub closed: bool,
    /// Where reading stopped before the end of the file, and why: from there on nothing is known.
    pub stopped: Option<(u64, String)>,
    /// Sections that were passed over because they are damaged.
    pub damages: Vec<Damage>,
    /// How many such sections there are beyond those.
    pub more_damages: u64,
    /// Sections of kinds that this version does not know.
    pub unknown_sections: u64,
    /// Whether a snapshot lacks some of its files, or there is none.
    pub snapshot_cut: bool,
    /// Sections, other than of events, that could not be written when it was made.
    pub unwritten_sections: u64,
    /// Events whose numbers are missing between others.
    pub missing_events: u64,
    /// Events that are there.
    pub events: u64,
    /// Bytes that were read.
    pub length: u64,
}

impl Condition {
    /// Whether all is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.notes().is_empty()
    }

    /// What is missing, a line each; nothing where all is there. Printable.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some((offset, why)) = &self.stopped {
            notes.push(format!("from byte {offset} on it cannot be read: {why}"));
        } else if !self.closed {
            notes.push(format!(
                "it was not closed: its writer was ended, or is still at work; what there is ends \
                 at byte {}",
                self.length
            ));
        }
        for damage in &self.damages {
            notes.push(format!(
                "the section at byte {} ({}) is left out: {}",
                damage.offset,
                damage.kind.name(),
                damage.why
            ));
        }
        let counted = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
        notes.extend(counted(self.more_damages, "more sections are left out"));
        if self.snapshot_cut {
            notes.push(
                "the files of the host are not all there: what depends on those is unknown"
                    .to_owned(),
            );
        }
        let rest = [
            (self.unwritten_sections, "sections could not be written when it was made"),
            (self.missing_events, "events are missing between those that are there"),
            (self.unknown_sections, "sections are of kinds that this version does not know"),
        ];
        notes.extend(rest.into_iter().filter_map(|(count, what)| counted(count, what)));
        notes
    }
}

/// Reads a recording section by section.
pub struct Reader<R> {
    input: R,
    /// Where the next section begins.
    offset: u64,
    unpacker: Unpacker,
    condition: Condition,
    /// The snapshot whose parts are coming.
    snapshot: Option<Collected>,
    /// How many snapshots were handed out.
    snapshots: u32,
    /// What was read while a snapshot had to be handed out first.
    waiting: Option<Item>,
    /// Number of the next event, if none is missing.
    next_event: u64,
    done: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// If it is not that of a recording that this version reads.
    pub fn new(mut input: R) -> Result<Self, OpenError> {
        let start = take(&mut input, FILE_HEADER)?;
        if !is_recording(&start) {
            // An empty file may be one whose writer did not come further.
            let cut = frame::MAGIC.starts_with(start.as_slice()) && !start.is_empty();
            return Err(if cut { OpenError::Cut } else { OpenError::NotARecording });
        }
        let Ok(header) = FileHeader::read_from_bytes(&start) else { return Err(OpenError::Cut) };
        if header.magic != frame::MAGIC || header.crc.get() != header.checksum() {
            return Err(OpenError::Damaged);
        }
        if header.version.get() != frame::VERSION {
            return Err(OpenError::Version(header.version.get()));
        }
        let offset = u64::try_from(FILE_HEADER).unwrap_or_default();
        Ok(Self {
            input,
            offset,
            unpacker: Unpacker::default(),
            condition: Condition { length: offset, ..Condition::default() },
            snapshot: None,
            snapshots: 0,
            waiting: None,
            next_event: 0,
            done: false,
        })
    }

    /// What is left of the file. Complete when [`Iterator::next`] gave `None`.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// The next section that is of use, as it is decoded.
    fn advance(&mut self) -> Option<Item> {
        while !self.done {
            let offset = self.offset;
            let Some((header, content)) = self.section() else { continue };
            let kind = header.kind();
            self.condition.closed = kind == Kind::INDEX;
            match content {
                Err(why) => self.damage(offset, kind, why),
                Ok(content) if kind == Kind::FILES => {
                    if let Some(item) = self.part(offset, &content) {
                        return Some(item);
                    }
                }
                Ok(content) => match self.decode(kind, content) {
                    Ok(Some(item)) => return Some(self.after_snapshot(item)),
                    Ok(None) => {}
                    Err(why) => self.damage(offset, kind, why),
                },
            }
        }
        let last = self.end_snapshot();
        self.condition.snapshot_cut |= self.snapshots == 0;
        last
    }

    /// The next section, its content checked and unpacked; `None` at the end.
    fn section(&mut self) -> Option<(SectionHeader, Result<Vec<u8>, String>)> {
        let start = match take(&mut self.input, SECTION_HEADER) {
            Ok(start) => start,
            Err(error) => return self.stop(error.to_string()),
        };
        if start.is_empty() {
            self.done = true;
            return None;
        }
        let mut header = SectionHeader::new_zeroed();
        if start.len() < SECTION_HEADER {
            return self.stop("it was cut within a section".to_owned());
        }
        header.as_mut_bytes().copy_from_slice(&start);
        if let Err(error) = header.check() {
            return self.stop(format!("the section there is not usable: {error}"));
        }
        let stored = match take(&mut self.input, header.stored()) {
            Ok(stored) => stored,
            Err(error) => return self.stop(error.to_string()),
        };
        if stored.len() < header.stored() {
            return self.stop("it was cut within a section".to_owned());
        }
        let length = u64::try_from(SECTION_HEADER + stored.len()).unwrap_or_default();
        self.offset = self.offset.saturating_add(length);
        self.condition.length = self.offset;
        if header.flags.get() & !frame::ZSTD != 0 {
            // Packed in a way that came later.
            self.condition.unknown_sections += 1;
            self.condition.closed = false;
            return None;
        }
        let content = self.unpacker.content(&header, stored).map_err(|error| error.to_string());
        Some((header, content))
    }

    fn stop<T>(&mut self, why: String) -> Option<T> {
        self.condition.stopped = Some((self.offset, why));
        self.condition.closed = false;
        self.done = true;
        None
    }

    fn damage(&mut self, offset: u64, kind: Kind, why: String) {
        if self.condition.damages.len() < MAX_DAMAGES {
            self.condition.damages.push(Damage { offset, kind, why });
        } else {
            self.condition.more_damages += 1;
        }
    }

    /// Takes in a part of a snapshot. Returns the one that it completes, or the one before, which
    /// lacks its end.
    fn part(&mut self, offset: u64, content: &[u8]) -> Option<Item> {
        let Some(number) = files::snapshot_of(content) else {
            self.damage(offset, Kind::FILES, "it is too short".to_owned());
            return None;
        };
        let before = if self.snapshot.as_ref().is_some_and(|snapshot| snapshot.snapshot != number) {
            self.end_snapshot()
        } else {
            None
        };
        let snapshot = self.snapshot.get_or_insert_default();
        snapshot.add(content);
        let complete = snapshot.complete;
        if before.is_some() {
            return before;
        }
        complete.then(|| self.end_snapshot()).flatten()
    }

    /// Hands out the snapshot that is open, whether it is complete or not.
    fn end_snapshot(&mut self) -> Option<Item> {
        let collected = self.snapshot.take()?;
        let complete = collected.complete && collected.left_out == 0;
        self.condition.snapshot_cut |= !complete;
        self.snapshots = self.snapshots.saturating_add(1);
        Some(Item::Snapshot { number: collected.snapshot, files: collected.files, complete })
    }

    /// The item, or the open snapshot first: its end is missing.
    fn after_snapshot(&mut self, item: Item) -> Item {
        match self.end_snapshot() {
            Some(snapshot) => {
                self.waiting = Some(item);
                snapshot
            }
            None => item,
        }
    }

    fn decode(&mut self, kind: Kind, content: Vec<u8>) -> Result<Option<Item>, String> {
        Ok(match kind {
            Kind::START => Some(Item::Start(json(&content)?)),
            Kind::PROBES => Some(Item::Probes(json(&content)?)),
            Kind::LOSS => {
                let loss: Loss = json(&content)?;
                self.condition.unwritten_sections = loss.sections_not_recorded;
                Some(Item::Loss(loss))
            }
            Kind::END => Some(Item::End(json(&content)?)),
            Kind::CONTINUES => {
                let continues: Continues = json(&content)?;
                self.next_event = self.next_event.max(continues.next_event);
                Some(Item::Continues(continues))
            }
            Kind::EVENTS => {
                let events = Events::parse(content.into()).ok_or("it is too short")?;
                let count = events.whole().ok_or("its events are not whole")?;
                let end = events.next.checked_add(count).ok_or("its events have no numbers")?;
                let missing = events.next.saturating_sub(self.next_event);
                self.condition.missing_events =
                    self.condition.missing_events.saturating_add(missing);
                self.condition.events = self.condition.events.saturating_add(count);
                self.next_event = end;
                Some(Item::Events(events))
            }
            Kind::INDEX => None,
            _ => {
                self.condition.unknown_sections += 1;
                None
            }
        })
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.waiting.take().or_else(|| self.advance())
    }
}

fn json<T: DeserializeOwned>(content: &[u8]) -> Result<T, String> {
    if content.len() > MAX_JSON {
        return Err(format!("it has more than {MAX_JSON} bytes"));
    }
    // The message would quote what is in the file.
    serde_json::from_slice(content).map_err(|error| {
        format!("it is not what it should be (line {}, column {})", error.line(), error.column())
    })
}

/// That many bytes, or fewer at the end.
fn take(input: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(STEP));
    input.take(u64::try_from(length).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
