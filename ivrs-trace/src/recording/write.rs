//! Writing a recording beside a running trace.
//!
//! Who traces hands everything over to a queue in memory and never waits; a thread of its own packs
//! and writes. What the file cannot take, because the disk is full or too slow, is dropped, counted
//! and told, and writing goes on where that is possible: a file always ends with a whole section, or
//! with a piece of one that a reader passes over.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    mem,
    os::unix::fs::{OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::{BufMut as _, BytesMut};
use serde::Serialize;
use thiserror::Error;
use zerocopy::IntoBytes as _;

use super::{
    Continues, Kind, MAX_EVENT, MAX_JSON, files,
    frame::{self, FileHeader},
};
use crate::{
    facts::{End, Loss},
    host::Files,
};

/// Bytes of events that wait to be written at most: many seconds of the busiest trace.
const QUEUE: usize = 16 * 1024 * 1024;
/// Bytes of events that are worth a section at once.
const BATCH: usize = 64 * 1024;
/// Bytes of events that a section has at most.
const LARGE_BATCH: usize = 512 * 1024;
/// How long an event waits for others before it is written: what is lost if the process is killed.
const DELAY: Duration = Duration::from_millis(200);
/// How long a disk that takes nothing is waited for at the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Entries of the index at most; of more, every other one of events is left out.
const INDEX: usize = 16 * 1024;
/// Bytes of an entry of the index.
const ENTRY: u64 = 20;
/// Bytes that closing a file takes at most, but for the entries of its index.
const CLOSING: u64 = 8 * 1024;
/// The smallest size at which a file can be followed by another one.
pub const MIN_SIZE: u64 = 1024 * 1024;

/// What is to be written, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Replace files that are there.
    pub force: bool,
    /// Bytes that the file may have: before events would make it larger, it is renamed to end in
    /// `.1`, in place of the one before, and another one begins. A host that changed and was read
    /// again may make it a little larger. At least [`MIN_SIZE`].
    pub max_size: Option<u64>,
    /// Whom the file is to belong to, by user and group id; else the process's.
    pub owner: Option<(u32, u32)>,
}

/// Why no file is written.
#[derive(Debug, Error)]
pub enum CreateError {
    /// Something is there already.
    #[error("{} is there already: name another file, or say --force to replace it", .0.display())]
    Exists(PathBuf),
    /// What is there is not a file.
    #[error("{} is not a regular file, so it is not replaced", .0.display())]
    NotAFile(PathBuf),
    /// It cannot be made.
    #[error("cannot make {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// How the writing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Events in the files so far.
    pub events: u64,
    /// Bytes in the files so far, those that were rotated away included.
    pub bytes: u64,
    /// Events that were dropped.
    pub dropped: u64,
    /// Why the file takes nothing now.
    pub trouble: Option<String>,
}

/// How the writing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The last status.
    pub status: Status,
    /// Whether the file was closed with its end and its index.
    pub closed: bool,
}

/// What becomes of the files of a recording at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They stay as they are.
    Stay,
    /// They take this name, in place of an earlier recording.
    Name(PathBuf),
    /// They are removed.
    Remove,
}

/// A recording that is being written.
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write.
    work: Condvar,
    /// Something was written.
    done: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Bytes of events in `jobs`.
    waiting: usize,
    /// Events that came while too many waited.
    dropped: u64,
    /// No more comes.
    closing: bool,
    /// How the writer says that it goes; `dropped` is what the file did not take.
    status: Status,
    /// Set when the thread has ended.
    outcome: Option<Outcome>,
}

enum Job {
    Section(Kind, Vec<u8>),
    Events(Batch),
    /// What was written so far begins every further file.
    Prologue,
    Loss(Loss),
    End(End, Fate),
}

/// Events whose numbers follow each other.
struct Batch {
    first: u64,
    count: u32,
    /// Each with its length in front.
    data: BytesMut,
}

