//! Loading the programs of a probe and attaching them, in the first way that the kernel takes.

use std::{fs, io};

use aya::{
    Ebpf,
    programs::{
        KProbe, Program, ProgramError,
        kprobe::{KProbeError, KProbeLinkId},
    },
    sys::SyscallError,
};

use super::{
    btf::Btf,
    error::one_line,
    status::{ProbeStatus, has_require_direct},
    table::{Home, Kernels, ProbeSpec, ProgramSpec},
};
use crate::probe_state::{Obstacle, ProbeState};

/// What is not to be attached, to see how the tool does without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaveOut {
    /// Functions and tracepoints, by the names of the table.
    pub(crate) symbols: Vec<String>,
    /// Do without BPF trampolines: kprobes instead, where a probe has them.
    pub(crate) trampolines: bool,
}

/// Why a probe cannot be attached in one way: the kind, and one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hindrance {
    pub(super) obstacle: Obstacle,
    pub(super) reason: String,
}

impl From<String> for Hindrance {
    fn from(reason: String) -> Self {
        Self { obstacle: Obstacle::Other, reason }
    }
}

impl From<ProgramError> for Hindrance {
    fn from(error: ProgramError) -> Self {
        Self { obstacle: obstacle_of(&error), reason: one_line(&error) }
    }
}

fn obstacle_of(error: &ProgramError) -> Obstacle {
    match error {
        // /sys/bus/event_source/devices/kprobe, which CONFIG_KPROBE_EVENTS makes.
        ProgramError::KProbeError(KProbeError::FileError { io_error, .. })
            if io_error.kind() == io::ErrorKind::NotFound =>
        {
            Obstacle::NoKprobes
        }
        ProgramError::SyscallError(SyscallError { call, io_error }) => match io_error.kind() {
            io::ErrorKind::PermissionDenied if *call == "perf_event_open" => {
                Obstacle::KprobesDenied
            }
            io::ErrorKind::NotFound => Obstacle::NoFunction,
            _ => Obstacle::Other,
        },
        // The verifier says nothing where the kernel does not even look at the program.
        ProgramError::LoadError { verifier_log, .. } if verifier_log.to_string().is_empty() => {
            Obstacle::NoTrampolines
        }
        _ => Obstacle::Other,
    }
}

/// Loads the programs of a probe in the first way that the kernel takes, and attaches them unless
/// they belong to a module.
pub(super) fn prepare(
    ebpf: &mut Ebpf,
    spec: &'static ProbeSpec,
    btf: &Btf,
    types: &aya::Btf,
    leave_out: &LeaveOut,
) -> ProbeStatus {
    let mut status = ProbeStatus {
        spec,
        state: ProbeState::LeftOut,
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
            status.state = ProbeState::NotNeeded;
            return status;
        }
    }
    let mut hindrances: Vec<Hindrance> = Vec::new();
    for way in spec.ways {
        match load_way(ebpf, spec, way, btf, types, leave_out) {
            Ok(links) => {
                status.way = way;
                status.links = links;
                status.fallback = hindrances.pop().map(|hindrance| hindrance.reason);
                status.state = match spec.home {
                    Home::Module(_) => ProbeState::Waiting,
                    Home::Kernel => ProbeState::Attached,
                };
                return status;
            }
            Err(hindrance) if hindrances.contains(&hindrance) => {}
            Err(hindrance) => hindrances.push(hindrance),
        }
    }
    let (obstacles, reasons): (Vec<_>, Vec<_>) =
        hindrances.into_iter().map(|one| (one.obstacle, one.reason)).unzip();
    status.state = ProbeState::Missing { reason: reasons.join("; "), obstacles };
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
) -> Result<Vec<(&'static str, KProbeLinkId)>, Hindrance> {
    let trampoline = way.iter().any(|program| program.how.is_trampoline());
    if trampoline && leave_out.trampolines {
        return Err("trampolines are disabled".to_owned().into());
    }
    if trampoline && !btf.has_function(spec.symbol) {
        return Err(Hindrance { obstacle: Obstacle::NoFunction, reason: absent(spec.symbol) });
    }
    let mut result = way.iter().try_for_each(|program| {
        ebpf.program_mut(program.name)
            .ok_or_else(|| format!("the BPF object has no program {}", program.name).into())
            .and_then(|loaded| Ok(load_program(loaded, spec.symbol, types)?))
    });
    let mut links = Vec::new();
    if result.is_ok() && spec.home == Home::Kernel {
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
            "this kernel has only {found}, a copy that the compiler made, whose arguments may \
             differ"
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
pub(super) fn attach_kprobes(
    ebpf: &mut Ebpf,
    symbol: &str,
    way: &[ProgramSpec],
) -> Result<Vec<(&'static str, KProbeLinkId)>, Hindrance> {
    let mut links = Vec::new();
    for program in way.iter().filter(|program| program.how.is_kprobe()) {
        let result = kprobe(ebpf, program.name)
            .ok_or_else(|| "the BPF object has no such kprobe".to_owned().into())
            .and_then(|probe| Ok(probe.attach(symbol, 0)?));
        match result {
            Ok(link) => links.push((program.name, link)),
            Err(hindrance) => {
                detach(ebpf, links);
                return Err(hindrance);
            }
        }
    }
    Ok(links)
}

pub(super) fn detach(ebpf: &mut Ebpf, links: Vec<(&'static str, KProbeLinkId)>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_is_told_by_its_error_not_by_its_words() {
        let io = io::Error::from_raw_os_error;
        let call = |call, code| {
            Hindrance::from(ProgramError::SyscallError(SyscallError { call, io_error: io(code) }))
        };
        let no_kprobes = KProbeError::FileError {
            filename: "/sys/bus/event_source/devices/kprobe/type".into(),
            io_error: io(2),
        };
        for (hindrance, expected) in [
            (call("perf_event_open", 13), Obstacle::KprobesDenied),
            (call("perf_event_open", 2), Obstacle::NoFunction),
            (call("bpf_raw_tracepoint_open", 2), Obstacle::NoFunction),
            (call("bpf_prog_load", 13), Obstacle::Other),
            (ProgramError::KProbeError(no_kprobes).into(), Obstacle::NoKprobes),
            ("perf_event_open of Permission denied".to_owned().into(), Obstacle::Other),
        ] {
            assert_eq!(hindrance.obstacle, expected, "{hindrance:?}");
            assert!(!hindrance.reason.is_empty());
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
