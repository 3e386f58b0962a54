//! Loading the programs of a probe and attaching them, in the first way that the kernel takes.

use std::{fs, io, os::fd::OwnedFd};

use super::{
    btf::Btf,
    error::{Failure, one_line},
    object::{Object, c_name},
    status::{ProbeStatus, has_require_direct},
    sys,
    table::{Home, How, Kernels, ProbeSpec, ProgramSpec},
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

impl From<Failure> for Hindrance {
    fn from(failure: Failure) -> Self {
        Self { obstacle: obstacle_of(&failure), reason: one_line(&failure) }
    }
}

fn obstacle_of(failure: &Failure) -> Obstacle {
    match failure {
        Failure::Kprobes { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            Obstacle::NoKprobes
        }
        Failure::Call { call, error } => match error.kind() {
            io::ErrorKind::PermissionDenied if *call == "perf_event_open" => {
                Obstacle::KprobesDenied
            }
            io::ErrorKind::NotFound => Obstacle::NoFunction,
            _ => Obstacle::Other,
        },
        // The verifier says nothing where the kernel does not even look at the program.
        Failure::Load { log, .. } if log.is_empty() => Obstacle::NoTrampolines,
        _ => Obstacle::Other,
    }
}

/// Loads the programs of a probe in the first way that the kernel takes, and attaches them unless
/// they belong to a module.
pub(super) fn prepare(
    object: &Object,
    spec: &'static ProbeSpec,
    btf: &Btf,
    leave_out: &LeaveOut,
) -> ProbeStatus {
    let mut status = ProbeStatus {
        spec,
        state: ProbeState::LeftOut,
        way: &[],
        fallback: None,
        programs: Vec::new(),
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
        match load_way(object, spec, way, btf, leave_out) {
            Ok((programs, links)) => {
                status.way = way;
                status.programs = programs;
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
    object: &Object,
    spec: &ProbeSpec,
    way: &[ProgramSpec],
    btf: &Btf,
    leave_out: &LeaveOut,
) -> Result<(Vec<OwnedFd>, Vec<OwnedFd>), Hindrance> {
    let trampoline = way.iter().any(|program| program.how.is_trampoline());
    if trampoline && leave_out.trampolines {
        return Err("trampolines are disabled".to_owned().into());
    }
    let id = btf.function(spec.symbol).filter(|_| trampoline);
    if trampoline && id.is_none() {
        return Err(Hindrance { obstacle: Obstacle::NoFunction, reason: absent(spec.symbol) });
    }
    let load = |program: &ProgramSpec| object.load(program.name, program.how, id);
    let programs: Vec<OwnedFd> = way.iter().map(load).collect::<Result<_, _>>()?;
    let links = match spec.home {
        Home::Kernel => attach(spec.symbol, way, &programs)?,
        Home::Module(_) => Vec::new(),
    };
    Ok((programs, links))
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

/// Attaches the programs of a way: all of them, or none.
pub(super) fn attach(
    symbol: &str,
    way: &[ProgramSpec],
    programs: &[OwnedFd],
) -> Result<Vec<OwnedFd>, Hindrance> {
    let name = c_name(symbol);
    let one = |(spec, program): (&ProgramSpec, &OwnedFd)| match spec.how {
        How::Fentry | How::Fexit => sys::attach_tracing(program, None),
        How::RawTracepoint => sys::attach_tracing(program, Some(&name)),
        How::Kprobe => sys::attach_kprobe(program, &name, false),
        How::Kretprobe => sys::attach_kprobe(program, &name, true),
    };
    Ok(way.iter().zip(programs).map(one).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_is_told_by_its_error_not_by_its_words() {
        let io = io::Error::from_raw_os_error;
        let call = |call, code| Hindrance::from(Failure::Call { call, error: io(code) });
        let no_kprobes = Failure::Kprobes {
            path: "/sys/bus/event_source/devices/kprobe/type".into(),
            error: io(2),
        };
        let load = |log: &str| Failure::Load { error: io(22), log: log.to_owned() };
        for (hindrance, expected) in [
            (call("perf_event_open", 13), Obstacle::KprobesDenied),
            (call("perf_event_open", 2), Obstacle::NoFunction),
            (call("bpf_raw_tracepoint_open", 2), Obstacle::NoFunction),
            (call("bpf_prog_load", 13), Obstacle::Other),
            (no_kprobes.into(), Obstacle::NoKprobes),
            (load("").into(), Obstacle::NoTrampolines),
            (load("invalid access").into(), Obstacle::Other),
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
