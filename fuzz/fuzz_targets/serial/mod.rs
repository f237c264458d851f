//! What every format must do with any bytes, for every class.

use im_serial::class::{Class, Declared};
use im_serial::{Format, Kind, Limits, v1};

im_serial::record! {
    /// The types that a body of an application may have and those of the protocol do not.
    pub struct Everything: "com.example.Everything", suid 2 {
        900 => pub flag: bool;
        41 => pub unsigned: u32;
        45 => pub big: u64;
        32 => pub part: Part;
        33 => pub parts: Vec<Part>;
        35 => pub numbers: Vec<i64>;
        36 => pub flags: Vec<bool>;
        16 => pub blobs: Option<Vec<Option<Vec<u8>>>>;
    }
}

im_serial::record! {
    /// Something in it.
    pub struct Part: "com.example.Part", suid 1 {
        1 => pub name: Option<String>;
    }
}

fn classes() -> Vec<&'static Class> {
    let version1 = (0..16).filter_map(v1::class);
    Kind::ALL.iter().map(|kind| kind.class()).chain(version1).chain([v1::ResponseMessage::CLASS, Everything::CLASS]).collect()
}

/// The first byte says which class; the others are a typed error or a body that goes around: `properties` says that the
/// format leaves out what Jackson has no getter for.
pub fn format(format: &dyn Format, properties: bool, data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let classes = classes();
    let class = classes[usize::from(*which) % classes.len()];
    let mut first = (class.new)();
    let read = format.decode_record(&mut *first, bytes, &Limits::new(bytes.len()));
    if let Some(kind) = Kind::ALL.iter().find(|kind| kind.class() == class) {
        // The derived way takes what the class table takes, and reads the same.
        let derived = format.decode(*kind, bytes, &Limits::new(bytes.len()));
        if read.is_ok() {
            assert_eq!(*derived.unwrap().as_record(), *first);
        }
    }
    if read.is_err() {
        return;
    }
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    format.encode_record(&*first, &mut once).unwrap();
    let mut second = (class.new)();
    format.decode_record(&mut *second, &once, &Limits::default()).unwrap();
    format.encode_record(&*second, &mut twice).unwrap();
    assert_eq!(once, twice);
    if !properties {
        assert_eq!(*first, *second);
    }
}
