//! How the chat's types are columns.

use im_server::MemberRole;
use im_server::store::{EntryKind, Member, Standing, StoreError};
use rusqlite::types::Type;
use rusqlite::{Error, Row};

pub(crate) fn kind_columns(kind: EntryKind) -> Result<(i64, i64), StoreError> {
    Ok(match kind {
        EntryKind::Message => (1, 0),
        EntryKind::Recall { about } => (2, about as i64),
        EntryKind::Edit { about } => (3, about as i64),
        EntryKind::React { about } => (4, about as i64),
        EntryKind::Sealed => (5, 0),
        EntryKind::Unreact { about } => (6, about as i64),
        _ => return Err(StoreError::Refused("this server cannot store entries of that kind".into())),
    })
}

pub(crate) fn kind_of(kind: i64, about: u64) -> rusqlite::Result<EntryKind> {
    Ok(match kind {
        1 => EntryKind::Message,
        2 => EntryKind::Recall { about },
        3 => EntryKind::Edit { about },
        4 => EntryKind::React { about },
        5 => EntryKind::Sealed,
        6 => EntryKind::Unreact { about },
        _ => return Err(damaged("kind")),
    })
}

pub(crate) const fn role_column(role: MemberRole) -> i64 {
    match role {
        MemberRole::Member => 0,
        MemberRole::Admin => 1,
        MemberRole::Owner => 2,
    }
}

/// A member from the columns role, muted, banned and since, the first of them at `at`.
pub(crate) fn member_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Member> {
    let role = match row.get::<_, i64>(at)? {
        0 => MemberRole::Member,
        1 => MemberRole::Admin,
        2 => MemberRole::Owner,
        _ => return Err(damaged("role")),
    };
    let standing = Standing { role, muted: row.get(at + 1)?, banned: row.get(at + 2)? };
    Ok(Member { standing, since: row.get(at + 3)? })
}

fn damaged(column: &str) -> Error {
    Error::FromSqlConversionFailure(0, Type::Integer, format!("the column {column} has an unknown value").into())
}
