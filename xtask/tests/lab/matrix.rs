//! Every kernel, firmware, path and device of the lab, and every reason that an attempt can fail
//! for: the tool says what the kernel did.
//!
//! A cell is one attempt of one process. What is true of it comes from what the ioctls returned,
//! from the kernel's log and files and from the firmware that was put in ([`truth`]); what is told
//! comes from `ivrs-trace run --json`, which watches many attempts in a row, and from `check --json`
//! before them. `cargo xtask test` runs the brief ones, `cargo xtask test --full` all, and writes
//! them to docs/matrix.md.

mod cells;
mod guest;
mod page;
mod stress;
mod told;
mod truth;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use serde_json::json;

use self::cells::Boot;
use self::page::Row;
use self::told::Compared;
use self::truth::Facts;
use crate::transcript::Transcript;

/// Guests at once: as many as the tests have processors to count on.
const WORKERS: usize = 2;

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn brief_debian() {
    brief(0);
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn brief_iommufd() {
    brief(1);
}

#[test]
#[ignore = "boots virtual machines; run by cargo xtask test"]
fn brief_without_each_probe_the_refusal_is_found() {
    no_difference(&all(vec![cells::without_hooks()], 1));
}

#[test]
#[ignore = "boots many virtual machines; run by cargo xtask test --full"]
fn full_matrix() {
    let rows = all(cells::full(), WORKERS);
    page::write(&rows);
    no_difference(&rows);
    let reasons: BTreeSet<&str> = rows.iter().map(Row::reason).collect();
    assert!(rows.len() >= 120 && reasons.len() >= 8, "{} cells, {reasons:?}", rows.len());
}

#[test]
#[ignore = "boots a virtual machine for minutes; run by cargo xtask test --full"]
fn full_stress_loses_nothing_and_mixes_nothing_up() {
    stress::stress();
}

fn brief(half: usize) {
    let rows = all(cells::brief().into_iter().nth(half).unwrap(), 1);
    no_difference(&rows);
}

fn no_difference(rows: &[Row]) {
    let wrong: Vec<String> = rows.iter().filter_map(Row::wrong).collect();
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Runs the guests, some at once; the rows come in the order of the guests.
fn all(boots: Vec<Boot>, workers: usize) -> Vec<Row> {
    let count = boots.len();
    let waiting = Mutex::new(boots.into_iter().enumerate());
    let done: Mutex<Vec<(usize, Vec<Row>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().next();
                    let Some((place, boot)) = next else { break };
                    let started = Instant::now();
                    let rows = rows_of(&boot);
                    eprintln!(
                        "guest {} of {count}, {} {}: {} cells, {:.0} s",
                        place + 1,
                        boot.kernel,
                        boot.firmware,
                        rows.len(),
                        started.elapsed().as_secs_f32()
                    );
                    for wrong in rows.iter().filter_map(Row::wrong) {
                        eprintln!("  {wrong}");
                    }
                    done.lock().unwrap().push((place, rows));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().flat_map(|(_, rows)| rows).collect()
}

/// Boots a guest and holds each of its cells against the truth.
fn rows_of(boot: &Boot) -> Vec<Row> {
    let transcript = Transcript::of(boot.guest(), &guest::script(boot));
    let check = transcript.tried("check").json();
    let release = check["kernel"]["release"].as_str().unwrap_or_default().to_owned();
    let mut rows: Vec<Row> = Vec::new();
    for (index, run) in boot.runs.iter().enumerate() {
        let told = guest::told(&transcript, index, run);
        for cell in &run.cells {
            let seen = guest::seen(&transcript, rows.len());
            let (facts, mut compared) = match truth::of(boot, run, *cell, &seen) {
                Ok(facts) => {
                    let open = truth::not_shown(run, *cell, &seen, &facts);
                    let mut compared = told::compare(&told, *cell, &seen, &facts, open);
                    compared.wrong.extend(told::not_foretold(&check, boot, *cell, &seen));
                    (facts, compared)
                }
                Err(why) => (Facts::new(), Compared { wrong: vec![why], open: Vec::new() }),
            };
            if told["lost"] != json!({ "ring": 0, "read": 0, "queue": 0 }) {
                compared.wrong.push(format!("lost: {}", told["lost"]));
            }
            rows.push(Row::new(boot, run, *cell, &release, &seen, facts, compared));
        }
    }
    if let Some(first) = rows.first_mut() {
        first.add_wrong(told::findings(&transcript, &check, boot));
    }
    rows
}
