//! Reports: a durable stream, published until it is kept, consumed by whichever state replica is free.

use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{AckKind, Context, ContextBuilder};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use model::{BatchCounts, Report, Said, subject};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, warn};

use super::connect::NatsSettings;
use super::envelope::{self, Unreadable};
use crate::{BusError, Delivery, Origin, metrics};

const STREAM: &str = "REPORTS";
/// One consumer for all state replicas.
const CONSUMER: &str = "state";
/// A report of yesterday belongs to a dead epoch.
const MAX_AGE: Duration = Duration::from_hours(24);
/// Within this time the server knows a report that is published again.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
/// Reports that replicas may hold before they acknowledge some.
const MAX_ACK_PENDING: i64 = 256;
/// Reports that one replica holds; small, so that replicas share the work.
const PREFETCH: usize = 64;
const PREFETCH_EXPIRES: Duration = Duration::from_secs(10);
const IDLE_HEARTBEAT: Duration = Duration::from_secs(3);

/// Reports that this process publishes at the same time; more make the server slower, not faster.
const PUBLISHING: usize = 256;
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(200);
/// Longer than any lease: a session whose report is not kept by then has ended.
const GIVE_UP: Duration = Duration::from_secs(60);
/// A message of an unknown version waits for a replica that reads it.
const VERSION_DELAY: Duration = Duration::from_secs(5);
/// How often it is asked what waits in the stream.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// One message; beyond it, outcomes are sent in several.
const MOST_BYTES: usize = 512 * 1024;

pub(super) fn context(client: Client) -> Context {
    ContextBuilder::new().timeout(ACK_TIMEOUT).max_ack_inflight(PUBLISHING).build(client)
}

/// Publishes `report` until the stream keeps it.
pub(super) async fn publish(jetstream: &Context, settings: &NatsSettings, report: Report) -> Result<(), BusError> {
    let room = jetstream.client().max_payload().saturating_sub(16 * 1024).min(MOST_BYTES);
    let origin = Origin::here();
    let upstream = report.upstream;
    let name = format!("{upstream}.{}.{}", report.epoch, report.sequence);
    for (piece, message) in pieces(report, room).into_iter().enumerate() {
        let mut headers = envelope::headers(settings.writes, &origin);
        headers.insert(NATS_MESSAGE_ID, format!("{name}.{piece}"));
        keep(jetstream, subject::report(upstream), headers, Bytes::from(message)).await?;
    }
    Ok(())
}

async fn keep(jetstream: &Context, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(), BusError> {
    let deadline = Instant::now() + GIVE_UP;
    loop {
        let sent = jetstream.publish_with_headers(subject.clone(), headers.clone(), payload.clone()).await;
        let kept = match sent {
            Ok(ack) => ack.await.map(|_| ()),
            Err(error) => Err(error),
        };
        let Err(error) = kept else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(BusError::NotKept(error.to_string()));
        }
        debug!(%error, "a report was not kept; trying again");
        sleep(RETRY).await;
    }
}

/// The report as JSON, in pieces of at most `most` bytes: only outcomes can be many, and one of them always fits. The
/// figures go with the first piece.
fn pieces(report: Report, most: usize) -> Vec<Vec<u8>> {
    let message = serde_json::to_vec(&report).expect("reports are plain data");
    let Report { upstream, epoch, sequence, said: Said::Progress { batches, mut rows, counts } } = report else {
        return vec![message];
    };
    if message.len() <= most || rows.len() < 2 {
        return vec![message];
    }
    let rest = rows.split_off(rows.len() / 2);
    let first = Said::Progress { batches: batches.clone(), rows, counts };
    let second = Said::Progress { batches, rows: rest, counts: BatchCounts::default() };
    [first, second].into_iter().flat_map(|said| pieces(Report { upstream, epoch, sequence, said }, most)).collect()
}

/// Hands over reports until the receiver is dropped. Stream and consumer are made again when they are gone.
pub(super) async fn consume(
    jetstream: Context,
    settings: NatsSettings,
    mut connections: watch::Receiver<u64>,
    sender: mpsc::Sender<Delivery>,
) {
    let mut complained = false;
    while !sender.is_closed() {
        connections.mark_unchanged();
        match consumer(&jetstream, &settings).await {
            Ok(consumer) => {
                complained = false;
                forward(&consumer, &settings, &mut connections, &sender).await;
            }
            Err(error) if complained => debug!(error, "the stream of reports is not there"),
            Err(error) => {
                complained = true;
                warn!(error, "the stream of reports is not there; trying again");
            }
        }
        sleep(RETRY).await;
    }
}

