//! What differs between deployments: class names and `serialVersionUID`s.

use alloc::string::String;
use alloc::vec::Vec;

use im_serial::class::Class;

/// Class names and `serialVersionUID`s of a deployment whose clients repackaged or rebuilt OUYU-IM's classes.
///
/// ```
/// use im_serial::{class::Declared, v1::PChatMessage};
/// use im_serial_java::Options;
/// let options = Options::default()
///     .alias(PChatMessage::CLASS, "org.example.chat.PrivateMessage")
///     .suid(PChatMessage::CLASS, 1);
/// assert_eq!(options.java_name(PChatMessage::CLASS), "org.example.chat.PrivateMessage");
/// assert_eq!(options.java_suid(PChatMessage::CLASS), 1);
/// assert!(options.names(PChatMessage::CLASS, "com.ouyu.im.packet.message.PChatMessage"), "the old name still reads");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    aliases: Vec<(&'static Class, String)>,
    suids: Vec<(&'static Class, i64)>,
}

impl Options {
    /// The class is called `name` here: written with it, read with it or its own.
    #[must_use]
    pub fn alias(mut self, class: &'static Class, name: impl Into<String>) -> Self {
        self.aliases.retain(|(known, _)| *known != class);
        self.aliases.push((class, name.into()));
        self
    }

    /// The `serialVersionUID` to write for the class. Reading accepts any.
    #[must_use]
    pub fn suid(mut self, class: &'static Class, suid: i64) -> Self {
        self.suids.retain(|(known, _)| *known != class);
        self.suids.push((class, suid));
        self
    }

    /// The classes that have an alias or a `serialVersionUID` here.
    #[cfg(any(feature = "jdk", feature = "hessian"))]
    pub(crate) fn classes(&self) -> impl Iterator<Item = &'static Class> + '_ {
        self.aliases.iter().map(|(class, _)| *class).chain(self.suids.iter().map(|(class, _)| *class))
    }

    /// The name to write.
    pub fn java_name(&self, class: &'static Class) -> &str {
        self.aliases.iter().find(|(known, _)| *known == class).map_or(class.java, |(_, name)| name)
    }

    /// The `serialVersionUID` to write.
    pub fn java_suid(&self, class: &'static Class) -> i64 {
        self.suids.iter().find(|(known, _)| *known == class).map_or(class.suid, |(_, suid)| *suid)
    }

    /// Whether a name that was read names the class.
    pub fn names(&self, class: &'static Class, name: &str) -> bool {
        name == class.java || name == self.java_name(class)
    }
}
