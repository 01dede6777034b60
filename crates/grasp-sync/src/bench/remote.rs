//! The relays' process, seen from the one that measures.

use std::process::Stdio;

use model::RelayUrl;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::BenchError;
use super::network::{Ask, Counts, Told};
use crate::cli::NetworkPlan;

/// A running network. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) home: RelayUrl,
    pub(super) upstreams: Vec<RelayUrl>,
    /// That all upstreams hold or keep back, each counted once.
    pub(super) events: usize,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Remote {
    /// Returns when the relays are filled and listen.
    pub(super) async fn start(plan: NetworkPlan) -> Result<Self, BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "network"]).args(plan.words()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let (asks, told) = process.stdin.take().zip(process.stdout.take()).expect("both are piped");
        let mut answers = BufReader::new(told).lines();
        let Told::Ready { home, upstreams, events } = next(&mut answers).await? else { return Err(BenchError::Unlike) };
        Ok(Self { home, upstreams, events, asks, answers, _process: process })
    }

    pub(super) async fn counts(&mut self) -> Result<Counts, BenchError> {
        let Told::Counted(counts) = self.ask(Ask::Count).await? else { return Err(BenchError::Unlike) };
        Ok(counts)
    }

    /// Events that home lacks, and such as it should not hold.
    pub(super) async fn check(&mut self) -> Result<(usize, usize), BenchError> {
        let Told::Checked { missing, surplus } = self.ask(Ask::Check).await? else { return Err(BenchError::Unlike) };
        Ok((missing, surplus))
    }

    /// How many events came to the upstreams.
    pub(super) async fn deliver(&mut self) -> Result<usize, BenchError> {
        let Told::Delivered { events } = self.ask(Ask::Deliver).await? else { return Err(BenchError::Unlike) };
        Ok(events)
    }

    /// Microseconds of every event that arrived.
    pub(super) async fn stream(&mut self, events: usize, rate: u32) -> Result<Vec<u64>, BenchError> {
        let Told::Streamed { arrivals_us } = self.ask(Ask::Stream { events, rate }).await? else {
            return Err(BenchError::Unlike);
        };
        Ok(arrivals_us)
    }

    async fn ask(&mut self, ask: Ask) -> Result<Told, BenchError> {
        let line = serde_json::to_string(&ask).map_err(std::io::Error::from)?;
        self.asks.write_all(format!("{line}\n").as_bytes()).await?;
        next(&mut self.answers).await
    }
}

async fn next(answers: &mut Lines<BufReader<ChildStdout>>) -> Result<Told, BenchError> {
    let line = answers.next_line().await?.ok_or(BenchError::NetworkEnded)?;
    let told = serde_json::from_str(&line).map_err(std::io::Error::from)?;
    if let Told::Failed { why } = &told {
        return Err(BenchError::Network(why.clone()));
    }
    Ok(told)
}