impl Recorder {
    /// Makes the file and starts to write. What goes wrong later is said to `tell`, a line each,
    /// from another thread.
    ///
    /// # Errors
    /// If the file cannot be made, or one is there and is not to be replaced.
    pub fn create(
        options: Options,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<Self, CreateError> {
        Self::create_after(options, || {}, tell)
    }

    /// The same; the thread that writes does `begin` before all else, such as giving up rights.
    ///
    /// # Errors
    /// Those of [`Recorder::create`].
    pub fn create_after(
        options: Options,
        begin: impl FnOnce() + Send + 'static,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<Self, CreateError> {
        let path = options.path.clone();
        if options.max_size.is_some() {
            make_way(&rotated(&path), options.force)?;
        }
        make_way(&path, options.force)?;
        let file = create(&path, options.owner)
            .map_err(|error| CreateError::Io { path: path.clone(), error })?;
        Self::onto(file, options, begin, tell)
    }

    /// Writes to a file that is open already.
    pub(super) fn onto(
        file: File,
        options: Options,
        begin: impl FnOnce() + Send + 'static,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<Self, CreateError> {
        let path = options.path.clone();
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(options, file, Arc::clone(&shared), Box::new(tell));
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                begin();
                writer.run();
            })
            .map_err(|error| CreateError::Io { path, error })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Hands over a section of JSON. One that is too large is left out.
    pub fn json(&self, kind: Kind, value: &impl Serialize) {
        // Of these types nothing fails to be serialised.
        if let Ok(content) = serde_json::to_vec(value)
            && content.len() <= MAX_JSON
        {
            self.push(Job::Section(kind, content));
        }
    }

    /// Hands over snapshot number `number`.
    pub fn snapshot(&self, number: u32, files: &Files) {
        for part in files::parts(number, files) {
            self.push(Job::Section(Kind::FILES, part));
        }
    }

    /// Says that every further file begins with what came so far.
    pub fn end_of_prologue(&self) {
        self.push(Job::Prologue);
    }

    /// Hands over an event as it came from the ring buffer. Its number is its place in the stream,
    /// from 0. It is dropped if too many wait.
    pub fn event(&self, number: u64, bytes: &[u8]) {
        let Ok(length) = u32::try_from(bytes.len()) else { return };
        let mut queue = self.shared.lock();
        if bytes.len() > MAX_EVENT || queue.waiting.saturating_add(bytes.len()) > QUEUE {
            queue.dropped = queue.dropped.saturating_add(1);
            return;
        }
        let before = queue.waiting;
        queue.waiting = queue.waiting.saturating_add(bytes.len() + size_of::<u32>());
        let wake = queue.jobs.is_empty() || (before < BATCH && queue.waiting >= BATCH);
        let batch = match queue.jobs.back_mut() {
            Some(Job::Events(batch))
                if batch.data.len() < LARGE_BATCH
                    && batch.first.checked_add(batch.count.into()) == Some(number) =>
            {
                Some(batch)
            }
            _ => None,
        };
        if let Some(batch) = batch {
            batch.add(length, bytes);
        } else {
            let mut batch = Batch { first: number, count: 0, data: BytesMut::new() };
            batch.add(length, bytes);
            queue.jobs.push_back(Job::Events(batch));
        }
        drop(queue);
        if wake {
            self.shared.work.notify_one();
        }
    }

    /// Hands over what did not arrive so far; what the file itself could not take is added.
    pub fn loss(&self, loss: Loss) {
        self.push(Job::Loss(loss));
    }

    /// How the writing goes.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.lock().status()
    }

    /// Closes the file. A disk that takes nothing for some seconds is not waited for any longer.
    #[must_use]
    pub fn finish(self, end: End) -> Outcome {
        self.finish_with(end, Fate::Stay)
    }

    /// The same, and says what becomes of the files. The thread that writes sees to that: it may be
    /// another user, who may do so where this one may not.
    #[must_use]
    pub fn finish_with(mut self, end: End, fate: Fate) -> Outcome {
        self.push(Job::End(end, fate));
        self.close()
    }

    fn close(&mut self) -> Outcome {
        let mut queue = self.shared.lock();
        queue.closing = true;
        self.shared.work.notify_one();
        let mut seen = queue.status.clone();
        let mut since = Instant::now();
        loop {
            if let Some(outcome) = queue.outcome.clone() {
                drop(queue);
                if let Some(thread) = self.thread.take() {
                    // It has said how it ended, and a panic of it was counted as that.
                    let _: thread::Result<()> = thread.join();
                }
                return outcome;
            }
            if queue.status != seen {
                seen = queue.status.clone();
                since = Instant::now();
            }
            if since.elapsed() >= PATIENCE {
                let mut status = queue.status();
                status.trouble = Some("the disk takes nothing".to_owned());
                self.thread = None;
                return Outcome { status, closed: false };
            }
            queue = self
                .shared
                .done
                .wait_timeout(queue, DELAY)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn push(&self, job: Job) {
        self.shared.lock().jobs.push_back(job);
        self.shared.work.notify_one();
    }
}

/// What was handed over is written, but the file has no end.
impl Drop for Recorder {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.close();
        }
    }
}

