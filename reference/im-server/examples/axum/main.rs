//! An axum application that already has users, sessions and routes gets chat: `cargo run -p im-server --example axum`.
//!
//! The guide `docs/guide/half-hour.md` takes it together, step by step. The application keeps its listener, its routes and
//! its sessions. With `-- serve` it runs until Ctrl-C; without, two users visit it, and it exits.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod visit;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use im_proto::{LoginRequest, content_type};
use im_server::auth::{AuthError, Authenticator};
use im_server::store::{FjallConfig, FjallStore};
use im_server::{Answer, Directory, MemberRole, Server, StoredGroups, store::Standing};

type Error = Box<dyn std::error::Error>;

// The application as it was: people sign in and get a token.

#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<String, String>>>);

impl Sessions {
    fn sign_in(&self, user: &str) -> String {
        let token = format!("session-of-{user}"); // yours draws it at random, and asks for a password
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), user.into());
        token
    }

    fn user_of(&self, token: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

fn application(sessions: Sessions) -> Router {
    Router::new()
        .route("/", get(async || "the application's own page"))
        .route(
            "/sign-in/{user}",
            post(async |State(s): State<Sessions>, Segment(user): Segment<String>| s.sign_in(&user)),
        )
        .with_state(sessions)
}

// Step 2: who somebody is.

impl Authenticator for Sessions {
    fn authenticate<'a>(&'a self, login: &'a LoginRequest) -> BoxFuture<'a, Result<Arc<str>, AuthError>> {
        Box::pin(async move {
            match self.user_of(&login.token) {
                Some(user) if user == login.user => Ok(user.into()),
                _ => Err(AuthError::Refused("sign in to the application first".into())),
            }
        })
    }
}

// Step 5: who may write to whom.

struct Rules {
    groups: StoredGroups,
    blocked: HashMap<String, Vec<String>>,
}

impl Directory for Rules {
    fn member<'a>(&'a self, group: &'a str, user: &'a str) -> Answer<'a, Option<Standing>> {
        self.groups.member(group, user)
    }

    fn may_write<'a>(&'a self, user: &'a str, other: &'a str) -> Answer<'a, bool> {
        let blocked = self.blocked.get(other).is_some_and(|blocked| blocked.iter().any(|name| name == user));
        Box::pin(async move { Ok(!blocked) })
    }
}

// Step 1: the chat as a value, from a directory for its data.

fn chat(data: &Path, sessions: Sessions) -> Result<Server, Error> {
    let store = Arc::new(FjallStore::open(data, &FjallConfig::default())?);
    let rules = Rules {
        groups: StoredGroups::new(store.clone()),
        blocked: HashMap::from([("bob".into(), vec!["mallory".into()])]),
    };
    let key = im_server::server_key(data)?;
    let chat = Server::builder(store, Arc::new(sessions), key)
        .websocket_path("/chat")
        .directory(Arc::new(rules))
        .broadcasts(["news".into()])
        .build()?;
    Ok(chat)
}

// Step 4: the application's own routes use the chat.

async fn make_team(
    State(chat): State<Server>,
    Segment(team): Segment<String>,
) -> Result<StatusCode, (StatusCode, String)> {
    let groups = chat.groups();
    let made = async {
        groups.create(&team, "alice").await?;
        groups.add(&team, "bob", MemberRole::Member).await
    };
    let refused = |error: im_server::GroupError| (StatusCode::CONFLICT, error.to_string());
    made.await.map(|()| StatusCode::CREATED).map_err(refused)
}

async fn announce(State(chat): State<Server>, text: String) -> Result<String, (StatusCode, String)> {
    let said = chat.broadcast("news", "the service", content_type::TEXT, text.into_bytes()).await;
    said.map(|seq| format!("news {seq}")).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

fn with_chat(application: Router, chat: &Server) -> Router {
    let own = Router::new()
        .route("/teams/{team}", post(make_team))
        .route("/announcements", post(announce))
        .with_state(chat.clone());
    application.merge(own).merge(chat.router())
}

// Step 3: one more route on the listener that is there already.

#[tokio::main]
async fn main() -> Result<(), Error> {
    let serves = std::env::args().nth(1).is_some_and(|argument| argument == "serve");
    let data = tempfile::tempdir()?; // yours is a directory that stays
    let sessions = Sessions::default();
    let chat = chat(data.path(), sessions.clone())?;
    let app = with_chat(application(sessions), &chat).into_make_service_with_connect_info::<SocketAddr>();

    let listener = tokio::net::TcpListener::bind(if serves { "127.0.0.1:8080" } else { "127.0.0.1:0" }).await?;
    let address = listener.local_addr()?;
    println!("http://{address}, key {}", chat.public_key());
    let serving = axum::serve(listener, app).into_future();
    if serves {
        tokio::select! {
            served = serving => served?,
            _ = tokio::signal::ctrl_c() => {}
        }
    } else {
        tokio::select! {
            served = serving => served?,
            visited = visit::two_users(address, chat.public_key()) => visited?,
        }
    }
    chat.shutdown().await?;
    Ok(())
}
