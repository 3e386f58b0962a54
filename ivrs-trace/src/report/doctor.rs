//! The health of a host in words: what was looked at, how it stands, why, and what to do.

use super::page::{Page, Style};
use crate::model::{
    Verdict,
    health::{Health, Line, State},
};

/// What `doctor` prints.
#[must_use]
pub fn doctor(health: &Health, style: Style) -> String {
    let mut page = Page::new(style);
    let sections = [
        ("Tracing", &health.tracing),
        ("IOMMU", &health.iommu),
        ("IVRS table", &health.table),
        ("VFIO", &health.vfio),
    ];
    for (title, lines) in sections {
        section(&mut page, title, lines);
    }
    for device in &health.devices {
        section(&mut page, &device.bdf.to_string(), &device.lines);
    }
    page.blank();
    if health.devices_not_shown > 0 {
        let (devices, stops) = match health.devices_not_shown {
            1 => ("1 other device".to_owned(), "is"),
            count => (format!("{count} other devices"), "are"),
        };
        page.text(
            0,
            &format!(
                "{devices} {stops} stopped by nothing but, perhaps, firmware; name a device to see \
                 all that was looked at."
            ),
        );
    }
    page.text(0, conclusion(health));
    page.finish()
}

fn conclusion(health: &Health) -> &'static str {
    match health.worst() {
        State::Ok => "All is well.",
        State::Warning => "Nothing stops it; what to know before is marked.",
        State::Unknown => "Nothing that was seen stops it, but not all could be seen.",
        State::No => "What is marked NO stops it.",
    }
}

fn section(page: &mut Page, title: &str, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    page.blank();
    let title = page.style().bold(title);
    page.line(&title);
    for line in lines {
        let style = page.style();
        let (word, painted) = match line.state {
            State::Ok => ("ok", style.paint(Verdict::Clear, "ok")),
            State::Warning => ("warning", style.paint(Verdict::Unknown, "warning")),
            State::Unknown => ("unknown", style.paint(Verdict::Unknown, "unknown")),
            State::No => ("NO", style.paint(Verdict::Blocked, "NO")),
        };
        let room = " ".repeat(9_usize.saturating_sub(word.len()));
        let rest = " ".repeat(11);
        page.marked("  ", (word, &painted), &format!("{room}{}", line.message), &rest);
        for evidence in &line.evidence {
            page.filled(&format!("{rest}- "), &format!("{rest}  "), evidence);
        }
        if let Some(todo) = &line.todo {
            page.filled(&format!("{rest}> "), &format!("{rest}  "), todo);
        }
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
