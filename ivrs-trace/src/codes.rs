//! The codes of findings, and what each means.
//!
//! `explanations/` has a Markdown file a code: its title, its severity, what it means, what to do,
//! and BIOS settings that users reported. A page that lacks a part does not compile. A finding has
//! one of these codes and no other.

use std::fmt;

use serde::{Serialize, Serializer};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Note,
    /// Questionable, or more than the firmware can have meant.
    Warning,
    /// The kernel loses the IOMMU, or the table is damaged.
    Error,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The long text of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The whole page, in Markdown.
    pub page: &'static str,
    /// How much a finding of the code matters.
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: &'static str,
    meaning: &'static str,
    advice: &'static str,
    switches: &'static str,
}

/// A BIOS setting that somebody reported to have removed entries from the table. A report is no
/// promise: another board or BIOS may lack the setting, or keep the entries whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedSwitch {
    /// The board it was reported for.
    pub board: &'static str,
    /// The setting and its value.
    pub setting: &'static str,
    /// What kind of source says so.
    pub source: &'static str,
}

impl Explanation {
    /// What it means, a paragraph a line.
    pub fn meaning(&self) -> impl Iterator<Item = String> + use<> {
        paragraphs(self.meaning)
    }

    /// What to do, a paragraph a line.
    pub fn advice(&self) -> impl Iterator<Item = String> + use<> {
        paragraphs(self.advice)
    }

    /// BIOS settings that users reported to have removed what it is about.
    pub fn switches(&self) -> impl Iterator<Item = ReportedSwitch> + use<> {
        self.switches.lines().filter_map(|row| {
            let row = row.strip_prefix("| ")?.strip_suffix(" |")?;
            let mut cells = row.split(" | ");
            let (board, setting, source) = (cells.next()?, cells.next()?, cells.next()?);
            cells.next().is_none().then_some(ReportedSwitch { board, setting, source })
        })
    }
}

fn paragraphs(text: &'static str) -> impl Iterator<Item = String> {
    text.split("\n\n").map(|paragraph| paragraph.trim_end().replace('\n', " "))
}

macro_rules! codes {
    ($($variant:ident $code:literal,)+) => {
        /// The code of a finding. It stays; `ivrs-trace explain` knows it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $code, "`")] $variant,)+
        }

        impl Code {
            /// Every code, in the order in which they are best read.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As it is printed.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            /// What it means and what to do.
            #[must_use]
            pub const fn explanation(self) -> &'static Explanation {
                match self {
                    $(Self::$variant => const {
                        &parse($code, include_str!(concat!("explanations/", $code, ".md")))
                    },)+
                }
            }
        }
    };
}

codes! {
    IvrsChecksum "ivrs-checksum",
    IvrsTrailing "ivrs-trailing",
    IvrsNoIvhd "ivrs-no-ivhd",
    IvrsIvhdType "ivrs-ivhd-type",
    IvrsBlockZero "ivrs-block-zero",
    IvrsBlockEnd "ivrs-block-end",
    IvrsBlockUnknown "ivrs-block-unknown",
    IvrsDmaProtection "ivrs-dma-protection",
    IvhdNoDevices "ivhd-no-devices",
    IvhdEntryLoop "ivhd-entry-loop",
    IvhdEntryCut "ivhd-entry-cut",
    IvhdEntryUnknown "ivhd-entry-unknown",
    IvhdRange "ivhd-range",
    IvhdAcpiBlock "ivhd-acpi-block",
    IvhdNoSouthbridge "ivhd-no-southbridge",
    IvhdIoApicTwice "ivhd-ioapic-twice",
    IvmdExclusion "ivmd-exclusion",
    IvmdWide "ivmd-wide",
    IvmdBeyondLast "ivmd-beyond-last",
    IvmdNoIommu "ivmd-no-iommu",
    IvmdOrder "ivmd-order",
    IvmdSegment "ivmd-segment",
    IvmdPage0 "ivmd-page0",
    IvmdUnaligned "ivmd-unaligned",
    IvmdSubpage "ivmd-subpage",
    IvmdEmpty "ivmd-empty",
    IvmdWrap "ivmd-wrap",
    IvmdIgnored "ivmd-ignored",
    IvmdExclUnity "ivmd-excl-unity",
    IvmdNoAccess "ivmd-no-access",
    IvmdBlockLength "ivmd-block-length",
    IvmdDuplicate "ivmd-duplicate",
    IvmdOverlap "ivmd-overlap",
    IvmdAcpiOwner "ivmd-acpi-owner",
    DmarChecksum "dmar-checksum",
    DmarTrailing "dmar-trailing",
    DmarWidth "dmar-width",
    DmarNoDrhd "dmar-no-drhd",
    DmarDrhdZero "dmar-drhd-zero",
    DmarBlockUnknown "dmar-block-unknown",
    DmarBlockZero "dmar-block-zero",
    DmarBlockEnd "dmar-block-end",
    DmarScopeZero "dmar-scope-zero",
    DmarScopeEnd "dmar-scope-end",
    RmrrEndBelowBase "rmrr-end-below-base",
    RmrrPage0 "rmrr-page0",
    RmrrUnaligned "rmrr-unaligned",
    RmrrNoScope "rmrr-no-scope",
    RmrrScopeType "rmrr-scope-type",
    RmrrScopeEmpty "rmrr-scope-empty",
    IvmdAbsentDevice "ivmd-absent-device",
    IvmdNotReserved "ivmd-not-reserved",
    NoIommuGroups "no-iommu-groups",
    GroupsUnreadable "groups-unreadable",
    NoIommuShown "no-iommu-shown",
    NotAmd "not-amd",
    ArmRegions "arm-regions",
    DmarAbsent "dmar-absent",
    DmarUnreadable "dmar-unreadable",
    DmarMalformed "dmar-malformed",
    DmarRefused "dmar-refused",
    DmarNoRemapping "dmar-no-remapping",
    RmrrAbsentDevice "rmrr-absent-device",
    RmrrNotReserved "rmrr-not-reserved",
    RmrrScopeMismatch "rmrr-scope-mismatch",
    RmrrRelaxable "rmrr-relaxable",
    IvrsAbsent "ivrs-absent",
    IvrsUnreadable "ivrs-unreadable",
    IvrsMalformed "ivrs-malformed",
    IvrsRefused "ivrs-refused",
    IvmdWithoutAccess "ivmd-without-access",
    NotRemapped "not-remapped",
    NoBtf "no-btf",
    RequireDirect "require-direct",
    RefusedFrom66 "refused-from-6.6",
    RelaxUnity "relax-unity",
    FlagCleared "flag-cleared",
    KernelDiffers "kernel-differs",
    KernelRelaxes "kernel-relaxes",
    UnityDiffers "unity-differs",
    UnityOnlyInKernel "unity-only-in-kernel",
    UnityOnlyInTable "unity-only-in-table",
    UnityLastDevid "unity-last-devid",
    Contradiction "contradiction",
    Skipped "skipped",
    Bounded "bounded",
}

