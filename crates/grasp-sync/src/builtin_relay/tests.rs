//! What holds on the wire, seen by a raw websocket client.
