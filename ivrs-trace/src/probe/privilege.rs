//! What the process may do, read from /proc and securityfs. It asks for nothing and drops nothing.

use std::fs;

const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The capabilities that tracing needs and this process lacks, in words; `None` if it has all.
#[must_use]
pub fn missing_for_tracing() -> Option<String> {
    // Where the mask cannot be read the kernel itself will answer.
    missing(effective(&fs::read_to_string("/proc/self/status").ok()?)?)
}

fn missing(mask: u64) -> Option<String> {
    let has = |bit: u32| mask >> bit & 1 == 1;
    if has(CAP_SYS_ADMIN) {
        return None;
    }
    let lacking: Vec<&str> = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|&(bit, _)| !has(bit))
        .map(|(_, name)| name)
        .collect();
    (!lacking.is_empty()).then(|| lacking.join(" and "))
}

/// The effective capabilities in the text of /proc/PID/status.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Kernel lockdown in confidentiality mode forbids reading kernel memory from BPF, whatever the
/// privilege (`LOCKDOWN_BPF_READ_KERNEL`, kernel/bpf).
#[must_use]
pub fn lockdown_hint() -> &'static str {
    let state = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if state.contains("[confidentiality]") {
        "; the kernel is locked down for confidentiality (/sys/kernel/security/lockdown), which \
         forbids tracing"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_found_and_named() {
        let status = "Name:\tcat\nCapInh:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective(status).and_then(missing), None);
        assert_eq!(missing(0).as_deref(), Some("CAP_BPF and CAP_PERFMON"));
        assert_eq!(missing(1 << CAP_BPF).as_deref(), Some("CAP_PERFMON"));
        assert_eq!(missing(1 << CAP_BPF | 1 << CAP_PERFMON), None);
        assert_eq!(missing(1 << CAP_SYS_ADMIN), None);
        assert_eq!(effective("CapEff:\tnonsense\n"), None);
    }
}
