//! A live host: probes, the stream of events, and the model that they feed.

pub(crate) mod child;
pub(crate) mod notify;
pub(crate) mod open_files;
pub(crate) mod record;
pub(crate) mod rights;
pub(crate) mod run_as;
pub(crate) mod runtime;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use self::record::Output;
use crate::{
    event::{Body, DeviceFunction, Event, OwnerIds},
    facts::{Clocks, End, Loss, Lost, ProbeFact, ProbeLoss, Start},
    host::Snapshot,
    model::{FlagSource, KernelFlag, Model, RequireDirect},
    output,
    probe::{
        btf::{Btf, KERNEL_BTF},
        ring::Ring,
        tracer::{self, LeaveOut, ProbeStatus, Tracer},
    },
    probe_state::Obstacle,
    recording::{self, Fate, Kind, Recorder},
    report,
};

/// How long to wait before a module that is being loaded is tried again.
const RETRY: Duration = Duration::from_millis(25);

/// How long the host is let alone after a device came, went or changed its driver, before it is read
/// again: they come in crowds.
const SETTLE: Duration = Duration::from_millis(100);

/// How often what was lost is written to a recording, at most.
const LOSS_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Live {
    tracer: Tracer,
    ring: Ring,
    pub(crate) model: Model,
    number: u64,
    undecoded: u64,
    owners: OwnerIds,
    retry: bool,
    /// When the host is to be read again, if it is not any more what was read.
    stale: Option<Instant>,
    snapshots: u32,
    began: Clocks,
    recording: Option<Recording>,
}

/// The recording that the trace goes to as well.
struct Recording {
    recorder: Recorder,
    /// What was last written of the probes, and of what they lost.
    probes: Vec<ProbeFact>,
    lost: Lost,
    lost_at: Instant,
    /// The number of the first event that is in it.
    first: u64,
}

impl Recording {
    /// Writes how a recording begins and the host, which is read for it.
    fn begin(recorder: Recorder, start: &Start, tracer: &Tracer, first: u64) -> (Snapshot, Self) {
        let probes = probe_facts(tracer);
        recorder.json(Kind::START, start);
        recorder.json(Kind::PROBES, &probes);
        let (host, files) = Snapshot::read_and_keep(Path::new("/"));
        recorder.snapshot(0, &files);
        let (lost, lost_at) = (Lost::default(), Instant::now());
        (host, Self { recorder, probes, lost, lost_at, first })
    }
}

impl Live {
    /// Attaches the probes and reads the host, which makes the kernel list every device's regions.
    /// To be called inside a runtime. The events of that go to `each`.
    pub(crate) fn start(each: impl FnMut(u64, &Event)) -> anyhow::Result<Self> {
        Self::start_with(None, &LeaveOut::default(), each)
    }

    /// The same without some of the probes, and writes it all to a file, which is made when nothing else
    /// can fail any more.
    pub(crate) fn start_with(
        output: Option<&Output<'_>>,
        leave_out: &LeaveOut,
        each: impl FnMut(u64, &Event),
    ) -> anyhow::Result<Self> {
        Self::of_tracer(Tracer::start(leave_out)?, output, each)
    }

    /// The same with as few probes as reading the host needs.
    pub(crate) fn of_regions(each: impl FnMut(u64, &Event)) -> anyhow::Result<Self> {
        Self::of_tracer(Tracer::of_regions()?, None, each)
    }

    fn of_tracer(
        mut tracer: Tracer,
        output: Option<&Output<'_>>,
        each: impl FnMut(u64, &Event),
    ) -> anyhow::Result<Self> {
        let retry = tracer.attach_waiting();
        let ring = Ring::new(tracer.take_ring()?).context("cannot watch the ring buffer")?;
        let require_direct =
            if tracer.require_direct() { RequireDirect::Present } else { RequireDirect::Missing };
        let recorder = output.map(Output::create).transpose()?;
        let began = record::clocks();
        let open_files = open_files::read();
        let (host, recording) = match output.zip(recorder) {
            Some((output, recorder)) => {
                let start = record::start(output, began, true, require_direct, open_files.clone());
                let (host, recording) = Recording::begin(recorder, &start, &tracer, 0);
                (host, Some(recording))
            }
            None => (Snapshot::read(Path::new("/")), None),
        };
        let mut model = Model::new(host, require_direct);
        model.opened_before(open_files);
        let mut live = Self {
            tracer,
            ring,
            model,
            number: 0,
            undecoded: 0,
            owners: OwnerIds::default(),
            retry,
            stale: None,
            snapshots: 1,
            began,
            recording,
        };
        live.pump(each);
        if let Some(recording) = &live.recording {
            recording.recorder.end_of_prologue();
        }
        Ok(live)
    }

