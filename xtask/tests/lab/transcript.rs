//! How a script in the guest hands several results to a test, and how the test reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use xtask::vm::Guest;

/// What every script starts with: `section NAME` starts a part of the output, and
/// `try NAME CMD...` runs a command and makes a section of each of its results.
const PRELUDE: &str = r#"
section() { printf '\n=== %s\n' "$*"; }
try() {
    name=$1; shift
    "$@" > /tmp/try.out 2> /tmp/try.err
    status=$?
    section "$name status"; echo $status
    section "$name stdout"; cat /tmp/try.out
    section "$name stderr"; cat /tmp/try.err
}
"#;

/// What a script in a guest wrote, by section, and the kernel's log.
pub(crate) struct Transcript {
    sections: BTreeMap<String, String>,
    pub(crate) kernel_log: String,
}

/// What came of one command of a script.
pub(crate) struct Tried<'a> {
    pub(crate) status: i64,
    pub(crate) stdout: &'a str,
    pub(crate) stderr: &'a str,
}

impl Transcript {
    /// Boots the guest and runs the script in it. The script itself must end well.
    pub(crate) fn of(guest: Guest, script: &str) -> Self {
        // The emulated processor is slow, and a busy host makes it slower.
        let guest = Guest { limit: Duration::from_mins(15), ..guest };
        let outcome = guest.run(&format!("{PRELUDE}{script}\n:\n")).unwrap();
        let stdout = String::from_utf8(outcome.stdout).unwrap();
        let stderr = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert_eq!((outcome.status, stderr.as_str()), (0, ""), "the script: {stdout}");
        let sections = stdout.split("\n=== ").skip(1).map(|section| {
            let (name, content) = section.split_once('\n').unwrap();
            (name.to_owned(), content.to_owned())
        });
        Self { sections: sections.collect(), kernel_log: outcome.kernel_log }
    }

    /// A part of the output.
    #[track_caller]
    pub(crate) fn section(&self, name: &str) -> &str {
        let section = self.sections.get(name);
        section.unwrap_or_else(|| panic!("the script wrote no section {name:?}"))
    }

    /// The results of `try NAME`.
    #[track_caller]
    pub(crate) fn tried(&self, name: &str) -> Tried<'_> {
        Tried {
            status: self.section(&format!("{name} status")).trim().parse().unwrap(),
            stdout: self.section(&format!("{name} stdout")),
            stderr: self.section(&format!("{name} stderr")),
        }
    }
}

impl Tried<'_> {
    /// Its standard output, which is one JSON document that fits the schema it names.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let document = serde_json::from_str(self.stdout).unwrap_or_else(|error| {
            panic!("no JSON ({error}): stdout {:?}, stderr {:?}", self.stdout, self.stderr)
        });
        assert_fits_its_schema(&document);
        document
    }

    /// The one line that it wrote to standard error.
    #[track_caller]
    pub(crate) fn only_line(&self) -> &str {
        let mut lines = self.stderr.lines();
        match (lines.next(), lines.next()) {
            (Some(line), None) => line,
            _ => panic!("not one line on standard error: {:?}", self.stderr),
        }
    }
}

/// By the schemas as the code makes them.
#[track_caller]
fn assert_fits_its_schema(document: &Value) {
    let called = document["schema"].as_str().unwrap_or_default();
    let named = ivrs_trace::schema::all()
        .into_iter()
        .find(|named| called == format!("ivrs-trace/{}/1", named.name))
        .unwrap_or_else(|| panic!("no schema {called:?}: {document}"));
    let schema = jsonschema::draft202012::new(named.schema.as_value()).unwrap();
    let errors: Vec<_> = schema.iter_errors(document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}: {document}");
}

/// The items of a JSON array.
#[track_caller]
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not an array: {value}"))
}

/// A number, written as such or as text in hex.
#[track_caller]
pub(crate) fn number(value: &Value) -> u64 {
    let hex =
        value.as_str().and_then(|text| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok());
    value.as_u64().or(hex).unwrap_or_else(|| panic!("not a number: {value}"))
}
