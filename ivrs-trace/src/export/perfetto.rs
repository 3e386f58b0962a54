//! A trace that opens in the Perfetto UI (<https://ui.perfetto.dev>): the JSON of the Trace Event
//! Format, which Perfetto reads beside its own.
//!
//! A thread is a track with its calls in each other; a process has a track of its attempts beside
//! them, and every device has one below the process `devices`. Refusals, the kernel's warnings and
//! its log lines are instants. Times are microseconds since tracing began.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    errno,
    event::{Body, Event, Phase, Value as Field},
    model::{Attempt, Model, Outcome},
    report::one_line,
};

/// The id of the process that has the tracks of devices. Linux gives no process one as high (`pid_max`
/// is at most 4194304).
const DEVICES: u32 = 5_000_000;
/// The first id of the tracks that are no threads.
const TRACKS: u32 = 5_000_001;
/// Outermost calls whose end is remembered for the attempts that they began.
const CALLS: usize = 1 << 20;
/// Calls of a thread that are open in each other.
const DEPTH: usize = 64;

/// One event of the Trace Event Format.
#[derive(Debug, Serialize)]
struct TraceEvent<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'a str>,
    /// `B` and `E` begin and end a slice, `X` is a whole one, `i` an instant, `M` a name.
    ph: &'static str,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    /// How far an instant reaches: `t`, its track.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    args: Args<'a>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Args<'a> {
    /// Everything that an event has.
    Event {
        event: u64,
        #[serde(flatten)]
        body: &'a Body,
    },
    Other(Value),
}

impl<'a> TraceEvent<'a> {
    fn new(ph: &'static str, name: &'a str, (pid, tid): (u32, u32), args: Args<'a>) -> Self {
        Self { name, cat: None, ph, ts: None, dur: None, pid, tid, s: None, args }
    }
}

/// A call that is open in a thread.
struct Open {
    name: String,
    start: u64,
}

/// Writes a trace.
pub struct Trace<W: Write> {
    output: W,
    /// `CLOCK_MONOTONIC` where time begins, ns.
    began: u64,
    first: bool,
    /// Processes and threads by their names.
    processes: BTreeMap<u32, String>,
    threads: BTreeMap<(u32, u32), String>,
    open: BTreeMap<(u32, u32), Vec<Open>>,
    /// Ends of outermost calls, by process and start.
    ended: BTreeMap<(u32, u64), u64>,
    devices: BTreeMap<String, u32>,
    last: u64,
}

