//! `grasp-sync doctor`: is everything that this configuration needs there, and as it should be? Changes nothing.
//!
//! Where each value of the configuration comes from is `grasp-sync config show`'s to say.

mod facts;
mod findings;
mod gather;

use serde::Serialize;

use crate::config::{ConfigError, Effective};
use crate::exit::Exit;
use crate::output;
use crate::system::surveyor;
pub use facts::{BusFacts, ConfigFacts, Disk, Document, Facts, HomeFacts, Listening, Reading, Schema, StoreFacts};
pub(crate) use findings::remedy_of;
pub use findings::{Area, Finding, Severity, findings};

/// Why nothing was looked at.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the findings could not be printed: {0}")]
    Output(#[from] std::io::Error),
}

impl DoctorError {
    /// The code that the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Usage,
            Self::Output(_) => Exit::Failure,
        }
    }
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Told {
    /// The worst of the findings.
    severity: Severity,
    findings: Vec<Finding>,
}

/// Looks at everything, and prints what was found.
///
/// # Errors
/// The configuration cannot be used at all, or stdout is gone.
pub async fn doctor(effective: &Effective, environment: &[(String, String)], json: bool) -> Result<Exit, DoctorError> {
    let config = effective.config()?;
    let surveyor = surveyor(&config);
    let open_files = gather::open_files(&config, effective, environment);
    let findings = findings(&gather::facts(&config, open_files, &surveyor).await);
    let severity = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Well);
    if json {
        output::print_json(&Told { severity, findings })?;
    } else {
        output::print(&text(&findings, severity))?;
    }
    Ok(match severity {
        Severity::Well | Severity::Risky => Exit::Ok,
        Severity::Severe => Exit::Unwell,
    })
}

/// The worst first; within that, as they were looked at.
fn text(findings: &[Finding], severity: Severity) -> String {
    let verdict = match severity {
        Severity::Well => "all is well",
        Severity::Risky => "it works, with risks",
        Severity::Severe => "it does not work like this",
    };
    let mut text = format!("{verdict}\n");
    for severity in [Severity::Severe, Severity::Risky, Severity::Well] {
        for Finding { area, severity, what, remedy } in findings.iter().filter(|one| one.severity == severity) {
            let what: String = what.chars().map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect();
            text += &format!("{:<7} {:<7} {what}\n", severity.as_str(), area.as_str());
            text += &remedy.as_ref().map_or_else(String::new, |remedy| format!("{:16}{remedy}\n", ""));
        }
    }
    text
}
