//! What comes from outside made fit for a report: printable always, and without what names a person
//! or one machine where that is asked for.
//!
//! It works on the single texts that go into a report, before they are put into lines. The report's
//! own words do not pass here. What is not text (addresses, bytes of the table) names nobody.

use std::{collections::BTreeSet, sync::LazyLock};

use regex_lite::{Captures, Regex};

use crate::{escape::printable, model::Model};

/// Stands where something was taken out.
pub const REMOVED: &str = "[removed]";

/// Names that say nothing about anybody.
const COMMON: [&str; 8] =
    ["root", "localhost", "localdomain", "linux", "debian", "ubuntu", "fedora", "proxmox"];

/// Programs that take devices, by the first 15 bytes of their names as the kernel keeps them.
const PROGRAMS: [&str; 22] = [
    "qemu-system-x86",
    "qemu-kvm",
    "kvm",
    "libvirtd",
    "virtqemud",
    "virsh",
    "virt-manager",
    "cloud-hyperviso",
    "firecracker",
    "crosvm",
    "testpmd",
    "dpdk-testpmd",
    "spdk_tgt",
    "pvedaemon",
    "pvesh",
    "qm",
    "bash",
    "sh",
    "python3",
    "sudo",
    "driverctl",
    "vfio-attach",
];

/// Words that distributions put behind the version of a kernel, without digits at their ends.
const RELEASE_WORDS: [&str; 38] = [
    "",
    "amd",
    "x",
    "el",
    "fc",
    "deb",
    "bpo",
    "generic",
    "pve",
    "rc",
    "arch",
    "zen",
    "lts",
    "cachyos",
    "xanmod",
    "liquorix",
    "manjaro",
    "unraid",
    "ubuntu",
    "hwe",
    "default",
    "gentoo",
    "cloud",
    "rt",
    "nixos",
    "azure",
    "aws",
    "gcp",
    "lowlatency",
    "oem",
    "hardened",
    "bazzite",
    "nobara",
    "debian",
    "edge",
    "mainline",
    "longterm",
    "truenas",
];

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // A UUID.
        r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        // A MAC address, or a longer one of the same kind.
        r"(?i)\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5,7}\b",
        // Somebody at some host.
        r"[A-Za-z0-9._+%-]+@[A-Za-z0-9.-]+",
        // A serial number that is called one.
        r"(?i)\b(?:s/n|sn|serial(?:[ _-]?(?:no|nr|number))?)\.?\s*[:=#]\s*[^\s,;]+",
        // A long number in hex, such as a world wide name.
        r"(?i)\b(?:eui\.|nguid\.|wwn-|naa\.)?(?:0x)?[0-9a-f]{17,}\b",
        r"(?i)\b(?:eui\.|nguid\.|wwn-|naa\.)(?:0x)?[0-9a-f]+\b",
    ]
    .iter()
    // They are fixed, and a test uses each.
    .filter_map(|pattern| Regex::new(pattern).ok())
    .collect()
});

/// The folder of a user.
static HOME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(/home|/Users|/run/media|/media|/run/user)/[^/\s:;,"']+"#).ok());

/// Makes texts fit.
#[derive(Clone, Debug)]
pub struct Redactor {
    /// What is to be taken out wherever it is found; `None` where nothing is.
    secrets: Option<BTreeSet<String>>,
}

impl Redactor {
    /// One that takes nothing out.
    #[must_use]
    pub fn off() -> Self {
        Self { secrets: None }
    }

    /// One that takes out what is known to be private, what looks like it, and these words: names of
    /// the host and of users, as far as the caller knows them.
    #[must_use]
    pub fn on(model: &Model, words: impl IntoIterator<Item = String>) -> Self {
        let line = model.host().command_line.value().map_or("", String::as_str);
        let named = line.split_whitespace().filter_map(|option| {
            let (name, value) = option.split_once('=')?;
            name.ends_with("hostname").then(|| value.to_owned())
        });
        let machines = model.attempts().iter().filter_map(|attempt| attempt.process.vm.clone());
        let secrets = words.into_iter().chain(named).chain(machines);
        let telling = |word: &String| {
            word.chars().count() > 2 && !COMMON.contains(&word.to_lowercase().as_str())
        };
        Self { secrets: Some(secrets.map(|word| printable(&word)).filter(telling).collect()) }
    }

    /// Whether anything is taken out.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.secrets.is_some()
    }

    /// Text from outside. Grave accents become escapes, for they end code in Markdown.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut text = printable(text).replace('`', "\\u{60}");
        let Some(secrets) = &self.secrets else { return text };
        for pattern in PATTERNS.iter() {
            text = pattern.replace_all(&text, REMOVED).into_owned();
        }
        if let Some(home) = &*HOME {
            let folder = |found: &Captures<'_>| {
                format!("{}/{REMOVED}", found.get(1).map_or("", |one| one.as_str()))
            };
            text = home.replace_all(&text, folder).into_owned();
        }
        for secret in secrets {
            text = without(&text, secret);
        }
        text
    }

    /// The release of a kernel: a builder may have put anything behind its version.
    #[must_use]
    pub fn release(&self, release: &str) -> String {
        let text = self.text(release);
        if !self.is_on() {
            return text;
        }
        let mut out = String::new();
        let mut first = true;
        for piece in text.split_inclusive(['-', '+', '~', '_', '.', ' ']) {
            let word = piece.trim_end_matches(['-', '+', '~', '_', '.', ' ']);
            let end = piece.get(word.len()..).unwrap_or_default();
            let stem = word.trim_end_matches(|c: char| c.is_ascii_digit()).to_lowercase();
            let known = RELEASE_WORDS.contains(&stem.as_str());
            // It begins with a number, or it is no release.
            let good = if first { word.parse::<u32>().is_ok() } else { known };
            out.push_str(if good { word } else { REMOVED });
            out.push_str(end);
            first = false;
        }
        out
    }

    /// The name of a process: of those that take devices, or no name.
    #[must_use]
    pub fn process(&self, comm: &str) -> String {
        let vcpu = comm
            .strip_prefix("CPU ")
            .and_then(|rest| rest.strip_suffix("/KVM"))
            .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if !self.is_on() || vcpu || PROGRAMS.contains(&comm) {
            return printable(comm).replace('`', "\\u{60}");
        }
        "a process".to_owned()
    }

    /// What is private as a whole, such as a command line; nothing if it is to be taken out.
    #[must_use]
    pub fn private(&self, text: &str) -> Option<String> {
        (!self.is_on()).then(|| self.text(text))
    }
}

