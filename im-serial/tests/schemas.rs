//! The schemas of the specification name the fields, numbers and types of the bodies, and nothing else.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use im_serial::class::{Class, Declared, Type};
use im_serial::{Kind, body};

fn protobuf(ty: Type) -> String {
    let name = match ty {
        Type::List(item) => return format!("repeated {}", protobuf(*item)),
        Type::Bool => "bool",
        Type::UInt => "uint32",
        Type::ULong | Type::Id => "uint64",
        Type::Str => "string",
        Type::Bytes => "bytes",
        Type::Record(class) => class.name,
        other => panic!("no body of version 2 has a {other:?}"),
    };
    name.into()
}

fn thrift(ty: Type) -> String {
    match ty {
        Type::UInt => "i32".into(),
        Type::ULong | Type::Id => "i64".into(),
        Type::Bytes => "binary".into(),
        Type::List(item) => format!("list<{}>", thrift(*item)),
        other => protobuf(other),
    }
}

/// The lines of a schema without comments and spaces at their ends.
fn lines(schema: &str) -> Vec<String> {
    let bare = schema.lines().map(|line| line.split("//").next().unwrap_or_default().trim().to_owned());
    bare.filter(|line| !line.is_empty()).collect()
}

fn classes() -> Vec<(&'static Class, Option<Kind>)> {
    let bodies = Kind::ALL.iter().map(|kind| (kind.class(), Some(*kind)));
    let parts = [body::Conversation::CLASS, body::Position::CLASS, body::Reload::CLASS];
    parts.map(|class| (class, None)).into_iter().chain(bodies).collect()
}

#[test]
fn im_proto_is_what_is_declared() {
    let mut want: Vec<String> = ["syntax = \"proto3\";", "package im.v2;"].map(String::from).to_vec();
    for (class, _) in classes() {
        if class.is_empty() {
            want.push(format!("message {} {{}}", class.name));
            continue;
        }
        want.push(format!("message {} {{", class.name));
        want.extend(class.all().map(|(_, field)| format!("{} {} = {};", protobuf(field.ty), field.name, field.tag)));
        want.push("}".into());
    }
    assert_eq!(lines(include_str!("../../docs/spec/im.proto")), want);
}

#[test]
fn im_thrift_is_what_is_declared() {
    let mut want: Vec<String> = vec!["namespace * im.v2".into()];
    for (class, _) in classes() {
        if class.is_empty() {
            want.push(format!("struct {} {{}}", class.name));
            continue;
        }
        want.push(format!("struct {} {{", class.name));
        for (_, field) in class.all() {
            let name = if field.name == "from" { "from_user" } else { field.name };
            let optional = if matches!(field.ty, Type::Record(_)) { "" } else { "optional " };
            want.push(format!("{}: {optional}{} {name},", field.tag, thrift(field.ty)));
        }
        want.push("}".into());
    }
    assert_eq!(lines(include_str!("../../docs/spec/im.thrift")), want);
}

/// Each message type stands behind the body's name in both schemas, and in the table of the packets.
#[test]
fn the_message_types_are_named_where_they_are_specified() {
    let packets = include_str!("../../docs/spec/packet.md");
    for kind in Kind::ALL {
        let (name, code) = (kind.name(), kind.code());
        for schema in [include_str!("../../docs/spec/im.proto"), include_str!("../../docs/spec/im.thrift")] {
            let line = schema.lines().find(|line| line.contains(&format!(" {name} {{"))).expect(name);
            assert!(line.ends_with(&format!("// {code}")), "{line}");
        }
        let row = packets.lines().any(|line| line.starts_with(&format!("| {code} | ")) && line.contains("| sealed"));
        assert!(row, "no row for {name} ({code})");
    }
}