    /// Waits until there may be something to [`Live::pump`].
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let stale = self.stale.map(|at| at.saturating_duration_since(Instant::now()));
        let retry = self.retry.then_some(RETRY);
        if let Some(limit) = [stale, retry].into_iter().flatten().min() {
            // Whichever comes first; both lead to a pump.
            return match tokio::time::timeout(limit, self.ring.ready()).await {
                Ok(ready) => ready.context("cannot watch the ring buffer"),
                Err(_) => Ok(()),
            };
        }
        self.ring.ready().await.context("cannot watch the ring buffer")
    }

    /// Takes in all events that are there, attaches to modules that have come, and reads the host
    /// again where it has changed.
    pub(crate) fn pump(&mut self, mut each: impl FnMut(u64, &Event)) {
        #[cfg(feature = "bpf-log")]
        self.tracer.flush_log();
        let mut probes_moved = self.retry;
        if self.retry {
            self.retry = self.tracer.attach_waiting();
        }
        let mut modules = Vec::new();
        for bytes in self.ring.drain() {
            if let Some(recording) = &self.recording {
                recording.recorder.event(self.number - recording.first, &bytes);
            }
            match Event::decode(&bytes) {
                Ok(mut event) => {
                    self.owners.rename(&mut event);
                    if let Body::ModuleLoad { name } = &event.body {
                        modules.push((name.clone(), event.time_ns));
                    }
                    if changes_the_host(&event.body) {
                        self.stale.get_or_insert_with(|| Instant::now() + SETTLE);
                    }
                    self.model.observe(self.number, &event);
                    each(self.number, &event);
                }
                Err(_) => self.undecoded += 1,
            }
            self.number += 1;
        }
        for (name, time_ns) in modules {
            self.retry |= self.tracer.module_loaded(&name, time_ns);
            probes_moved = true;
        }
        self.keep_record(probes_moved);
        if self.stale.is_some_and(|at| at <= Instant::now()) {
            self.read_again();
        }
    }

    /// The last [`Live::pump`]: it leaves nothing of the host unread.
    pub(crate) fn settle(&mut self, mut each: impl FnMut(u64, &Event)) {
        self.pump(&mut each);
        if self.stale.is_some() {
            self.read_again();
            self.pump(&mut each);
        }
    }

    /// Reads the host again. As at the start, this makes the kernel list the regions of every
    /// device; what comes of it is with the events of the next [`Live::pump`].
    fn read_again(&mut self) {
        self.stale = None;
        let root = Path::new("/");
        let host = match &self.recording {
            Some(recording) => {
                let (host, files) = Snapshot::read_and_keep(root);
                recording.recorder.snapshot(self.snapshots, &files);
                host
            }
            None => Snapshot::read(root),
        };
        self.snapshots = self.snapshots.saturating_add(1);
        self.model.rehost(host);
    }

    /// Writes to the recording how the probes stand, if they moved, and from time to time what was
    /// lost.
    fn keep_record(&mut self, probes_moved: bool) {
        let Some(recording) = &mut self.recording else { return };
        if probes_moved {
            let probes = probe_facts(&self.tracer);
            if probes != recording.probes {
                recording.recorder.json(Kind::PROBES, &probes);
                recording.probes = probes;
            }
        }
        if recording.lost_at.elapsed() >= LOSS_EVERY {
            recording.lost_at = Instant::now();
            // Who asks for the counts at the end hears why they cannot be had.
            if let Ok(loss) = loss(&self.tracer)
                && loss.as_lost() != recording.lost
            {
                recording.lost = loss.as_lost();
                recording.recorder.loss(loss);
            }
        }
    }

    /// Begins a recording of what comes from now on. The host is read again for it, which makes the
    /// kernel list the regions of every device once more. What goes wrong later is said to `tell`.
    #[cfg(feature = "tui")]
    pub(crate) fn begin_recording(
        &mut self,
        output: &Output<'_>,
        tell: impl Fn(&str) + Clone + Send + 'static,
    ) -> anyhow::Result<()> {
        let recorder = output.create_telling(tell)?;
        let require_direct = self.model.require_direct();
        let start =
            record::start(output, record::clocks(), true, require_direct, open_files::read());
        let (host, recording) = Recording::begin(recorder, &start, &self.tracer, self.number);
        recording.recorder.end_of_prologue();
        self.recording = Some(recording);
        self.snapshots = self.snapshots.saturating_add(1);
        self.model.rehost(host);
        Ok(())
    }

    #[cfg(feature = "tui")]
    pub(crate) fn snapshots(&self) -> u32 {
        self.snapshots
    }

    pub(crate) fn loss(&self) -> anyhow::Result<Loss> {
        loss(&self.tracer)
    }

    #[cfg(feature = "tui")]
    pub(crate) fn undecoded(&self) -> u64 {
        self.undecoded
    }

    pub(crate) fn began(&self) -> Clocks {
        self.began
    }

    pub(crate) fn recorded(&self) -> Option<recording::Status> {
        self.recording.as_ref().map(|recording| recording.recorder.status())
    }

    pub(crate) fn end_recording(
        &mut self,
        reason: &str,
        exit_status: Option<i32>,
    ) -> Option<recording::Outcome> {
        self.end_recording_with(reason, exit_status, Fate::Stay)
    }

    /// The same, and says what becomes of its files.
    pub(crate) fn end_recording_with(
        &mut self,
        reason: &str,
        exit_status: Option<i32>,
        fate: Fate,
    ) -> Option<recording::Outcome> {
        let Recording { recorder, .. } = self.recording.take()?;
        if let Ok(loss) = loss(&self.tracer) {
            recorder.loss(loss);
        }
        let time_ns = record::clocks().monotonic_ns;
        let end = End { reason: reason.to_owned(), exit_status, time_ns };
        Some(recorder.finish_with(end, fate))
    }

    pub(crate) fn lost(&self) -> anyhow::Result<Lost> {
        Ok(Lost { queue: self.undecoded, ..self.loss()?.as_lost() })
    }

    /// Says on standard error what the answers of this host will lack: probes that are missing, and
    /// what the host itself does not have.
    pub(crate) fn warn(&self) {
        let mut probes = self.probes();
        if rights::paranoid().is_some() {
            // Said once for all of them by what follows.
            probes.retain(|probe| !probe.state.obstacles().contains(&Obstacle::KprobesDenied));
        }
        warn_of(&probes);
        for line in rights::missing() {
            output::complain(&line);
        }
        for finding in self.model.host_findings() {
            output::complain(&finding.message);
        }
    }

    pub(crate) fn probes(&self) -> Vec<ProbeFact> {
        probe_facts(&self.tracer)
    }
}

