//! Loading and attaching the programs, and what they count.
//!
//! One of two files that name aya (the other is [`super::ring`]). Everything that a [`Tracer`] put
//! into the kernel is held by file descriptors of this process and goes when the process goes,
//! however it ends: nothing is pinned.

use std::{collections::BTreeMap, fs, io, path::Path};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, MapData, PerCpuArray, RingBuf},
    programs::{KProbe, Program, ProgramError, kprobe::KProbeLinkId},
    sys::SyscallError,
};
use ivrs_trace_common::{ProbeId, ProbeStats, for_each_offset, offsets::ABSENT};
use serde::Serialize;
use thiserror::Error;

use super::{
    btf::{Btf, BtfError, KERNEL_BTF},
    table::{Home, How, Kernels, Need, PROBES, ProbeSpec, ProgramSpec},
};
use crate::privilege;

/// The BPF object, chosen when the program was built (build.rs).
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("IVRS_TRACE_BPF_OBJECT_PATH"));

/// Bytes of the ring buffer: some 30,000 events.
const RING_BYTES: u32 = 4 << 20;

/// How often a module that is there is tried before its probes count as missing.
const MODULE_TRIES: u32 = 40;

/// Why this host cannot be traced.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The process lacks the privilege.
    #[error(
        "tracing needs root, or CAP_BPF and CAP_PERFMON: this process lacks {missing}; run it with sudo"
    )]
    Privilege {
        /// The capabilities that are missing.
        missing: String,
    },
    /// The kernel describes its types nowhere; why its BTF cannot be used.
    #[error(
        "{KERNEL_BTF} cannot be used: {0}; tracing needs a kernel built with CONFIG_DEBUG_INFO_BTF, \
         whose struct layouts are read there"
    )]
    Btf(String),
    /// The object cannot be loaded.
    #[error("the kernel does not take the BPF object: {reason}{hint}")]
    Load {
        /// The kernel's answer.
        reason: String,
        /// What may be behind it, if that is known.
        hint: &'static str,
    },
    /// A probe without which there is no verdict cannot be attached.
    #[error("no probe that shows a rejection can be attached{hint}: {0}", hint = privilege::lockdown_hint())]
    NoVerdict(String),
}

/// How a probe stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// At work.
    Attached,
    /// Its module is not loaded; it is attached when the module comes.
    Waiting,
    /// This kernel has neither the function nor what it would show.
    NotNeeded,
    /// It was left out because the caller said so.
    LeftOut,
    /// It cannot be attached.
    Missing {
        /// Why, one line.
        reason: String,
        /// The kernel did not let the process attach a kprobe (`perf_event_open`).
        #[serde(skip)]
        denied: bool,
    },
}

/// Why a way to attach a probe cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Obstacle {
    /// Why, one line.
    reason: String,
    /// As in [`State::Missing`].
    denied: bool,
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self { reason, denied: false }
    }
}

impl From<ProgramError> for Obstacle {
    fn from(error: ProgramError) -> Self {
        let denied = matches!(&error, ProgramError::SyscallError(SyscallError { call, io_error })
            if *call == "perf_event_open" && io_error.kind() == io::ErrorKind::PermissionDenied);
        Self { reason: one_line(&error), denied }
    }
}

