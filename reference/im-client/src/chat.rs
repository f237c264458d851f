//! `im chat`: lines of stdin are messages to a user; incoming ones are printed.

use std::pin::pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use im_client::{Client, Event, Message};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cli::{ChatArgs, Exit};
use crate::print::{self, Status, clean};

/// Lines without an outcome; then stdin waits. Below what the client queues, so that handing one over is quick.
const MAX_PENDING: usize = 32;

pub(crate) async fn run(args: &ChatArgs) -> Result<Exit, Box<dyn std::error::Error>> {
    let (client, mut events) = Client::start(args.common.options("cli")?)?;
    let mut status = Status::new(true);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut pending = FuturesUnordered::new();
    let (mut reading, mut failed) = (true, false);
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    while reading || !pending.is_empty() {
        tokio::select! {
            line = lines.next_line(), if reading && pending.len() < MAX_PENDING => match line? {
                Some(text) if text.is_empty() => {}
                // One after the other: the order of the lines is the order of the messages.
                Some(text) => match client.submit(Message::text(&args.to, &text)).await {
                    Ok(outcome) => pending.push(outcome),
                    Err(failure) => {
                        eprintln!("im: {failure}");
                        (reading, failed) = (false, true);
                    }
                },
                None => reading = false,
            },
            Some(outcome) = pending.next() => match outcome {
                Ok(sent) => print::line(&format!("[stored #{}]", sent.seq))?,
                Err(failure) => {
                    eprintln!("im: {}", clean(&failure.to_string()));
                    failed = true;
                }
            },
            event = events.next() => match event {
                Some(Event::Message(delivery)) => {
                    print::line(&format!("{}: {}", clean(&delivery.from), print::content(&delivery)))?;
                    client.ack(delivery.token).await;
                }
                Some(event) => drop(status.tell(event)?),
                // What is pending has failed by now; its failures were or will be told.
                None => {
                    while let Some(outcome) = pending.next().await {
                        if let Err(failure) = outcome {
                            eprintln!("im: {}", clean(&failure.to_string()));
                        }
                    }
                    return Ok(Exit::Failed);
                }
            },
            _ = &mut interrupt => {
                client.close().await;
                return Ok(Exit::Interrupted);
            }
        }
    }
    client.close().await;
    Ok(if failed { Exit::Failed } else { Exit::Done })
}
