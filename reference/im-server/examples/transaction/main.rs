//! A message and a row of the application's own commit in one transaction: `cargo run -p im-server --example transaction`.
//!
//! A help desk keeps its tickets in SQLite. Its chat is stored there too, by a [`Store`] of its own (`store.rs`): a message
//! to `desk` opens a ticket, and either both rows are there or none, whatever breaks. The store passes the suite that every
//! store has to pass; then a customer opens a ticket, and one that the desk's table does not take.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod rows;
mod store;
mod trim;

use std::sync::Arc;

use im_client::{Client, Credentials, Message, Options, SendFailure};
use im_server::auth::OpenLoopback;
use im_server::store::{Store, conformance};
use im_server::{Server, server_key};
use store::{SqliteStore, Ticket};
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let data = tempfile::tempdir()?;
    conformance::run(async |name| {
        let store = SqliteStore::open(&data.path().join(name))?;
        Ok(Arc::new(store) as Arc<dyn Store>)
    })
    .await?;
    println!("the store keeps the contract");

    let store = Arc::new(SqliteStore::open(&data.path().join("desk.sqlite"))?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let login = Arc::new(OpenLoopback::new(address)?);
    let server = Server::builder(store.clone(), login, server_key(data.path())?).build()?;
    tokio::spawn({
        let server = server.clone();
        async move { server.serve(listener).await }
    });

    let credentials = Credentials { user: "ann".into(), device: "phone".into(), token: String::new() };
    let options = Options::new(format!("tcp://{address}").parse()?, server.public_key(), credentials);
    let (ann, _events) = Client::start(options)?;
    let sent = ann.send(Message::text("desk", "my printer is on fire")).await?;
    let tickets = store.tickets().await?;
    println!("message {} opened {tickets:?}", sent.seq);
    let expected = Ticket { id: 1, customer: "ann".into(), seq: sent.seq, subject: "my printer is on fire".into() };
    assert_eq!(tickets, [expected]);

    // The ticket's row is refused, so there is no message either; the client is told, and nothing is left of it.
    let endless = ann.send(Message::text("desk", &"and ".repeat(50))).await;
    assert!(matches!(endless, Err(SendFailure::Refused { .. })), "{endless:?}");
    println!("{}", endless.expect_err("the row was refused"));
    assert_eq!(ann.send(Message::text("desk", "the fire is out")).await?.seq, sent.seq + 1);
    assert_eq!(store.tickets().await?.len(), 2);

    ann.close().await;
    server.shutdown().await?;
    Ok(())
}
