#![doc = include_str!("../README.md")]

pub mod batch;
pub mod body;
pub mod crypto;
pub mod packet;
pub mod scenario;
pub mod serial;
pub mod session;

/// A fuzz target: a property and inputs that reach deep into it.
///
/// ```
/// let target = im_properties::TARGETS.iter().find(|target| target.name == "packet_stream").expect("listed");
/// for seed in (target.seeds)() {
///     (target.check)(&seed);
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the file in `fuzz/fuzz_targets` and of the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics when the property does not hold.
    pub check: fn(&[u8]),
    /// Inputs that a fuzzer would need long to find.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target there is.
pub const TARGETS: &[Target] = &[
    Target { name: "packet_stream", check: packet::packet_stream, seeds: packet::stream_seeds },
    Target { name: "packet_identity", check: packet::packet_identity, seeds: packet::identity_seeds },
    Target { name: "packet_chunks", check: packet::packet_chunks, seeds: packet::chunk_seeds },
    Target { name: "http_batch", check: batch::http_batch, seeds: batch::seeds },
    Target { name: "bodies", check: body::bodies, seeds: body::seeds },
    Target { name: "session", check: session::session, seeds: session::seeds },
    Target { name: "scenario", check: scenario::scenario, seeds: scenario::seeds },
    Target { name: "crypto_hello", check: crypto::hello, seeds: crypto::hello_seeds },
    Target { name: "crypto_reply", check: crypto::reply, seeds: crypto::reply_seeds },
    Target { name: "crypto_ticket", check: crypto::ticket, seeds: crypto::ticket_seeds },
    Target { name: "crypto_record", check: crypto::record, seeds: crypto::record_seeds },
    Target { name: "crypto_session", check: crypto::session, seeds: crypto::session_seeds },
    Target { name: "serial_json", check: serial::json, seeds: serial::json_seeds },
    Target { name: "serial_protobuf", check: serial::protobuf, seeds: serial::protobuf_seeds },
    Target { name: "serial_msgpack", check: serial::msgpack, seeds: serial::msgpack_seeds },
    Target { name: "serial_thrift", check: serial::thrift, seeds: serial::thrift_seeds },
    Target { name: "serial_postcard", check: serial::postcard, seeds: serial::postcard_seeds },
    Target { name: "serial_cbor", check: serial::cbor, seeds: serial::cbor_seeds },
    Target { name: "serial_bincode", check: serial::bincode, seeds: serial::bincode_seeds },
    Target { name: "serial_jdk", check: serial::jdk, seeds: serial::jdk_seeds },
    Target { name: "serial_hessian", check: serial::hessian, seeds: serial::hessian_seeds },
    Target { name: "serial_hessian2", check: serial::hessian2, seeds: serial::hessian2_seeds },
    Target { name: "serial_kryo5", check: serial::kryo5, seeds: serial::kryo5_seeds },
    Target { name: "serial_kryo4", check: serial::kryo4, seeds: serial::kryo4_seeds },
    Target { name: "serial_fst", check: serial::fst, seeds: serial::fst_seeds },
];
