//! Class names that a peer wrote: looked up in the class table and nowhere else.

use im_serial::class::{Class, Type};
use im_serial::{Kind, Problem, v1};

use crate::Options;

/// Longest class name that is looked up, in bytes.
pub(crate) const MAX_NAME: usize = 256;

/// The only platform class that bodies name.
pub(crate) const ARRAY_LIST: &str = "java.util.ArrayList";

/// Checks that `name` names `expected`. A [`Problem::WrongClass`] when it names another class that is known: one that
/// `top`, the class of the body, reaches, or the class of any message type.
pub(crate) fn check(
    options: &Options,
    top: &'static Class,
    expected: &'static Class,
    name: &str,
) -> Result<(), Problem> {
    if options.names(expected, name) {
        return Ok(());
    }
    let known = |class: &'static Class| reaches(options, class, name);
    let known = name.len() <= MAX_NAME
        && (name == ARRAY_LIST
            || known(top)
            || (0..=u8::MAX).filter_map(v1::class).any(known)
            || Kind::ALL.iter().any(|kind| known(kind.class())));
    Err(if known { Problem::WrongClass } else { Problem::UnknownClass })
}

/// Whether `name` names the class, its superclass, or one that a field of them holds. The table has no cycles.
fn reaches(options: &Options, class: &'static Class, name: &str) -> bool {
    options.names(class, name)
        || class.parent.is_some_and(|parent| reaches(options, parent, name))
        || class.fields.iter().filter_map(|field| held(&field.ty)).any(|held| reaches(options, held, name))
}

fn held(ty: &Type) -> Option<&'static Class> {
    if let Type::List(element) = ty {
        return held(element);
    }
    if let Type::Record(class) = ty { Some(class) } else { None }
}

#[cfg(test)]
mod tests {
    use im_serial::class::Declared;
    use im_serial::v1::{PChatMessage, RoutingTable};

    use super::*;

    #[test]
    fn a_name_is_the_expected_one_a_known_one_or_unknown() {
        let options = Options::default().alias(RoutingTable::CLASS, "org.example.Hop");
        let check = |name: &str| check(&options, PChatMessage::CLASS, PChatMessage::CLASS, name);
        assert_eq!(check("com.ouyu.im.packet.message.PChatMessage"), Ok(()));
        for known in ["org.example.Hop", "com.ouyu.im.packet.message.GChatMessage", "im.Conversation", ARRAY_LIST] {
            assert_eq!(check(known), Err(Problem::WrongClass), "{known}");
        }
        for unknown in ["", "java.net.URL", &"x".repeat(1000)] {
            assert_eq!(check(unknown), Err(Problem::UnknownClass), "{unknown}");
        }
    }
}
