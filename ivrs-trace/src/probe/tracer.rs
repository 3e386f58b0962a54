//! Loading and attaching the programs, and what they count.
//!
//! File descriptors hold everything that a [`Tracer`] put into the kernel, and nothing is pinned: it goes
//! when the process goes, however that ends, or shortly after ([`leave`]).

use std::{fs, path::Path};

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use ivrs_trace_common::{ProbeId, ProbeStats, for_each_offset, offsets::ABSENT};
use rustix::time::{ClockId, clock_gettime};

pub(crate) use super::{
    attach::LeaveOut,
    error::TraceError,
    status::{Counts, ProbeStatus, has_require_direct, require_direct},
};
use super::{
    attach::{Hindrance, attach, prepare},
    btf::{Btf, BtfError, KERNEL_BTF},
    error::load_error,
    leave,
    object::Object,
    table::{Kernels, Need, PROBES, ProbeSpec},
};
use crate::{
    privilege,
    probe_state::{Obstacle, ProbeState},
};

/// The BPF object, chosen when the program was built (build.rs).
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("IVRS_TRACE_BPF_OBJECT_PATH"));

/// Bytes of the ring buffer: some 30,000 events.
const RING_BYTES: u32 = 4 << 20;

/// How often a module that is there is tried before its probes count as missing.
const MODULE_TRIES: u32 = 40;

pub(crate) struct Tracer {
    object: Object,
    #[cfg(feature = "bpf-log")]
    log: super::log::ProgramLog,
    probes: Vec<ProbeStatus>,
    require_direct: bool,
}

impl Tracer {
    /// Loads the object and attaches the probes in the kernel image; for those in modules, see
    /// [`Tracer::attach_waiting`].
    pub(crate) fn start(leave_out: &LeaveOut) -> Result<Self, TraceError> {
        let tracer = Self::with(PROBES, leave_out)?;
        tracer.sees_anything()?;
        Ok(tracer)
    }

    /// The same with the one probe that sees what the kernel lists where `reserved_regions` is read.
    pub(crate) fn of_regions() -> Result<Self, TraceError> {
        let tracer = Self::with(PROBES.get(..1).unwrap_or_default(), &LeaveOut::default())?;
        let absent = |probe: &ProbeStatus| {
            probe.state.obstacles().iter().all(|obstacle| *obstacle == Obstacle::NoFunction)
        };
        // A kernel without AMD's driver has nothing to list that files do not show.
        if !tracer.probes.iter().all(absent) {
            tracer.sees_anything()?;
        }
        Ok(tracer)
    }

    fn with(specs: &'static [ProbeSpec], leave_out: &LeaveOut) -> Result<Self, TraceError> {
        if let Some(missing) = privilege::missing_for_tracing() {
            return Err(TraceError::Privilege { missing });
        }
        let btf = Btf::read(Path::new(KERNEL_BTF))
            .map_err(|error: BtfError| TraceError::Btf(error.to_string()))?;
        let object = Object::open(OBJECT, &resolve(&btf), ("EVENTS", RING_BYTES))?;
        let probes: Vec<ProbeStatus> =
            specs.iter().map(|spec| prepare(&object, spec, &btf, leave_out)).collect();
        Ok(Self {
            #[cfg(feature = "bpf-log")]
            log: super::log::ProgramLog::open(&probes)?,
            object,
            probes,
            require_direct: has_require_direct(&btf),
        })
    }

    /// Attaches the probes whose module has come since. Returns whether it is worth another try
    /// soon: a module that is just being loaded may not take probes yet.
    pub(crate) fn attach_waiting(&mut self) -> bool {
        let mut again = false;
        for probe in &mut self.probes {
            if probe.state != ProbeState::Waiting {
                continue;
            }
            let Some(module) = probe.spec.home.module() else { continue };
            // Asked before the try: what a module that is all there does not have never comes.
            let there = module_state(module);
            match attach(probe.spec.symbol, probe.way, &probe.programs) {
                Ok(links) => {
                    probe.links = links;
                    probe.attached_ns = now_ns(ClockId::Monotonic);
                    probe.state = ProbeState::Attached;
                }
                Err(Hindrance { reason, obstacle }) if there != ModuleState::Absent => {
                    probe.tries += 1;
                    if there == ModuleState::Coming && probe.tries < MODULE_TRIES {
                        again = true;
                    } else if probe.spec.kernels == Kernels::Iommufd {
                        probe.state = ProbeState::NotNeeded;
                    } else {
                        probe.state = ProbeState::Missing { reason, obstacles: vec![obstacle] };
                    }
                }
                Err(_) => {}
            }
        }
        self.tell_device_bind();
        again
    }

    /// Tells the programs whether they see iommufd being asked for a device.
    fn tell_device_bind(&mut self) {
        let sees = self.probes.iter().any(|probe| {
            probe.spec.id == ProbeId::DEVICE_BIND && probe.state == ProbeState::Attached
        });
        let map = self.object.map_mut("SEES_DEVICE_BIND");
        let map = map.and_then(|map| Array::<_, u32>::try_from(map).ok());
        if let Some(mut map) = map {
            // Where it cannot be told, they say nothing about it, as in the beginning.
            let _: Result<(), _> = map.set(0, u32::from(sees), 0);
        }
    }

