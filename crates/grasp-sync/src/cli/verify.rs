//! The arguments of `grasp-sync verify`.

use std::time::Duration;

use clap::Args;

use super::SettingFlags;
use crate::verify::Wanted;

pub(super) const EXAMPLES: &str = "\
Examples:
  grasp-sync verify --home wss://relay.example
  grasp-sync verify --home wss://relay.example --repo naddr1… --json
  grasp-sync verify --home wss://relay.example --upstream wss://other.example

Any relay can be verified, whatever software keeps it: nothing but the relays is asked, and nothing is written.
Ends with 0 if nothing is missing, with 5 if something is, with 9 if nothing is known to be missing and not every
upstream could be read to its end.";

/// What is verified, and how it is shown.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub settings: SettingFlags,
    /// A repository (30617:<pubkey>:<identifier>, naddr1…), instead of all that home announces; repeatable
    #[arg(long, value_name = "REPOSITORY")]
    pub repo: Vec<String>,
    /// An upstream to compare with, about every repository, instead of those that announcements name; ws://, any port and
    /// any host; repeatable
    #[arg(long, value_name = "URL")]
    pub upstream: Vec<String>,
    /// Expect announcements and states of everybody at home, not only of those that name home and their maintainers
    #[arg(long)]
    pub every_announcement: bool,
    /// What one upstream may take; then what is not read of it is not judged
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

impl VerifyArgs {
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            repos: self.repo.clone(),
            upstreams: self.upstream.clone(),
            every_announcement: self.every_announcement,
            patience: self.patience,
            json: self.json,
        }
    }
}
