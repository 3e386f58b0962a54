//! Can this host be traced: rights, lockdown, BTF, the kernel's switches, the probes themselves.

use super::{Line, Rights, State, Tracing, shown};
use crate::{
    escape::printable,
    facts::ProbeFact,
    host::{Conditions, Reading},
    model::Known,
    probe_state::Obstacle,
};

/// Probes that are named one by one at most.
const AT_MOST: usize = 16;

pub(super) fn lines(model: &Known, conditions: &Conditions, tracing: &Tracing) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(held) = &tracing.rights {
        rights(&mut lines, held);
    }
    lines.extend(lockdown(&model.host().lockdown));
    let copied = model.host().copied && !model.host().has_btf;
    lines.push(if copied {
        Line::new("btf", State::Unknown, "whether the kernel describes its types is not known")
            .from("sys/kernel/btf/vmlinux: is not in this copy of a host")
    } else if model.host().has_btf {
        Line::new("btf", State::Ok, "the kernel describes its types")
            .from("/sys/kernel/btf/vmlinux is there")
    } else if tracing.rights.is_none() {
        Line::new("btf", State::Unknown, "whether that host can be traced is not known")
            .from("/sys/kernel/btf/vmlinux was not copied, or is not there")
    } else {
        Line::new("btf", State::No, "the kernel does not describe its types, so nothing is traced")
            .from("/sys/kernel/btf/vmlinux is not there")
            .then("boot a kernel that was built with CONFIG_DEBUG_INFO_BTF, as distributions do")
    });
    if conditions.ftrace.value().is_some_and(|text| text == "0") {
        lines.push(
            Line::new("ftrace", State::No, "function tracing is switched off")
                .from(shown("/proc/sys/kernel/ftrace_enabled", &conditions.ftrace))
                .then("sysctl kernel.ftrace_enabled=1"),
        );
    }
    if conditions.kprobes.value().is_some_and(|text| text == "0") {
        lines.push(
            Line::new("kprobes", State::No, "kprobes are switched off")
                .from(shown("/sys/kernel/debug/kprobes/enabled", &conditions.kprobes))
                .then("echo 1 > /sys/kernel/debug/kprobes/enabled"),
        );
    }
    probes(&mut lines, tracing);
    if let Some(Rights { left: Some(left), .. }) = &tracing.rights {
        lines.push(
            Line::new(
                "rights-left",
                State::Ok,
                format!("after attaching, this keeps of its rights: {left}"),
            )
            .from("CapEff, CapPrm and CapInh of all its threads in /proc/self/task"),
        );
    }
    lines
}

fn rights(lines: &mut Vec<Line>, held: &Rights) {
    let effective = format!("CapEff in /proc/self/status: {}", held.effective);
    let of = |wanted: bool| held.wanted.iter().filter(move |right| right.held == wanted);
    if of(true).next().is_some() {
        let mut line = Line::new("rights", State::Ok, "this has rights to trace and to read");
        for right in of(true) {
            line = line.from(format!("{} {}", right.name, right.purpose));
        }
        lines.push(line);
    }
    for right in of(false) {
        let state = if right.required { State::No } else { State::Warning };
        let message = format!("{} is missing: {}", right.name, right.without);
        let line = Line::new("rights-missing", state, message);
        lines.push(
            line.from(effective.clone()).then("use sudo, or give it as docs/security.md says"),
        );
    }
    if let Some(level) = held.paranoid {
        lines.push(
            Line::new(
                "perf-paranoid",
                State::Warning,
                "kprobes take CAP_SYS_ADMIN here, so the ioctls of VFIO and their errors are not \
                 seen",
            )
            .from(format!("/proc/sys/kernel/perf_event_paranoid: {level}"))
            .then("sysctl kernel.perf_event_paranoid=2, or use sudo"),
        );
    }
}

/// `LOCKDOWN_KPROBES`, `LOCKDOWN_BPF_READ_KERNEL` and `LOCKDOWN_PERF` are of confidentiality
/// (include/linux/security.h); integrity forbids none of them.
fn lockdown(state: &Reading<String>) -> Option<Line> {
    let path = "/sys/kernel/security/lockdown";
    Some(match state {
        Reading::Read(word) if word == "confidentiality" => Line::new(
            "lockdown",
            State::No,
            "the kernel is locked down for confidentiality: nothing can be traced, by nobody",
        )
        .from(format!("{path}: {word}"))
        .then(
            "`check` and `doctor` still judge from files; to trace, boot with lockdown=integrity or \
             without lockdown=",
        ),
        Reading::Read(word) => {
            Line::new("lockdown", State::Ok, "lockdown does not forbid tracing")
                .from(format!("{path}: {word}"))
        }
        Reading::Absent => return None,
        Reading::Unreadable(why) => {
            Line::new("lockdown", State::Unknown, "whether the kernel is locked down is not known")
                .from(why.clone())
        }
    })
}

fn probes(lines: &mut Vec<Line>, tracing: &Tracing) {
    let of =
        |state: &'static str| tracing.probes.iter().filter(move |one| one.state.name() == state);
    if let Some(error) = &tracing.error {
        let line = Line::new("probes", State::No, "no probe is attached");
        lines.push(line.from(error.clone()));
    } else if !tracing.probes.is_empty() {
        let blind = of("missing").any(|probe| probe.required);
        let line = Line::new(
            "probes",
            if blind { State::Warning } else { State::Ok },
            format!(
                "{} of {} probes are attached, {} wait for their module",
                of("attached").count(),
                tracing.probes.len(),
                of("waiting").count()
            ),
        );
        lines.push(of("attached").filter(|probe| probe.required).fold(line, |line, probe| {
            line.from(format!("{}: {}", probe.symbol, probe.how.join(" and ")))
        }));
    }
    let mut slower = Line::new(
        "probes-fallback",
        State::Warning,
        "some probes are not attached in the best way (fentry and fexit); they work, at more cost",
    );
    for probe in of("attached").filter(|probe| probe.required) {
        if let Some(why) = &probe.fallback {
            slower = slower.from(format!("{}: {why}", probe.symbol));
        }
    }
    if !slower.evidence.is_empty() {
        lines.push(slower);
    }
    let paranoid = tracing.rights.as_ref().is_some_and(|rights| rights.paranoid.is_some());
    // Said once for all of them.
    let said =
        |probe: &&ProbeFact| paranoid && probe.state.obstacles().contains(&Obstacle::KprobesDenied);
    for probe in of("missing").filter(|probe| !said(probe)).take(AT_MOST) {
        let message = format!("no probe on {}, which would show {}", probe.symbol, probe.explains);
        let line = Line::new("probe-missing", State::Warning, printable(&message));
        lines.push(line.from(probe.state.reason().unwrap_or_default()));
    }
}
