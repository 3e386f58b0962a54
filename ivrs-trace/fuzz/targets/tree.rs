//! The text files of a copied host, read as any host is. It goes through real files, so it is slow;
//! links and names of files stay as they are.
#![no_main]

use std::{fs, path::Path, sync::LazyLock};

use ivrs_trace::{
    host::Snapshot,
    model::{Model, RequireDirect},
};
use ivrs_trace_fuzz::{bounded, host, words};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
    // In memory where there is such a folder.
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.and_then(|dir| host::write(dir.path(), &host::FUNCTIONS).map(|()| dir)).unwrap_or_else(
        |error| {
            eprintln!("cannot write the host's files: {error}");
            std::process::exit(1)
        },
    )
});

fuzz_target!(|data: &[u8]| {
    let root = ROOT.path();
    for (file, content) in host::TEXT_FILES.iter().zip(data.split(|byte| *byte == host::NEXT_FILE))
    {
        assert!(fs::write(root.join(file), content).is_ok(), "{file}");
    }
    // A range of memory can lie in every line of a map.
    bounded(data, 4 * 1024, || {
        let host = Snapshot::read(root);
        let json = serde_json::to_vec(&host).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Snapshot>(&json).ok().as_ref(), Some(&host));
        words::of_host(&Model::new(host, RequireDirect::Present));
    });
});