impl Queue {
    fn status(&self) -> Status {
        let dropped = self.status.dropped.saturating_add(self.dropped);
        Status { dropped, ..self.status.clone() }
    }
}

impl Batch {
    fn add(&mut self, length: u32, bytes: &[u8]) {
        self.data.put_u32_le(length);
        self.data.put_slice(bytes);
        self.count = self.count.saturating_add(1);
    }

    fn content(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(16 + self.data.len());
        content.put_u64_le(self.first);
        content.put_u32_le(self.count);
        content.put_u32_le(0);
        content.put_slice(&self.data);
        content
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock; and if, the counts are still good.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the place of a file, if that is wanted.
fn make_way(path: &Path, force: bool) -> Result<(), CreateError> {
    let failed = |error| CreateError::Io { path: path.to_owned(), error };
    // A link is not followed.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(_) if !force => Err(CreateError::Exists(path.to_owned())),
        Ok(meta) if !meta.is_file() => Err(CreateError::NotAFile(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(failed),
    }
}

/// A new file, which only its owner may read: command lines and addresses are in it.
fn create(path: &Path, owner: Option<(u32, u32)>) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some((user, group)) = owner {
        // Some file systems know no owners; the file is good all the same.
        let _: io::Result<()> = fchown(&file, Some(user), Some(group));
    }
    Ok(file)
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The name of the file before.
#[must_use]
pub fn rotated(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// The thread that writes.
struct Writer {
    options: Options,
    shared: Arc<Shared>,
    tell: Box<dyn Fn(&str) + Send>,
    file: File,
    /// Bytes of the file that are whole sections.
    good: u64,
    /// The sections that begin every file, packed.
    prologue: Vec<(Kind, Vec<u8>)>,
    in_prologue: bool,
    /// The sections of the last snapshot after that, packed: the host is not any more what the
    /// prologue says.
    latest: Vec<Vec<u8>>,
    index: Vec<Entry>,
    /// The file has events beyond the prologue.
    has_events: bool,
    /// Bytes of the files before.
    bytes_before: u64,
    files_before: u32,
    loss: Loss,
    /// Events that the file did not take.
    refused: u64,
    /// Other sections that it did not take.
    refused_sections: u64,
    events: u64,
    trouble: Option<String>,
    closed: bool,
}

/// Where a section is.
struct Entry {
    kind: Kind,
    offset: u64,
    /// Of events, the first one's number; else 0.
    event: u64,
}

impl Writer {
    fn new(
        options: Options,
        file: File,
        shared: Arc<Shared>,
        tell: Box<dyn Fn(&str) + Send>,
    ) -> Self {
        Self {
            options,
            shared,
            tell,
            file,
            good: 0,
            prologue: Vec::new(),
            in_prologue: true,
            latest: Vec::new(),
            index: Vec::new(),
            has_events: false,
            bytes_before: 0,
            files_before: 0,
            loss: Loss::default(),
            refused: 0,
            refused_sections: 0,
            events: 0,
            trouble: None,
            closed: false,
        }
    }

    fn run(mut self) {
        self.write(FileHeader::new().as_bytes());
        while let Some(jobs) = self.wait() {
            for job in jobs {
                self.job(job);
                self.report();
            }
        }
        if self.closed
            && let Err(error) = self.file.sync_all()
        {
            self.trouble(&error);
        }
        self.report();
        let mut queue = self.shared.lock();
        let outcome = Outcome { status: queue.status(), closed: self.closed };
        queue.outcome = Some(outcome);
        drop(queue);
        self.shared.done.notify_all();
    }

    /// The next jobs: at once where there are many events or anything else, else after a moment.
    /// `None` when no more come.
    fn wait(&self) -> Option<VecDeque<Job>> {
        let work = &self.shared.work;
        let queue = work
            .wait_while(self.shared.lock(), |queue| queue.jobs.is_empty() && !queue.closing)
            .unwrap_or_else(PoisonError::into_inner);
        if queue.jobs.is_empty() {
            return None;
        }
        let may_wait = |queue: &mut Queue| {
            let only_events = queue.jobs.iter().all(|job| matches!(job, Job::Events(_)));
            only_events && queue.waiting < BATCH && !queue.closing
        };
        let (mut queue, _) =
            work.wait_timeout_while(queue, DELAY, may_wait).unwrap_or_else(PoisonError::into_inner);
        // Room for more while these are written, which together is the bound that is documented.
        queue.waiting = 0;
        Some(mem::take(&mut queue.jobs))
    }

    fn job(&mut self, job: Job) {
        match job {
            Job::Section(kind, content) => {
                if kind == Kind::FILES && files::is_first(&content) {
                    self.latest.clear();
                }
                self.section(kind, &content, 0);
            }
            Job::Events(batch) => self.events(&batch),
            Job::Prologue => self.in_prologue = false,
            Job::Loss(loss) => {
                self.loss = loss;
                self.write_loss();
            }
            Job::End(end, fate) => {
                self.end(&end);
                if let Err(error) = self.settle(&fate) {
                    self.closed = false;
                    self.trouble(&error);
                }
            }
        }
    }

    fn events(&mut self, batch: &Batch) {
        let content = batch.content();
        let Some(packed) = frame::pack(Kind::EVENTS, &content) else { return };
        let closing = size(self.index.len()).saturating_mul(ENTRY).saturating_add(CLOSING);
        let length = size(packed.len()).saturating_add(closing);
        let full = |max: u64| self.good.saturating_add(length) > max;
        let full = self.has_events && self.options.max_size.is_some_and(full);
        if (!full || self.rotate(batch.first)) && self.put(Kind::EVENTS, packed, batch.first) {
            self.has_events |= !self.in_prologue;
            self.events = self.events.saturating_add(batch.count.into());
        } else {
            self.refused = self.refused.saturating_add(batch.count.into());
        }
    }

    fn section(&mut self, kind: Kind, content: &[u8], event: u64) {
        let put = frame::pack(kind, content).is_some_and(|packed| self.put(kind, packed, event));
        self.refused_sections = self.refused_sections.saturating_add(u64::from(!put));
    }

    fn json(&mut self, kind: Kind, value: &impl Serialize) {
        if let Ok(content) = serde_json::to_vec(value) {
            self.section(kind, &content, 0);
        }
    }

    fn put(&mut self, kind: Kind, packed: Vec<u8>, event: u64) -> bool {
        let offset = self.good;
        if !self.write(&packed) {
            return false;
        }
        if self.index.len() >= INDEX {
            let mut keep = false;
            self.index.retain(|entry| {
                keep = !keep;
                keep || entry.kind != Kind::EVENTS
            });
        }
        self.index.push(Entry { kind, offset, event });
        if self.in_prologue && self.options.max_size.is_some() {
            self.prologue.push((kind, packed));
        } else if kind == Kind::FILES && self.options.max_size.is_some() {
            self.latest.push(packed);
        }
        true
    }

    /// Writes bytes that belong together; if that fails, none of them stay.
    fn write(&mut self, bytes: &[u8]) -> bool {
        if self.good == 0 && self.trouble.is_some() {
            // The file has no header: nothing that follows could be read.
            let header = FileHeader::new();
            if self.file.write_all(header.as_bytes()).is_err() {
                self.take_back();
                return false;
            }
            self.good = size(header.as_bytes().len());
        }
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.good = self.good.saturating_add(size(bytes.len()));
                if self.trouble.take().is_some() {
                    let name = self.name();
                    (self.tell)(&format!(
                        "{name} can be written again; what came meanwhile is missing in it"
                    ));
                }
                true
            }
            Err(error) => {
                self.trouble(&error);
                self.take_back();
                false
            }
        }
    }

    fn name(&self) -> String {
        crate::escape::printable(&self.options.path.display().to_string())
    }

    fn take_back(&mut self) {
        // If even that fails, a reader passes over the piece that stays.
        let _: io::Result<()> = self.file.set_len(self.good);
        let _: io::Result<u64> = self.file.seek(SeekFrom::Start(self.good));
    }

    fn trouble(&mut self, error: &io::Error) {
        if self.trouble.is_none() {
            let name = self.name();
            (self.tell)(&format!("cannot write {name}: {error}; the trace goes on without it"));
        }
        self.trouble = Some(error.to_string());
    }

    /// What was lost, with what the queue dropped and the file did not take.
    fn write_loss(&mut self) {
        self.loss.not_recorded = self.shared.lock().dropped.saturating_add(self.refused);
        self.loss.sections_not_recorded = self.refused_sections;
        let loss = self.loss.clone();
        self.json(Kind::LOSS, &loss);
    }

    fn end(&mut self, end: &End) {
        let dropped = self.shared.lock().dropped.saturating_add(self.refused);
        let sections = self.refused_sections;
        if self.loss.not_recorded != dropped || self.loss.sections_not_recorded != sections {
            self.write_loss();
        }
        self.json(Kind::END, end);
        self.write_index();
    }

    /// Sees to what becomes of the file and of the one before.
    fn settle(&self, fate: &Fate) -> io::Result<()> {
        let path = &self.options.path;
        let before = self.options.max_size.map(|_| rotated(path));
        match fate {
            Fate::Stay => Ok(()),
            Fate::Remove => before.iter().chain([path]).try_for_each(|file| remove(file)),
            Fate::Name(name) => {
                match before.map(|before| fs::rename(before, rotated(name))) {
                    // There was no file before; what an earlier recording had there goes.
                    Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                        remove(&rotated(name))?;
                    }
                    renamed => renamed.transpose().map(drop)?,
                }
                fs::rename(path, name)
            }
        }
    }

    /// The index: kind, offset and first event of each section, and where itself begins.
    fn write_index(&mut self) {
        let mut content = Vec::new();
        for entry in &self.index {
            content.put_u16_le(entry.kind.0);
            content.put_u16_le(0);
            content.put_u64_le(entry.offset);
            content.put_u64_le(entry.event);
        }
        content.put_u64_le(self.good);
        // It is found by its last bytes, so it is not packed.
        let stored = frame::store(Kind::INDEX, &content);
        self.closed = stored.is_some_and(|packed| self.write(&packed));
    }

    /// Closes the file, puts it aside and begins another one, whose events begin with this one.
    /// Returns whether there is another one.
    fn rotate(&mut self, next_event: u64) -> bool {
        if !self.closed {
            self.write_loss();
            let end = End { reason: "rotated".to_owned(), exit_status: None, time_ns: 0 };
            self.json(Kind::END, &end);
            self.write_index();
        }
        let path = self.options.path.clone();
        let aside = match fs::rename(&path, rotated(&path)) {
            // It was put aside before another one could be made, or somebody took it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            aside => aside,
        };
        match aside.and_then(|()| create(&path, self.options.owner)) {
            Ok(file) => self.file = file,
            Err(error) => {
                self.trouble(&error);
                return false;
            }
        }
        self.closed = false;
        self.bytes_before = self.bytes_before.saturating_add(self.good);
        self.files_before = self.files_before.saturating_add(1);
        self.good = 0;
        self.has_events = false;
        self.index.clear();
        self.write(FileHeader::new().as_bytes());
        for (kind, packed) in mem::take(&mut self.prologue) {
            let offset = self.good;
            if self.write(&packed) {
                self.index.push(Entry { kind, offset, event: 0 });
            }
            self.prologue.push((kind, packed));
        }
        for packed in mem::take(&mut self.latest) {
            self.put(Kind::FILES, packed, 0);
        }
        self.json(Kind::CONTINUES, &Continues { next_event, files_before: self.files_before });
        true
    }

    fn report(&self) {
        let mut queue = self.shared.lock();
        queue.status.dropped = self.refused;
        queue.status.events = self.events;
        queue.status.bytes = self.bytes_before.saturating_add(self.good);
        queue.status.trouble.clone_from(&self.trouble);
        drop(queue);
        self.shared.done.notify_all();
    }
}
