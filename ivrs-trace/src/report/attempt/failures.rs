//! What went wrong for a virtual machine, in one line: for logs.

use super::one_line;
use crate::{
    model::{Attempt, Model, Outcome},
    report::cause::entries,
};

/// The attempts that came to nothing: refused or failed, and not made good by a later one of the
/// same process. With `vm`, those of other virtual machines are left out; an attempt whose machine is
/// not known may be anybody's, and is not.
#[must_use]
pub fn failures<'a>(model: &'a Model, vm: Option<&str>) -> Vec<&'a Attempt> {
    let mut left = model.attempts();
    let mut failures = Vec::new();
    while let Some((attempt, later)) = left.split_first() {
        left = later;
        let whose = attempt.process.vm.as_deref();
        let ours = vm.is_none() || whose.is_none() || whose == vm;
        let failed = matches!(attempt.outcome, Outcome::Rejected | Outcome::Failed);
        if ours && failed && !later.iter().any(|other| makes_good(other, attempt)) {
            failures.push(attempt);
        }
    }
    failures
}

/// Whether the same process has taken what it was not given before.
fn makes_good(later: &Attempt, failed: &Attempt) -> bool {
    later.outcome == Outcome::Attached
        && later.process.pid == failed.process.pid
        && later.group == failed.group
        && later.requested == failed.requested
}

/// These attempts in one line: what came of the first, the entries behind it, and how many more
/// there are. `None` where there are none.
#[must_use]
pub fn failures_line(model: &Model, failures: &[&Attempt]) -> Option<String> {
    let (first, more) = failures.split_first()?;
    let mut words = Vec::new();
    words.extend(first.process.vm.iter().map(|vm| format!("{vm}:")));
    words.push(one_line(first));
    let causes: Vec<_> =
        first.rejections.iter().flat_map(|rejection| model.causes(rejection)).collect();
    words.extend(entries(&causes).map(|entries| format!("Cause: {entries}.")));
    if !more.is_empty() {
        words.push(format!("And {} more.", more.len()));
    }
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Event,
        host::Snapshot,
        model::fixture::{AM5, GROUPS, Owned, QEMU, Thread, host, model, table},
    };

    fn am5() -> Snapshot {
        host(GROUPS, &table(&AM5))
    }

    fn start(vm: &str, device: &str) -> String {
        format!("qemu-system-x86_64|-name|guest={vm}|-device|vfio-pci,host={device}")
    }

    fn refused(thread: &Thread, vm: &str) -> Vec<Event> {
        thread.rejection(&am5(), &start(vm, "00:03.0"), 1, &[], "00:03.0")
    }

    #[test]
    fn a_refusal_is_one_line_with_its_machine_and_its_entries() {
        let model = model(&am5(), &refused(&QEMU, "win\u{1b}[1m11"));
        let failures = failures(&model, None);
        assert_eq!(
            failures_line(&model, &failures).unwrap(),
            "win\\u{1b}[1m11: BLOCKED by firmware: 0000:00:03.0. VFIO_GROUP_SET_CONTAINER of \
             qemu-system-x86 (pid 100) failed with EINVAL. Cause: IVMD 0, 1 and 2 of the IVRS."
        );
    }

    #[test]
    fn only_the_machine_that_was_asked_for_counts_and_those_without_a_name() {
        let one = model(&am5(), &refused(&QEMU, "one"));
        assert_eq!(failures(&one, Some("one")).len(), 1);
        assert_eq!(failures(&one, Some("two")).len(), 0);

        let nameless = QEMU.rejection(&am5(), "vfio-attach|00:03.0", 1, &[], "00:03.0");
        let nameless = model(&am5(), &nameless);
        assert_eq!(failures(&nameless, Some("two")).len(), 1);
    }

    #[test]
    fn what_was_taken_is_no_failure_and_there_may_be_several() {
        let taken = QEMU.attempt(&start("one", "21:00.0"), 14, 0, Owned::default());
        let taken = model(&am5(), &taken);
        assert_eq!(failures(&taken, None).len(), 0);
        assert_eq!(failures_line(&taken, &[]), None);

        let twice = [refused(&QEMU, "one"), refused(&QEMU, "one")].concat();
        let twice = model(&am5(), &twice);
        let line = failures_line(&twice, &failures(&twice, None)).unwrap();
        assert!(line.ends_with(" And 1 more."), "{line}");
    }
}
