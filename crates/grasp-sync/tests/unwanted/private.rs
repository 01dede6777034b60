//! Private repositories (GRASP-08): nobody is asked for anything of theirs but the peers that they are shared with.

use testkit::HostileRelay;
use testkit::hostile::{Behaviour, Negentropy};

use super::common::{Embedded, Project, Relay, Signed, ids, until_home_has};
use super::{hold, url};

/// Everything that the relay was told, as text.
fn told(relay: &HostileRelay) -> String {
    relay.heard().iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_frame_to_an_upstream_names_a_private_repository_unless_it_is_shared_with_it() {
    let home = Relay::counting().await;
    let (stranger, peer) = (HostileRelay::start([]).await, HostileRelay::start([]).await);
    let relays = [stranger.url(), peer.url()];
    let (mut secret, mut public) = (Project::named("secret-plans"), Project::named("public-plans"));
    let hidden = [secret.private_announcement(&relays), secret.state(), secret.issue("nobody may know of this")];
    let (comment, open) = (secret.comment_on(&hidden[2], "nor of that"), public.history(&relays, 3));
    home.has_held(hidden.iter().chain(&open[..2])).await;
    for relay in [&stranger, &peer] {
        hold(relay, hidden.iter().chain(&open).chain([&comment]));
    }
    let leaked = secret.state();
    hold(&stranger, [&leaked]);
    let system = Embedded::keeping(&home).sharing_with(&[peer.url()]).started().await;
    until_home_has(&home, comment.id).await;
    until_home_has(&home, open[open.len() - 1].id).await;
    system.until_settled().await;
    let (to_stranger, to_peer) = (told(&stranger), told(&peer));
    let names: Vec<String> =
        ["secret-plans".to_owned()].into_iter().chain(ids(&hidden).iter().map(model::EventId::to_hex)).collect();
    for name in &names {
        assert!(!to_stranger.contains(name), "the stranger was told {name}");
    }
    assert!(to_stranger.contains("public-plans"), "it was asked for what is public");
    assert!(to_peer.contains("secret-plans") && to_peer.contains(&hidden[2].id.to_hex()), "the peer may know");
    assert!(!home.held().await.contains(&leaked.id), "what a stranger has of it stays there");
    assert!(system.outcomes("gated-private").await >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_becomes_private_is_no_longer_asked_for() {
    let home = Relay::counting().await;
    let upstream = HostileRelay::start([Behaviour::Negentropy(Negentropy::Error("blocked: no"))]).await;
    let mut project = Project::named("half-open");
    let history: Vec<Signed> = project.history(&[upstream.url()], 2);
    hold(&upstream, &history);
    home.has_held(&history[..1]).await;
    let system = Embedded::keeping(&home).started().await;
    system.until_settled().await;
    assert!(told(&upstream).contains("half-open"));
    project.in_the_present();
    home.receives([&project.private_announcement(&[upstream.url()])]).await;
    let at = url(&upstream);
    let is_retired = |status: &model::Status| {
        let known = status.upstreams.iter().find(|one| one.url == at);
        known.is_some_and(|one| one.wanted + one.pending + one.confirmed == 0)
    };
    system.until("its coverage to be retired", std::time::Duration::from_secs(20), is_retired).await;
}
