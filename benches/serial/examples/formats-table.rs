//! The table of formats in `docs/formats.md`, made by running them on Java's vectors:
//! `cargo run --release -p im-serial-benches --example formats-table > docs/formats.md`
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use im_serial::body::{Close, Deliver};
use im_serial::class::{Declared, Record};
use im_serial::v1::PChatMessage;
use im_serial::{Body, Format, Kind, Limits};
use im_serial_benches::{Entry, TEXT, chat, deliver, formats};

#[path = "../../../im-serial/tests/golden/mod.rs"]
mod golden;

im_serial::record! {
    /// A `Close` of a later version, with another field.
    struct LaterClose: "im.Close", suid 1 {
        1 => code: i32;
        2 => reason: String;
        3 => later: String;
    }
}

fn encode(format: &dyn Format, record: &dyn Record) -> Vec<u8> {
    let mut out = Vec::new();
    format.encode_record(record, &mut out).expect("encodes");
    out
}

fn decode<T: Declared>(format: &dyn Format, bytes: &[u8]) -> Option<T> {
    let mut record = T::default();
    format.decode_record(&mut record, bytes, &Limits::default()).ok().map(|()| record)
}

/// Of Java's vectors: how many are read, of those how many with every value, and how many are written byte for byte.
fn java(format: &dyn Format, (root, folder): (&str, &str)) -> (String, String) {
    let (mut all, mut read, mut equal, mut written) = (0, 0, 0, 0);
    for (case, record) in golden::cases() {
        if !std::path::Path::new(&format!("{root}/{folder}/{case}.bin")).exists() {
            continue;
        }
        let java = golden::vector_in(root, folder, case);
        let mut found = (record.class().new)();
        all += 1;
        if format.decode_record(&mut *found, &java, &Limits::default()).is_ok() {
            read += 1;
            equal += usize::from(*found == *record);
        }
        written += usize::from(encode(format, &*record) == java);
    }
    let reads = if equal == read { format!("{read} of {all}") } else { format!("{read} of {all}, {equal} in full") };
    (reads, format!("{written} of {all} the same bytes"))
}

/// The shortest mean over windows of a millisecond, in nanoseconds: what a shared machine disturbs least.
fn nanoseconds<T>(mut run: impl FnMut() -> T) -> u128 {
    let mut best = u128::MAX;
    for _ in 0..300 {
        let (start, mut runs) = (Instant::now(), 0u128);
        while start.elapsed() < Duration::from_millis(1) {
            for _ in 0..50 {
                black_box(run());
            }
            runs += 50;
        }
        best = best.min(start.elapsed().as_nanos() / runs);
    }
    best
}

fn row(entry: &Entry) -> String {
    let format = &*entry.format;
    let (reads, writes) = entry.vectors.map_or(("-".into(), "-".into()), |vectors| java(format, vectors));
    let empty = PChatMessage { to: Some(String::new()), ..Default::default() };
    let null = match decode::<PChatMessage>(format, &encode(format, &empty)) {
        Some(read) if read == empty => "yes",
        _ => "no",
    };
    let later = LaterClose { code: 1, reason: "r".into(), later: "x".into() };
    let unknown = match decode::<Close>(format, &encode(format, &later)) {
        Some(read) if read == (Close { code: 1, reason: "r".into(), ..Default::default() }) => "skipped",
        _ => "refused",
    };
    let emoji = match decode::<PChatMessage>(
        format,
        &encode(format, &PChatMessage { from: Some("a\0😀".into()), ..Default::default() }),
    ) {
        Some(PChatMessage { from: Some(from), .. }) if from == "a\0😀" => "yes",
        _ => "no",
    };
    let (chat, deliver) = (chat(), Body::from(deliver()));
    let (bytes1, mut bytes2) = (encode(format, &chat), Vec::new());
    format.encode(&deliver, &mut bytes2).expect("encodes");
    let limits = Limits::default();
    let mut out = Vec::with_capacity(1024);
    let encode1 = nanoseconds(|| {
        out.clear();
        format.encode_record(black_box(&chat), &mut out)
    });
    let decode1 = nanoseconds(|| {
        let mut record = PChatMessage::default();
        format.decode_record(&mut record, black_box(&bytes1), &limits).map(|()| record)
    });
    let encode2 = nanoseconds(|| {
        out.clear();
        format.encode(black_box(&deliver), &mut out)
    });
    let decode2 = nanoseconds(|| format.decode(Kind::Deliver, black_box(&bytes2), &limits));
    format!(
        "| {} | {} | {reads} | {writes} | {null} | {unknown} | {emoji} | {} / {} | {encode1} / {encode2} | {decode1} / {decode2} |",
        format.id().0,
        entry.name,
        bytes1.len(),
        bytes2.len(),
    )
}

fn main() {
    println!("# Formats\n");
    println!(
        "Made by `cargo run --release -p im-serial-benches --example formats-table > docs/formats.md`, which runs every format on"
    );
    println!(
        "Java's vectors. Reads, writes: the vectors of `im-serial/tests/vectors` and `im-serial/java/tests/vectors`; one that is not read"
    );
    println!(
        "in full, or not written with the same bytes, is named with the reason in `docs/spec/serialization.md` or in the README of `im-serial-java`, and Java"
    );
    println!("reads what is written nevertheless (`.ci/java`). Null: null and empty stay apart.");
    println!(
        "Size, encode, decode: a message with {} bytes of text, as `PChatMessage` of version 1 / as `{}` of version 2;",
        TEXT.len(),
        Deliver::CLASS.name
    );
    println!("nanoseconds, the best of 300 windows of a millisecond, one thread.\n");
    println!(
        "| id | format | reads Java | writes what Java writes | null kept | unknown fields | emoji | size | encode ns | decode ns |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for entry in formats() {
        println!("{}", row(&entry));
    }
}
