//! `im send`: one message and its outcome.

use std::pin::pin;
use std::time::Duration;

use im_client::{Client, Message, SendFailure};
use tokio::io::AsyncReadExt;

use crate::cli::{Exit, SendArgs};
use crate::print::{self, Status};

/// No server takes more, so a larger stdin need not be read to its end.
const MAX_STDIN: u64 = 1024 * 1024;

pub(crate) async fn run(args: &SendArgs) -> Result<Exit, Box<dyn std::error::Error>> {
    let mut options = args.common.options("cli-send")?;
    // Only sends: what arrives stays for the devices that show it.
    options.config.receive_max = 0;
    let content = match args.text.as_slice() {
        [dash] if dash == "-" => {
            let mut content = Vec::new();
            tokio::io::stdin().take(MAX_STDIN + 1).read_to_end(&mut content).await?;
            String::from_utf8(content).map_err(|_| "stdin is not UTF-8 text")?
        }
        words => words.join(" "),
    };
    let (client, mut events) = Client::start(options)?;
    let mut status = Status::new(false);
    let mut outcome = pin!(client.send(Message::text(&args.to, &content)));
    let mut timeout = pin!(tokio::time::sleep(Duration::from_secs(args.timeout)));
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let outcome = loop {
        tokio::select! {
            outcome = &mut outcome => break outcome,
            Some(event) = events.next() => drop(status.tell(event)?),
            () = &mut timeout => {
                eprintln!("im: outcome unknown: no answer within {} s", args.timeout);
                client.close().await;
                return Ok(Exit::Unknown);
            }
            _ = &mut interrupt => {
                eprintln!("im: interrupted: outcome unknown");
                client.close().await;
                return Ok(Exit::Interrupted);
            }
        }
    };
    let exit = match outcome {
        Ok(sent) => {
            print::line(&format!("stored seq={} id={}", sent.seq, sent.message_id))?;
            Exit::Done
        }
        Err(failure) => {
            // The client's last event says why it ended.
            while failure == SendFailure::Ended
                && let Some(event) = events.next().await
            {
                if status.tell(event)? {
                    break;
                }
            }
            eprintln!("im: {}", print::clean(&failure.to_string()));
            if failure == SendFailure::Unknown { Exit::Unknown } else { Exit::Failed }
        }
    };
    client.close().await;
    Ok(exit)
}
