//! `handover hub top`: feeds the live view from a node and the keyboard, and draws it.

use super::super::live::{self, View};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::hub::screen::draw;
use crate::hub::state::{Glance, Input, State};
use crate::hub::{HubClient, HubError};
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How often the node is asked: often enough for the eye, rarely enough for the processor.
const ASK: Duration = Duration::from_millis(500);

pub(super) async fn top(client: HubClient) -> Result<ExitCode, CliError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(CliError::NoTerminalForHub);
    }
    // Whoever cannot be asked at all is told so plainly.
    look(&client).await?;
    let view = View {
        state: State::default(),
        apply: State::apply,
        draw,
    };
    live::show(view, |inputs| {
        tokio::spawn(ask(client.clone(), inputs.clone()));
        tokio::spawn(listen(client, inputs));
    })
    .await
}

async fn look(client: &HubClient) -> Result<Glance, HubError> {
    Ok(Glance {
        status: client.status().await?,
        nodes: client.nodes().await?,
        moves: client.moves().await?,
    })
}

/// Asks for everything, again and again. Ends when nobody draws.
async fn ask(client: HubClient, inputs: Sender<Input>) {
    loop {
        let input = match look(&client).await {
            Ok(glance) => Input::Glance(Box::new(glance)),
            Err(HubError::Connect { source, .. }) => Input::Lost(source.to_string()),
            Err(error) => Input::Lost(error.to_string()),
        };
        if inputs.send(input).await.is_err() {
            return;
        }
        tokio::time::sleep(ASK).await;
    }
}

/// Follows the events, also of a node that was started again. Ends when nobody draws.
async fn listen(client: HubClient, inputs: Sender<Input>) {
    loop {
        if let Ok(mut stream) = client.events(0, false).await {
            while let Ok(Some(line)) = stream.next().await {
                if let Some(event) = line.value
                    && inputs.send(Input::Event(Box::new(event))).await.is_err()
                {
                    return;
                }
            }
        }
        if inputs.is_closed() {
            return;
        }
        tokio::time::sleep(ASK).await;
    }
}
