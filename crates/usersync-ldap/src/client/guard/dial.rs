//! From an address to a stream that nobody else can read.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use usersync_connector::{Error, ErrorKind};

use super::super::ber::{self, INTEGER, SEQUENCE};
use super::super::server::{Address, LdapServer, Security};
use super::message::{Message, operation};
use super::printable;

/// The extended operation that asks for TLS (RFC 4511, section 4.14).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// The largest answer to it that is waited for.
const ANSWER_BYTES: usize = 16 << 10;

/// A stream to the server, ready for a bind.
#[derive(Debug)]
pub(crate) enum Dialled {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// Connects, and does what the server's security demands before anything is said.
pub(crate) async fn dial(server: &LdapServer) -> Result<Dialled, Error> {
    let (host, port) = match &server.address {
        #[cfg(unix)]
        Address::Unix(path) => {
            let stream = tokio::net::UnixStream::connect(path).await;
            return stream.map(Dialled::Unix).map_err(cannot_connect);
        }
        #[cfg(not(unix))]
        Address::Unix(_) => {
            return Err(Error::unsupported("a socket in the file system"));
        }
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    let mut stream = TcpStream::connect((host, port)).await.map_err(cannot_connect)?;
    stream.set_nodelay(true).map_err(cannot_connect)?;
    if server.security == Security::Clear {
        return Ok(Dialled::Tcp(stream));
    }
    // What cannot work is found out before a byte is sent.
    let config = server.tls().map_err(|error| {
        Error::new(ErrorKind::Unauthenticated, "TLS could not be set up").with_source(error)
    })?;
    let name = match &server.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(host.to_owned()).map_err(|error| {
            Error::new(
                ErrorKind::InvalidData,
                format!("`{host}` cannot be the name in a certificate"),
            )
            .with_source(error)
        })?,
    };
    if server.security == Security::StartTls {
        start_tls(&mut stream).await?;
    }
    secured(stream, config, name).await
}

async fn secured(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Dialled, Error> {
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Dialled::Tls(Box::new(stream))),
        Err(error) => {
            let refused = error
                .get_ref()
                .is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some());
            let kind = if refused {
                ErrorKind::Unauthenticated
            } else {
                ErrorKind::Unavailable
            };
            let message = "TLS with the server failed, and nothing else was said; check its certificate and the authorities given";
            Err(Error::new(kind, message).with_source(error))
        }
    }
}

/// Asks for TLS, and insists on it: any answer but a plain success ends here, before a credential is sent.
async fn start_tls<S>(stream: &mut S) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&request()).await.map_err(cannot_connect)?;
    let mut answer = Vec::new();
    let whole = loop {
        let known = ber::header(&answer).map_err(|error| refusal(&error.to_string()))?;
        match known.map(ber::Header::whole) {
            Some(whole) if whole > ANSWER_BYTES => return Err(refusal("the answer is too long")),
            Some(whole) if answer.len() >= whole => break whole,
            _ => {}
        }
        if stream.read_buf(&mut answer).await.map_err(cannot_connect)? == 0 {
            return Err(refusal("the server closed the connection"));
        }
    };
    // Whoever is on the way could have put more behind the answer, to be taken for something said under TLS.
    if answer.len() > whole {
        return Err(refusal("the server went on without TLS"));
    }
    let message = Message::parse(&answer).map_err(|error| refusal(&error.to_string()))?;
    if message.id != 1 || message.operation.tag != operation::EXTENDED_RESPONSE {
        return Err(refusal("the server answered something else"));
    }
    let outcome = message.outcome().map_err(|error| refusal(&error.to_string()))?;
    if outcome.code != 0 {
        return Err(refusal(&format!(
            "result {}: {}",
            outcome.code,
            printable(outcome.text)
        )));
    }
    Ok(())
}

fn request() -> Vec<u8> {
    let mut name = Vec::new();
    ber::push(&mut name, 0x80, START_TLS);
    let mut message = Vec::new();
    ber::push_number(&mut message, INTEGER, 1);
    ber::push(&mut message, operation::EXTENDED, &name);
    let mut out = Vec::new();
    ber::push(&mut out, SEQUENCE, &message);
    out
}

fn refusal(why: &str) -> Error {
    Error::new(
        ErrorKind::Unauthenticated,
        format!(
            "StartTLS failed ({why}), and nothing else was said; mend it at the server, use ldaps://, or ask for `without_tls`"
        ),
    )
}

fn cannot_connect(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => ErrorKind::TimedOut,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "could not connect")
        .with_unknown_outcome(false)
        .with_source(error)
}