/// Whether the host is not what was read of it before.
fn changes_the_host(body: &Body) -> bool {
    use DeviceFunction::{DirectMappings, PciProbe, PciRemove, VfioPciProbe};
    match body {
        Body::GroupChange { .. } => true,
        // Direct mappings are also made where the type of a group's domain changes.
        Body::DeviceCall { function, .. } => {
            matches!(function, DirectMappings | VfioPciProbe | PciProbe | PciRemove)
        }
        _ => false,
    }
}

pub(crate) fn probe_facts(tracer: &Tracer) -> Vec<ProbeFact> {
    tracer.probes().iter().map(ProbeStatus::fact).collect()
}

/// Says on standard error what probes are missing and what that costs; with `--verbose` also why each
/// of them is.
pub(crate) fn warn_of(probes: &[ProbeFact]) {
    if let Some(line) = report::probes::summary(probes) {
        output::complain(&format!("{line}; -v lists them"));
    }
    for line in report::probes::details(probes) {
        output::detail(&line);
    }
}

fn loss(tracer: &Tracer) -> anyhow::Result<Loss> {
    let probes = tracer.counts()?.into_iter().map(|(symbol, counts)| ProbeLoss {
        symbol: symbol.to_owned(),
        hits: counts.hits,
        ring_lost: counts.ring_lost,
        read_failed: counts.read_failed,
        truncated: counts.truncated,
    });
    Ok(Loss { probes: probes.collect(), ..Loss::default() })
}

/// Whether there is anything that probes could show: without groups there is not.
pub(crate) fn can_show() -> bool {
    let groups = std::fs::read_dir("/sys/kernel/iommu_groups");
    groups.is_ok_and(|mut groups| groups.next().is_some())
}

/// Whether the running kernel has the flag, from its BTF alone, which everybody may read.
pub(crate) fn require_direct() -> KernelFlag {
    match Btf::read(Path::new(KERNEL_BTF)) {
        Ok(btf) => KernelFlag::of_btf(tracer::require_direct(&btf), None, KERNEL_BTF),
        Err(error) => KernelFlag {
            answer: RequireDirect::Unknown,
            source: FlagSource::Nowhere { no_btf: format!("{KERNEL_BTF}: {error}") },
        },
    }
}
