//! Ten thousand attaches beside four processes that read regions without pause, on two
//! processors: nothing is lost uncounted, every attempt is its own process's, and the tool's
//! memory stays within a bound.

use std::collections::BTreeMap;

use serde_json::json;
use xtask::vm::Guest;

use crate::transcript::Transcript;

/// Attaches of each of the two processes: one is refused each time, the other one never.
const ATTACHES: u64 = 5000;
/// The same where every event is counted, and what each reader reads meanwhile.
const COUNTED_ATTACHES: u64 = 200;
const COUNTED_READS: u64 = 300;
const READERS: u64 = 4;

/// What the tool's memory may come to, KiB: 10,000 attempts are kept, and told as one document.
const MOST_MEMORY: u64 = 200 * 1024;

const SCRIPT: &str = r#"
# The console is slow, and the refusals' lines go to the log all the same.
dmesg -n 1
modprobe -a vfio-pci vfio_iommu_type1
vfio-attach 00:03.0 > /dev/null
vfio-attach 21:00.0 > /dev/null
regions=$(readlink -f /sys/bus/pci/devices/0000:00:03.0/iommu_group)/reserved_regions
export regions
cat > /tmp/lab.sh <<'END'
# Reads as often as it is told, 0: until it is told to stop.
reader() {
    reads=0
    trap 'echo $reads > /tmp/reads.$1; exit' TERM
    while [ $2 = 0 ] || [ $reads -lt $2 ]; do
        read -r line < $regions
        reads=$((reads + 1))
    done
    echo $reads > /tmp/reads.$1
}
sampler() {
    while [ -e /proc/$1/status ]; do
        grep -E '^(VmHWM|RssAnon)' /proc/$1/status | tr -sc 0-9 ' ' >> /tmp/memory
        echo >> /tmp/memory
        sleep 2
    done
}
repeat() {
    sh -c 'echo $$ > /tmp/pid.'$1'; exec vfio-attach '$1' --no-bind --repeat '$2 > /tmp/results.$1 &
}
# ATTACHES READS
stress() {
    rm -f /tmp/reads.* /tmp/memory
    readers=
    for number in 1 2 3 4; do
        reader $number $2 &
        readers="$readers $!"
    done
    sampler $PPID &
    sampler=$!
    start=$(cut -d. -f1 /proc/uptime)
    repeat 00:03.0 $1; first=$!
    repeat 21:00.0 $1
    wait $first $!
    echo $(($(cut -d. -f1 /proc/uptime) - start)) > /tmp/seconds
    [ $2 != 0 ] || kill $readers
    wait $readers
    kill $sampler
}
END
results() {
    section "$1 status"; echo $status
    section "$1 stderr"; cat /tmp/run.err
    section "$1 pids"; cat /tmp/pid.00:03.0 /tmp/pid.21:00.0
    section "$1 results"; cat /tmp/results.00:03.0 /tmp/results.21:00.0
    section "$1 reads"; cat /tmp/reads.*
    section "$1 memory"; cat /tmp/memory
    section "$1 seconds"; cat /tmp/seconds
    # An attempt a line would be too much for the serial line: how many there are of each kind.
    section "$1 attempts"
    awk '
        /^      "process": \{/ { key = "" }
        /^ +"(pid|requested|group|errno|outcome|bdf|ivmd|reason)":/ {
            gsub(/[ ,"]/, "")
            key = key " " $0
        }
        /^      "calls": \[/ { count[key]++ }
        END { for (key in count) print count[key] key }' /tmp/run.json
    section "$1 lost"; grep -E '^ +"(attempts_dropped|ring|read|queue)":' /tmp/run.json | tr -d ' ,'
}
run() {
    ivrs-trace run --json $3 -- sh -c ". /tmp/lab.sh; stress $1 $2" > /tmp/run.json 2> /tmp/run.err
    status=$?
}
"#;

/// Runs it.
pub(super) fn stress() {
    let script = format!(
        r#"{SCRIPT}
run {ATTACHES} 0; results many
run {COUNTED_ATTACHES} {COUNTED_READS} "-o /tmp/counted.ivt"; results counted
section events
ivrs-trace events --json --from /tmp/counted.ivt | awk '
    {{
        match($0, /"pid":[0-9]+/); pid = substr($0, RSTART + 6, RLENGTH - 6)
        match($0, /"kind":"[a-z_0-9]+"/); kind = substr($0, RSTART + 8, RLENGTH - 9)
        match($0, /"phase":"[a-z]+"/); phase = RSTART ? substr($0, RSTART + 9, RLENGTH - 10) : ""
        match($0, /"comm":"[^"]*"/); comm = substr($0, RSTART + 8, RLENGTH - 9)
        count[comm " " kind " " phase]++
    }}
    END {{ for (key in count) print count[key] " " key }}'
"#
    );
    let guest = Guest {
        kernel: "debian-6.12".to_owned(),
        firmware: "am5-desktop".parse().unwrap(),
        cpus: 2,
        ..Guest::default()
    };
    let transcript = Transcript::of(guest, &script);
    for (name, attaches) in [("many", ATTACHES), ("counted", COUNTED_ATTACHES)] {
        attributed(&transcript, name, attaches);
    }

    let events: BTreeMap<&str, u64> = counts(transcript.section("events"));
    let claims = 2 * COUNTED_ATTACHES;
    for (event, expected) in [
        ("vfio-attach claim enter", claims),
        ("vfio-attach claim exit", claims),
        ("vfio-attach set_domain ", COUNTED_ATTACHES),
        ("sh regions_end ", READERS * COUNTED_READS),
    ] {
        assert_eq!(events.get(event), Some(&expected), "{event}: {events:?}");
    }
}

/// Every attach is told as an attempt of the process and group that it was, and nothing is lost.
fn attributed(transcript: &Transcript, name: &str, attaches: u64) {
    let section = |what: &str| transcript.section(&format!("{name} {what}")).trim();
    assert_eq!((section("status"), section("stderr")), ("0", ""), "{name}");
    let results = format!(
        "{attaches} times: VFIO_GROUP_SET_CONTAINER = -1 EINVAL\n{attaches} times: all taken"
    );
    assert_eq!(section("results"), results, "{name}: the kernel");
    let (refused, taken) = section("pids").split_once('\n').unwrap();
    let attempts = counts(section("attempts"));
    let group = |bdf: &str| {
        let told = attempts.keys().find(|key| key.contains(bdf)).unwrap();
        told.split(' ').find(|word| word.starts_with("group:")).unwrap().to_owned()
    };
    let (of_refused, of_taken) = (group("0000:00:03.0"), group("0000:21:00.0"));
    assert_ne!(of_refused, of_taken, "{name}");
    let refused = format!(
        "pid:{refused} requested:0000:00:03.0 {of_refused} errno:EINVAL outcome:rejected \
         bdf:0000:00:03.0 ivmd:0 ivmd:1 ivmd:2 reason:firmware_direct_map"
    );
    let taken = format!(
        "pid:{taken} requested:0000:21:00.0 {of_taken} errno:null outcome:attached reason:null"
    );
    let expected = BTreeMap::from([(refused.as_str(), attaches), (taken.as_str(), attaches)]);
    assert_eq!(attempts, expected, "{name}");
    let lost = "\"attempts_dropped\":0\n\"ring\":0\n\"read\":0\n\"queue\":0";
    assert_eq!(section("lost"), lost, "{name}");

    // Peak and present size, KiB, every two seconds.
    let memory: Vec<(u64, u64)> = section("memory")
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap());
            Some((numbers.next()?, numbers.next()?))
        })
        .collect();
    let peak = memory.iter().map(|(peak, _)| *peak).max().unwrap();
    let reads: u64 = section("reads").lines().map(|line| line.parse::<u64>().unwrap()).sum();
    let figures = json!({
        "attaches": 2 * attaches,
        "reads": reads,
        "seconds": section("seconds"),
        "peak, KiB": peak,
        "first and last size, KiB": [memory.first().map(|one| one.1), memory.last().map(|one| one.1)],
    });
    eprintln!("stress, {name}: {figures}");
    assert!(peak < MOST_MEMORY, "{name}: {figures}");
}

/// Lines of a count and a name.
fn counts(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(count, name)| (name, count.parse().unwrap())).collect()
}
