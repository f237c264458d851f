//! Bodies: bytes are a body or a typed error, and a body survives every serialization.

use im_serial::{Kind, Limits, Registry};

/// The first byte picks the serialization and the second the kind; the rest is the body. What decodes is encoded and
/// decoded again in every serialization and stays the same.
pub fn bodies(data: &[u8]) {
    let [which, kind, bytes @ ..] = data else { return };
    let formats = Registry::default();
    let ids = formats.ids();
    let format = formats.get(ids[usize::from(*which) % ids.len()]).unwrap();
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    let Ok(body) = format.decode(kind, bytes, &Limits::default()) else { return };
    for id in ids {
        let format = formats.get(id).unwrap();
        let mut out = Vec::new();
        format.encode(&body, &mut out).unwrap();
        let limits = Limits::new(out.len());
        assert_eq!(format.decode(kind, &out, &limits).unwrap(), body);
    }
}

/// An empty body and an empty JSON object of every kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for which in 0..8 {
        for kind in 0..Kind::ALL.len() as u8 {
            seeds.push(vec![which, kind]);
            seeds.push(vec![which, kind, b'{', b'}']);
        }
    }
    seeds
}
