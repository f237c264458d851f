//! The document that describes the API to programs, made from the handlers and types themselves.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::problem::Problem;
use super::{Call, Reply, delivery, groups, push, users};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "im-server",
        description = "What services of the operator do: push, delivery, who is online, bans, groups. Each request needs a \
                       key; beyond what a route says it may answer 400 malformed, 401 key_refused, 403 right_missing, 408 \
                       timeout, 413 too_large, 415 not_json, 422 invalid, 429 too_many_refused, 500 internal and 503 busy, \
                       all as a Problem."
    ),
    servers((url = "/api/v1")),
    security(("key" = [])),
    modifiers(&Key),
    paths(
        document, push::push, delivery::private, delivery::group, delivery::channel, users::online, users::user,
        users::kick, users::ban, users::unban, users::bans, groups::create, groups::members, groups::add, groups::member,
        groups::set, groups::remove
    )
)]
struct Document;

struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "about", security(()), responses((status = 200, description = "OpenAPI 3.1")))]
pub(super) async fn document(_call: Call) -> Result<Reply, Problem> {
    Reply::json(&Document::openapi())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::ROUTES;

    #[test]
    fn the_document_has_the_routes_that_are_served_and_no_others() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                described.insert((path.clone(), method.to_uppercase()));
                let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
                let named = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
                assert_eq!(named, path.matches('{').count(), "{path}");
            }
        }
        let served: BTreeSet<_> =
            ROUTES.iter().map(|route| (route.path.to_owned(), route.method.to_string())).collect();
        assert_eq!(served.len(), ROUTES.len());
        assert_eq!(served, described);
    }

    #[test]
    fn only_the_document_is_for_everybody() {
        let open: Vec<_> = ROUTES.iter().filter(|route| route.right.is_none()).map(|route| route.path).collect();
        assert_eq!(open, ["/openapi.json"]);
    }
}