impl Code {
    /// The code of this name, in capitals or not, with `_` for `-`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('_', "-");
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Takes a page apart, while this crate is compiled.
#[expect(clippy::panic, reason = "the compiler stops there, not the program")]
const fn parse(code: &str, page: &'static str) -> Explanation {
    let Some(title) = strip_prefix(page, "# ") else { panic!("the page has no title") };
    let Some(title) = strip_prefix(title, code) else { panic!("the page is of another code") };
    let Some(title) = strip_prefix(title, ": ") else { panic!("the title has no words") };
    let Some((title, rest)) = cut(title, "\n\nseverity: ") else { panic!("no severity") };
    let Some((severity, rest)) = cut(rest, "\n\n## What it means\n\n") else {
        panic!("the page does not say what the code means")
    };
    let Some((meaning, rest)) = cut(rest, "\n\n## What to do\n\n") else {
        panic!("the page does not say what to do")
    };
    let settings =
        "\n\n## Reported settings\n\n| Board | Setting | Source |\n| --- | --- | --- |\n";
    let (advice, switches) = match cut(rest, settings) {
        Some(parts) => parts,
        None => (rest, ""),
    };
    let severity = match severity.as_bytes() {
        b"note" => Severity::Note,
        b"warning" => Severity::Warning,
        b"error" => Severity::Error,
        _ => panic!("the page has no known severity"),
    };
    Explanation { page, severity, title, meaning, advice, switches }
}

/// What is before the first `mark`, and what is behind it.
const fn cut<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let mut at = 0;
    while at < text.len() {
        if let Some((before, rest)) = text.split_at_checked(at)
            && let Some(behind) = strip_prefix(rest, mark)
        {
            return Some((before, behind));
        }
        at += 1;
    }
    None
}

const fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (mut bytes, mut wanted) = (text.as_bytes(), prefix.as_bytes());
    while let [first, more @ ..] = wanted {
        match bytes {
            [byte, rest @ ..] if *byte == *first => (bytes, wanted) = (rest, more),
            _ => return None,
        }
    }
    match text.split_at_checked(prefix.len()) {
        Some((_, behind)) => Some(behind),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn a_code_is_short_and_found_by_any_spelling() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL.iter().copied() {
            let name = code.as_str();
            let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
            assert!(name.len() <= 20 && name.bytes().all(plain), "{name}");
            assert_eq!(Code::named(name), Some(code));
            assert_eq!(Code::named(&name.to_uppercase().replace('-', "_")), Some(code));
        }
        assert_eq!(Code::named("IVMD-NOTHING"), None);
    }

    /// That each has its title, its severity and its two sections the compiler has seen to.
    #[test]
    fn a_page_says_something_in_every_part_and_has_no_other() {
        for code in Code::ALL {
            let known = code.explanation();
            assert!(!known.title.is_empty() && !known.title.ends_with('.'), "{code}");
            assert!(known.meaning().map(|text| text.len()).sum::<usize>() > 60, "{code}");
            assert!(known.advice().all(|text| text.ends_with('.')), "{code}");
            for text in known.meaning().chain(known.advice()).chain([known.title.to_owned()]) {
                assert!(!text.is_empty() && !text.contains("  "), "{code}: {text:?}");
                assert!(!text.contains(['\n', '#', '|']), "{code}: {text:?}");
            }
            assert_eq!(known.switches().count(), known.switches.lines().count(), "{code}");
            assert!(known.page.ends_with('\n') && !known.page.ends_with("\n\n"), "{code}");
        }
        assert_eq!(Code::IvrsDmaProtection.explanation().switches().count(), 3);
    }

    #[test]
    fn every_page_is_in_the_list_and_every_code_in_use() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let pages = fs::read_dir(source.join("explanations")).unwrap();
        let pages: BTreeSet<_> =
            pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(pages, Code::ALL.iter().map(|code| format!("{code}.md")).collect());

        let mut product = String::new();
        read(&source, &mut product);
        let used: BTreeSet<&str> = product
            .split("Code::")
            .skip(1)
            .filter_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()).next())
            .collect();
        for code in Code::ALL {
            assert!(used.contains(format!("{code:?}").as_str()), "nothing has the code {code}");
        }
    }

    /// Every file of the product, without this one and without tests.
    fn read(folder: &Path, into: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "tests" {
                read(&path, into);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !matches!(name, "codes.rs" | "tests.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                into.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
            }
        }
    }
}