    /// Says that a module was loaded at this time (`CLOCK_MONOTONIC`, ns). Probes of an earlier
    /// load of it died with that; they are attached anew. Returns as [`Tracer::attach_waiting`].
    pub(crate) fn module_loaded(&mut self, name: &str, time_ns: u64) -> bool {
        for probe in &mut self.probes {
            if probe.spec.home.module() != Some(name) {
                continue;
            }
            if probe.state == ProbeState::Attached && probe.attached_ns > time_ns {
                continue;
            }
            probe.links.clear();
            probe.tries = 0;
            probe.state = ProbeState::Waiting;
        }
        self.attach_waiting()
    }

    pub(crate) fn probes(&self) -> &[ProbeStatus] {
        &self.probes
    }

    pub(crate) fn require_direct(&self) -> bool {
        self.require_direct
    }

    /// The ring buffer; it can be taken once.
    pub(crate) fn take_ring(&mut self) -> Result<RingBuf<MapData>, TraceError> {
        let map = self.object.take_map("EVENTS").ok_or_else(|| no_map("EVENTS"))?;
        RingBuf::try_from(map).map_err(|error| load_error(&error))
    }

    #[cfg(feature = "bpf-log")]
    pub(crate) fn flush_log(&mut self) {
        self.log.flush();
    }

    pub(crate) fn counts(&self) -> Result<Counts, TraceError> {
        let map = self.object.map("STATS").ok_or_else(|| no_map("STATS"))?;
        let map: PerCpuArray<&MapData, Stats> =
            map.try_into().map_err(|error| load_error(&error))?;
        let mut counts = Counts::new();
        for spec in PROBES {
            let per_cpu = map.get(&u32::from(spec.id.0), 0).map_err(|error| load_error(&error))?;
            let sum = per_cpu.iter().fold(ProbeStats::default(), |sum, Stats(one)| ProbeStats {
                hits: sum.hits.wrapping_add(one.hits),
                ring_lost: sum.ring_lost.wrapping_add(one.ring_lost),
                read_failed: sum.read_failed.wrapping_add(one.read_failed),
                truncated: sum.truncated.wrapping_add(one.truncated),
            });
            counts.insert(spec.symbol, sum);
        }
        Ok(counts)
    }

    /// Whether what is attached can show a claim or a region at all.
    fn sees_anything(&self) -> Result<(), TraceError> {
        let mut verdict = self.probes.iter().filter(|probe| probe.spec.need == Need::Verdict);
        if verdict.any(|probe| probe.state == ProbeState::Attached) {
            return Ok(());
        }
        Err(TraceError::NoVerdict(self.probes.iter().map(ProbeStatus::fact).collect()))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        leave::close(self.probes.iter_mut().flat_map(|probe| probe.links.drain(..)).collect());
    }
}

fn no_map(name: &str) -> TraceError {
    TraceError::Load { reason: format!("the object has no map {name}"), hint: "" }
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Stats(ProbeStats);

// SAFETY: `ProbeStats` is four u64 with no padding, for which every bit pattern is valid.
unsafe impl aya::Pod for Stats {}

/// Every offset by the name of its global; [`ABSENT`] where the kernel has no such member.
fn resolve(btf: &Btf) -> Vec<(&'static str, u32)> {
    let mut offsets = Vec::new();
    macro_rules! push {
        ($($name:ident, $container:literal, $path:literal;)*) => {
            $(offsets.push((stringify!($name), btf.member($container, $path).and_then(|member| member.byte_offset()).unwrap_or(ABSENT)));)*
        };
    }
    for_each_offset!(push);
    if let Some((word, bit)) =
        btf.member("dev_iommu", "require_direct").and_then(super::btf::Member::flag)
    {
        for (name, value) in &mut offsets {
            if *name == "REQUIRE_DIRECT" {
                *value = word;
            }
        }
        offsets.push(("REQUIRE_DIRECT_BIT", bit));
    }
    offsets
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ModuleState {
    Absent,
    /// It is being loaded, or goes.
    Coming,
    /// All of it is there; or it is in the kernel image.
    Live,
}

fn module_state(module: &str) -> ModuleState {
    let folder = Path::new("/sys/module").join(module);
    match fs::read_to_string(folder.join("initstate")) {
        Ok(state) if state.trim() == "live" => ModuleState::Live,
        Ok(_) => ModuleState::Coming,
        // What is in the kernel image has the folder, for its parameters, but no state.
        Err(_) if folder.exists() => ModuleState::Live,
        Err(_) => ModuleState::Absent,
    }
}

/// A clock now, ns; that of the events is `CLOCK_MONOTONIC`.
pub(crate) fn now_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let rest = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_probe_is_that_of_regions() {
        assert_eq!(PROBES[0].id, ProbeId::AMD_RESV_REGIONS);
    }

    #[test]
    fn the_object_has_every_program_of_the_table() {
        for program in PROBES.iter().flat_map(|probe| probe.ways.iter().copied().flatten()) {
            let name = format!("\0{}\0", program.name);
            let mut names = OBJECT.windows(name.len());
            assert!(names.any(|found| found == name.as_bytes()), "{}", program.name);
        }
    }
}
