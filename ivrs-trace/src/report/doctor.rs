//! The health of a host in words: what was looked at, how it stands, why, and what to do.

use super::{
    Document, Style,
    document::{Kind, Text, count},
};
use crate::model::{
    Verdict,
    health::{Health, Line, State},
};

/// What `doctor` prints.
#[must_use]
pub fn doctor(health: &Health, style: Style) -> String {
    let mut document = Document::default();
    for (title, lines) in [
        ("Tracing", &health.tracing),
        ("IOMMU", &health.iommu),
        ("IVRS table", &health.table),
        ("VFIO", &health.vfio),
    ] {
        section(&mut document, title, lines);
    }
    for device in &health.devices {
        section(&mut document, &device.bdf.to_string(), &device.lines);
    }
    document.blank();
    if health.devices_not_shown > 0 {
        let devices = count(health.devices_not_shown, "other device");
        let are = if health.devices_not_shown == 1 { "is" } else { "are" };
        document.text(
            0,
            format!(
                "{devices} {are} stopped by nothing but, perhaps, firmware; name a device to see \
                 every check of it."
            ),
        );
    }
    document.text(0, conclusion(health));
    document.terminal(style)
}

fn conclusion(health: &Health) -> &'static str {
    match health.worst() {
        State::Ok => "All is well.",
        State::Warning => "Nothing stops it; read the warnings first.",
        State::Unknown => "Nothing that was seen stops it, but some facts could not be read.",
        State::No => "What is marked NO stops it.",
    }
}

fn section(document: &mut Document, title: &str, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    document.blank();
    document.fact(0, Text::of(Kind::Strong, title));
    for line in lines {
        let (verdict, word) = match line.state {
            State::Ok => (Verdict::Clear, "ok"),
            State::Warning => (Verdict::Unknown, "warning"),
            State::Unknown => (Verdict::Unknown, "unknown"),
            State::No => (Verdict::Blocked, "NO"),
        };
        let room = " ".repeat(7_usize.saturating_sub(word.len()));
        let name = Text::of(Kind::Verdict(verdict), word).then(room);
        document.row_at(2, name, &line.message);
        document.marked(11, '-', &line.evidence);
        document.marked(11, '>', &line.todo);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::valid::parsed;

    #[test]
    fn every_state_is_shown_with_its_evidence() {
        let line = |state, todo: Option<&str>| Line {
            code: "lockdown",
            state,
            message: "what was looked at stands like this, in so many words that they take more \
                      than a line"
                .to_owned(),
            evidence: vec!["/sys/kernel/security/lockdown: none".to_owned()],
            todo: todo.map(str::to_owned),
        };
        let health = Health {
            schema: "ivrs-trace/doctor/1",
            tracing: vec![line(State::Ok, None), line(State::Warning, Some("do this"))],
            iommu: vec![line(State::No, None)],
            table: Vec::new(),
            vfio: vec![line(State::Unknown, None)],
            devices: Vec::new(),
            devices_not_shown: 3,
        };
        insta::assert_snapshot!(doctor(&health, Style::default()));
        assert_eq!(parsed(&health)["iommu"][0]["state"], "no");
        let coloured = doctor(&health, Style { colour: true, ..Style::default() });
        assert!(coloured.contains("\u{1b}[1;31mNO\u{1b}[0m       what was"), "{coloured}");
    }
}
