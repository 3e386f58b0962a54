//! A live host: probes, the stream of events, and the model that they feed.

use std::{path::Path, time::Duration};

use anyhow::Context as _;

use super::output;
use crate::{
    event::{Body, Event},
    host::Snapshot,
    model::{Model, RequireDirect},
    probe::{
        btf::{Btf, KERNEL_BTF},
        ring::Ring,
        table::Home,
        tracer::{self, LeaveOut, Tracer},
    },
    report::Lost,
};

/// How long to wait before a module that is being loaded is tried again.
const RETRY: Duration = Duration::from_millis(25);

/// A host that is being traced.
pub(super) struct Live {
    tracer: Tracer,
    ring: Ring,
    /// What is known.
    pub(super) model: Model,
    number: u64,
    undecoded: u64,
    retry: bool,
}

impl Live {
    /// Attaches the probes and reads the host, which makes the kernel list every device's regions.
    /// To be called inside a runtime. The events of that go to `each`.
    pub(super) fn start(each: impl FnMut(u64, &Event)) -> anyhow::Result<Self> {
        Self::start_without(&LeaveOut::default(), each)
    }

    /// The same, without some of the probes.
    pub(super) fn start_without(
        leave_out: &LeaveOut,
        each: impl FnMut(u64, &Event),
    ) -> anyhow::Result<Self> {
        let mut tracer = Tracer::start(leave_out)?;
        let retry = tracer.attach_waiting();
        let ring = Ring::new(tracer.take_ring()?).context("cannot watch the ring buffer")?;
        let require_direct =
            if tracer.require_direct() { RequireDirect::Present } else { RequireDirect::Missing };
        let model = Model::new(Snapshot::read(Path::new("/")), require_direct);
        let mut live = Self { tracer, ring, model, number: 0, undecoded: 0, retry };
        live.pump(each);
        Ok(live)
    }

    /// Waits until there may be something to [`Live::pump`].
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        if self.retry {
            // Whichever comes first; both lead to a pump.
            return match tokio::time::timeout(RETRY, self.ring.ready()).await {
                Ok(ready) => ready.context("cannot watch the ring buffer"),
                Err(_) => Ok(()),
            };
        }
        self.ring.ready().await.context("cannot watch the ring buffer")
    }

    /// Takes in all events that are there, and attaches to modules that have come.
    pub(super) fn pump(&mut self, mut each: impl FnMut(u64, &Event)) {
        if self.retry {
            self.retry = self.tracer.attach_waiting();
        }
        let mut modules = Vec::new();
        for bytes in self.ring.drain() {
            match Event::decode(&bytes) {
                Ok(event) => {
                    if let Body::ModuleLoad { name } = &event.body {
                        modules.push((name.clone(), event.time_ns));
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
        }
    }

    /// What did not arrive so far.
    pub(super) fn lost(&self) -> anyhow::Result<Lost> {
        let mut lost = Lost { queue: self.undecoded, ..Lost::default() };
        for counts in self.tracer.counts()?.values() {
            lost.ring += counts.ring_lost;
            lost.read += counts.read_failed + counts.truncated;
        }
        Ok(lost)
    }

    /// Says on standard error what the answers of this host will lack: probes that are missing, and
    /// what the host itself does not have.
    pub(super) fn warn(&self) {
        for line in self.degradations() {
            output::complain(&line);
        }
        for finding in self.model.host_findings() {
            output::complain(&finding.message);
        }
    }

    /// A line for every probe that is missing, without those of modules that are not loaded.
    pub(super) fn degradations(&self) -> Vec<String> {
        self.tracer
            .probes()
            .iter()
            .filter_map(|probe| match &probe.state {
                tracer::State::Missing { reason } => Some(format!(
                    "no probe on {}{}, which would show {}: {reason}",
                    probe.spec.symbol,
                    match probe.spec.home {
                        Home::Kernel => String::new(),
                        Home::Module(module) => format!(" [{module}]"),
                    },
                    probe.spec.explains,
                )),
                tracer::State::LeftOut => {
                    Some(format!("the probe on {} is left out", probe.spec.symbol))
                }
                tracer::State::Attached | tracer::State::Waiting | tracer::State::NotNeeded => None,
            })
            .collect()
    }
}

/// Whether the running kernel refuses at all, from its BTF alone, which everybody may read.
pub(super) fn require_direct() -> RequireDirect {
    match Btf::read(Path::new(KERNEL_BTF)) {
        Ok(btf) if tracer::has_require_direct(&btf) => RequireDirect::Present,
        Ok(_) => RequireDirect::Missing,
        Err(_) => RequireDirect::Unknown,
    }
}
