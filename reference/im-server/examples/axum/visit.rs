//! Two users of the application: they sign in, chat, and hear what the application says.
#![expect(clippy::wildcard_enum_match_arm, reason = "they wait for one event each")]

use std::net::SocketAddr;

use im_client::{Client, Credentials, Event, Events, Message, Options, ServerPublicKey};
use im_proto::{Conversation, Delivery};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Error;

pub(crate) async fn two_users(address: SocketAddr, key: ServerPublicKey) -> Result<(), Error> {
    assert!(request(address, "GET", "/", "").await?.ends_with("the application's own page"));
    let (alice, mut alice_hears) = sign_in_and_connect(address, key, "alice").await?;
    let (bob, mut bob_hears) = sign_in_and_connect(address, key, "bob").await?;

    // One to the other.
    let sent = alice.send(Message::text("bob", "hello from next door")).await?;
    println!("alice: stored as number {}", sent.seq);
    assert_eq!(hear(&bob, &mut bob_hears).await?, "alice says: hello from next door");

    // A team that the application made.
    assert!(request(address, "POST", "/teams/kitchen", "").await?.starts_with("HTTP/1.1 201"));
    let to_all = Message { to: Conversation::group("kitchen"), ..Message::text("", "dinner?") };
    bob.send(to_all).await?;
    assert_eq!(hear(&alice, &mut alice_hears).await?, "bob says: dinner?");

    // What the application says to everybody.
    assert!(request(address, "POST", "/announcements", "we close at noon").await?.ends_with("news 1"));
    assert_eq!(hear(&alice, &mut alice_hears).await?, "the service says: we close at noon");
    assert_eq!(hear(&bob, &mut bob_hears).await?, "the service says: we close at noon");

    // A rule of the application.
    let (mallory, _hears) = sign_in_and_connect(address, key, "mallory").await?;
    let refused = mallory.send(Message::text("bob", "buy this")).await;
    println!("mallory: {}", refused.expect_err("bob blocked mallory"));

    for client in [alice, bob, mallory] {
        client.close().await;
    }
    Ok(())
}

/// The next message of somebody else. It is acked when the application has it safe, and not before.
async fn hear(client: &Client, events: &mut Events) -> Result<String, Error> {
    while let Some(event) = events.next().await {
        match event {
            Event::Message(Delivery { from, entry, token, own, .. }) => {
                client.ack(token).await;
                if !own {
                    let line = format!("{from} says: {}", String::from_utf8_lossy(entry.content()));
                    println!("{line}");
                    return Ok(line);
                }
            }
            Event::Disconnected { closed, .. } => return Err(closed.to_string().into()),
            _ => {}
        }
    }
    Err("the client ended".into())
}

async fn sign_in_and_connect(address: SocketAddr, key: ServerPublicKey, user: &str) -> Result<(Client, Events), Error> {
    let response = request(address, "POST", &format!("/sign-in/{user}"), "").await?;
    let token = response.rsplit("\r\n").next().unwrap_or_default().to_owned();
    let credentials = Credentials { user: user.into(), device: "laptop".into(), token };
    Ok(Client::start(Options::new(format!("ws://{address}/chat").parse()?, key, credentials))?)
}

/// A request to the application, as any HTTP client makes it.
async fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<String, Error> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}