/// The text without a word, in whatever case: short ones only where they stand alone.
fn without(text: &str, word: &str) -> String {
    let (lower, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let alone = word.chars().count() < 4;
    let mut out = String::new();
    let mut from = 0;
    while let Some(found) = lower.get(from..).and_then(|rest| rest.find(&word)) {
        let (start, end) = (from + found, from + found + word.len());
        let edge = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
        let stands = edge(lower.get(..start).and_then(|before| before.chars().next_back()))
            && edge(lower.get(end..).and_then(|after| after.chars().next()));
        out.push_str(text.get(from..start).unwrap_or_default());
        let kept = text.get(start..end).unwrap_or_default();
        out.push_str(if alone && !stands { kept } else { REMOVED });
        from = end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::Snapshot, model::RequireDirect};

    fn on(words: &[&str]) -> Redactor {
        let model = Model::new(Snapshot::default(), RequireDirect::Present);
        Redactor::on(&model, words.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn what_names_somebody_is_taken_out_and_what_does_not_stays() {
        let redactor = on(&["bobs-tower", "bob", "root"]);
        for (text, expected) in [
            ("root=UUID=1b4e28ba-2fa1-11d2-883f-0016d3cca427 ro", "root=UUID=[removed] ro"),
            ("eth0 d8:5e:d3:00:11:22 up", "eth0 [removed] up"),
            ("D8-5E-D3-00-11-22", "[removed]"),
            ("by bob@BOBS-TOWER.lan, 3", "by [removed], 3"),
            ("S/N: PF3ABC12, serial number=77-X", "[removed], [removed]"),
            ("nvme-eui.0025385b01400c2a x", "nvme-[removed] x"),
            ("wwn-0x5000c500a1b2c3d4", "[removed]"),
            ("/home/alice/tree/sys: denied", "/home/[removed]/tree/sys: denied"),
            ("kernel of Bobs-Tower", "kernel of [removed]"),
            // A short name only where it stands alone.
            ("bob bobbin", "[removed] bobbin"),
            (
                "0000:01:00.0 at 0x000000007a2d9000, root",
                "0000:01:00.0 at 0x000000007a2d9000, root",
            ),
            ("PRO B850M-A WIFI (MS-7E66) 2.A30", "PRO B850M-A WIFI (MS-7E66) 2.A30"),
        ] {
            assert_eq!(redactor.text(text), expected);
            assert_eq!(Redactor::off().text(text), text);
        }
        assert_eq!(PATTERNS.len(), 6);
        assert!(HOME.is_some());
        assert_eq!(redactor.text("a\u{1b}[2J\u{202e}`b"), "a\\u{1b}[2J\\u{202e}\\u{60}b");
    }

    #[test]
    fn of_a_release_what_distributions_write_stays() {
        let redactor = on(&[]);
        for (release, expected) in [
            ("6.12.117+deb12-amd64", "6.12.117+deb12-amd64"),
            ("6.17.4-2-pve", "6.17.4-2-pve"),
            ("6.14.9-300.fc42.x86_64", "6.14.9-300.fc42.x86_64"),
            ("7.0.0-rc3-alice-desktop+", "7.0.0-rc3-[removed]-[removed]+"),
            ("alice", "[removed]"),
        ] {
            assert_eq!(redactor.release(release), expected);
            assert_eq!(Redactor::off().release(release), release);
        }
    }

    #[test]
    fn programs_that_take_devices_keep_their_names() {
        let redactor = on(&[]);
        for (comm, expected) in [
            ("qemu-system-x86", "qemu-system-x86"),
            ("CPU 12/KVM", "CPU 12/KVM"),
            ("CPU bob/KVM", "a process"),
            ("alices-vm", "a process"),
        ] {
            assert_eq!(redactor.process(comm), expected);
            assert_eq!(Redactor::off().process(comm), comm);
        }
        assert_eq!(redactor.private("quiet"), None);
        assert_eq!(Redactor::off().private("quiet").as_deref(), Some("quiet"));
    }
}
