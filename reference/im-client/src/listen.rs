//! `im listen`: what arrives, a line each.

use std::pin::pin;

use im_client::{Client, Event};

use crate::cli::{Exit, ListenArgs};
use crate::print::{self, Status, clean};

pub(crate) async fn run(args: &ListenArgs) -> Result<Exit, Box<dyn std::error::Error>> {
    let (client, mut events) = Client::start(args.common.options("cli")?)?;
    let mut status = Status::new(false);
    let mut left = args.count;
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    while left != Some(0) {
        let event = tokio::select! {
            event = events.next() => event,
            _ = &mut interrupt => {
                client.close().await;
                return Ok(Exit::Interrupted);
            }
        };
        match event {
            Some(Event::Message(delivery)) => {
                let (conversation, from) = (clean(&delivery.conversation.id), clean(&delivery.from));
                print::line(&format!("{conversation} #{} {from}: {}", delivery.seq, print::content(&delivery)))?;
                client.ack(delivery.token).await;
                left = left.map(|left| left - 1);
            }
            Some(event) => drop(status.tell(event)?),
            None => return Ok(Exit::Failed),
        }
    }
    // The acks go out before the close.
    client.close().await;
    Ok(Exit::Done)
}
