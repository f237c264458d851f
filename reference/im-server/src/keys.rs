//! The keys with which services of the operator use the API, apart from the tokens of users.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The most keys of a server: each request is compared with all of them.
const MAX_KEYS: usize = 256;
/// What a key begins with, so that scanners for secrets find one that got where it should not be.
const PREFIX: &str = "imk_";

/// What a key lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Say something to users, groups, rooms and everybody, in anybody's name, and ask what was delivered.
    Push,
    /// See and change who is in which group.
    Groups,
    /// See who is online; kick, ban and unban.
    Users,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Push, Self::Groups, Self::Users];

    /// As it stands in a line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Groups => "groups",
            Self::Users => "users",
        }
    }
}

impl FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|right| right.name() == text);
        found.ok_or_else(|| format!("there is no right {text:?}: give push, groups or users"))
    }
}

/// A line of the file: whose key it is, its hash, and what it may do.
#[derive(Clone)]
pub(crate) struct ServiceKey {
    pub(crate) name: String,
    hash: [u8; 32],
    rights: Vec<Right>,
}

impl ServiceKey {
    pub(crate) fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }
}

/// Who may use the API. Of each key only the SHA-256 is known, so the file lets nobody in; the keys have 256 random bits, so
/// nobody finds one from its hash.
///
/// ```
/// use im_server::{Right, ServiceKeys};
///
/// let (key, line) = ServiceKeys::generate("billing", &[Right::Push])?;
/// let keys = ServiceKeys::parse(&format!("# keys of our services\n{line}\n"))?;
/// assert_eq!(keys.names().collect::<Vec<_>>(), ["billing"]);
/// assert!(!line.contains(&key));
/// # Ok::<(), im_server::ServiceKeysError>(())
/// ```
#[derive(Clone, Default)]
pub struct ServiceKeys(Vec<ServiceKey>);

/// Why a text holds no service keys, or why there is no new one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceKeysError {
    /// A line is not one. It is not repeated: it may hold a key by mistake.
    #[error("line {line} {problem}; make lines with: im-server service-key NAME")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// More keys than a server compares with.
    #[error("there are more than {MAX_KEYS} keys: remove those that nobody uses")]
    TooMany,
    /// A name that is none.
    #[error("a key's name has 1 to 64 letters, digits, dots, dashes or underscores")]
    Name,
    /// The operating system gave no random numbers.
    #[error("there are no random numbers to make a key of")]
    Random,
}

impl ServiceKeys {
    /// The keys of a text: on each line a name, the key's SHA-256 in hexadecimal digits and its rights, separated by commas.
    /// Empty lines and those that begin with `#` count for nothing.
    ///
    /// # Errors
    ///
    /// [`ServiceKeysError::Line`], [`ServiceKeysError::TooMany`].
    pub fn parse(text: &str) -> Result<Self, ServiceKeysError> {
        let mut keys: Vec<ServiceKey> = Vec::new();
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        for (line, text) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let key = parse_line(text).map_err(|problem| ServiceKeysError::Line { line, problem })?;
            if keys.iter().any(|known| known.name == key.name) {
                let problem = format!("names {:?} a second time", key.name);
                return Err(ServiceKeysError::Line { line, problem });
            }
            keys.push(key);
        }
        if keys.len() > MAX_KEYS { Err(ServiceKeysError::TooMany) } else { Ok(Self(keys)) }
    }

    /// A new key, for its holder alone, and the line for the file.
    ///
    /// # Errors
    ///
    /// [`ServiceKeysError::Name`], [`ServiceKeysError::Random`].
    pub fn generate(name: &str, rights: &[Right]) -> Result<(String, String), ServiceKeysError> {
        if !is_name(name) {
            return Err(ServiceKeysError::Name);
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| ServiceKeysError::Random)?;
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let hash: String = Sha256::digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
        let rights: Vec<_> = rights.iter().map(|right| right.name()).collect();
        Ok((key, format!("{name} {hash} {}", rights.join(","))))
    }

    /// Whose keys they are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.name.as_str())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose key this is. Takes the same time whatever it is.
    pub(crate) fn find(&self, key: &[u8]) -> Option<&ServiceKey> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let mut found = u32::MAX;
        for (at, known) in (0..).zip(&self.0) {
            let same: Choice = known.hash.ct_eq(&hash);
            found.conditional_assign(&at, same);
        }
        self.0.get(usize::try_from(found).ok()?)
    }
}

fn is_name(name: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(may)
}

fn parse_line(line: &str) -> Result<ServiceKey, String> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(hash), Some(rights), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err("does not have a name, a hash and rights".into());
    };
    if !is_name(name) {
        return Err("begins with what is not a name".into());
    }
    let hash = crate::hex::decode(hash).ok_or("has no SHA-256 of 64 hexadecimal digits after the name")?;
    let rights = rights.split(',').map(str::parse).collect::<Result<_, _>>()?;
    Ok(ServiceKey { name: name.into(), hash, rights })
}

/// Shows names only.
impl fmt::Debug for ServiceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_itself_alone_and_may_what_its_line_says() {
        let (billing, first) = ServiceKeys::generate("billing", &[Right::Push]).unwrap();
        let (admin, second) = ServiceKeys::generate("admin", &Right::ALL).unwrap();
        let keys = ServiceKeys::parse(&format!("{first}\n\n # more\n  {second}  \n")).unwrap();
        let found = |key: &str| keys.find(key.as_bytes()).map(|key| key.name.as_str());
        assert_eq!((found(&billing), found(&admin)), (Some("billing"), Some("admin")));
        for wrong in ["", "imk_", &billing[..billing.len() - 1], &format!("{billing}x"), first.as_str()] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
        let billing = keys.find(billing.as_bytes()).unwrap();
        assert!(billing.may(Right::Push) && !billing.may(Right::Users));
        assert!(keys.find(admin.as_bytes()).unwrap().may(Right::Groups));
        assert_eq!(format!("{keys:?}"), r#"["billing", "admin"]"#);
    }

    #[test]
    fn a_line_that_is_wrong_is_named_and_not_repeated() {
        let (_, line) = ServiceKeys::generate("a", &Right::ALL).unwrap();
        let hash = line.split(' ').nth(1).unwrap();
        for (text, problem) in [
            ("imk_secret".to_owned(), "line 1 does not have"),
            (format!("# x\na {} push", &hash[..62]), "line 2 has no SHA-256"),
            (format!("a {hash} push,all"), "there is no right \"all\""),
            (format!("a/b {hash} push"), "not a name"),
            (format!("a {hash} push\na {hash} push"), "line 2 names \"a\" a second time"),
            (format!("a {hash} push more"), "line 1 does not have"),
        ] {
            let error = ServiceKeys::parse(&text).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("imk_secret"), "{text}: {error}");
        }
        assert_eq!(ServiceKeys::generate("a b", &[]), Err(ServiceKeysError::Name));
    }
}
