//! Names become addresses: the only place where a resolver is asked. What it answers is for the dialer to judge.

use std::io;
use std::net::SocketAddr;

use tokio::net::lookup_host;

/// Who answers.
#[derive(Debug, Clone)]
pub(crate) enum Names {
    /// The resolver of the machine.
    System,
    /// Nobody is asked: relays that are named by an address need no look-up, the others stay down.
    Nobody,
    #[cfg(test)]
    Given(Given),
}

impl Names {
    /// All addresses of a name, once.
    pub(crate) async fn addresses(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(lookup_host((name, port)).await?.collect()),
            Self::Nobody => Err(io::Error::other("names are not looked up")),
            #[cfg(test)]
            Self::Given(given) => Ok(given.answer(name, port)),
        }
    }
}

/// A resolver that answers each question with the next of its answers, and the last one from then on.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(crate) struct Given {
    answers: Vec<Vec<std::net::IpAddr>>,
    asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

#[cfg(test)]
impl Given {
    pub(crate) fn with(answers: &[&[&str]]) -> Self {
        let read = |answer: &&[&str]| answer.iter().map(|address| address.parse().expect("an address")).collect();
        Self { answers: answers.iter().map(read).collect(), asked: std::sync::Arc::default() }
    }

    /// The names that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }

    fn answer(&self, name: &str, port: u16) -> Vec<SocketAddr> {
        let mut asked = self.asked.lock().expect("nobody panics with it");
        let answer = self.answers.get(asked.len()).or(self.answers.last());
        asked.push(name.to_owned());
        answer.into_iter().flatten().map(|address| SocketAddr::new(*address, port)).collect()
    }
}