/// A probe of the table as it stands on this host.
pub struct ProbeStatus {
    /// The row of the table.
    pub spec: &'static ProbeSpec,
    /// How it stands.
    pub state: State,
    /// The programs that are attached, or will be when the module comes.
    pub way: &'static [ProgramSpec],
    /// Why a better way was not taken, one line.
    pub fallback: Option<String>,
    /// What holds the kprobes of a module's function, and when they were attached.
    links: Vec<(&'static str, KProbeLinkId)>,
    attached_ns: u64,
    /// Attempts to attach while the module was there.
    tries: u32,
}

/// What a probe counted, over all CPUs.
pub type Counts = BTreeMap<&'static str, ProbeStats>;

/// The programs in the kernel.
pub struct Tracer {
    ebpf: Ebpf,
    #[cfg(feature = "bpf-log")]
    log: super::log::ProgramLog,
    probes: Vec<ProbeStatus>,
    require_direct: bool,
}

impl Tracer {
    /// Loads the object and attaches the probes in the kernel image; for those in modules, see
    /// [`Tracer::attach_waiting`].
    ///
    /// # Errors
    ///
    /// If the process may not, the kernel has no BTF, or nothing that shows a refusal can be
    /// watched. A single missing probe is no error: see [`Tracer::probes`].
    pub fn start(leave_out: &LeaveOut) -> Result<Self, TraceError> {
        if let Some(missing) = privilege::missing_for_tracing() {
            return Err(TraceError::Privilege { missing });
        }
        let btf = Btf::read(Path::new(KERNEL_BTF))
            .map_err(|error: BtfError| TraceError::Btf(error.to_string()))?;
        let mut ebpf = load(&btf)?;
        let types = aya::Btf::from_sys_fs().map_err(|error| load_error(&error))?;
        let probes: Vec<ProbeStatus> =
            PROBES.iter().map(|spec| prepare(&mut ebpf, spec, &btf, &types, leave_out)).collect();
        let tracer = Self {
            #[cfg(feature = "bpf-log")]
            log: super::log::ProgramLog::open(&mut ebpf)?,
            ebpf,
            probes,
            require_direct: has_require_direct(&btf),
        };
        tracer.sees_anything()?;
        Ok(tracer)
    }

