//! Who is in which group, as [`Groups`](crate::Groups) keeps it.

use super::problem::Problem;
use super::types::{GroupMember, MemberList, NewGroup, NewStanding, Page, Users};
use super::{Call, Reply};
use crate::conversation;
use crate::groups::Groups;
use crate::store::{Member, Standing};

impl Call {
    pub(super) fn shared_groups(&self) -> Groups {
        Groups { store: self.services().store.clone(), hub: self.services().hub.clone() }
    }
}

/// Makes a group with an owner; one that is there keeps its members.
#[utoipa::path(put, path = "/groups/{group}", tag = "groups", params(("group" = String, Path)), request_body = NewGroup,
    responses((status = 204, description = "It is there")))]
pub(super) async fn create(call: Call) -> Result<Reply, Problem> {
    let NewGroup { owner } = call.json()?;
    call.shared_groups().create(call.name("group")?, &owner).await?;
    Ok(Reply::DONE)
}

/// Who is in a group, page by page; the banned too.
#[utoipa::path(get, path = "/groups/{group}/members", tag = "groups", params(("group" = String, Path), Page),
    responses((status = 200, body = MemberList)))]
pub(super) async fn members(call: Call) -> Result<Reply, Problem> {
    let page: Page = call.query()?;
    let members = call.shared_groups().members(call.name("group")?, page.after.as_deref(), page.limit()).await?;
    let next = members.last().filter(|_| members.len() == page.limit()).map(|(user, _)| user.to_string());
    let members = members.into_iter().map(|(user, member)| as_member(&user, member)).collect();
    Reply::json(&MemberList { members, next })
}

/// Lets users in as ordinary members; of many some may be in when it fails, and the same again lets in the rest.
#[utoipa::path(post, path = "/groups/{group}/members", tag = "groups", params(("group" = String, Path)),
    request_body = Users,
    responses((status = 204, description = "They are in"), (status = 422, body = Problem, description = "invalid, too_many_users")))]
pub(super) async fn add(call: Call) -> Result<Reply, Problem> {
    let Users { users } = call.json()?;
    call.shared_groups().add_all(call.name("group")?, call.users(&users)?).await?;
    Ok(Reply::DONE)
}

/// What a user is in a group.
#[utoipa::path(get, path = "/groups/{group}/members/{user}", tag = "groups",
    params(("group" = String, Path), ("user" = String, Path)),
    responses((status = 200, body = GroupMember), (status = 404, body = Problem, description = "no_such_member")))]
pub(super) async fn member(call: Call) -> Result<Reply, Problem> {
    let user = call.name("user")?;
    let key = conversation::group_key(call.name("group")?);
    let member = match &key {
        Some(key) => call.services().store.member(user, key).await?,
        None => None,
    };
    let member = member.ok_or_else(|| Problem::not_found("no_such_member", "the user is not in this group"))?;
    Reply::json(&as_member(user, member))
}

/// What a user is in a group from now on; lets it in, and makes the group.
#[utoipa::path(put, path = "/groups/{group}/members/{user}", tag = "groups",
    params(("group" = String, Path), ("user" = String, Path)), request_body = NewStanding,
    responses((status = 204, description = "It is")))]
pub(super) async fn set(call: Call) -> Result<Reply, Problem> {
    let standing: NewStanding = call.json()?;
    call.shared_groups().set(call.name("group")?, call.name("user")?, standing.into()).await?;
    Ok(Reply::DONE)
}

/// Takes a user out of a group.
#[utoipa::path(delete, path = "/groups/{group}/members/{user}", tag = "groups",
    params(("group" = String, Path), ("user" = String, Path)),
    responses((status = 204, description = "It is out, also if it was before")))]
pub(super) async fn remove(call: Call) -> Result<Reply, Problem> {
    call.shared_groups().remove(call.name("group")?, call.name("user")?).await?;
    Ok(Reply::DONE)
}

fn as_member(user: &str, Member { standing, since }: Member) -> GroupMember {
    let Standing { role, muted, banned } = standing;
    GroupMember { user: user.to_owned(), role: role.into(), muted, banned, since }
}
