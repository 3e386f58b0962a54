//! Holds documents against the checked-in schemas, as a program does that knows nothing else.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use jsonschema::Validator;
use serde::Serialize;
use serde_json::Value;

/// The schemas of docs/schema by name.
static SCHEMAS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
    let schema = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let schema = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        (name, jsonschema::draft202012::new(&schema).unwrap())
    };
    fs::read_dir(folder).unwrap().map(|entry| schema(&entry.unwrap().path())).collect()
});

/// What is wrong with a document, by the schema that it names; the lines of `events` name none.
pub(crate) fn errors(document: &Value) -> Vec<String> {
    let name = document.get("schema").map_or("events", |name| {
        let parts: Vec<_> = name.as_str().unwrap().split('/').collect();
        let ["ivrs-trace", name, _] = parts[..] else { panic!("schema {name}") };
        name
    });
    errors_of(name, document)
}

/// What is wrong with a document, by the schema of this name.
pub(crate) fn errors_of(name: &str, document: &Value) -> Vec<String> {
    let schema = SCHEMAS.get(name).unwrap_or_else(|| panic!("no schema {name}"));
    schema
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The document as a program reads it. It fits its schema.
#[track_caller]
pub(crate) fn parsed(document: &impl Serialize) -> Value {
    let document = serde_json::from_str(&serde_json::to_string(document).unwrap()).unwrap();
    assert_eq!(errors(&document), [""; 0], "{document}");
    document
}

/// Asserts that a document no longer fits its schema when the member at `pointer` has this value, or
/// is not there.
#[track_caller]
pub(crate) fn assert_wrong(document: &Value, pointer: &str, value: Option<Value>) {
    let mut wrong = document.clone();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = wrong.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    assert!(parent.contains_key(member), "no {pointer} in {document}");
    match value {
        Some(value) => parent.insert(member.to_owned(), value),
        None => parent.remove(member),
    };
    assert_ne!(errors(&wrong), [""; 0], "{pointer} in {wrong}");
}