async fn consumer(jetstream: &Context, settings: &NatsSettings) -> Result<PullConsumer, String> {
    let stream = stream::Config {
        name: STREAM.to_owned(),
        description: Some("what sessions have seen, until state has committed it".to_owned()),
        subjects: vec![subject::REPORTS.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: i64::try_from(settings.stream_bytes).unwrap_or(i64::MAX),
        max_age: MAX_AGE,
        duplicate_window: DUPLICATE_WINDOW,
        ..stream::Config::default()
    };
    jetstream.create_or_update_stream(stream).await.map_err(|error| error.to_string())?;
    let consumer = pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.ack_wait,
        max_ack_pending: MAX_ACK_PENDING,
        max_deliver: -1,
        ..pull::Config::default()
    };
    jetstream.create_consumer_on_stream(consumer, STREAM).await.map_err(|error| error.to_string())
}

/// Until something goes wrong, the connection is made anew, or nobody wants reports any more.
async fn forward(
    consumer: &PullConsumer,
    settings: &NatsSettings,
    connections: &mut watch::Receiver<u64>,
    sender: &mpsc::Sender<Delivery>,
) {
    let pulled =
        consumer.stream().max_messages_per_batch(PREFETCH).expires(PREFETCH_EXPIRES).heartbeat(IDLE_HEARTBEAT).messages().await;
    let mut messages = match pulled {
        Ok(messages) => messages,
        Err(error) => return debug!(%error, "reports cannot be pulled"),
    };
    let _counting = AbortOnDropHandle::new(tokio::spawn(count(consumer.clone())));
    loop {
        let message = tokio::select! {
            () = sender.closed() => return,
            // What was asked for over the lost connection may never come.
            _ = connections.changed() => return,
            message = messages.next() => message,
        };
        match message {
            Some(Ok(message)) => {
                let Some(delivery) = delivery(message, settings).await else { continue };
                if sender.send(delivery).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => return debug!(%error, "the pull of reports ended"),
            None => return,
        }
    }
}

/// Says now and then how many reports no replica has acknowledged.
async fn count(consumer: PullConsumer) {
    loop {
        if let Ok(info) = consumer.get_info().await {
            let held = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
            metrics::waiting(info.num_pending.saturating_add(held));
        }
        sleep(COUNT_EVERY).await;
    }
}

async fn delivery(message: async_nats::jetstream::Message, settings: &NatsSettings) -> Option<Delivery> {
    metrics::delivered(message.info().map_or(1, |info| info.delivered));
    let (message, receipt) = message.split();
    let headers = message.headers.as_ref();
    let kind = match envelope::read::<Report>(headers, &message.payload, settings.reads) {
        Ok(report) => return Some(Delivery { report, origin: envelope::origin(headers), receipt: Some(receipt) }),
        Err(Unreadable::Version(version)) => {
            warn!(version, "a report of an unknown version waits for a newer state service");
            AckKind::Nak(Some(VERSION_DELAY))
        }
        Err(Unreadable::Content(why)) => {
            // What it told is told again: its batch runs out, its link ends with its lease.
            metrics::lost("report");
            error!(subject = %message.subject, why, "a report cannot be read and is dropped");
            AckKind::Term
        }
    };
    if let Err(error) = receipt.ack_with(kind).await {
        debug!(%error, "an unreadable report was not settled; it comes again");
    }
    None
}

#[cfg(test)]
mod tests {
    use model::{Epoch, EventId, Kind, LedgerRow, Outcome, Ref, RefTag, Timestamp, UpstreamId};

    use super::*;

    fn row(number: u8) -> LedgerRow {
        LedgerRow {
            id: EventId::from_byte_array([number; 32]),
            created_at: Timestamp::from_secs(1),
            kind: Kind::Custom(1621),
            refs: vec![Ref { tag: RefTag::Address, value: "\0".repeat(300) }],
            outcome: Outcome::Stored,
            reason: None,
            upstream: UpstreamId(1),
            batch: None,
            via: None,
        }
    }

    #[test]
    fn outcomes_that_do_not_fit_travel_in_pieces_and_are_counted_once() {
        let rows: Vec<LedgerRow> = (0..100).map(row).collect();
        let counts = BatchCounts { events: 100, ..BatchCounts::default() };
        let said = Said::Progress { batches: Vec::new(), rows: rows.clone(), counts };
        let pieces = pieces(Report { upstream: UpstreamId(1), epoch: Epoch(2), sequence: 3, said }, 20_000);
        assert!(pieces.len() > 4);
        let mut again = Vec::new();
        let mut counted = 0;
        for piece in pieces {
            assert!(piece.len() <= 20_000);
            let piece: Report = serde_json::from_slice(&piece).expect("a report");
            let Said::Progress { rows, counts, .. } = piece.said else { panic!("another word") };
            again.extend(rows);
            counted += counts.events;
        }
        assert_eq!((again, counted), (rows, 100));
    }
}
