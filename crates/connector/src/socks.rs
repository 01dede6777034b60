//! SOCKS5 (RFC 1928) as far as it is needed: CONNECT to a name, without authentication. The proxy looks the name up, nobody
//! else does.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Why the proxy makes no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotConnected {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it does not speak SOCKS5 without authentication")]
    NoSocks5,
    #[error("the name is longer than 255 bytes")]
    LongName,
    #[error("{0}")]
    Refused(&'static str),
}

/// Makes `stream`, which leads to a proxy, lead to `name`.
///
/// # Errors
/// The proxy is none, or cannot or will not connect.
pub(crate) async fn connect(mut stream: TcpStream, name: &str, port: u16) -> Result<TcpStream, NotConnected> {
    stream.write_all(&[VERSION, 1, NO_AUTHENTICATION]).await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    if chosen != [VERSION, NO_AUTHENTICATION] {
        return Err(NotConnected::NoSocks5);
    }
    stream.write_all(&request(name, port)?).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    match head {
        [VERSION, 0, _, kind] => skip_address(&mut stream, kind).await?,
        [VERSION, code, ..] => return Err(NotConnected::Refused(words(code))),
        _ => return Err(NotConnected::NoSocks5),
    }
    Ok(stream)
}

fn request(name: &str, port: u16) -> Result<Vec<u8>, NotConnected> {
    let length = u8::try_from(name.len()).map_err(|_| NotConnected::LongName)?;
    let mut request = vec![VERSION, CONNECT, 0, NAME, length];
    request.extend(name.as_bytes());
    request.extend(port.to_be_bytes());
    Ok(request)
}

/// Where the proxy connects from; of no use to us.
async fn skip_address(stream: &mut TcpStream, kind: u8) -> Result<(), NotConnected> {
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Err(NotConnected::NoSocks5),
    };
    let mut rest = vec![0; length + 2];
    stream.read_exact(&mut rest).await?;
    Ok(())
}

/// RFC 1928, section 6.
fn words(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "it took too long",
        7 => "it knows no CONNECT",
        8 => "it takes no names",
        _ => "refused",
    }
}