    /// Attaches the probes whose module has come since. Returns whether it is worth another try
    /// soon: a module that is just being loaded may not take probes yet.
    pub fn attach_waiting(&mut self) -> bool {
        let mut again = false;
        for probe in &mut self.probes {
            if probe.state != State::Waiting {
                continue;
            }
            let Some(module) = probe.spec.home.module() else { continue };
            // Asked before the try: what a module that is all there does not have never comes.
            let there = module_state(module);
            match attach_kprobes(&mut self.ebpf, probe.spec.symbol, probe.way) {
                Ok(links) => {
                    probe.links = links;
                    probe.attached_ns = now_ns();
                    probe.state = State::Attached;
                }
                Err(Obstacle { reason, denied }) if there != ModuleState::Absent => {
                    probe.tries += 1;
                    if there == ModuleState::Coming && probe.tries < MODULE_TRIES {
                        again = true;
                    } else if probe.spec.kernels == Kernels::Iommufd {
                        probe.state = State::NotNeeded;
                    } else {
                        probe.state = State::Missing { reason, denied };
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
        let sees = self
            .probes
            .iter()
            .any(|probe| probe.spec.id == ProbeId::DEVICE_BIND && probe.state == State::Attached);
        let map = self.ebpf.map_mut("SEES_DEVICE_BIND");
        let map = map.and_then(|map| Array::<_, u32>::try_from(map).ok());
        if let Some(mut map) = map {
            // Where it cannot be told, they say nothing about it, as in the beginning.
            let _: Result<(), _> = map.set(0, u32::from(sees), 0);
        }
    }

    /// Says that a module was loaded at this time (`CLOCK_MONOTONIC`, ns). Probes of an earlier
    /// load of it died with that; they are attached anew. Returns as [`Tracer::attach_waiting`].
    pub fn module_loaded(&mut self, name: &str, time_ns: u64) -> bool {
        for probe in &mut self.probes {
            if probe.spec.home.module() != Some(name) {
                continue;
            }
            if probe.state == State::Attached && probe.attached_ns > time_ns {
                continue;
            }
            detach(&mut self.ebpf, std::mem::take(&mut probe.links));
            probe.tries = 0;
            probe.state = State::Waiting;
        }
        self.attach_waiting()
    }

    /// The table as it stands.
    #[must_use]
    pub fn probes(&self) -> &[ProbeStatus] {
        &self.probes
    }

    /// Whether the kernel has `dev_iommu.require_direct`, without which it refuses nothing.
    #[must_use]
    pub fn require_direct(&self) -> bool {
        self.require_direct
    }

    /// The ring buffer; it can be taken once.
    ///
    /// # Errors
    ///
    /// If it was taken before.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>, TraceError> {
        let map = self.ebpf.take_map("EVENTS").ok_or_else(|| TraceError::Load {
            reason: "the object has no map EVENTS".to_owned(),
            hint: "",
        })?;
        RingBuf::try_from(map).map_err(|error| load_error(&error))
    }

    /// Writes to standard error what the programs logged of themselves since.
    #[cfg(feature = "bpf-log")]
    pub fn flush_log(&mut self) {
        self.log.flush();
    }

    /// What the probes counted so far.
    ///
    /// # Errors
    ///
    /// If the kernel does not give the map.
    pub fn counts(&self) -> Result<Counts, TraceError> {
        let map = self.ebpf.map("STATS").ok_or_else(|| TraceError::Load {
            reason: "the object has no map STATS".to_owned(),
            hint: "",
        })?;
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
        let verdict = || self.probes.iter().filter(|probe| probe.spec.need == Need::Verdict);
        if verdict().any(|probe| probe.state == State::Attached) {
            return Ok(());
        }
        let reasons: Vec<String> = verdict()
            .map(|probe| match &probe.state {
                State::Missing { reason, .. } => format!("{}: {reason}", probe.spec.symbol),
                State::Attached | State::Waiting | State::NotNeeded | State::LeftOut => {
                    probe.spec.symbol.to_owned()
                }
            })
            .collect();
        Err(TraceError::NoVerdict(reasons.join("; ")))
    }
}

/// Whether the kernel whose BTF this is has the flag that makes it refuse.
#[must_use]
pub fn has_require_direct(btf: &Btf) -> bool {
    btf.member("dev_iommu", "require_direct").is_some()
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Stats(ProbeStats);

// SAFETY: `ProbeStats` is four u64 with no padding, for which every bit pattern is valid.
unsafe impl aya::Pod for Stats {}

/// Resolves the offsets and loads the object's maps.
fn load(btf: &Btf) -> Result<Ebpf, TraceError> {
    let offsets = resolve(btf);
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("EVENTS", RING_BYTES);
    // The reason for a refusal and the statistics, but not the trace of every instruction, which
    // for a program that is too complex takes minutes to write.
    loader.verifier_log_level(VerifierLogLevel::STATS);
    for (name, value) in &offsets {
        // A global that no program reads is not in the object.
        loader.override_global(name, value, false);
    }
    loader.load(OBJECT).map_err(|error| load_error(&error))
}

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

/// What is not to be attached, to see how the tool does without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaveOut {
    /// Functions and tracepoints, by the names of the table.
    pub symbols: Vec<String>,
    /// Do without BPF trampolines: kprobes instead, where a probe has them.
    pub trampolines: bool,
}

/// Loads the programs of a probe in the first way that the kernel takes, and attaches them unless
/// they belong to a module.
fn prepare(
    ebpf: &mut Ebpf,
    spec: &'static ProbeSpec,
    btf: &Btf,
    types: &aya::Btf,
    leave_out: &LeaveOut,
) -> ProbeStatus {
    let mut status = ProbeStatus {
        spec,
        state: State::LeftOut,
        way: &[],
        fallback: None,
        links: Vec::new(),
        attached_ns: 0,
        tries: 0,
    };
    if leave_out.symbols.iter().any(|symbol| symbol == spec.symbol) {
        return status;
    }
    if spec.kernels == Kernels::Refusing && !has_require_direct(btf) {
        // What is there nevertheless is of use: a claim on a device, say.
        let there = spec.home == Home::Kernel && btf.has_function(spec.symbol);
        if !there {
            status.state = State::NotNeeded;
            return status;
        }
    }
    let mut obstacles: Vec<Obstacle> = Vec::new();
    for way in spec.ways {
        match load_way(ebpf, spec, way, btf, types, leave_out) {
            Ok(links) => {
                status.way = way;
                status.links = links;
                status.fallback = obstacles.pop().map(|obstacle| obstacle.reason);
                status.state = match spec.home {
                    Home::Module(_) => State::Waiting,
                    Home::Kernel => State::Attached,
                };
                return status;
            }
            Err(obstacle) if obstacles.contains(&obstacle) => {}
            Err(obstacle) => obstacles.push(obstacle),
        }
    }
    let denied = obstacles.iter().any(|obstacle| obstacle.denied);
    let reasons: Vec<String> = obstacles.into_iter().map(|obstacle| obstacle.reason).collect();
    status.state = State::Missing { reason: reasons.join("; "), denied };
    status
}

/// Loads all programs of a way, and attaches them if their function is in the kernel image; or
/// leaves none of them.
fn load_way(
    ebpf: &mut Ebpf,
    spec: &ProbeSpec,
    way: &[ProgramSpec],
    btf: &Btf,
    types: &aya::Btf,
    leave_out: &LeaveOut,
) -> Result<Vec<(&'static str, KProbeLinkId)>, Obstacle> {
    let trampoline = way.iter().any(|program| matches!(program.how, How::Fentry | How::Fexit));
    if trampoline && leave_out.trampolines {
        return Err("trampolines are left out".to_owned().into());
    }
    if trampoline && !btf.has_function(spec.symbol) {
        return Err(absent(spec.symbol).into());
    }
    let mut result = way.iter().try_for_each(|program| {
        ebpf.program_mut(program.name)
            .ok_or_else(|| format!("the BPF object has no program {}", program.name).into())
            .and_then(|loaded| Ok(load_program(loaded, spec.symbol, types)?))
    });
    let mut links = Vec::new();
    let kprobes = way.iter().any(|program| matches!(program.how, How::Kprobe | How::Kretprobe));
    if result.is_ok() && kprobes && spec.home == Home::Kernel {
        match attach_kprobes(ebpf, spec.symbol, way) {
            Ok(attached) => links = attached,
            Err(reason) => result = Err(reason),
        }
    }
    if let Err(reason) = result {
        for program in way {
            if let Some(program) = ebpf.program_mut(program.name) {
                unload(program);
            }
        }
        return Err(reason);
    }
    Ok(links)
}

fn unload(program: &mut Program) {
    // It fails for a program that was not loaded, which is what is wanted.
    let _: Result<(), _> = match program {
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        _ => Ok(()),
    };
}

/// Why a function cannot be watched that BTF does not describe: what the kernel's symbols say.
fn absent(symbol: &str) -> String {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    match symbol_of(&symbols, symbol) {
        Some(found) if found == symbol => {
            format!("{symbol} is in this kernel, but BTF does not describe it")
        }
        Some(found) => format!(
            "this kernel has only {found}, a copy that the compiler made, whose arguments may be \
             others"
        ),
        None => "this kernel has no such function, or the compiler inlined it".to_owned(),
    }
}

/// The symbol of this name in the text of `/proc/kallsyms`, or else a copy of it, whose name the
/// compiler made longer (`.isra.0`, `.constprop.0`); parts that were split off (`.cold`) do not
/// count.
fn symbol_of<'a>(symbols: &'a str, name: &str) -> Option<&'a str> {
    let names = symbols.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
    let mut copy = None;
    for found in names {
        match found.strip_prefix(name) {
            Some("") => return Some(found),
            Some(rest) if rest.starts_with('.') && !rest.starts_with(".cold") => {
                copy = Some(found);
            }
            Some(_) | None => {}
        }
    }
    copy
}

fn load_program(program: &mut Program, symbol: &str, types: &aya::Btf) -> Result<(), ProgramError> {
    match program {
        Program::FEntry(program) => {
            program.load(symbol, types)?;
            program.attach().map(drop)
        }
        Program::FExit(program) => {
            program.load(symbol, types)?;
            program.attach().map(drop)
        }
        Program::RawTracePoint(program) => {
            program.load()?;
            program.attach(symbol).map(drop)
        }
        Program::KProbe(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Attaches the kprobes of a function: all of them, or none.
fn attach_kprobes(
    ebpf: &mut Ebpf,
    symbol: &str,
    way: &[ProgramSpec],
) -> Result<Vec<(&'static str, KProbeLinkId)>, Obstacle> {
    let mut links = Vec::new();
    for program in way {
        if !matches!(program.how, How::Kprobe | How::Kretprobe) {
            continue;
        }
        let result = kprobe(ebpf, program.name)
            .ok_or_else(|| "the BPF object has no such kprobe".to_owned().into())
            .and_then(|probe| Ok(probe.attach(symbol, 0)?));
        match result {
            Ok(link) => links.push((program.name, link)),
            Err(reason) => {
                detach(ebpf, links);
                return Err(reason);
            }
        }
    }
    Ok(links)
}

fn detach(ebpf: &mut Ebpf, links: Vec<(&'static str, KProbeLinkId)>) {
    for (name, link) in links {
        if let Some(probe) = kprobe(ebpf, name) {
            // It fails only for a link that is gone, which is what is wanted.
            let _: Result<(), _> = probe.detach(link);
        }
    }
}

fn kprobe<'a>(ebpf: &'a mut Ebpf, name: &str) -> Option<&'a mut KProbe> {
    ebpf.program_mut(name)?.try_into().ok()
}

/// How far a module is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ModuleState {
    /// It is not loaded.
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

/// `CLOCK_MONOTONIC` now, ns: the clock of the events.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let rest = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

pub(super) fn load_error(error: &dyn std::error::Error) -> TraceError {
    TraceError::Load { reason: one_line(error), hint: privilege::lockdown_hint() }
}

/// An error with its causes on one line; of a verifier log, the line that says what was refused.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let own = error.to_string();
        let own = own.trim();
        let line = match own.split_once('\n') {
            Some((first, rest)) => {
                // The log closes with statistics.
                let statistics = ["verification time", "stack depth", "processed "];
                let refusal = rest.lines().rev().map(str::trim).find(|line| {
                    !line.is_empty() && !statistics.iter().any(|start| line.starts_with(start))
                });
                format!("{} … {}", first.trim(), refusal.unwrap_or_default())
            }
            None => own.to_owned(),
        };
        if !text.contains(&line) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&line);
        }
        next = error.source();
    }
    crate::escape::printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_denied_is_told_from_what_only_reads_like_it() {
        let failed = |call, code| {
            let io_error = io::Error::from_raw_os_error(code);
            Obstacle::from(ProgramError::SyscallError(SyscallError { call, io_error }))
        };
        assert!(failed("perf_event_open", 13).denied);
        // The kernel has no such function; and another call.
        for obstacle in [
            failed("perf_event_open", 2),
            failed("bpf_prog_load", 13),
            "perf_event_open of Permission denied".to_owned().into(),
        ] {
            assert!(!obstacle.denied, "{obstacle:?}");
            assert!(!obstacle.reason.is_empty());
        }
    }

    #[test]
    fn a_symbol_is_found_by_its_name_or_a_longer_one() {
        let symbols = "\
            ffffffff81000000 t plain_more\n\
            ffffffff81000001 t plain\n\
            ffffffff81000002 t split.cold\n\
            ffffffff81000003 t copied.isra.0\n\
            ffffffffc0000004 t in_module\t[vfio]\n";
        for (name, expected) in [
            ("plain", Some("plain")),
            ("copied", Some("copied.isra.0")),
            ("split", None),
            ("in_module", Some("in_module")),
            ("nowhere", None),
        ] {
            assert_eq!(symbol_of(symbols, name), expected);
        }
    }
}
