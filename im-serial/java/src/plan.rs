//! What a format works out once per class and keeps: the order of the fields, the bytes of the names.

use alloc::boxed::Box;
use core::fmt;

use im_serial::class::Class;
use once_cell::race::OnceBox;

/// A plan for each class that a format has met. Belongs to one format value; grows by one entry per class, and classes
/// come from the table, never from a peer.
pub(crate) struct Plans<P> {
    first: OnceBox<Entry<P>>,
}

struct Entry<P> {
    class: &'static Class,
    plan: P,
    next: Plans<P>,
}

impl<P> Plans<P> {
    /// The plan of the class, made when it is first asked for.
    pub(crate) fn get(&self, class: &'static Class, make: impl Fn() -> P) -> &P {
        let mut at = self;
        loop {
            let entry = at.first.get_or_init(|| Box::new(Entry { class, plan: make(), next: Plans::default() }));
            // By address: a class may have several, which costs an entry for each.
            if core::ptr::eq(entry.class, class) {
                return &entry.plan;
            }
            at = &entry.next;
        }
    }
}

impl<P> Default for Plans<P> {
    fn default() -> Self {
        Self { first: OnceBox::new() }
    }
}

impl<P> fmt::Debug for Plans<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plans")
    }
}

#[cfg(test)]
mod tests {
    use im_serial::class::Declared;
    use im_serial::v1::{Message, RoutingTable};

    use super::*;

    #[test]
    fn a_plan_is_made_once_for_a_class() {
        let plans = Plans::default();
        let (a, b) = (Message::CLASS, RoutingTable::CLASS);
        for _ in 0..2 {
            assert_eq!(*plans.get(a, || 1), 1);
            assert_eq!(*plans.get(b, || 2), 2);
        }
        assert_eq!(*plans.get(a, || 3), 1);
        assert_eq!(*plans.get(b, || 3), 2);
    }
}
