//! An axum application that already has users, sessions and routes gets chat: `cargo run -p im-server --example axum`.
//!
//! The application keeps its listener, its routes and its sessions; the chat's WebSocket is one more route, and the
//! application says who somebody is. At the end the example talks to itself, and exits.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use im_client::{Client, Event, Options};
use im_proto::{Credentials, Entropy, LoginRequest, Message, RUSTCRYPTO, ServerKey, ServerPublicKey};
use im_server::Server;
use im_server::auth::{AuthError, Authenticator};
use im_server::store::{FjallConfig, FjallStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Error = Box<dyn std::error::Error>;

/// What the application had before: who is signed in, by session token.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<String, String>>>);

impl Sessions {
    fn sign_in(&self, user: &str) -> String {
        let token = format!("session-of-{user}"); // a real application draws it at random
        self.0.lock().expect("not poisoned").insert(token.clone(), user.to_string());
        token
    }
}

/// The one thing the chat wants to know of it: whose session a login shows.
impl Authenticator for Sessions {
    fn authenticate<'a>(&'a self, login: &'a LoginRequest) -> BoxFuture<'a, Result<Arc<str>, AuthError>> {
        let user = self.0.lock().expect("not poisoned").get(&login.token).cloned();
        async move {
            match user {
                Some(user) if user == login.user => Ok(user.into()),
                _ => Err(AuthError::Refused("sign in to the application first".into())),
            }
        }
        .boxed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // The application as it was.
    let sessions = Sessions::default();
    let app = Router::new()
        .route("/", get(async || "the application's own page"))
        .route("/sign-in/{user}", post(async |State(s): State<Sessions>, Path(user): Path<String>| s.sign_in(&user)))
        .with_state(sessions.clone());

    // The chat: a store, the application's sessions, a key that clients pin, and one more route.
    let data = tempfile::tempdir()?;
    let store = FjallStore::open(data.path(), &FjallConfig::default())?;
    let key = ServerKey::generate(&RUSTCRYPTO, Entropy::from_rng(&mut getrandom::SysRng)?)?;
    let chat = Server::builder(Arc::new(store), Arc::new(sessions), key).websocket_path("/chat").build()?;
    let app = app.merge(chat.router());

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).into_future());

    // Its users: the application's routes are where they were, and a session of it opens the chat.
    assert!(request(address, "GET / HTTP/1.1").await?.ends_with("the application's own page"));
    let alice = sign_in_and_connect(address, chat.public_key(), "alice").await?;
    let (bob, mut bob_events) = sign_in_and_connect(address, chat.public_key(), "bob").await?;

    let sent = alice.0.send(Message::text("bob", "hello from next door")).await?;
    println!("alice: stored as #{}", sent.seq);
    while let Some(event) = bob_events.next().await {
        if let Event::Message(delivery) = event {
            println!("bob: {} says: {}", delivery.from, String::from_utf8_lossy(delivery.entry.content()));
            assert_eq!(delivery.entry.content(), b"hello from next door");
            bob.ack(delivery.token).await;
            break;
        }
    }

    alice.0.close().await;
    bob.close().await;
    chat.shutdown().await?;
    Ok(())
}

async fn sign_in_and_connect(
    address: SocketAddr,
    key: ServerPublicKey,
    user: &str,
) -> Result<(Client, im_client::Events), Error> {
    let response = request(address, &format!("POST /sign-in/{user} HTTP/1.1")).await?;
    let token = response.rsplit("\r\n").next().unwrap_or_default().to_string();
    let credentials = Credentials { user: user.into(), device: "browser".into(), token };
    Ok(Client::start(Options::new(format!("ws://{address}/chat").parse()?, key, credentials))?)
}

/// A request to the application, as any HTTP client makes it.
async fn request(address: SocketAddr, line: &str) -> Result<String, Error> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("{line}\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}
