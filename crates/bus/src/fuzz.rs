//! What `fuzz/` feeds with noise: messages of the bus. Never part of the program: built for tests and with the feature `fuzzing`.

pub use crate::nats::message;

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn whatever_is_read_from_the_bus_is_written_as_it_was() {
        super::replay::replay("message", super::message);
    }
}