impl<W: Write> Trace<W> {
    /// Begins a trace.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(mut output: W) -> io::Result<Self> {
        output.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        Ok(Self {
            output,
            began: 0,
            first: true,
            processes: BTreeMap::new(),
            threads: BTreeMap::new(),
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            devices: BTreeMap::new(),
            last: 0,
        })
    }

    /// Says when tracing began, `CLOCK_MONOTONIC` in ns; before the first event.
    pub fn began(&mut self, monotonic_ns: u64) {
        self.began = monotonic_ns;
    }

    /// Writes an event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, number: u64, event: &Event) -> io::Result<()> {
        let of = (event.pid, event.tid);
        self.last = self.last.max(event.time_ns);
        if event.pid == event.tid || !self.processes.contains_key(&event.pid) {
            self.processes.insert(event.pid, event.comm.clone());
        }
        self.threads.insert(of, event.comm.clone());
        match event.body.field("phase") {
            Some(Field::Phase(Phase::Enter)) => self.enter(number, event),
            Some(Field::Phase(Phase::Exit { ret })) => self.exit(number, event, ret),
            _ => self.instants(number, event),
        }
    }

    fn enter(&mut self, number: u64, event: &Event) -> io::Result<()> {
        let stack = self.open.entry((event.pid, event.tid)).or_default();
        if stack.len() >= DEPTH {
            return Ok(());
        }
        let name = call_name(&event.body);
        stack.push(Open { name: name.clone(), start: event.time_ns });
        let args = Args::Event { event: number, body: &event.body };
        let track = (event.pid, event.tid);
        let ts = Some(self.micros(event.time_ns));
        self.write(&TraceEvent {
            cat: Some("call"),
            ts,
            ..TraceEvent::new("B", &name, track, args)
        })
    }

    /// Ends the call, and those in it whose end was not seen. A call whose beginning was not seen has
    /// no slice.
    fn exit(&mut self, number: u64, event: &Event, ret: i64) -> io::Result<()> {
        let of = (event.pid, event.tid);
        let function = event.body.function().unwrap_or_default();
        let Some(stack) = self.open.get_mut(&of) else { return Ok(()) };
        let Some(at) = stack.iter().rposition(|open| open.name.starts_with(function)) else {
            return Ok(());
        };
        let ended = stack.split_off(at);
        if at == 0
            && self.ended.len() < CALLS
            && let Some(outer) = ended.first()
        {
            self.ended.insert((event.pid, outer.start), event.time_ns);
        }
        let ts = self.micros(event.time_ns);
        let inner = ended.len().saturating_sub(1);
        for (index, open) in ended.iter().rev().enumerate() {
            let args = match errno::of_return(ret) {
                _ if index != inner => not_seen(),
                Some(errno) => json!({ "ret": ret, "event": number, "errno": errno }),
                None => json!({ "ret": ret, "event": number }),
            };
            self.end_call(&open.name, ts, of, args)?;
        }
        Ok(())
    }

    fn instants(&mut self, number: u64, event: &Event) -> io::Result<()> {
        let (name, cat) = match &event.body {
            Body::SetDomain { require_direct: true, blocking: true, ret, .. } if *ret < 0 => {
                ("REFUSED for a 1:1 map".to_owned(), "rejection")
            }
            Body::SetDomain { ret, blocking, .. } => {
                let domain = if *blocking { "blocking domain" } else { "domain" };
                let end = errno::of_return(i64::from(*ret))
                    .map_or_else(String::new, |errno| format!(", {errno}"));
                (format!("set {domain}{end}"), "domain")
            }
            Body::Warning { .. } => ("kernel warns of a 1:1 map".to_owned(), "rejection"),
            Body::KernelMessage { .. } => ("kernel log".to_owned(), "log"),
            Body::UnityMatch { .. } => ("unity map entry covers the device".to_owned(), "cause"),
            Body::OwnerClaimed { .. } => ("owner asked".to_owned(), "state"),
            Body::IsolatedMsi { .. } => ("isolated MSI asked".to_owned(), "state"),
            Body::Member { .. } => ("member of the group".to_owned(), "state"),
            Body::GroupChange { .. } => ("group changed".to_owned(), "host"),
            Body::ModuleLoad { .. } => ("module loaded".to_owned(), "host"),
            Body::RegionsEnd { .. } => ("reserved regions listed".to_owned(), "regions"),
            // Of regions there are many, and the list as a whole is one instant; a command line is
            // private, and of no use on a line of time.
            Body::Region { .. }
            | Body::UnityEntry { .. }
            | Body::UnityEnd { .. }
            | Body::Args { .. } => return Ok(()),
            _ => ("event of a kind that is not known".to_owned(), "state"),
        };
        let ts = Some(self.micros(event.time_ns));
        let mut places = vec![(event.pid, event.tid)];
        if let Some(device) = event.body.device() {
            places.push((DEVICES, self.device(&device.name)));
        }
        let (cat, s) = (Some(cat), Some("t"));
        for track in places {
            let args = Args::Event { event: number, body: &event.body };
            self.write(&TraceEvent { cat, ts, s, ..TraceEvent::new("i", &name, track, args) })?;
        }
        Ok(())
    }

    /// The track of a device.
    fn device(&mut self, name: &str) -> u32 {
        let next = TRACKS.saturating_add(u32::try_from(self.devices.len()).unwrap_or(u32::MAX));
        *self.devices.entry(name.to_owned()).or_insert(next)
    }

    /// Writes the attempts, the names of all tracks, and the end.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self, model: &Model) -> io::Result<()> {
        self.close()?;
        self.attempts(model)?;
        self.names()?;
        let release = model.host().kernel_release.value();
        let other = json!({
            "tool": concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
            "kernel_release": release.map(|text| crate::escape::printable(text)),
        });
        write!(self.output, "\n],\"otherData\":{other}}}\n")?;
        self.output.flush()
    }

    /// Ends the calls that are still open.
    fn close(&mut self) -> io::Result<()> {
        let ts = self.micros(self.last);
        for (track, stack) in std::mem::take(&mut self.open) {
            for open in stack.iter().rev() {
                self.end_call(&open.name, ts, track, not_seen())?;
            }
        }
        Ok(())
    }

    /// Ends a call's slice.
    fn end_call(&mut self, name: &str, ts: f64, track: (u32, u32), args: Value) -> io::Result<()> {
        let event = TraceEvent::new("E", name, track, Args::Other(args));
        self.write(&TraceEvent { cat: Some("call"), ts: Some(ts), ..event })
    }

    /// Writes each attempt as a slice of its process and of the devices that it is about. Those that
    /// overlap are on tracks of their own.
    fn attempts(&mut self, model: &Model) -> io::Result<()> {
        let mut lanes: BTreeMap<(u32, String), Vec<(u64, u32)>> = BTreeMap::new();
        let mut next = TRACKS.saturating_add(u32::try_from(self.devices.len()).unwrap_or(u32::MAX));
        // Devices that only attempts name come behind.
        next = next.saturating_add(1 << 20);
        for attempt in model.attempts() {
            let start = attempt.time_ns;
            let end = self.ended.get(&(attempt.process.pid, start)).copied().unwrap_or(start);
            let mut tracks: BTreeSet<(u32, String)> = BTreeSet::new();
            tracks.insert((attempt.process.pid, "attempts".to_owned()));
            let refused = attempt.rejections.iter().map(|one| one.device.name.clone());
            let asked = attempt.requested.map(|bdf| bdf.to_string());
            tracks.extend(refused.chain(asked).map(|name| (DEVICES, name)));
            self.processes
                .entry(attempt.process.pid)
                .or_insert_with(|| attempt.process.comm.clone());
            for (pid, name) in tracks {
                let of = lanes.entry((pid, name.clone())).or_default();
                let free = of.iter_mut().find(|(until, _)| *until <= start);
                let tid = if let Some((until, tid)) = free {
                    *until = end.max(start.saturating_add(1));
                    *tid
                } else {
                    let tid = next;
                    next = next.saturating_add(1);
                    of.push((end.max(start.saturating_add(1)), tid));
                    let number = of.len();
                    let title = match (pid == DEVICES, number) {
                        (true, 1) => format!("{name} attempts"),
                        (true, _) => format!("{name} attempts {number}"),
                        (false, 1) => name,
                        (false, _) => format!("{name} {number}"),
                    };
                    self.threads.insert((pid, tid), title);
                    tid
                };
                self.attempt(attempt, pid, tid, end)?;
            }
        }
        Ok(())
    }

    fn attempt(&mut self, attempt: &Attempt, pid: u32, tid: u32, end: u64) -> io::Result<()> {
        let what = match (attempt.requested, attempt.group) {
            (Some(bdf), _) => bdf.to_string(),
            (None, Some(group)) => format!("group {group}"),
            (None, None) => "a group".to_owned(),
        };
        let came = match attempt.outcome {
            Outcome::Rejected => "refused for a 1:1 map",
            Outcome::Failed => "failed",
            Outcome::Claimed => "claimed",
            Outcome::Attached => "attached",
            Outcome::Unknown => "end not seen",
        };
        let name = format!("attempt on {what}: {came}");
        let args = json!({
            "result": one_line(attempt),
            "call": attempt.call,
            "via": attempt.via,
            "reason": attempt.reason,
            "errno": attempt.errno,
        });
        let ts = Some(self.micros(attempt.time_ns));
        let dur = Some(micros(end.saturating_sub(attempt.time_ns)));
        let event = TraceEvent::new("X", &name, (pid, tid), Args::Other(args));
        self.write(&TraceEvent { cat: Some("attempt"), ts, dur, ..event })
    }

    fn names(&mut self) -> io::Result<()> {
        let name = |pid, tid, kind: &'static str, text: &str| {
            TraceEvent::new("M", kind, (pid, tid), Args::Other(json!({ "name": text })))
        };
        let devices = std::mem::take(&mut self.devices);
        for (device, tid) in &devices {
            self.write(&name(DEVICES, *tid, "thread_name", device))?;
        }
        let threads = std::mem::take(&mut self.threads);
        if !devices.is_empty() || threads.keys().any(|(pid, _)| *pid == DEVICES) {
            self.write(&name(DEVICES, DEVICES, "process_name", "devices"))?;
        }
        for (pid, text) in std::mem::take(&mut self.processes) {
            self.write(&name(pid, pid, "process_name", &text))?;
        }
        for ((pid, tid), text) in threads {
            self.write(&name(pid, tid, "thread_name", &text))?;
        }
        Ok(())
    }

    fn write(&mut self, event: &TraceEvent<'_>) -> io::Result<()> {
        let separator: &[u8] = if std::mem::take(&mut self.first) { b"\n" } else { b",\n" };
        self.output.write_all(separator)?;
        serde_json::to_writer(&mut self.output, event).map_err(io::Error::from)
    }

    /// Microseconds since tracing began; what another CPU saw just before is at the beginning.
    fn micros(&self, time_ns: u64) -> f64 {
        micros(time_ns.saturating_sub(self.began))
    }
}

/// Nanoseconds as microseconds.
fn micros(ns: u64) -> f64 {
    // By its digits: there is no lossless way from 64 bits to a float.
    format!("{}.{:03}", ns / 1000, ns % 1000).parse().unwrap_or(0.0)
}

/// The kernel function that an event is about, with the request, where there is one.
fn call_name(body: &Body) -> String {
    let function = body.function().unwrap_or_default();
    match body {
        Body::VfioCall { request: Some(request), .. } => format!("{function} {request}"),
        _ => function.to_owned(),
    }
}

/// Of a call whose end was not seen.
fn not_seen() -> Value {
    json!({ "end": "not seen" })
}
