//! What every class looks like to a format, worked out once: the order of its fields, their keys, the classes in them.

use alloc::vec::Vec;
use core::mem::{size_of, size_of_val};
use core::ptr;

use im_serial::class::{Budget, Class, Declared, Field, Type, Value};
use im_serial::{Kind, Problem, v1};

use crate::Options;

/// The plans of all classes that a format knows. What one class can reach is in the same table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) plans: Vec<Plan>,
    /// Where the classes are in memory: a quick way to find most plans.
    addresses: Vec<usize>,
}

/// How a format sees a class.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) class: &'static Class,
    /// The class's name as the format's bytes: first the one to write, then another that is read.
    pub(crate) names: Vec<Vec<u8>>,
    /// Size of the struct in memory.
    pub(crate) size: usize,
    /// All fields, the superclasses' too, in the order in which the format writes them.
    pub(crate) entries: Vec<Entry>,
    /// The plans of the classes that a body of this one may name, itself first.
    pub(crate) reach: Vec<usize>,
    /// What the format writes before the first value.
    pub(crate) head: Vec<u8>,
    /// About how long a small body is.
    pub(crate) hint: usize,
}

/// How a format sees a field.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: usize,
    pub(crate) field: &'static Field,
    /// The name as the format's bytes.
    pub(crate) name: Vec<u8>,
    /// What the format writes before the value.
    pub(crate) key: Vec<u8>,
    /// The plan of the record in the field, or in the list in it.
    pub(crate) nested: usize,
}

/// What differs between formats when a table is made.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// The numbers of all fields in the order of writing.
    pub(crate) order: fn(&'static Class) -> Vec<usize>,
    /// A name as the format's bytes.
    pub(crate) text: fn(&str) -> Vec<u8>,
}

impl Table {
    /// The classes of both protocol versions, and those that the options name.
    pub(crate) fn known(options: &Options, shape: Shape) -> Self {
        let mut table = Self::default();
        let base = [v1::RoutingTable::CLASS, v1::Message::CLASS, v1::ResponseMessage::CLASS];
        let messages = [7, 10, 11, 5, 8, 6].into_iter().filter_map(v1::class);
        let bodies = Kind::ALL.iter().map(|kind| kind.class());
        for class in base.into_iter().chain(messages).chain(bodies).chain(options.classes()) {
            table.add(class, options, shape);
        }
        table
    }

    /// Adds a class and all that it can reach; returns its place.
    pub(crate) fn add(&mut self, class: &'static Class, options: &Options, shape: Shape) -> usize {
        if let Some(at) = self.find(class) {
            return at;
        }
        let at = self.plans.len();
        let mut names = alloc::vec![(shape.text)(options.java_name(class))];
        let own = (shape.text)(class.java);
        if !names.contains(&own) {
            names.push(own);
        }
        self.addresses.push(ptr::from_ref(class).addr());
        self.plans.push(Plan {
            class,
            names,
            size: size_of_val(&*(class.new)()),
            entries: Vec::new(),
            reach: alloc::vec![at],
            head: Vec::new(),
            hint: 0,
        });
        let mut entries = Vec::new();
        let mut reach = alloc::vec![at];
        for number in (shape.order)(class) {
            let Some(field) = class.field(number) else { continue };
            let nested = match record_of(&field.ty) {
                Some(class) => {
                    let nested = self.add(class, options, shape);
                    let more = self.plans.get(nested).map(|plan| plan.reach.clone()).unwrap_or_default();
                    for plan in more {
                        if !reach.contains(&plan) {
                            reach.push(plan);
                        }
                    }
                    nested
                }
                None => usize::MAX,
            };
            entries.push(Entry { number, field, name: (shape.text)(field.name), key: Vec::new(), nested });
        }
        if let Some(plan) = self.plans.get_mut(at) {
            plan.entries = entries;
            plan.reach = reach;
        }
        at
    }

    /// The place of a class's plan.
    pub(crate) fn find(&self, class: &'static Class) -> Option<usize> {
        let address = ptr::from_ref(class).addr();
        // The compiler may have the same class at several addresses.
        self.addresses
            .iter()
            .position(|known| *known == address)
            .or_else(|| self.plans.iter().position(|plan| same(plan.class, class)))
    }

    pub(crate) fn plan(&self, at: usize) -> Result<&Plan, Problem> {
        self.plans.get(at).ok_or(Problem::Malformed)
    }

    /// Whether any class has this name.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.plans.iter().any(|plan| plan.is(name))
    }
}

impl Plan {
    /// Whether this is a name of the class.
    pub(crate) fn is(&self, name: &[u8]) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

/// The record in a type, or in the list that it is.
fn record_of(ty: &Type) -> Option<&'static Class> {
    if let Type::Record(class) = ty {
        return Some(class);
    }
    if let Type::List(item) = ty { record_of(item) } else { None }
}

/// Whether two classes have the same name and the same fields: an application may declare a class of the protocol again
/// with more fields.
pub(crate) fn same(a: &'static Class, b: &'static Class) -> bool {
    ptr::eq(a, b)
        || a.java == b.java
            && a.fields.len() == b.fields.len()
            && a.fields.iter().zip(b.fields).all(|(a, b)| a.name == b.name && same_type(&a.ty, &b.ty))
            && match (a.parent, b.parent) {
                (None, None) => true,
                (Some(a), Some(b)) => same(a, b),
                _ => false,
            }
}

fn same_type(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Record(a), Type::Record(b)) => same(a, b),
        (Type::List(a), Type::List(b)) => same_type(a, b),
        _ => a == b,
    }
}

/// Counts one element of a list in the record that is being read. `size` is that of the element's struct, if it is one.
pub(crate) fn slot(item: &Type, size: usize) -> usize {
    // An `Option` around the struct may need a word of its own.
    if matches!(item, Type::Record(_)) { size.saturating_add(size_of::<usize>()) } else { size_of::<Value>() }
}

/// A list whose length is declared: counted as a whole, then allocated.
pub(crate) fn list(n: usize, slot: usize, budget: &mut Budget) -> Result<Vec<Value>, Problem> {
    budget.alloc(n.saturating_mul(size_of::<Value>().saturating_add(slot)))?;
    Ok(Vec::with_capacity(n))
}

/// Appends, and counts what the vector allocates when it grows.
pub(crate) fn push<T>(to: &mut Vec<T>, value: T, budget: &mut Budget) -> Result<(), Problem> {
    if to.len() == to.capacity() {
        let more = to.len().max(4);
        budget.alloc(to.len().saturating_add(more).saturating_mul(size_of::<T>()))?;
        to.reserve_exact(more);
    }
    to.push(value);
    Ok(())
}

/// The problem with an integer that is too large for its field.
pub(crate) fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, Problem> {
    T::try_from(value).map_err(|_| Problem::Malformed)
}
